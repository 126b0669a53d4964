// SPDX-License-Identifier: GPL-2.0-only
/* Opening an object, finding its struct sched_ext_ops, keeping libbpf's words. */
#include "object.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SCX_WATCHDOG_MAX_TIMEOUT, kernel/sched/ext.c; beyond it the kernel says only "invalid". */
#define TIMEOUT_MAX_MS 30000

/*
 * Room for what the verifier says of one program. It keeps the end of a longer log, where the
 * reason is; left to itself libbpf would have the program verified again and again, with ever more
 * room, until all of it fits.
 */
#define LOG_SIZE (1024 * 1024)

static int log_level = LIBBPF_INFO;
/* The last of what libbpf complained about, for the error message. */
static char log_tail[2048];

/* Keep what fits of the end, from the start of a line: the verifier says why last. */
static void keep_tail(const char *text)
{
	size_t used = strlen(log_tail), n = strlen(text), room = sizeof(log_tail) - 1;
	const char *line;

	if (n > room) {
		line = strchr(text + n - room, '\n');
		text = line && line[1] ? line + 1 : text + n - room;
		n = strlen(text);
	}
	while (used + n > room) {
		line = strchr(log_tail, '\n');
		used = line ? strlen(line + 1) : 0;
		memmove(log_tail, line ? line + 1 : "", used + 1);
	}
	memcpy(log_tail + used, text, n + 1);
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char *text = NULL;

	if ((int)level > log_level || vasprintf(&text, fmt, args) < 0)
		return 0;
	fputs(text, stderr);
	if (level == LIBBPF_WARN)
		keep_tail(text);
	free(text);
	return 0;
}

void object_log_start(int level)
{
	log_level = level;
	libbpf_set_print(print_libbpf);
}

const char *object_log_tail(void)
{
	return log_tail;
}

void object_keep_logs(struct bpf_object *obj)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		char *room = calloc(1, LOG_SIZE);

		/* Without it libbpf finds room of its own. */
		if (room && bpf_program__set_log_buf(prog, room, LOG_SIZE))
			free(room);
	}
}

/* An object that libbpf tried to load keeps the pointers, and never looks at them again. */
void object_drop_logs(struct bpf_object *obj)
{
	struct bpf_program *prog;
	size_t size;

	bpf_object__for_each_program(prog, obj)
		free((char *)bpf_program__log_buf(prog, &size));
}

/* In libbpf's own form, for whoever reads its logs. */
void object_print_logs(const struct bpf_object *obj)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		size_t size;
		const char *log = bpf_program__log_buf(prog, &size);
		const char *name = bpf_program__name(prog);
		size_t n = log ? strlen(log) : 0;
		const char *line = log;

		if (!n)
			continue;
		fprintf(stderr, "libbpf: prog '%s': -- BEGIN PROG LOAD LOG --\n", name);
		if (n + 1 >= size) {
			fprintf(stderr,
				"[the log has no space in %d KiB, which became the error; "
				"this is its end]\n",
				LOG_SIZE / 1024);
			line = strchr(log, '\n');
			line = line ? line + 1 : log;
		}
		fprintf(stderr, "%s-- END PROG LOAD LOG --\n", line);
		keep_tail(line);
	}
}

/* The object's own struct sched_ext_ops, or a flavour of it, when that is the map's value. */
static const struct btf_type *ops_type(const struct bpf_object *obj, const struct bpf_map *map)
{
	const struct btf *btf = bpf_object__btf(obj);
	const struct btf_type *t = btf__type_by_id(btf, bpf_map__btf_value_type_id(map));
	const char *name = t ? btf__name_by_offset(btf, t->name_off) : "";
	size_t n = strlen(OPS_TYPE);

	if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS || !t || !btf_is_struct(t))
		return NULL;
	if (strncmp(name, OPS_TYPE, n) || (name[n] && strncmp(name + n, "___", 3)))
		return NULL;
	return t;
}

/* A member of the initial value, NULL if there is none of that name and size. */
static void *ops_member(const struct sched_object *so, const char *name, size_t want)
{
	const struct btf *btf = bpf_object__btf(so->obj);
	const struct btf_type *t = ops_type(so->obj, so->ops_map);
	size_t size;
	char *base = bpf_map__initial_value(so->ops_map, &size);

	for (int i = 0; base && t && i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		size_t off = btf_member_bit_offset(t, (uint32_t)i) / 8;

		if (!strcmp(btf__name_by_offset(btf, m->name_off), name) &&
		    btf__resolve_size(btf, m->type) == (int64_t)want && off + want <= size)
			return base + off;
	}
	return NULL;
}

int object_open(struct sched_object *so, const char *path, char *why, size_t size)
{
	struct bpf_map *map;
	const char *name;
	int count = 0;

	*so = (struct sched_object){0};
	so->obj = bpf_object__open_file(path, NULL);
	if (!so->obj) {
		int err = errno;

		snprintf(why, size, "%s: %s", path, strerror(err));
		return -err;
	}
	bpf_object__for_each_map(map, so->obj) {
		if (!ops_type(so->obj, map))
			continue;
		so->ops_map = map;
		count++;
	}
	if (count != 1) {
		snprintf(why, size,
			 "%s: it has %d struct_ops maps of type " OPS_TYPE
			 ", exactly one is needed",
			 path, count);
		return -EINVAL;
	}
	name = ops_member(so, "name", OPS_NAME_SIZE);
	snprintf(so->ops_name, sizeof(so->ops_name), "%s",
		 name ? name : bpf_map__name(so->ops_map));
	return 0;
}

int object_set_timeout(struct sched_object *so, const char *text, char *why, size_t size)
{
	uint32_t *timeout = ops_member(so, "timeout_ms", sizeof(*timeout));
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || !*text || *end || value < 1 || value > TIMEOUT_MAX_MS) {
		snprintf(why, size, "--timeout-ms %s: give 1 to %d", text, TIMEOUT_MAX_MS);
		return -ERANGE;
	}
	if (!timeout) {
		snprintf(why, size, "--timeout-ms: the object's " OPS_TYPE " has no timeout_ms");
		return -ENOENT;
	}
	*timeout = (uint32_t)value;
	return 0;
}
