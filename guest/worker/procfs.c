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

void read_schedstat(uint64_t out[3])
{
	char buf[128];
	char *end = buf;

	memset(out, 0, 3 * sizeof(out[0]));
	if (slurp("/proc/self/schedstat", buf, sizeof(buf)) < 0)
		return;
	for (int i = 0; i < 3; i++)
		out[i] = strtoull(end, &end, 10);
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

void read_numa_pages(uint64_t *pages, size_t nodes)
{
	static char buf[65536];
	char *at = buf;

	if (access("/proc/self/numa_maps", R_OK) ||
	    slurp("/proc/self/numa_maps", buf, sizeof(buf)) < 0)
		return; /* a kernel without CONFIG_NUMA: no page has a node, the map stays empty */
	while ((at = strstr(at, " N"))) {
		char *end;
		unsigned long node = strtoul(at + 2, &end, 10);

		/* File names come before the counts, so ask for the whole form N<node>=<pages>. */
		if (end > at + 2 && *end == '=' && node < nodes)
			pages[node] += strtoull(end + 1, &end, 10);
		at = end;
	}
}
