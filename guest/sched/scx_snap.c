// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_snap: pack what the kernel shows of its maps, schedulers and CPUs.
 *
 *   scx_snap OBJECT.bpf.o
 *
 * Each byte on standard input asks for one snapshot. It goes into the shared
 * memory of descriptor 3; then {u32 errno, u32 length} goes to standard output,
 * once also with length 0 when this is ready. The end of standard input is the
 * end. Exit status 2 when it cannot work at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "snapper.h"

#define VERSION	 1
#define AREA_FD	 3
#define UNUSABLE 2

static const struct {
	const char *name, *path;
} files[] = {
	{"state", "/sys/kernel/sched_ext/state"},
	{"switch_all", "/sys/kernel/sched_ext/switch_all"},
	{"nr_rejected", "/sys/kernel/sched_ext/nr_rejected"},
	{"enable_seq", "/sys/kernel/sched_ext/enable_seq"},
	{"ops", "/sys/kernel/sched_ext/root/ops"},
	{"events", "/sys/kernel/sched_ext/root/events"},
	{"stat", "/proc/stat"},
	{"schedstat", "/proc/schedstat"},
};

static int print_warnings(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, args) : 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void put_file(struct mp_out *out, const char *path)
{
	static char text[SNAP_MAX_FILE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n = fd < 0 ? -1 : 0;

	while (fd >= 0 && length < sizeof(text) &&
	       (n = read(fd, text + length, sizeof(text) - length)) > 0)
		length += (size_t)n;
	if (fd >= 0)
		close(fd);
	if (n < 0)
		mp_nil(out);
	else
		mp_bin(out, text, length);
}

static void put_snapshot(struct mp_out *out, int nr_cpus)
{
	static struct snap_sent btfs_sent, progs_sent;
	struct snap_sent *wanted = calloc(1, sizeof(*wanted));

	if (!wanted) {
		out->overflow = true;
		return;
	}
	mp_map(out, 10);
	mp_str(out, "version");
	mp_uint(out, VERSION);
	mp_str(out, "pid");
	mp_uint(out, (uint64_t)getpid());
	mp_str(out, "nr_cpus");
	mp_uint(out, (uint64_t)nr_cpus);
	/* The CPUs first: what follows keeps this one busy. */
	mp_str(out, "cpus");
	snap_put_cpus(out, nr_cpus);
	mp_str(out, "files");
	mp_map(out, sizeof(files) / sizeof(files[0]));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		mp_str(out, files[i].name);
		put_file(out, files[i].path);
	}
	mp_str(out, "maps");
	snap_put_maps(out, nr_cpus, wanted);
	mp_str(out, "btfs");
	snap_put_btfs(out, wanted, &btfs_sent);
	mp_str(out, "progs");
	snap_put_progs(out, &progs_sent);
	mp_str(out, "links");
	snap_put_links(out);
	free(wanted);
}

static int answer(int err, size_t length)
{
	uint32_t words[2] = {(uint32_t)err, (uint32_t)length};

	return write(STDOUT_FILENO, words, sizeof(words)) == sizeof(words) ? 0 : -1;
}

int main(int argc, char **argv)
{
	int nr_cpus = libbpf_num_possible_cpus();
	const char *missing;
	struct stat area;
	uint8_t *buf;
	char order;

	setvbuf(stderr, NULL, _IOLBF, 0);
	if (argc != 2 || nr_cpus < 1) {
		fprintf(stderr, "usage: scx_snap OBJECT.bpf.o\n");
		return UNUSABLE;
	}
	if (fstat(AREA_FD, &area) || area.st_size <= 0) {
		fprintf(stderr, "scx_snap: descriptor 3 is no memory to share\n");
		return UNUSABLE;
	}
	buf = mmap(NULL, (size_t)area.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, AREA_FD, 0);
	if (buf == MAP_FAILED) {
		fprintf(stderr, "scx_snap: mapping descriptor 3: %s\n", strerror(errno));
		return UNUSABLE;
	}
	libbpf_set_print(print_warnings);
	missing = snap_load(argv[1]);
	if (missing)
		fprintf(stderr, "scx_snap: %s; no run queues\n", missing);
	if (answer(0, 0))
		return UNUSABLE;
	while (read(STDIN_FILENO, &order, 1) == 1) {
		struct mp_out out = {.buf = buf, .cap = (size_t)area.st_size};
		uint64_t began = now_ns();

		put_snapshot(&out, nr_cpus);
		mp_str(&out, "took_ns");
		mp_uint(&out, now_ns() - began);
		if (answer(out.overflow ? ENOSPC : 0, out.overflow ? 0 : out.len))
			return UNUSABLE;
	}
	return 0;
}
