// SPDX-License-Identifier: GPL-2.0-only
/* Prints an object's maps and its globals' initial values, after applying NAME=VALUE arguments. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "globals.h"

static int print_global(const struct global *g, void *arg)
{
	const struct btf *btf = bpf_object__btf(arg);
	size_t size;
	const char *base = bpf_map__initial_value(g->map, &size);
	struct int_kind kind;

	if (global_int_kind(btf, g->type, &kind))
		printf("global %s %s %" PRId64 "\n", g->section, g->name,
		       int_read(base + g->offset, &kind));
	else if (global_is_string(btf, g->type))
		printf("global %s %s %.*s\n", g->section, g->name, (int)g->size, base + g->offset);
	else
		printf("global %s %s -\n", g->section, g->name);
	return 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = bpf_object__open_file(argv[1], NULL);
	struct bpf_map *map;
	char why[4096];

	if (!obj)
		return 2;
	for (int i = 2; i < argc; i++) {
		if (global_set(obj, argv[i], why, sizeof(why))) {
			puts(why);
			return 1;
		}
	}
	bpf_object__for_each_map(map, obj)
		printf("map %s %d %u %u\n", bpf_map__name(map), bpf_map__type(map),
		       bpf_map__btf_key_type_id(map), bpf_map__btf_value_type_id(map));
	globals_each(obj, print_global, obj);
	bpf_object__close(obj);
	return 0;
}
