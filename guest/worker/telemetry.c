// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "telemetry.h"

#include <sched.h>

#include "procfs.h"

static void mark_cpu(struct telemetry *t, uint32_t cpu)
{
	if (cpu < MAX_CPUS)
		t->cpus_used[cpu / 64] |= 1ULL << (cpu % 64);
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

void probe_start(struct probe *p)
{
	p->start_migrated = read_numa_pages_migrated();
	read_schedstat(p->start_schedstat);
	p->cpu = (uint32_t)sched_getcpu();
	p->out->max_gap_cpu = p->cpu;
	mark_cpu(p->out, p->cpu);
	p->start_ns = now_ns();
	p->start_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	p->stamp_ns = p->start_ns;
}

static void check_gap(struct probe *p, uint64_t now)
{
	struct telemetry *t = p->out;
	uint64_t gap = now - p->stamp_ns;

	if (p->gaps && gap > t->max_gap_ns) {
		t->max_gap_ns = gap;
		t->max_gap_at_ns = now - p->start_ns;
		/* The CPU on which the worker was seen last, so where it was kept from running. */
		t->max_gap_cpu = p->cpu;
	}
	p->stamp_ns = now;
}

static void check_migration(struct probe *p, uint64_t now)
{
	struct telemetry *t = p->out;
	uint32_t cpu = (uint32_t)sched_getcpu();

	if (cpu == p->cpu)
		return;
	if (t->migration_count < MAX_MIGRATIONS)
		t->migrations[t->migration_count] = (struct migration){
			.at_ns = now - p->start_ns, .from_cpu = p->cpu, .to_cpu = cpu};
	t->migration_count++;
	p->cpu = cpu;
	mark_cpu(t, cpu);
}

void probe_checkpoint(struct probe *p)
{
	uint64_t now = now_ns();

	check_gap(p, now);
	check_migration(p, now);
	p->next_check = (p->units / p->check_every + 1) * p->check_every;
	probe_publish(p);
}

void probe_sample(struct probe *p, enum reservoir_kind kind, uint64_t ns)
{
	struct telemetry *t = p->out;
	uint64_t total = ++t->sample_total[kind];
	uint64_t at = total <= MAX_SAMPLES ? total - 1 : random_below(&p->rng, total);

	if (at < MAX_SAMPLES)
		t->samples[kind][at] = ns;
}

void probe_unblocked(struct probe *p, uint64_t now)
{
	p->stamp_ns = now;
	/* Only the set: migrations are counted at checkpoints, for every work type alike. */
	mark_cpu(p->out, (uint32_t)sched_getcpu());
}

void probe_finish(struct probe *p)
{
	struct telemetry *t = p->out;
	uint64_t now = now_ns();
	uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	uint64_t schedstat[3], migrated;

	/* A worker that was starved to the end never reached another checkpoint. */
	check_gap(p, now);
	mark_cpu(t, (uint32_t)sched_getcpu());
	read_schedstat(schedstat);
	migrated = read_numa_pages_migrated();
	read_numa_pages(t->numa_pages, MAX_NODES);

	t->wall_time_ns = now - p->start_ns;
	t->cpu_time_ns = cpu_ns - p->start_cpu_ns;
	t->schedstat_cpu_time_ns = schedstat[0] - p->start_schedstat[0];
	t->schedstat_run_delay_ns = schedstat[1] - p->start_schedstat[1];
	t->schedstat_run_count = schedstat[2] - p->start_schedstat[2];
	t->numa_pages_migrated = migrated - p->start_migrated;
	t->work_units = p->units;
	t->iterations = p->iterations;
	probe_publish(p);
	__atomic_store_n(&t->completed, 1, __ATOMIC_RELEASE);
}
