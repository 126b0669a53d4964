// SPDX-License-Identifier: GPL-2.0-only
/* Finding and reading the exit record of our own and of scx's schedulers. */
#include "exit_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UEI_DUMP_SIZE 32768

static const struct {
	int32_t kind;
	const char *name;
} kind_names[] = {
	{0, "NONE"},   {1, "DONE"},    {64, "UNREG"},	{65, "UNREG_BPF"},   {66, "UNREG_KERN"},
	{67, "SYSRQ"}, {68, "PARENT"}, {1024, "ERROR"}, {1025, "ERROR_BPF"}, {1026, "ERROR_STALL"},
};

const char *exit_kind_name(int32_t kind)
{
	for (size_t i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
		if (kind_names[i].kind == kind)
			return kind_names[i].name;
	return "UNKNOWN";
}

static bool member(const struct btf *btf, const struct btf_type *t, const char *name,
		   uint32_t *offset, uint32_t *size)
{
	const struct btf_member *m = btf_members(t);

	for (int i = 0; i < btf_vlen(t); i++) {
		if (strcmp(btf__name_by_offset(btf, m[i].name_off), name))
			continue;
		*offset = btf_member_bit_offset(t, (uint32_t)i) / 8;
		*size = (uint32_t)btf__resolve_size(btf, m[i].type);
		return *size > 0 && *offset + *size <= t->size;
	}
	return false;
}

struct probe {
	struct exit_source *src;
	const struct btf *btf;
};

static int probe_record(const struct global *g, void *arg)
{
	struct probe *probe = arg;
	struct exit_source *src = probe->src;
	const struct btf *btf = probe->btf;
	uint32_t size;

	if (!btf_is_struct(g->type))
		return 0;
	if (strcmp(g->name, "ktstr_exit") &&
	    strcmp(btf__name_by_offset(btf, g->type->name_off), "user_exit_info"))
		return 0;
	if (!member(btf, g->type, "kind", &src->kind_off, &size) || size != 4 ||
	    !member(btf, g->type, "reason", &src->reason_off, &src->reason_size) ||
	    !member(btf, g->type, "msg", &src->msg_off, &src->msg_size))
		return 0;
	src->has_code = member(btf, g->type, "exit_code", &src->code_off, &size) && size == 8;
	if (!member(btf, g->type, "dump", &src->dump_off, &src->dump_size))
		src->dump_size = 0;
	src->record = *g;
	src->found = true;
	return 1;
}

int exit_source_find(struct exit_source *src, struct bpf_object *obj)
{
	struct probe probe = {.src = src, .btf = bpf_object__btf(obj)};
	char name[160], why[256];
	int err;

	*src = (struct exit_source){0};
	globals_each(obj, probe_record, &probe);
	if (!src->found || src->dump_size)
		return 0;
	snprintf(name, sizeof(name), "%s_dump", src->record.name);
	if (!global_find(obj, name, &src->dump) || !global_is_string(probe.btf, src->dump.type) ||
	    src->dump.map == src->record.map) {
		src->dump = (struct global){0};
		return 0;
	}
	err = bpf_map__set_value_size(src->dump.map, UEI_DUMP_SIZE);
	if (err)
		return err;
	src->dump_size = UEI_DUMP_SIZE;
	snprintf(name, sizeof(name), "%s_dump_len=%d", src->record.name, UEI_DUMP_SIZE);
	return global_set(obj, name, why, sizeof(why)) == -ERANGE ? -ERANGE : 0;
}

int exit_source_open(struct exit_source *src)
{
	int err;

	if (!src->found)
		return 0;
	if (src->dump_size > EXIT_DUMP_MAX)
		src->dump_size = EXIT_DUMP_MAX;
	src->text = calloc(1, (size_t)src->reason_size + src->msg_size + src->dump_size + 3);
	if (!src->text)
		return -ENOMEM;
	err = section_view_open(&src->record_view, src->record.map);
	if (!err && src->dump.map)
		err = section_view_open(&src->dump_view, src->dump.map);
	return err;
}

/* The text up to its end or the array's, with a terminator of our own. */
static const char *copy_text(char **to, const char *from, uint32_t size)
{
	char *start = *to;
	size_t n = strnlen(from, size);

	memcpy(start, from, n);
	start[n] = '\0';
	*to += n + 1;
	return start;
}

bool exit_source_read(struct exit_source *src, struct exit_info *out)
{
	const char *rec;
	char *to = src->text;

	if (!src->found || section_view_refresh(&src->record_view))
		return false;
	rec = (const char *)src->record_view.value + src->record.offset;
	*out = (struct exit_info){.dump = ""};
	/* The scheduler stores the kind last, behind a barrier. */
	out->kind = __atomic_load_n((const int32_t *)(rec + src->kind_off), __ATOMIC_ACQUIRE);
	if (out->kind == KIND_NONE)
		return false;
	if (src->has_code)
		memcpy(&out->exit_code, rec + src->code_off, sizeof(out->exit_code));
	out->reason = copy_text(&to, rec + src->reason_off, src->reason_size);
	out->msg = copy_text(&to, rec + src->msg_off, src->msg_size);
	if (!src->dump.map && src->dump_size)
		out->dump = copy_text(&to, rec + src->dump_off, src->dump_size);
	else if (src->dump.map && !section_view_refresh(&src->dump_view))
		out->dump = copy_text(&to, (char *)src->dump_view.value + src->dump.offset,
				      src->dump_size - src->dump.offset);
	return true;
}

void exit_source_close(struct exit_source *src)
{
	section_view_close(&src->record_view);
	section_view_close(&src->dump_view);
	free(src->text);
	*src = (struct exit_source){0};
}

void scx_state_read(char *state, size_t size)
{
	int fd = open(SCX_SYSFS "/state", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, state, size - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		n = snprintf(state, size, "unknown");
	state[n] = '\0';
	state[strcspn(state, "\n")] = '\0';
}
