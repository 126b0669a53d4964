// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "engine.h"
#include "msgpack_out.h"

/*
 * Three full reservoirs of the run and two of all its slices (4 MB), migrations,
 * CPUs and nodes: under 8 MiB, and under the 16 MiB of a frame.
 */
#define REPORT_CAP (8U << 20)

/* All zeros and never written; not const, so that it takes no room in the file. */
static struct telemetry nothing;
static struct slice no_slice;

static bool write_all(const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t n = write(STDOUT_FILENO, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool send_message(char kind, const void *payload, size_t len)
{
	uint8_t head[5] = {0, 0, 0, 0, (uint8_t)kind};

	for (int i = 0; i < 4; i++)
		head[i] = (uint8_t)((len + 1) >> (8 * i));
	return write_all(head, sizeof(head)) && write_all(payload, len);
}

bool send_error(const char *text)
{
	return send_message('E', text, strlen(text));
}

bool send_done(void)
{
	return send_message('D', "", 0);
}

bool send_pids(const struct crew *crew)
{
	static uint8_t buf[16 + 9 * MAX_WORKERS];
	struct mp_out o = {.buf = buf, .cap = sizeof(buf)};

	/* Threads can be signalled and waited for only as the process they are in. */
	if (crew->host) {
		mp_int(&o, crew->host);
		if (!send_message('H', buf, o.len))
			return false;
		o.len = 0;
	}
	mp_array(&o, crew->created);
	for (unsigned int i = 0; i < crew->created; i++)
		mp_int(&o, crew->children[i].pid);
	return !o.overflow && send_message('P', buf, o.len);
}

static void put_uint(struct mp_out *o, const char *name, uint64_t v)
{
	mp_str(o, name);
	mp_uint(o, v);
}

/* Both texts in one where both are there; nil for none. */
static void put_errors(struct mp_out *o, const char *name, const char *first, const char *second)
{
	char text[2 * TELEMETRY_TEXT + 2];

	mp_str(o, name);
	snprintf(text, sizeof(text), "%s%s%s", first, *first && *second ? "; " : "", second);
	if (*text)
		mp_str(o, text);
	else
		mp_nil(o);
}

static void put_cpus(struct mp_out *o, const uint64_t *mask)
{
	uint32_t count = 0;

	for (unsigned int i = 0; i < CPU_MASK_WORDS; i++)
		count += (uint32_t)__builtin_popcountll(mask[i]);
	mp_str(o, "cpus_used");
	mp_array(o, count);
	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (mask[cpu / 64] >> (cpu % 64) & 1)
			mp_uint(o, cpu);
}

static void put_migrations(struct mp_out *o, const struct telemetry *t)
{
	uint64_t kept = t->migration_count < MAX_MIGRATIONS ? t->migration_count : MAX_MIGRATIONS;

	mp_str(o, "migrations");
	mp_array(o, (uint32_t)kept);
	for (uint64_t i = 0; i < kept; i++) {
		mp_map(o, 3);
		put_uint(o, "at_ns", t->migrations[i].at_ns);
		put_uint(o, "from_cpu", t->migrations[i].from_cpu);
		put_uint(o, "to_cpu", t->migrations[i].to_cpu);
	}
}

static const struct {
	const char *samples, *total;
} reservoirs[RESERVOIR_KINDS] = {
	[RESERVOIR_WAKE] = {"wake_latencies_ns", "wake_sample_total"},
	[RESERVOIR_COST] = {"iteration_costs_ns", "iteration_cost_sample_total"},
	[RESERVOIR_TIMER] = {"timer_latencies_ns", "timer_sample_total"},
};

static void put_reservoir(struct mp_out *o, enum reservoir_kind kind, const uint64_t *samples,
			  uint64_t cap, uint64_t seen, uint64_t missed)
{
	_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "samples travel as they are");
	mp_str(o, reservoirs[kind].samples);
	mp_bin(o, samples, (seen < cap ? seen : cap) * sizeof(uint64_t));
	put_uint(o, reservoirs[kind].total, seen + missed);
}

static void put_numa_pages(struct mp_out *o, const uint64_t *pages)
{
	uint32_t count = 0;

	for (unsigned int node = 0; node < MAX_NODES; node++)
		count += pages[node] != 0;
	mp_str(o, "numa_pages");
	mp_map(o, count);
	for (unsigned int node = 0; node < MAX_NODES; node++) {
		if (!pages[node])
			continue;
		mp_uint(o, node);
		mp_uint(o, pages[node]);
	}
}

static void put_exit_info(struct mp_out *o, const struct child *child, bool completed,
			  const char *panic)
{
	int status = child->status;

	mp_str(o, "exit_info");
	if (completed) {
		mp_nil(o);
		return;
	}
	mp_map(o, child->fate == FATE_TIMED_OUT && !*panic ? 1 : 2);
	mp_str(o, "kind");
	if (*panic) {
		mp_str(o, "Panicked");
		mp_str(o, "message");
		mp_str(o, panic);
	} else if (child->fate == FATE_TIMED_OUT) {
		mp_str(o, "TimedOut");
	} else if (child->fate == FATE_WAIT_FAILED) {
		mp_str(o, "WaitFailed");
		mp_str(o, "error");
		mp_str(o, strerror(status));
	} else if (WIFSIGNALED(status)) {
		mp_str(o, "Signaled");
		mp_str(o, "signal");
		mp_int(o, WTERMSIG(status));
	} else {
		mp_str(o, "Exited");
		mp_str(o, "code");
		mp_int(o, WEXITSTATUS(status));
	}
}

/* A slice, its fields in their binding order; @engine is what an engine adds, or NULL. */
static void put_slice(struct mp_out *o, uint32_t epoch, const struct slice *s, uint64_t cap,
		      const struct engine_result *engine, uint32_t engine_phase)
{
	unsigned int more = engine_fields(o, engine, engine_phase);

	mp_map(o, 16 + more);
	put_uint(o, "phase_epoch", epoch);
	put_cpus(o, s->cpus_used);
	put_reservoir(o, RESERVOIR_WAKE, s->samples + RESERVOIR_WAKE * cap, cap,
		      s->sample_total[RESERVOIR_WAKE], 0);
	put_reservoir(o, RESERVOIR_TIMER, s->samples + RESERVOIR_TIMER * cap, cap,
		      s->sample_total[RESERVOIR_TIMER], 0);
	put_uint(o, "run_delay_ns", s->run_delay_ns);
	put_uint(o, "off_cpu_ns", s->off_cpu_ns);
	put_uint(o, "wall_ns", s->wall_ns);
	put_uint(o, "migration_count", s->migration_count);
	put_uint(o, "iterations", s->iterations);
	put_uint(o, "schedstat_cpu_time_ns", s->schedstat_cpu_time_ns);
	put_numa_pages(o, s->numa_pages);
	put_uint(o, "vmstat_numa_pages_migrated", s->numa_pages_migrated);
	put_uint(o, "max_gap_ms", s->max_gap_ns / NSEC_PER_MSEC);
	put_uint(o, "max_gap_cpu", s->max_gap_cpu);
	if (more)
		put_engine_fields(o, engine, engine_phase);
}

static void put_slices(struct mp_out *o, const struct slices *slices, uint64_t own_step,
		       const struct engine_result *engine)
{
	uint32_t closed = 0;

	/* A worker of one step needs no slices, but an engine's histograms travel nowhere else. */
	if (own_step && engine_fields(o, engine, 0)) {
		mp_str(o, "phase_slices");
		mp_array(o, 1);
		put_slice(o, (uint32_t)own_step, &no_slice, 0, engine, 0);
		return;
	}
	for (uint32_t step = 1; step <= slices->count; step++)
		closed += slice_at(slices, step)->closed;
	mp_str(o, "phase_slices");
	mp_array(o, closed);
	for (uint32_t step = 1; step <= slices->count; step++)
		if (slice_at(slices, step)->closed)
			put_slice(o, step, slice_at(slices, step), slices->cap, engine, step);
}

/* The 31 fields in their binding order. */
static void put_worker_report(struct mp_out *o, const struct crew *crew, unsigned int index)
{
	const struct child *child = &crew->children[index];
	const struct telemetry *t = &crew->telemetry[index];
	bool completed = __atomic_load_n(&t->completed, __ATOMIC_ACQUIRE);
	/* A process that cannot go on exits; a thread can end alone. */
	const char *panic = crew->spec->threads ? t->panic : "";
	struct slices slices = crew_slices(crew, index);
	const struct engine_result *engine = NULL;

	if (crew->spec->type->shared_bytes == engine_shared_bytes)
		engine = crew_shared(crew, index); /* its groups are of one */
	/* Half a measurement is none: a worker that did not finish reports how it ended. */
	if (!completed) {
		t = &nothing;
		slices = (struct slices){0};
		engine = NULL;
	}
	mp_map(o, 31);
	mp_str(o, "tid");
	mp_int(o, child->pid);
	put_uint(o, "work_units", t->work_units);
	put_uint(o, "cpu_time_ns", t->cpu_time_ns);
	put_uint(o, "wall_time_ns", t->wall_time_ns);
	put_uint(o, "off_cpu_ns", t->off_cpu_ns);
	put_uint(o, "migration_count", t->migration_count);
	put_cpus(o, t->cpus_used);
	put_migrations(o, t);
	put_uint(o, "max_gap_ms", t->max_gap_ns / NSEC_PER_MSEC);
	put_uint(o, "max_gap_cpu", t->max_gap_cpu);
	put_uint(o, "max_gap_at_ms", t->max_gap_at_ns / NSEC_PER_MSEC);
	for (int kind = 0; kind < RESERVOIR_KINDS; kind++)
		put_reservoir(o, (enum reservoir_kind)kind, t->samples[kind], MAX_SAMPLES,
			      t->sample_total[kind], t->sample_missed[kind]);
	put_uint(o, "iterations", t->iterations);
	put_uint(o, "schedstat_run_delay_ns", t->schedstat_run_delay_ns);
	put_uint(o, "schedstat_run_count", t->schedstat_run_count);
	put_uint(o, "schedstat_cpu_time_ns", t->schedstat_cpu_time_ns);
	mp_str(o, "completed");
	mp_bool(o, completed);
	put_numa_pages(o, t->numa_pages);
	put_uint(o, "vmstat_numa_pages_migrated", t->numa_pages_migrated);
	put_exit_info(o, child, completed, panic);
	mp_str(o, "is_messenger");
	mp_bool(o, t->is_messenger);
	put_uint(o, "group_idx", crew->spec->group_idx);
	put_errors(o, "affinity_error", t->affinity_error, "");
	put_errors(o, "sched_policy_error", t->policy_error, t->memory_error);
	put_slices(o, &slices, crew->spec->step, engine);
	put_taobench_whole(o, engine);
}

bool send_report(const struct crew *crew, unsigned int index)
{
	const struct spec *spec = crew->spec;
	struct mp_out o = {.cap = REPORT_CAP};
	bool ok;

	o.buf = mmap(NULL, REPORT_CAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (o.buf == MAP_FAILED)
		return false;
	mp_map(&o, 7);
	put_uint(&o, "step", spec->step);
	mp_str(&o, "cgroup");
	mp_str(&o, spec->cgroup);
	put_uint(&o, "group_idx", spec->group_idx);
	put_uint(&o, "work_idx", spec->work_idx);
	put_uint(&o, "worker", index);
	mp_str(&o, "work_type");
	mp_str(&o, spec->type->name);
	mp_str(&o, "report");
	put_worker_report(&o, crew, index);
	ok = !o.overflow && send_message('R', o.buf, o.len);
	munmap(o.buf, REPORT_CAP);
	return ok;
}
