// SPDX-License-Identifier: GPL-2.0-only
/* IoSyncWrite: synchronous writes of 64 KiB, each batch followed by fdatasync. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "work.h"

#define BLOCK_SIZE     4096
#define BATCH_BLOCKS   16
#define STRIPE_BATCHES 4 /* the file wraps at 256 KiB, however long the run */

struct io_state {
	int fd;
	bool failed;
	uint64_t batch;
	char block[BLOCK_SIZE];
};

static bool prepare(struct worker *w, char *error, size_t size)
{
	struct io_state *s = work_state(w, sizeof(*s), error, size);
	char path[64];

	if (!s)
		return false;
	snprintf(path, sizeof(path), "/tmp/ktstr_io_%d", getpid());
	s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_SYNC | O_CLOEXEC, 0600);
	if (s->fd < 0) {
		snprintf(error, size, "cannot create %s: %s", path, strerror(errno));
		return false;
	}
	/* Nameless from the start, so that no way of dying leaves it behind. */
	unlink(path);
	return true;
}

static bool write_batch(struct io_state *s)
{
	off_t at = (off_t)(s->batch % STRIPE_BATCHES) * BATCH_BLOCKS * BLOCK_SIZE;

	for (int i = 0; i < BATCH_BLOCKS; i++, at += BLOCK_SIZE) {
		ssize_t n = pwrite(s->fd, s->block, BLOCK_SIZE, at);

		if (n != BLOCK_SIZE) {
			if (n >= 0)
				errno = ENOSPC;
			return false;
		}
	}
	if (fdatasync(s->fd) < 0)
		return false;
	s->batch++;
	return true;
}

static bool iterate(struct worker *w)
{
	struct io_state *s = w->state;
	uint64_t blocked_at = now_ns(), now;

	if (!write_batch(s)) {
		if (errno != EINTR && !s->failed)
			dprintf(STDERR_FILENO, "worker %u: IoSyncWrite: %s\n", w->index,
				strerror(errno));
		s->failed = true;
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	now = now_ns();
	probe_sample(&w->probe, RESERVOIR_WAKE, now - blocked_at);
	probe_unblocked(&w->probe, now);
	probe_units(&w->probe, BATCH_BLOCKS);
	return true;
}

const struct work_type work_io_sync_write = {
	.name = "IoSyncWrite",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.prepare = prepare,
	.iterate = iterate,
};
