// SPDX-License-Identifier: GPL-2.0-only
/* The object of the probes: which programs are loaded, its variables, and what is said of it. */
#include "prober.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int prober_fail(const char *what, int err)
{
	fprintf(stderr, "scx_probe: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return EXIT_UNUSABLE;
}

void prober_missing(struct prober *pr, const char *fmt, ...)
{
	char text[PROBE_TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "scx_probe: %s\n", text);
	if (!pr->bss.counters->missing[0])
		memcpy(pr->bss.counters->missing, text, sizeof(text));
}

void prober_load_only(struct bpf_object *obj, const char *first, const char *second)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		const char *name = bpf_program__name(prog);

		bpf_program__set_autoload(prog, (first && !strcmp(name, first)) ||
							(second && !strcmp(name, second)));
	}
}

/* Place of a variable in the content of its section, NULL when there is none of that size. */
static void *variable(const struct bpf_object *obj, const char *section, char *content,
		      const char *name, size_t size)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (__u32)id);

	for (int i = 0; t && content && i < btf_vlen(t); i++) {
		const struct btf_var_secinfo *info = btf_var_secinfos(t) + i;
		const struct btf_type *var = btf__type_by_id(btf, info->type);

		if (info->size == size && !strcmp(btf__name_by_offset(btf, var->name_off), name))
			return content + info->offset;
	}
	return NULL;
}

int prober_set_constant(struct bpf_object *obj, const char *name, __u32 value)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, ".rodata");
	size_t whole;
	void *place = map ? variable(obj, ".rodata", bpf_map__initial_value(map, &whole), name,
				     sizeof(value)) :
			    NULL;

	if (!place)
		return -ENOENT;
	memcpy(place, &value, sizeof(value));
	return 0;
}

int prober_map_globals(struct prober *pr)
{
	struct bpf_map *map = bpf_object__find_map_by_name(pr->exits, ".bss");
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	char *content;

	if (!map)
		return -ENOENT;
	size = (bpf_map__value_size(map) + page - 1) / page * page;
	content = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (content == MAP_FAILED)
		return -errno;
	pr->bss.counters = variable(pr->exits, ".bss", content, "ktstr_probe_counters",
				    sizeof(struct probe_counters));
	pr->bss.probed = variable(pr->exits, ".bss", content, "ktstr_probed",
				  PROBE_MAX_PROBED * sizeof(struct probe_probed));
	return pr->bss.counters && pr->bss.probed ? 0 : -EINVAL;
}
