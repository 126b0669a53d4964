// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read all that fits of @path into @buf as a string; -1 with a line in the log when unreadable. */
static ssize_t slurp(const char *path, char *buf, size_t cap)
{
	size_t len = 0;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		while (len < cap - 1 && (n = read(fd, buf + len, cap - 1 - len)) > 0)
			len += (size_t)n;
		close(fd);
	}
	if (fd < 0 || n < 0) {
		dprintf(STDERR_FILENO, "cannot read %s: %s\n", path, strerror(errno));
		return -1;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

static void parse_schedstat(const char *path, uint64_t out[SCHEDSTAT_FIELDS])
{
	char buf[128];
	char *end = buf;

	memset(out, 0, SCHEDSTAT_FIELDS * sizeof(out[0]));
	if (slurp(path, buf, sizeof(buf)) < 0)
		return;
	for (int i = 0; i < SCHEDSTAT_FIELDS; i++)
		out[i] = strtoull(end, &end, 10);
}

void read_schedstat(uint64_t out[SCHEDSTAT_FIELDS])
{
	parse_schedstat("/proc/thread-self/schedstat", out);
}

void read_thread_schedstat(int32_t tid, uint64_t out[SCHEDSTAT_FIELDS])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	parse_schedstat(path, out);
}

void read_schedstat_of(pid_t pid, uint64_t out[SCHEDSTAT_FIELDS])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	parse_schedstat(path, out);
}

int read_cpu_of(pid_t pid)
{
	const int after_name = 37; /* fields between the name, the second, and the 39th */
	char path[64], buf[1024];
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	/* The name may hold anything, a closing parenthesis too; nothing after it does. */
	if (slurp(path, buf, sizeof(buf)) < 0 || !(at = strrchr(buf, ')')))
		return -1;
	for (int i = 0; i < after_name && at; i++)
		at = strchr(at + 1, ' ');
	return at ? atoi(at + 1) : -1;
}

uint64_t read_numa_pages_migrated(void)
{
	static const char name[] = "\nnuma_pages_migrated ";
	char buf[16384];
	char *at;

	if (slurp("/proc/vmstat", buf, sizeof(buf)) < 0)
		return 0;
	at = strstr(buf, name);
	return at ? strtoull(at + sizeof(name) - 1, NULL, 10) : 0;
}

/* Add the N<node>=<pages> of one line of numa_maps. */
static void add_line(const char *at, uint64_t *pages, size_t nodes)
{
	while ((at = strstr(at, " N"))) {
		char *end;
		unsigned long node = strtoul(at + 2, &end, 10);

		/* File names come before the counts, so ask for the whole form N<node>=<pages>. */
		if (end > at + 2 && *end == '=' && node < nodes)
			pages[node] += strtoull(end + 1, &end, 10);
		at = end;
	}
}

static void add_numa_maps(const char *path, uint64_t *pages, size_t nodes)
{
	char buf[8192]; /* longer than a line: a path of PATH_MAX and a count per node */
	size_t len = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* a kernel without CONFIG_NUMA: no page has a node, the map stays empty */
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0) {
		char *line = buf, *end;

		len += (size_t)n;
		buf[len] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			add_line(line, pages, nodes);
		}
		len -= (size_t)(line - buf);
		memmove(buf, line, len);
	}
	close(fd);
}

void read_numa_pages(uint64_t *pages, size_t nodes)
{
	add_numa_maps("/proc/self/numa_maps", pages, nodes);
}

void read_numa_pages_of(pid_t pid, uint64_t *pages, size_t nodes)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/numa_maps", pid);
	add_numa_maps(path, pages, nodes);
}
