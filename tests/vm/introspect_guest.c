// SPDX-License-Identifier: GPL-2.0-only
// PID 1 of a guest that holds one BPF map of each kind with known contents, and the fixture
// scheduler when it is packed. Prints the place of vmcoreinfo when everything is in place.
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_btf.h" // BTF, T_U32, T_VALUE, T_BSS: written by the test

#define MAX_CPUS 64

struct value {
	uint64_t total;
	int32_t delta;
	uint32_t low : 3, mode : 5;
	uint32_t color;
	char name[8];
	uint8_t on;
	uint64_t pair[2];
};

static int btf_fd, cpus;

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void die(const char *what)
{
	printf("\nFAILED %s: %s\n", what, strerror(errno));
	for (;;)
		pause();
}

static int create(const char *name, int type, int value_size, int entries, int flags, int key_type,
		  int value_type)
{
	union bpf_attr attr = {};

	attr.map_type = type;
	attr.key_size = type == BPF_MAP_TYPE_QUEUE ? 0 : 4;
	attr.value_size = value_size;
	attr.max_entries = entries;
	attr.map_flags = flags;
	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	if (value_type) {
		attr.btf_fd = btf_fd;
		attr.btf_key_type_id = key_type;
		attr.btf_value_type_id = value_type;
	}
	int fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		die(name);
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

static void delete(int fd, uint32_t key)
{
	union bpf_attr attr = {};

	attr.map_fd = fd;
	attr.key = (uintptr_t)&key;
	if (bpf(BPF_MAP_DELETE_ELEM, &attr))
		die("delete");
}

static struct value make_value(uint64_t n)
{
	struct value v = {};

	v.total = n * 1000003;
	v.delta = -(int)n;
	v.low = n & 7;
	v.mode = (n * 5) & 31;
	v.color = n & 1 ? 7 : 0;
	snprintf(v.name, sizeof(v.name), "n%u", (unsigned int)n % 1000000);
	v.on = n & 1;
	v.pair[0] = ~n;
	v.pair[1] = n << 40;
	return v;
}

static int typed(const char *name, int type, int entries, int flags)
{
	return create(name, type, sizeof(struct value), entries, flags, T_U32, T_VALUE);
}

static int fill(int fd, int count, int per_cpu)
{
	struct value values[MAX_CPUS];

	for (int n = 0; n < count; n++) {
		for (int cpu = 0; cpu < cpus; cpu++)
			values[cpu] = make_value(per_cpu ? n * 100 + cpu : n);
		update(fd, n, values);
	}
	return fd;
}

static void make_maps(void)
{
	fill(typed("t_array", BPF_MAP_TYPE_ARRAY, 8, 0), 8, 0);
	fill(typed("t_parray", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0), 4, 1);
	int hash = fill(typed("t_hash", BPF_MAP_TYPE_HASH, 100, 0), 20, 0);
	for (int n = 0; n < 20; n += 2)
		delete (hash, n);
	fill(typed("t_hash_np", BPF_MAP_TYPE_HASH, 100, BPF_F_NO_PREALLOC), 30, 0);
	fill(typed("t_phash", BPF_MAP_TYPE_PERCPU_HASH, 50, 0), 5, 1);
	fill(typed("t_phash_np", BPF_MAP_TYPE_PERCPU_HASH, 50, BPF_F_NO_PREALLOC), 6, 1);
	fill(typed("t_lru", BPF_MAP_TYPE_LRU_HASH, 64, 0), 7, 0);
	fill(typed("t_lruph", BPF_MAP_TYPE_LRU_PERCPU_HASH, 64, 0), 3, 1);
	fill(typed("t_big", BPF_MAP_TYPE_HASH, 20000, 0), 40, 0);
	fill(typed("t_huge", BPF_MAP_TYPE_ARRAY, 40000, 0), 5, 0);
	create("t_queue", BPF_MAP_TYPE_QUEUE, 8, 4, 0, 0, 0);
	uint64_t five = 5;
	update(create("t_nobtf", BPF_MAP_TYPE_ARRAY, 8, 2, 0, 0, 0), 0, &five);
	struct {
		uint64_t nr_dispatched;
		struct value state;
		uint8_t flag, pad[15];
	} bss = {123456789, make_value(9), 1, {}};
	update(create("tst.bss", BPF_MAP_TYPE_ARRAY, 72, 1, BPF_F_MMAPABLE, 0, T_BSS), 0, &bss);
}

static void start_scheduler(void)
{
	if (!fork()) {
		execl("/scx_load", "scx_load", "/scx_ktstr.bpf.o", (char *)NULL);
		_exit(127);
	}
	for (int tries = 0; tries < 600; tries++) {
		char state[32] = {};
		int fd = open("/sys/kernel/sched_ext/state", O_RDONLY);
		if (fd >= 0 && read(fd, state, sizeof(state) - 1) > 0 &&
		    !strncmp(state, "enabled", 7))
			break;
		close(fd);
		usleep(50000);
	}
	for (int n = 0; n < 2; n++) {
		if (!fork()) {
			for (;;) {
				for (volatile int i = 0; i < 300000; i++)
					;
				usleep(500);
			}
		}
	}
}

int main(void)
{
	static char log[65536];
	char place[64] = {};
	union bpf_attr attr = {};

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	cpus = sysconf(_SC_NPROCESSORS_CONF);
	attr.btf = (uintptr_t)BTF;
	attr.btf_size = sizeof(BTF);
	attr.btf_log_buf = (uintptr_t)log;
	attr.btf_log_size = sizeof(log);
	attr.btf_log_level = 1;
	btf_fd = bpf(BPF_BTF_LOAD, &attr);
	if (btf_fd < 0)
		die(log);
	make_maps();
	if (!access("/scx_load", X_OK))
		start_scheduler();
	int fd = open("/sys/kernel/vmcoreinfo", O_RDONLY);
	if (fd < 0 || read(fd, place, sizeof(place) - 1) < 1)
		die("vmcoreinfo");
	printf("\nREADY %s\n", place);
	for (;;)
		pause();
}
