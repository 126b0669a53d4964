// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAX_PATH 1024

static int open_control(const char *dir, const char *name, int flags)
{
	char path[MAX_PATH];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, flags | O_CLOEXEC);
}

bool control_read(const char *dir, const char *name, char *text, size_t size)
{
	int fd = open_control(dir, name, O_RDONLY);
	size_t used = 0;
	ssize_t n = 0;

	if (fd < 0)
		return false;
	/* Lists come a page at a time. */
	while (used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	if (used && text[used - 1] == '\n')
		used--;
	text[used] = '\0';
	return n >= 0;
}

FILE *control_open(const char *dir, const char *name)
{
	int fd = open_control(dir, name, O_RDONLY);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

bool control_write(const char *dir, const char *name, const char *text)
{
	int fd = open_control(dir, name, O_WRONLY);
	ssize_t n;
	int failure;

	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	failure = errno;
	close(fd);
	errno = failure;
	return n >= 0;
}
