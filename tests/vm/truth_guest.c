// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of a guest that tells through bpf(2) and /proc/stat what the host
 * should find in its memory. It obeys single letters from ktstr.ctl and answers
 * each with a u32 length and text on ktstr.bulk: r  all writers write at
 * random, stop, and every map of the kernel is told c  the writers begin to
 * count; told are the maps and then /proc/stat, while they count d  /proc/stat
 * and then the maps, while they count s  /proc/stat x  the writers stop k
 * SPINNERS processes on one CPU; K ends them l  a process on another CPU, which
 * then stands for LOCK_UP_NS with interrupts off g  what scx_snap packs, as it
 * is
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth.h"

#define MAX_CPUS    64
#define MAX_WRITTEN 16
#define OPERATIONS  250
#define KEYS \
	80 /* more than fit, so that some are refused and others evicted  \
                 */
#define COUNTED_KEYS  16
#define REPLACED_FROM 1000
#define REPLACED      4
#define SPINNERS      6
#define CROWDED	      1
#define LOCKED_UP     2
#define LOCK_UP_NS    2000000000ull
#define AREA	      (14 << 20)

struct written {
	int fd, type, entries;
	uint32_t replaced[REPLACED];
};

static int bulk, ctl, online, possible;
static int scramble_fd, count_fd, lock_up_fd;
static struct written maps[MAX_WRITTEN];
static int written;
static pthread_barrier_t begin, end;
static atomic_int counting, stop;
static atomic_ulong turns[MAX_CPUS];
static pid_t spinners[SPINNERS];
static int reader_orders, reader_answers;
static unsigned char *area;

