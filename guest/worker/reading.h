// SPDX-License-Identifier: GPL-2.0-only
/* The clocks and counters of a worker, and what went by between two looks at them. */
#ifndef WORKER_READING_H
#define WORKER_READING_H

#include "procfs.h"

/* The clocks and counters of a worker at one moment, or the difference of two moments. */
struct reading {
	uint64_t at_ns;
	uint64_t cpu_ns;
	uint64_t schedstat[SCHEDSTAT_FIELDS];
	uint64_t migrated; /* numa_pages_migrated of the system */
};

/* The threads of an engine, which are not the one that measures: their CPU time, and how many. */
struct helpers {
	unsigned int count;    /* 0: the worker is one thread */
	uint64_t cpu_ns;       /* of the run, up to the last look */
	uint64_t slice_cpu_ns; /* of the present phase */
};

/* Where a window begins: the clocks are read last, so that it does not hold the reading. */
struct reading reading_now(void);
/* What went by since @start: the clocks are read first. */
struct reading reading_since(const struct reading *start);

/*
 * Of @wall_ns, the time off a CPU: of a worker that is one thread, which ran for @cpu_ns, its
 * own; of an engine, the mean of the threads' that do its work, which ran for @helpers_ns in all.
 */
uint64_t off_cpu_ns(const struct helpers *h, uint64_t wall_ns, uint64_t cpu_ns,
		    uint64_t helpers_ns);

#endif
