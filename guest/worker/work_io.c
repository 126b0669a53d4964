// SPDX-License-Identifier: GPL-2.0-only
/* IoSyncWrite, IoRandRead, IoConvoy: workers that wait for blocks to be written and read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "work.h"

#define BATCH_BLOCKS   16
#define STRIPE_BATCHES 4 /* a stripe wraps at 256 KiB, however long the run */
#define STRIPE_BLOCKS  (BATCH_BLOCKS * STRIPE_BATCHES)
#define FILE_BLOCKS    1024 /* of what is read from at random, without a disk */
#define CONVOY_SYNC    16   /* iterations between two flushes */

struct io_state {
	struct scratch at;
	bool failed;
	uint64_t first; /* block where the worker's own stripe begins */
	uint64_t cursor;
	char *block; /* aligned, as O_DIRECT wants it */
};

static bool open_io(struct worker *w, int flags, uint64_t file_blocks, char *error, size_t size)
{
	struct io_state *s = work_state(w, sizeof(*s), error, size);

	if (!s || !scratch_open(&s->at, flags, file_blocks, error, size))
		return false;
	if (s->at.blocks < STRIPE_BLOCKS) {
		snprintf(error, size, "the scratch disk has %llu blocks of %d bytes, needs %d",
			 (unsigned long long)s->at.blocks, SCRATCH_BLOCK, STRIPE_BLOCKS);
		return false;
	}
	/* Stripes of their own keep the flushes of one worker from serving another. */
	if (s->at.disk)
		s->first = (uint64_t)w->index * STRIPE_BLOCKS % (s->at.blocks - STRIPE_BLOCKS + 1);
	s->block = aligned_alloc(SCRATCH_BLOCK, SCRATCH_BLOCK);
	if (!s->block) {
		snprintf(error, size, "%d bytes of memory: %s", SCRATCH_BLOCK, strerror(errno));
		return false;
	}
	memset(s->block, 0x5a, SCRATCH_BLOCK);
	return true;
}

static bool prepare_sync(struct worker *w, char *error, size_t size)
{
	return open_io(w, O_WRONLY | O_SYNC, STRIPE_BLOCKS, error, size);
}

static bool prepare_read(struct worker *w, char *error, size_t size)
{
	return open_io(w, O_RDONLY | O_DIRECT, FILE_BLOCKS, error, size);
}

static bool prepare_convoy(struct worker *w, char *error, size_t size)
{
	return open_io(w, O_RDWR | O_DIRECT, FILE_BLOCKS, error, size);
}

/* A block that comes back short is an error too. */
static bool whole(ssize_t n)
{
	if (n >= 0 && n != SCRATCH_BLOCK)
		errno = EIO;
	return n == SCRATCH_BLOCK;
}

static bool write_next(struct io_state *s)
{
	uint64_t block = s->first + s->cursor++ % STRIPE_BLOCKS;

	return whole(pwrite(s->at.fd, s->block, SCRATCH_BLOCK, (off_t)(block * SCRATCH_BLOCK)));
}

static bool read_random(struct worker *w)
{
	struct io_state *s = w->state;
	uint64_t block = random_below(&w->probe.rng, s->at.blocks);

	return whole(pread(s->at.fd, s->block, SCRATCH_BLOCK, (off_t)(block * SCRATCH_BLOCK)));
}

static bool flush(const struct io_state *s)
{
	return fdatasync(s->at.fd) == 0;
}

static bool write_batch(struct worker *w)
{
	struct io_state *s = w->state;

	for (int i = 0; i < BATCH_BLOCKS; i++)
		if (!write_next(s))
			return false;
	return flush(s);
}

static bool write_and_read(struct worker *w)
{
	struct io_state *s = w->state;

	return write_next(s) && read_random(w) && (s->cursor % CONVOY_SYNC || flush(s));
}

/* One iteration of @units blocks by @operate, its duration a wake latency. */
static bool timed(struct worker *w, bool (*operate)(struct worker *w), unsigned int units)
{
	struct io_state *s = w->state;
	uint64_t blocked_at = now_ns(), now;

	if (!operate(w)) {
		if (errno != EINTR && !s->failed)
			dprintf(STDERR_FILENO, "worker %u: %s: %s\n", w->index, w->spec->type->name,
				strerror(errno));
		s->failed = true;
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	now = now_ns();
	probe_sample(&w->probe, RESERVOIR_WAKE, now - blocked_at);
	probe_unblocked(&w->probe, now);
	probe_units(&w->probe, units);
	return true;
}

static bool sync_write(struct worker *w)
{
	return timed(w, write_batch, BATCH_BLOCKS);
}

static bool rand_read(struct worker *w)
{
	return timed(w, read_random, 1);
}

static bool convoy(struct worker *w)
{
	return timed(w, write_and_read, 2);
}

const struct work_type work_io_sync_write = {
	.name = "IoSyncWrite",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.prepare = prepare_sync,
	.iterate = sync_write,
};

const struct work_type work_io_rand_read = {
	.name = "IoRandRead",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.prepare = prepare_read,
	.iterate = rand_read,
};

const struct work_type work_io_convoy = {
	.name = "IoConvoy",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.prepare = prepare_convoy,
	.iterate = convoy,
};
