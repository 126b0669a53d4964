// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "control.h"

#define SYS_BLOCK "/sys/block"

/* virtio-blk has the serial at the disk, NVMe at the controller, padded with blanks. */
static bool has_serial(const char *disk)
{
	static const char *const places[] = {"serial", "device/serial"};
	char dir[sizeof(SYS_BLOCK) + NAME_MAX + 1], text[64];

	snprintf(dir, sizeof(dir), SYS_BLOCK "/%s", disk);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!control_read(dir, places[i], text, sizeof(text)))
			continue;
		text[strcspn(text, " ")] = '\0';
		if (!strcmp(text, SCRATCH_SERIAL))
			return true;
	}
	return false;
}

static bool find_disk(char *path, size_t size)
{
	DIR *disks = opendir(SYS_BLOCK);
	struct dirent *entry;
	bool found = false;

	while (disks && !found && (entry = readdir(disks)))
		if (entry->d_name[0] != '.' && has_serial(entry->d_name))
			found = (size_t)snprintf(path, size, "/dev/%s", entry->d_name) < size;
	if (disks)
		closedir(disks);
	return found;
}

static bool open_disk(struct scratch *s, const char *path, int flags, char *error, size_t size)
{
	uint64_t bytes;

	s->fd = open(path, flags | O_CLOEXEC);
	if (s->fd < 0 || ioctl(s->fd, BLKGETSIZE64, &bytes) < 0) {
		snprintf(error, size, "cannot open the scratch disk %s: %s", path, strerror(errno));
		return false;
	}
	s->blocks = bytes / SCRATCH_BLOCK;
	s->disk = true;
	return true;
}

/* Blocks that were never written would be read without any storage behind them. */
static bool fill(int fd, uint64_t blocks)
{
	char block[SCRATCH_BLOCK];

	memset(block, 0x5a, sizeof(block));
	for (uint64_t i = 0; i < blocks; i++)
		if (pwrite(fd, block, sizeof(block), (off_t)(i * SCRATCH_BLOCK)) !=
		    (ssize_t)sizeof(block))
			return false;
	return true;
}

static bool open_file(struct scratch *s, int flags, uint64_t blocks, char *error, size_t size)
{
	char path[64];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "/tmp/ktstr_io_%d", gettid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ok = fd >= 0 && fill(fd, blocks);
	if (ok) {
		s->fd = open(path, flags | O_CLOEXEC);
		if (s->fd < 0 && errno == EINVAL)
			s->fd = open(path, (flags & ~O_DIRECT) | O_CLOEXEC);
		ok = s->fd >= 0;
	}
	if (!ok)
		snprintf(error, size, "cannot create %s of %llu bytes: %s", path,
			 (unsigned long long)blocks * SCRATCH_BLOCK, strerror(errno));
	/* Nameless from the start, so that no way of dying leaves it behind. */
	unlink(path);
	if (fd >= 0)
		close(fd);
	s->blocks = blocks;
	return ok;
}

bool scratch_open(struct scratch *s, int flags, uint64_t file_blocks, char *error, size_t size)
{
	char path[64];

	*s = (struct scratch){.fd = -1};
	if (find_disk(path, sizeof(path)))
		return open_disk(s, path, flags, error, size);
	return open_file(s, flags, file_blocks, error, size);
}
