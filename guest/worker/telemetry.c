// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "telemetry.h"

#include <sched.h>

#include "procfs.h"

static void mark_cpu(struct probe *p, uint32_t cpu)
{
	uint64_t bit = 1ULL << (cpu % 64);

	if (cpu >= MAX_CPUS)
		return;
	p->out->cpus_used[cpu / 64] |= bit;
	if (p->slice)
		p->slice->cpus_used[cpu / 64] |= bit;
}

void probe_init(struct probe *p, struct telemetry *out, uint64_t *live, uint64_t gap_check,
		uint64_t rng)
{
	*p = (struct probe){
		.out = out,
		.live = live,
		.rng = rng,
		.check_every = gap_check ? gap_check : CHECK_UNITS,
		.gaps = gap_check != 0,
	};
	p->next_check = p->check_every;
}

void probe_keep_slices(struct probe *p, const struct slices *slices)
{
	p->slices = *slices;
	/* Before the gate, so that a worker starved there still sees the first step begin. */
	p->phase = probe_epoch(p);
}

void probe_start(struct probe *p)
{
	p->cpu = (uint32_t)sched_getcpu();
	p->out->max_gap_cpu = p->cpu;
	mark_cpu(p, p->cpu);
	p->start = reading_now();
	p->stamp_ns = p->start.at_ns;
}

static void check_gap(struct probe *p, uint64_t now)
{
	struct telemetry *t = p->out;
	uint64_t gap = now - p->stamp_ns;

	p->stamp_ns = now;
	if (!p->gaps)
		return;
	/* The CPU on which the worker was seen last, so where it was kept from running. */
	if (gap > t->max_gap_ns) {
		t->max_gap_ns = gap;
		t->max_gap_at_ns = now - p->start.at_ns;
		t->max_gap_cpu = p->cpu;
	}
	if (p->slice && gap > p->slice->max_gap_ns) {
		p->slice->max_gap_ns = gap;
		p->slice->max_gap_cpu = p->cpu;
	}
}

static void check_migration(struct probe *p, uint64_t now)
{
	struct telemetry *t = p->out;
	uint32_t cpu = (uint32_t)sched_getcpu();

	if (cpu == p->cpu)
		return;
	if (t->migration_count < MAX_MIGRATIONS)
		t->migrations[t->migration_count] = (struct migration){
			.at_ns = now - p->start.at_ns, .from_cpu = p->cpu, .to_cpu = cpu};
	t->migration_count++;
	p->cpu = cpu;
	mark_cpu(p, cpu);
}

void probe_checkpoint(struct probe *p)
{
	uint64_t now = now_ns();

	check_gap(p, now);
	check_migration(p, now);
	p->next_check = (p->units / p->check_every + 1) * p->check_every;
	probe_publish(p);
}

void reservoir_push(uint64_t *samples, uint64_t cap, uint64_t *total, uint64_t *rng, uint64_t value)
{
	uint64_t n = ++*total;
	uint64_t at = n <= cap ? n - 1 : random_below(rng, n);

	if (at < cap)
		samples[at] = value;
}

void probe_sample(struct probe *p, enum reservoir_kind kind, uint64_t ns)
{
	struct telemetry *t = p->out;

	reservoir_push(t->samples[kind], MAX_SAMPLES, &t->sample_total[kind], &p->rng, ns);
	if (p->slice && kind != RESERVOIR_COST) {
		uint64_t cap = p->slices.cap;

		reservoir_push(p->slice->samples + kind * cap, cap, &p->slice->sample_total[kind],
			       &p->rng, ns);
	}
}

void probe_unblocked(struct probe *p, uint64_t now)
{
	p->stamp_ns = now;
	/* Only the set: migrations are counted at checkpoints, for every work type alike. */
	mark_cpu(p, (uint32_t)sched_getcpu());
}

void probe_finish(struct probe *p)
{
	struct telemetry *t = p->out;
	struct reading spent;

	/* A worker that was starved to the end never reached another checkpoint. */
	check_gap(p, now_ns());
	mark_cpu(p, (uint32_t)sched_getcpu());
	spent = reading_since(&p->start);
	epoch_finish(p);
	read_numa_pages(t->numa_pages, MAX_NODES);

	t->wall_time_ns = spent.at_ns;
	t->cpu_time_ns = spent.cpu_ns + p->helpers.cpu_ns;
	t->off_cpu_ns = off_cpu_ns(&p->helpers, spent.at_ns, spent.cpu_ns, p->helpers.cpu_ns);
	t->schedstat_cpu_time_ns = spent.schedstat[SCHEDSTAT_CPU];
	t->schedstat_run_delay_ns = spent.schedstat[SCHEDSTAT_DELAY];
	t->schedstat_run_count = spent.schedstat[SCHEDSTAT_COUNT];
	t->numa_pages_migrated = spent.migrated;
	t->work_units = p->units;
	t->iterations = p->iterations;
	probe_publish(p);
	__atomic_store_n(&t->completed, 1, __ATOMIC_RELEASE);
}
