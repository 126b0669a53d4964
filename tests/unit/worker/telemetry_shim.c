// SPDX-License-Identifier: GPL-2.0-only
/* Lets a test drive the reservoir and the migration list of telemetry.c directly. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>

#include "telemetry.h"

/* Push 0..count-1 and copy what is kept to @out (MAX_SAMPLES values); the true total. */
uint64_t push_stream(uint64_t count, uint64_t seed, uint64_t *out);

uint64_t push_stream(uint64_t count, uint64_t seed, uint64_t *out)
{
	struct telemetry *t = calloc(1, sizeof(*t));
	uint64_t total;
	struct probe p;

	probe_init(&p, t, NULL, CHECK_UNITS, seed);
	for (uint64_t v = 0; v < count; v++)
		probe_sample(&p, RESERVOIR_WAKE, v);
	for (size_t i = 0; i < MAX_SAMPLES; i++)
		out[i] = t->samples[RESERVOIR_WAKE][i];
	total = t->sample_total[RESERVOIR_WAKE];
	free(t);
	return total;
}

/* Move the calling thread @hops times between CPUs @a and @b, with a checkpoint on each. */
uint64_t hop(uint64_t hops, int a, int b, uint64_t *last_kept);

uint64_t hop(uint64_t hops, int a, int b, uint64_t *last_kept)
{
	struct telemetry *t = calloc(1, sizeof(*t));
	uint64_t count;
	struct probe p;

	probe_init(&p, t, NULL, CHECK_UNITS, 1);
	for (uint64_t i = 0; i <= hops; i++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i % 2 ? b : a, &set);
		sched_setaffinity(0, sizeof(set), &set);
		if (i == 0)
			probe_start(&p);
		else
			probe_checkpoint(&p);
	}
	*last_kept = t->migrations[MAX_MIGRATIONS - 1].at_ns;
	/* What lies behind the list must not have been written. */
	count = t->samples[0][0] ? 0 : t->migration_count;
	free(t);
	return count;
}
