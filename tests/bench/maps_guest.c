// SPDX-License-Identifier: GPL-2.0-only
// Payload of the freeze bench: makes 30 BPF maps of every kind that is decoded, fills them with
// 1 MiB of values in all, counted once for each of 8 CPUs where they are per CPU, tells so and
// keeps some of them changing.
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "maps_btf.h" // BTF, T_U32, T_U64, T_TASK, T_BSS, SECTION_WORDS: written by the bench

#define MAX_CPUS 256

struct task {
	uint64_t total;
	int32_t delta;
	uint32_t low : 3, mode : 5;
	uint32_t state;
	char name[8];
	uint8_t on;
	uint64_t pair[2];
};

static int btf_fd, cpus, maps;
static long bytes;
static struct task values[MAX_CPUS];

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static int create(int type, int value_size, int entries, int flags, int key_type, int value_type)
{
	union bpf_attr attr = {};

	attr.map_type = type;
	attr.key_size = 4;
	attr.value_size = value_size;
	attr.max_entries = entries;
	attr.map_flags = flags;
	snprintf(attr.map_name, sizeof(attr.map_name), value_type == T_BSS ? "b%d.bss" : "bench_%d",
		 ++maps);
	attr.btf_fd = btf_fd;
	attr.btf_key_type_id = key_type;
	attr.btf_value_type_id = value_type;
	int fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		die(attr.map_name);
	return fd;
}

static void update(int fd, uint32_t key, const void *value)
{
	union bpf_attr attr = {};

	attr.map_fd = fd;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)value;
	if (bpf(BPF_MAP_UPDATE_ELEM, &attr))
		die("update");
}

static int is_per_cpu(int type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static void put(int fd, uint32_t key, uint64_t n)
{
	for (int cpu = 0; cpu < cpus; cpu++) {
		struct task *v = &values[cpu];
		v->total = n * 1000003 + cpu;
		v->delta = -(int)n;
		v->low = n & 7;
		v->mode = n & 31;
		v->state = n & 3;
		memcpy(v->name, "worker", 7);
		v->on = n & 1;
		v->pair[0] = ~n;
		v->pair[1] = n << 40;
	}
	update(fd, key, values);
}

static int tasks(int type, int entries, int count, int flags)
{
	int fd = create(type, sizeof(struct task), entries, flags, T_U32, T_TASK);

	for (int n = 0; n < count; n++)
		put(fd, n, n);
	bytes += (long)count * sizeof(struct task) * (is_per_cpu(type) ? 8 : 1);
	return fd;
}

static void counters(int entries)
{
	int fd = create(BPF_MAP_TYPE_ARRAY, 8, entries, 0, T_U32, T_U64);

	for (uint32_t n = 0; n < (uint32_t)entries; n++) {
		uint64_t value = n * 0x9E3779B97F4A7C15;
		update(fd, n, &value);
	}
	bytes += 8L * entries;
}

static void section(void)
{
	static uint64_t words[SECTION_WORDS];
	int fd = create(BPF_MAP_TYPE_ARRAY, sizeof(words), 1, BPF_F_MMAPABLE, 0, T_BSS);

	for (int n = 0; n < SECTION_WORDS; n++)
		words[n] = n * 77;
	update(fd, 0, words);
	bytes += sizeof(words);
}

int main(void)
{
	union bpf_attr attr = {};
	int busy[5], at = 0;

	cpus = sysconf(_SC_NPROCESSORS_CONF);
	attr.btf = (uintptr_t)BTF;
	attr.btf_size = sizeof(BTF);
	btf_fd = bpf(BPF_BTF_LOAD, &attr);
	if (btf_fd < 0 || cpus > MAX_CPUS)
		die("BTF");
	for (int n = 0; n < 4; n++)
		tasks(BPF_MAP_TYPE_ARRAY, 512, 512, 0);
	for (int n = 0; n < 4; n++)
		counters(4096);
	for (int n = 0; n < 5; n++)
		busy[at] = tasks(BPF_MAP_TYPE_PERCPU_ARRAY, 64, 64, 0);
	at++;
	for (int n = 0; n < 6; n++)
		busy[at] = tasks(BPF_MAP_TYPE_HASH, 1024, 900, 0);
	at++;
	for (int n = 0; n < 2; n++)
		busy[at] = tasks(BPF_MAP_TYPE_HASH, 1024, 120, BPF_F_NO_PREALLOC);
	at++;
	for (int n = 0; n < 3; n++)
		busy[at] = tasks(BPF_MAP_TYPE_PERCPU_HASH, 64, 60, 0);
	at++;
	for (int n = 0; n < 2; n++)
		tasks(BPF_MAP_TYPE_LRU_HASH, 2048, 1024, 0);
	busy[at++] = tasks(BPF_MAP_TYPE_LRU_PERCPU_HASH, 256, 60, 0);
	for (int n = 0; n < 3; n++)
		section();
	printf("%d maps, %ld bytes of values\n", maps, bytes);
	fflush(stdout);
	for (uint64_t n = 0;; n++) {
		for (int i = 0; i < at; i++)
			put(busy[i], n % 60, n);
		usleep(1000);
	}
}
