// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "epoch.h"

#include "procfs.h"
#include "telemetry.h"

static size_t slice_bytes(uint64_t phases)
{
	return sizeof(struct slice) + RESERVOIR_KINDS * phase_cap(phases) * sizeof(uint64_t);
}

size_t slices_bytes(uint64_t phases)
{
	return phases * slice_bytes(phases);
}

struct slice *slice_at(const struct slices *s, uint32_t epoch)
{
	if (epoch == EPOCH_BASELINE || epoch > s->count)
		return NULL;
	return (struct slice *)(s->memory + (epoch - 1) * slice_bytes(s->count));
}

void epoch_finish(struct probe *p)
{
	struct reading spent;
	struct slice *s = p->slice;

	if (!s)
		return;
	spent = reading_since(&p->slice_start);
	s->wall_ns = spent.at_ns;
	s->off_cpu_ns = off_cpu_ns(&p->helpers, spent.at_ns, spent.cpu_ns, p->helpers.slice_cpu_ns);
	s->schedstat_cpu_time_ns = spent.schedstat[SCHEDSTAT_CPU];
	s->run_delay_ns = spent.schedstat[SCHEDSTAT_DELAY];
	s->numa_pages_migrated = spent.migrated;
	s->iterations = p->iterations - p->slice_iterations;
	s->migration_count = p->out->migration_count - p->slice_migrations;
	read_numa_pages(s->numa_pages, MAX_NODES);
	__atomic_store_n(&s->closed, 1, __ATOMIC_RELEASE);
	p->slice = NULL;
}

void epoch_changed(struct probe *p, uint32_t epoch)
{
	struct slice *s = slice_at(&p->slices, epoch);

	epoch_finish(p);
	p->phase = epoch;
	if (!s || s->opened)
		return;
	s->opened = 1;
	s->cpus_used[p->cpu / 64] |= 1ULL << (p->cpu % 64);
	s->max_gap_cpu = p->cpu;
	p->slice_iterations = p->iterations;
	p->slice_migrations = p->out->migration_count;
	p->helpers.slice_cpu_ns = 0;
	p->slice_start = reading_now();
	/* Closing and opening took time, which is nobody's gap. */
	p->stamp_ns = p->slice_start.at_ns;
	p->slice = s;
}
