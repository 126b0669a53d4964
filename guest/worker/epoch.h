// SPDX-License-Identifier: GPL-2.0-only
/*
 * Phase slices: what a worker that lives through several steps did in each of
 * them. The agent writes the present step to a word all such workers share, the
 * phase epoch; a worker looks at it once an iteration.
 */
#ifndef WORKER_EPOCH_H
#define WORKER_EPOCH_H

#include "spec.h"

#define EPOCH_BASELINE 0	  /* before the first step */
#define EPOCH_GAP      UINT32_MAX /* between two steps */

/*
 * Samples that a slice keeps of each kind: fewer than the run's 100 000, and in
 * all slices together no more than that, so that a report has an upper bound.
 */
#define MAX_PHASE_SAMPLES 10000

struct probe;

/* One step of one worker, in memory shared with the leader; times in ns. */
struct slice {
	uint32_t opened;
	uint32_t closed; /* set last, with release order */
	uint64_t wall_ns;
	uint64_t off_cpu_ns;
	uint64_t run_delay_ns;
	uint64_t schedstat_cpu_time_ns;
	uint64_t migration_count;
	uint64_t iterations;
	uint64_t numa_pages_migrated;
	uint64_t max_gap_ns;
	uint32_t max_gap_cpu;
	uint64_t sample_total[3]; /* per enum reservoir_kind */
	uint64_t cpus_used[CPU_MASK_WORDS];
	uint64_t numa_pages[MAX_NODES]; /* at the end of the step */
	uint64_t samples[]; /* per kind, phase_cap of them; costs of iterations are not kept */
};

/* The slices of one worker: those of the steps 1 to count. */
struct slices {
	const uint32_t *epoch; /* NULL: the worker has none */
	char *memory;
	unsigned int count;
	uint64_t cap; /* phase_cap of count */
};

/* Samples of one kind that fit a slice when there are @phases of them. */
static inline uint64_t phase_cap(uint64_t phases)
{
	uint64_t share = 100000 / (phases ? phases : 1);

	return share < MAX_PHASE_SAMPLES ? share : MAX_PHASE_SAMPLES;
}

/* Bytes that one worker's slices take. */
size_t slices_bytes(uint64_t phases);
/* The slice of a step from 1 to count; NULL for every other epoch. */
struct slice *slice_at(const struct slices *s, uint32_t epoch);
/*
 * The epoch has changed to @epoch, right after a checkpoint: end the slice that was open,
 * begin that of the new step.
 */
void epoch_changed(struct probe *p, uint32_t epoch);
/* End the slice that is open, if any: the worker stops. */
void epoch_finish(struct probe *p);

#endif
