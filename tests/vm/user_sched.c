// SPDX-License-Identifier: GPL-2.0-only
/*
 * A scheduler as a user writes it: a program with its BPF object inside, shared libraries, a
 * configuration file, switches, lines of its own about what it does. It knows nothing of ktstr.
 *   --config FILE            "slice_us = N"
 *   --cell-parent-cgroup P   says whether /sys/fs/cgroup/P is there
 *   --greeting W, --llc, --quiet, --steal N
 *   --die                    complains and ends before it attaches
 *   --dawdle                 never attaches
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const char object_begin[], object_end[];
__asm__(".section .rodata\n"
	".balign 8\n"
	"object_begin: .incbin \"" OBJECT "\"\n"
	"object_end:\n"
	".previous\n");

int notes_version(void); /* of the shared library */

static volatile sig_atomic_t over;

static void on_term(int signal)
{
	over = signal;
}

static unsigned long long config_slice(const char *path)
{
	unsigned long long slice_us = 0;
	FILE *file = fopen(path, "r");

	if (!file || fscanf(file, " slice_us = %llu", &slice_us) != 1)
		fprintf(stderr, "user_sched: %s says no slice_us\n", path);
	if (file)
		fclose(file);
	return slice_us;
}

static struct bpf_map *section(struct bpf_object *object, const char *suffix)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const char *name = bpf_map__name(map);
		size_t length = strlen(name), end = strlen(suffix);

		if (length >= end && !strcmp(name + length - end, suffix))
			return map;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long long slice_us = 0, enqueued = 0;
	unsigned int key = 0;
	char parent[256];
	struct bpf_object *object;
	struct bpf_map *ops, *bss;
	size_t size;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTERM, on_term);
	printf("notes version %d\n", notes_version());
	for (int i = 1; i < argc; i++) {
		printf("argument %d: %s\n", i, argv[i]);
		if (!strcmp(argv[i], "--config") && i + 1 < argc)
			slice_us = config_slice(argv[i + 1]);
		if (!strcmp(argv[i], "--cell-parent-cgroup") && i + 1 < argc) {
			snprintf(parent, sizeof(parent), "/sys/fs/cgroup%s", argv[i + 1]);
			printf("%s %s\n", parent, access(parent, F_OK) ? "is missing" : "is there");
		}
		if (!strcmp(argv[i], "--die")) {
			fputs("user_sched: layer 'batch' wants 9 CPUs of 2\n", stderr);
			return 3;
		}
		while (!strcmp(argv[i], "--dawdle") && !over) {
			puts("user_sched: waits for a layer that never comes");
			sleep(60);
		}
		if (over)
			return 0;
	}
	object = bpf_object__open_mem(object_begin, object_end - object_begin, NULL);
	if (!object)
		return 4;
	if (slice_us)
		memcpy(bpf_map__initial_value(section(object, ".rodata"), &size), &slice_us, 8);
	printf("slice %llu us\n", slice_us);
	if (bpf_object__load(object))
		return 5;
	ops = bpf_object__find_map_by_name(object, "user_ops");
	struct bpf_link *link = ops ? bpf_map__attach_struct_ops(ops) : NULL;
	if (!link)
		return 6;
	bss = section(object, ".bss");
	while (!over) {
		sleep(1);
		bpf_map_lookup_elem(bpf_map__fd(bss), &key, &enqueued);
		printf("stats: %s\n", enqueued ? "tasks were queued" : "nothing was queued");
	}
	bpf_link__destroy(link);
	puts("user_sched: ends on request");
	return 0;
}