static void die(const char *what)
{
	printf("\nFAILED %s: %s\n", what, strerror(errno));
	for (;;)
		pause();
}

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static int is_percpu(int type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static int is_array(int type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static int is_lru(int type)
{
	return type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static void run_program(int fd, uint64_t first, uint64_t second, int cpu)
{
	uint64_t args[2] = {first, second};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(args));

	if (cpu >= 0) {
		opts.flags = BPF_F_TEST_RUN_ON_CPU;
		opts.cpu = cpu;
	}
	if (bpf_prog_test_run_opts(fd, &opts))
		die("BPF_PROG_TEST_RUN");
}

/* A value for each possible CPU, each rounded up to eight bytes as bpf(2) wants
 * them. */
union values {
	struct mixed value;
	uint64_t words[MAX_CPUS][(sizeof(struct mixed) + 7) / 8];
};

static void update(struct written *map, uint32_t n, const union values *values)
{
	struct key key = KEY(n);
	uint32_t index = n % map->entries;

	if (bpf_map_update_elem(map->fd, is_array(map->type) ? (void *)&index : &key, values, 0) &&
	    errno != E2BIG && errno != ENOMEM && errno != EBUSY)
		die("BPF_MAP_UPDATE_ELEM");
}

static void write_at_random(uint64_t *state)
{
	for (int n = 0; n < OPERATIONS; n++) {
		struct written *map = &maps[draw(state) % written];
		uint64_t bits = draw(state);
		union values values;
		struct key key = KEY((uint32_t)(bits % KEYS));

		if (n % 4 == 0) {
			run_program(scramble_fd, draw(state) % KEYS, draw(state), -1);
		} else if (n % 4 == 1 && !is_array(map->type)) {
			bpf_map_delete_elem(map->fd, &key);
		} else {
			for (size_t at = 0; at < sizeof(values) / 8; at++)
				((uint64_t *)&values)[at] = draw(state);
			update(map, key.n, &values);
		}
	}
}

static void count_until_stopped(uint64_t *state, int cpu)
{
	while (!stop) {
		run_program(count_fd, draw(state) % COUNTED_KEYS, 0, -1);
		if (cpu == 0) {
			struct written *map = &maps[draw(state) % written];
			int which = draw(state) % REPLACED;
			union values values = {};

			/* A full LRU map would drop some other key to make room. */
			if (!is_array(map->type) && !is_lru(map->type)) {
				map->replaced[which]++;
				for (int n = 0; n < possible; n++)
					memcpy(values.words[n], &map->replaced[which],
					       sizeof(uint32_t));
				update(map, REPLACED_FROM + which, &values);
			}
		}
		turns[cpu]++;
	}
}

static void *writer(void *argument)
{
	int cpu = (intptr_t)argument;
	uint64_t state = 0x9e3779b97f4a7c15 * (cpu + 1);

	pin(cpu);
	for (;;) {
		pthread_barrier_wait(&begin);
		if (counting)
			count_until_stopped(&state, cpu);
		else
			write_at_random(&state);
		pthread_barrier_wait(&end);
	}
	return NULL;
}

static void start_from_zero(void)
{
	union values zero = {};

	for (int n = 0; n < written; n++) {
		struct written *map = &maps[n];
		struct key key;

		if (is_array(map->type)) {
			for (int at = 0; at < map->entries; at++)
				update(map, at, &zero);
			continue;
		}
		while (!bpf_map_get_next_key(map->fd, NULL, &key))
			bpf_map_delete_elem(map->fd, &key);
		for (int at = 0; at < COUNTED_KEYS; at++)
			update(map, at, &zero);
		for (int at = 0; at < REPLACED; at++)
			update(map, REPLACED_FROM + at, &zero);
	}
}

/* Everybody has counted on; what is read afterwards is not what was read
 * before. */
static void wait_for_turns(unsigned long more)
{
	unsigned long from[MAX_CPUS];

	for (int cpu = 0; cpu < online; cpu++)
		from[cpu] = turns[cpu];
	for (int cpu = 0; cpu < online; cpu++)
		while (turns[cpu] < from[cpu] + more)
			usleep(1000);
}

static void put_hex(FILE *out, const void *data, size_t size)
{
	for (size_t n = 0; n < size; n++)
		fprintf(out, "%02x", ((const unsigned char *)data)[n]);
}

static int is_read(int type)
{
	return is_array(type) || is_percpu(type) || is_lru(type) || type == BPF_MAP_TYPE_HASH ||
	       type == BPF_MAP_TYPE_STRUCT_OPS;
}

static void tell_entries(FILE *out, int fd, const struct bpf_map_info *info)
{
	static unsigned char key[4096], next[4096], value[1 << 20];
	size_t size = info->value_size;
	void *at = NULL;

	if (is_percpu(info->type))
		size = (size + 7) / 8 * 8 * possible;
	if (info->key_size > sizeof(key) || size > sizeof(value))
		die("a map is too large to be told");
	/* Keys that go while they are listed make the list begin again. */
	for (unsigned int n = 0; n < 3 * info->max_entries + 100; n++) {
		if (bpf_map_get_next_key(fd, at, next))
			break;
		memcpy(key, next, info->key_size);
		at = key;
		if (bpf_map_lookup_elem(fd, key, value))
			continue;
		fprintf(out, "ENTRY ");
		put_hex(out, key, info->key_size);
		fprintf(out, " ");
		put_hex(out, value, size);
		fprintf(out, "\n");
	}
}

static void tell_variables(FILE *out, const struct bpf_map_info *info)
{
	struct btf *btf = info->btf_id ? btf__load_from_kernel_by_id(info->btf_id) : NULL;
	const struct btf_type *section = btf ? btf__type_by_id(btf, info->btf_value_type_id) : NULL;

	if (section && btf_is_datasec(section))
		for (int n = 0; n < btf_vlen(section); n++) {
			const struct btf_var_secinfo *place = btf_var_secinfos(section) + n;
			const struct btf_type *variable = btf__type_by_id(btf, place->type);

			fprintf(out, "VAR %s %u %u\n", btf__name_by_offset(btf, variable->name_off),
				place->offset, place->size);
		}
	btf__free(btf);
}

static void tell_maps(FILE *out)
{
	uint32_t id = 0;

	while (!bpf_map_get_next_id(id, &id)) {
		struct bpf_map_info info = {};
		uint32_t size = sizeof(info);
		int fd = bpf_map_get_fd_by_id(id);

		if (fd < 0 || bpf_map_get_info_by_fd(fd, &info, &size))
			die("a map's description");
		fprintf(out, "MAP %u %u %u %u %u %u %s\n", info.id, info.type, info.key_size,
			info.value_size, info.max_entries, info.map_flags, info.name);
		tell_variables(out, &info);
		if (is_read(info.type))
			tell_entries(out, fd, &info);
		close(fd);
	}
}

static void tell_stat(FILE *out)
{
	static char text[65536];
	int fd = open("/proc/stat", O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size <= 0)
		die("/proc/stat");
	text[size] = 0;
	close(fd);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		fprintf(out, "STAT %s\n", line);
}

static void spin_on(int cpu)
{
	pin(cpu);
	for (;;)
		;
}

static void crowd(int cpu, int count)
{
	for (int n = 0; n < count; n++) {
		spinners[n] = fork();
		if (!spinners[n])
			spin_on(cpu);
	}
}

static void disperse(void)
{
	for (int n = 0; n < SPINNERS; n++)
		if (spinners[n] > 0) {
			kill(spinners[n], SIGKILL);
			waitpid(spinners[n], NULL, 0);
			spinners[n] = 0;
		}
}

static uint32_t reader_answer(void)
{
	uint32_t words[2] = {};

	if (read(reader_answers, words, sizeof(words)) != sizeof(words) || words[0])
		die("scx_snap");
	return words[1];
}

static void start_reader(void)
{
	int orders[2], answers[2], memory = memfd_create("snapshot", MFD_CLOEXEC);

	if (memory < 0 || ftruncate(memory, AREA) || pipe2(orders, O_CLOEXEC) ||
	    pipe2(answers, O_CLOEXEC))
		die("pipes");
	area = mmap(NULL, AREA, PROT_READ, MAP_SHARED, memory, 0);
	if (area == MAP_FAILED)
		die("mmap");
	if (!fork()) {
		dup2(orders[0], 0);
		dup2(answers[1], 1);
		dup2(memory, 3);
		execl("/scx_snap", "scx_snap", "/snap.bpf.o", (char *)NULL);
		_exit(127);
	}
	close(answers[1]);
	reader_orders = orders[1];
	reader_answers = answers[0];
	reader_answer();
}

static void tell_snapshot(FILE *out)
{
	if (write(reader_orders, "s", 1) != 1)
		die("scx_snap");
	fwrite(area, 1, reader_answer(), out);
}

static void obey(char order, FILE *out)
{
	switch (order) {
	case 'r':
		pthread_barrier_wait(&begin);
		pthread_barrier_wait(&end);
		tell_maps(out);
		break;
	case 'c':
		start_from_zero();
		stop = 0;
		counting = 1;
		pthread_barrier_wait(&begin);
		wait_for_turns(20);
		tell_maps(out);
		tell_stat(out);
		break;
	case 'd':
		tell_stat(out);
		tell_maps(out);
		break;
	case 's':
		tell_stat(out);
		break;
	case 'x':
		stop = 1;
		pthread_barrier_wait(&end);
		counting = 0;
		break;
	case 'k':
		crowd(CROWDED, SPINNERS);
		break;
	case 'K':
		disperse();
		break;
	case 'l':
		crowd(LOCKED_UP, 1);
		usleep(100000);
		run_program(lock_up_fd, LOCK_UP_NS, 0, LOCKED_UP);
		disperse();
		break;
	case 'g':
		tell_snapshot(out);
		break;
	}
}

static int open_port(const char *wanted)
{
	char path[300], name[64];
	struct dirent *entry;
	DIR *dir = opendir("/sys/class/virtio-ports");

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		FILE *file = fopen(path, "r");
		int same = file && fscanf(file, "%63s", name) == 1 && !strcmp(name, wanted);

		if (file)
			fclose(file);
		if (!same)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		closedir(dir);
		return open(path, O_RDWR | O_CLOEXEC); // the loader tells its status on descriptor 3
	}
	die(wanted);
	return -1;
}

static void send_all(const char *data, size_t size)
{
	while (size) {
		ssize_t done = write(bulk, data, size);

		if (done <= 0)
			die("ktstr.bulk");
		data += done;
		size -= done;
	}
}

static void answer(char order)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	obey(order, out);
	fclose(out);
	uint32_t length = size;

	send_all((const char *)&length, sizeof(length));
	send_all(text, size);
	free(text);
}

