// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a worker measures about itself. It is kept in memory shared with the
 * leader, which therefore can report it without the worker's help.
 */
#ifndef WORKER_TELEMETRY_H
#define WORKER_TELEMETRY_H

#include "epoch.h"
#include "reading.h"
#include "spec.h"
#include "sys.h"

#define MAX_SAMPLES    100000 /* MAX_WAKE_SAMPLES of the report */
#define MAX_MIGRATIONS 4096
#define CHECK_UNITS    1024 /* work units between two checkpoints */
#define TELEMETRY_TEXT 192

enum reservoir_kind {
	RESERVOIR_WAKE,
	RESERVOIR_COST,
	RESERVOIR_TIMER,
	RESERVOIR_KINDS,
};

struct migration {
	uint64_t at_ns; /* since the start of the worker */
	uint32_t from_cpu;
	uint32_t to_cpu;
};

/* Everything the worker leaves behind; times in ns unless the name says otherwise. */
struct telemetry {
	uint32_t completed;    /* set last, with release order */
	uint32_t is_messenger; /* only wakes others: has no wake latencies of its own */
	int32_t tid;
	uint64_t work_units;
	uint64_t iterations;
	uint64_t cpu_time_ns;
	uint64_t wall_time_ns;
	uint64_t off_cpu_ns;
	uint64_t max_gap_ns;
	uint64_t max_gap_at_ns;
	uint32_t max_gap_cpu;
	uint64_t schedstat_cpu_time_ns;
	uint64_t schedstat_run_delay_ns;
	uint64_t schedstat_run_count;
	uint64_t numa_pages_migrated;
	uint64_t migration_count;
	uint64_t sample_total[RESERVOIR_KINDS];
	uint64_t sample_missed[RESERVOIR_KINDS]; /* there were as many more, which nobody saw */
	uint64_t cpus_used[CPU_MASK_WORDS];
	uint64_t numa_pages[MAX_NODES];
	char affinity_error[TELEMETRY_TEXT];
	char policy_error[TELEMETRY_TEXT];
	char memory_error[TELEMETRY_TEXT];
	char setup_error[TELEMETRY_TEXT];
	char panic[TELEMETRY_TEXT]; /* why a worker that is a thread ended alone; empty: it did not */
	struct migration migrations[MAX_MIGRATIONS];
	/* Last and apart: pages of a reservoir that is not used are never touched. */
	uint64_t samples[RESERVOIR_KINDS][MAX_SAMPLES];
};

/* The running state behind a telemetry area, private to the worker. */
struct probe {
	struct telemetry *out;
	uint64_t *live; /* iteration counter read by others, or NULL */
	uint64_t rng;
	uint64_t units;
	uint64_t iterations;
	uint64_t check_every;
	uint64_t next_check;
	bool gaps;
	struct reading start;
	struct helpers helpers;
	uint64_t stamp_ns; /* where the present gap began */
	uint32_t cpu;
	struct slices slices;
	uint32_t phase;	     /* the epoch seen last */
	struct slice *slice; /* the open one, or NULL */
	struct reading slice_start;
	uint64_t slice_iterations;
	uint64_t slice_migrations;
};

/* Bind @p to @out. @gap_check is the key of the same name, @rng a seed other than 0. */
void probe_init(struct probe *p, struct telemetry *out, uint64_t *live, uint64_t gap_check,
		uint64_t rng);
/* Keep slices as well, in zeroed @slices; before probe_start. */
void probe_keep_slices(struct probe *p, const struct slices *slices);
/* Take the starting values; the wall clock runs from here. */
void probe_start(struct probe *p);
/* Take the final values and mark the telemetry complete. */
void probe_finish(struct probe *p);
/* Measure gap and migration now; called when a multiple of CHECK_UNITS is crossed. */
void probe_checkpoint(struct probe *p);
/* Algorithm R (Vitter 1985): a uniform sample of at most @cap values, with the true total beside. */
void reservoir_push(uint64_t *samples, uint64_t cap, uint64_t *total, uint64_t *rng,
		    uint64_t value);
/* Note a sample in the run's reservoir, and in that of the present phase. */
void probe_sample(struct probe *p, enum reservoir_kind kind, uint64_t ns);
/* The worker runs again after blocking: the time asleep is not a gap. */
void probe_unblocked(struct probe *p, uint64_t now);

static inline void probe_publish(struct probe *p)
{
	if (p->live)
		__atomic_store_n(p->live, p->iterations, __ATOMIC_RELAXED);
}

/* Account @n units of work. */
static inline void probe_units(struct probe *p, uint64_t n)
{
	p->units += n;
	if (p->units >= p->next_check)
		probe_checkpoint(p);
}

/* The present phase: EPOCH_BASELINE, a step from 1 on, or EPOCH_GAP. */
static inline uint32_t probe_epoch(const struct probe *p)
{
	return p->slices.epoch ? __atomic_load_n(p->slices.epoch, __ATOMIC_RELAXED) :
				 EPOCH_BASELINE;
}

/* Follow the phase epoch; called once an iteration, counted or not. */
static inline void probe_follow_epoch(struct probe *p)
{
	uint32_t epoch = probe_epoch(p);

	if (epoch == p->phase)
		return;
	/* The last stretch of the phase that ends here may be its longest gap. */
	probe_checkpoint(p);
	epoch_changed(p, epoch);
}

/* Account one outer iteration. */
static inline void probe_iteration(struct probe *p)
{
	p->iterations++;
	probe_publish(p);
}

#endif
