// SPDX-License-Identifier: GPL-2.0-only
/* Sequence: up to four phases of different work, each with its time, round and round. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "alu.h"
#include "await.h"

#define PHASES	     4 /* parameters come in pairs: what, and for how long */
#define BATCH_BYTES  65536
#define BATCH_BLOCKS 16 /* work units of a batch: blocks of 4 KiB */
#define BATCH_PAUSE  (100 * NSEC_PER_USEC)

struct sequence_state {
	struct alu alu;
	int fd; /* of a file without name, for the phases that write; else -1 */
	char batch[BATCH_BYTES];
};

static bool spin(struct worker *w)
{
	return spin_units(w, SPIN_CHUNK);
}

static bool yield(struct worker *w)
{
	yield_sampled(w);
	probe_units(&w->probe, 1);
	return !stopped(w);
}

/* Write 64 KiB, then sleep as if a device had to be waited for. */
static bool io(struct worker *w)
{
	struct sequence_state *s = w->state;
	uint64_t elapsed;

	if (pwrite(s->fd, s->batch, BATCH_BYTES, 0) != BATCH_BYTES) {
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	probe_units(&w->probe, BATCH_BLOCKS);
	if (!sleep_for(w, BATCH_PAUSE, &elapsed))
		return false;
	probe_sample(&w->probe, RESERVOIR_WAKE, elapsed);
	return true;
}

static bool alu_hot(struct worker *w)
{
	struct sequence_state *s = w->state;

	return alu_units(w, &s->alu, ALU_DEFAULT_WIDTH, ALU_ROUNDS);
}

enum kind {
	NONE,
	SPIN,
	SLEEP,
	YIELD,
	IO,
	ALU_HOT,
	KINDS,
};

/* What a phase does over and over until its time is up; a sleep is one long step. */
static bool (*const steps[KINDS])(struct worker *) = {
	[SPIN] = spin,
	[YIELD] = yield,
	[IO] = io,
	[ALU_HOT] = alu_hot,
};

/* The first phase cannot be absent, so its choices begin with the next. */
static enum kind kind_of(const struct worker *w, unsigned int phase)
{
	return (enum kind)param(w, 2 * phase) + (phase == 0);
}

static bool prepare(struct worker *w, char *error, size_t size)
{
	struct sequence_state *s = work_state(w, sizeof(*s), error, size);

	if (!s)
		return false;
	alu_init(&s->alu, w->index);
	s->fd = -1;
	for (unsigned int i = 0; i < PHASES && s->fd < 0; i++) {
		if (kind_of(w, i) != IO)
			continue;
		s->fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (s->fd < 0) {
			snprintf(error, size, "cannot create a file in /tmp: %s", strerror(errno));
			return false;
		}
	}
	return true;
}

static bool sleep_phase(struct worker *w, uint64_t ns)
{
	uint64_t elapsed;

	if (!sleep_for(w, ns, &elapsed))
		return false;
	probe_sample(&w->probe, RESERVOIR_WAKE, elapsed);
	probe_units(&w->probe, 1);
	/* A sequence of long sleeps has fewer units than there are between two checkpoints. */
	probe_checkpoint(&w->probe);
	return true;
}

static bool run_phase(struct worker *w, enum kind kind, uint64_t ns)
{
	uint64_t end;

	if (kind == NONE)
		return true;
	if (kind == SLEEP)
		return sleep_phase(w, ns);
	end = now_ns() + ns;
	do {
		if (!steps[kind](w))
			return false;
	} while (now_ns() < end);
	return true;
}

static bool iterate(struct worker *w)
{
	for (unsigned int i = 0; i < PHASES; i++)
		if (!run_phase(w, kind_of(w, i), param(w, 2 * i + 1) * NSEC_PER_USEC))
			return false;
	return true;
}

#define TIME_PARAM(name) {name, 10000, 1, 60000000}

const struct work_type work_sequence = {
	.name = "Sequence",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.params = {{"phase1", 0, 0, KINDS - 2},
		   TIME_PARAM("phase1_us"),
		   {"phase2", 0, 0, KINDS - 1},
		   TIME_PARAM("phase2_us"),
		   {"phase3", 0, 0, KINDS - 1},
		   TIME_PARAM("phase3_us"),
		   {"phase4", 0, 0, KINDS - 1},
		   TIME_PARAM("phase4_us")},
	.prepare = prepare,
	.iterate = iterate,
};