static void load(void)
{
	static const char *names[] = {
		"a_plain", "a_mmap",	   "a_pcpu", "h_pre",	  "h_nopre",	"h_big",
		"h_pcpu",  "h_pcpu_nopre", "h_lru",  "h_lru_own", "h_lru_pcpu",
	};
	struct bpf_object *object = bpf_object__open_file("/truth.bpf.o", NULL);

	if (!object || bpf_object__load(object))
		die("truth.bpf.o");
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, names[n]);
		struct written *into = &maps[written++];

		if (!map)
			die(names[n]);
		into->fd = bpf_map__fd(map);
		into->type = bpf_map__type(map);
		into->entries = bpf_map__max_entries(map);
	}
	scramble_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "scramble"));
	count_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "count"));
	lock_up_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "lock_up"));
}

static void start_scheduler(void)
{
	char state[32] = {};

	if (access("/sys/kernel/sched_ext/state", R_OK))
		return;
	if (!fork()) {
		execl("/scx_load", "scx_load", "/scx_ktstr.bpf.o", (char *)NULL);
		_exit(127);
	}
	for (int tries = 0; tries < 1200 && strncmp(state, "enabled", 7); tries++) {
		int fd = open("/sys/kernel/sched_ext/state", O_RDONLY);

		if (read(fd, state, sizeof(state) - 1) < 1)
			die("sched_ext/state");
		close(fd);
		usleep(50000);
	}
	if (strncmp(state, "enabled", 7))
		die("the scheduler was not enabled");
}

int main(void)
{
	char place[64] = {}, order;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	online = sysconf(_SC_NPROCESSORS_ONLN);
	possible = libbpf_num_possible_cpus();
	bulk = open_port("ktstr.bulk");
	ctl = open_port("ktstr.ctl");
	load();
	start_scheduler();
	start_reader();
	pthread_barrier_init(&begin, NULL, online + 1);
	pthread_barrier_init(&end, NULL, online + 1);
	for (int cpu = 0; cpu < online; cpu++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, writer, (void *)(intptr_t)cpu))
			die("pthread_create");
	}
	pin(0);
	int fd = open("/sys/kernel/vmcoreinfo", O_RDONLY);
	if (fd < 0 || read(fd, place, sizeof(place) - 1) < 1)
		die("vmcoreinfo");
	printf("\nREADY %s\n", place);
	for (;;) {
		if (read(ctl, &order, 1) == 1)
			answer(order);
		else
			usleep(1000);
	}
}
