// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define THREAD_STACK   (128 << 10)
#define EPOCH_POLL_MS  20 /* how late an engine that lives through steps may see a new one */
#define PART_OF_SECOND 2  /* the rest of a phase counts as a second from half of one on */

unsigned int engine_cpus(void)
{
	uint64_t mask[CPU_MASK_WORDS];
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
	unsigned int count = 0;

	for (long i = 0; i < bytes / (long)sizeof(mask[0]); i++)
		count += (unsigned int)__builtin_popcountll(mask[i]);
	return count ? count : 1;
}

void engine_sleep_until(uint64_t ns)
{
	struct timespec at = timespec_of(ns);

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

void engine_record(struct engine_thread *t)
{
	unsigned int cpu = (unsigned int)sched_getcpu();

	pthread_mutex_lock(&t->lock);
	if (cpu < MAX_CPUS)
		t->cpus_used[cpu / 64] |= 1ULL << (cpu % 64);
}

void engine_recorded(struct engine_thread *t)
{
	pthread_mutex_unlock(&t->lock);
}

/* The threads are of one process, and the cheaper private futexes are what schbench uses too. */
static void futex_private(uint32_t *word, int op, uint32_t value)
{
	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static bool swap_gate(uint32_t *gate, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(gate, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

void engine_post(uint32_t *gate)
{
	if (swap_gate(gate, GATE_BLOCKED, GATE_RUNNING))
		futex_private(gate, FUTEX_WAKE, 1);
}

void engine_await(uint32_t *gate)
{
	while (!swap_gate(gate, GATE_RUNNING, GATE_BLOCKED))
		futex_private(gate, FUTEX_WAIT, GATE_BLOCKED);
}

static void *thread_main(void *arg)
{
	struct engine_thread *t = arg;

	pthread_setname_np(pthread_self(), t->name);
	__atomic_store_n(&t->tid, (int32_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	t->body(t);
	/* Nobody can ask the kernel about a thread that has ended. */
	t->last.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	read_schedstat(t->last.schedstat);
	__atomic_store_n(&t->last.taken, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* The first @count threads are there. */
static void end_threads(struct engine *e, unsigned int count)
{
	__atomic_store_n(&e->stopping, 1, __ATOMIC_SEQ_CST);
	e->ops->release(e);
	for (unsigned int i = 0; i < count; i++)
		pthread_join(e->threads[i]->handle, NULL);
}

/* The leader's SIGUSR1 is for the control thread: it alone sleeps without being posted. */
static void start_threads(struct engine *e)
{
	pthread_attr_t attr;
	sigset_t interrupt;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGUSR1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	pthread_sigmask(SIG_BLOCK, &interrupt, NULL);
	for (unsigned int i = 0; i < e->count; i++) {
		struct engine_thread *t = e->threads[i];
		int error;

		t->engine = e;
		pthread_mutex_init(&t->lock, NULL);
		error = pthread_create(&t->handle, &attr, thread_main, t);
		if (error) {
			/* Half an engine measures nothing; the report tells how the worker ended. */
			end_threads(e, i);
			work_panic(e->w, "cannot create thread %u of %u: %s", i + 1, e->count,
				   strerror(error));
		}
	}
	pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
	pthread_attr_destroy(&attr);
}

/* Where measurements of the present phase go; time between phases goes where nobody looks. */
static struct engine_phase *phase_of(struct engine *e, bool *counts)
{
	const struct worker *w = e->w;
	struct engine_result *r = w->group->shared;
	uint32_t epoch = w->probe.phase;

	*counts = w->spec->step > 0 || (epoch > 0 && epoch <= w->spec->phases);
	return &r->phases[w->spec->step > 0 || !*counts ? 0 : epoch];
}

/* What the kernel accounts to a thread by now; false before it runs. */
static bool thread_times(const struct engine_thread *t, struct thread_times *now)
{
	int32_t tid = __atomic_load_n(&t->tid, __ATOMIC_ACQUIRE);
	clockid_t clock;

	if (__atomic_load_n(&t->last.taken, __ATOMIC_ACQUIRE)) {
		*now = t->last;
		return true;
	}
	if (!tid || pthread_getcpuclockid(t->handle, &clock))
		return false;
	now->cpu_ns = clock_ns(clock);
	read_thread_schedstat(tid, now->schedstat);
	return true;
}

/* The threads' times since they were gathered last. */
static void gather_times(struct engine *e, struct engine_phase *to)
{
	struct probe *p = &e->w->probe;

	for (unsigned int i = 0; i < e->count; i++) {
		struct engine_thread *t = e->threads[i];
		struct thread_times now;
		uint64_t since[SCHEDSTAT_FIELDS];

		if (!thread_times(t, &now))
			continue;
		p->helpers.cpu_ns += now.cpu_ns - t->cpu_ns;
		p->helpers.slice_cpu_ns += now.cpu_ns - t->cpu_ns;
		t->cpu_ns = now.cpu_ns;
		for (int k = 0; k < SCHEDSTAT_FIELDS; k++) {
			since[k] = now.schedstat[k] - t->schedstat[k];
			t->schedstat[k] = now.schedstat[k];
			/* So the worker's own difference to its start holds its threads as well. */
			p->start.schedstat[k] -= since[k];
			p->slice_start.schedstat[k] -= since[k];
		}
		if (e->ops->run_delay)
			e->ops->run_delay(to, t->serves, since[SCHEDSTAT_DELAY],
					  since[SCHEDSTAT_COUNT]);
	}
}

static void gather_cpus(struct engine *e)
{
	struct probe *p = &e->w->probe;

	for (unsigned int i = 0; i < e->count; i++) {
		struct engine_thread *t = e->threads[i];

		pthread_mutex_lock(&t->lock);
		for (unsigned int k = 0; k < CPU_MASK_WORDS; k++) {
			p->out->cpus_used[k] |= t->cpus_used[k];
			if (p->slice)
				p->slice->cpus_used[k] |= t->cpus_used[k];
		}
		memset(t->cpus_used, 0, sizeof(t->cpus_used));
		pthread_mutex_unlock(&t->lock);
	}
}

/* Account the loops that were seen and not yet accounted. */
static void account(struct engine *e)
{
	struct probe *p = &e->w->probe;
	uint64_t loops = 0;

	for (unsigned int i = 0; i < e->count; i++)
		loops += e->threads[i]->seen_loops;
	/* Without progress the gap goes on, although the control thread runs. */
	if (loops == e->loops && !e->open_loop)
		return;
	probe_unblocked(p, now_ns());
	p->iterations += loops - e->loops;
	probe_units(p, loops - e->loops);
	probe_publish(p);
	e->loops = loops;
}

/* Account what was done since the last look. */
static void look(struct engine *e)
{
	for (unsigned int i = 0; i < e->count; i++)
		engine_see(e->threads[i]);
	account(e);
}

static void count_second(struct engine *e, uint64_t now, uint64_t least_ns)
{
	uint64_t ns = now - e->second_ns;
	struct engine_phase *to;
	bool counts;

	if (ns < least_ns)
		return;
	to = phase_of(e, &counts);
	if (e->ops->second)
		e->ops->second(e, to, e->loops - e->second_loops, ns);
	e->second_ns = now;
	e->second_loops = e->loops;
}

/* A phase has ended at @now: everything measured in it goes where it belongs. */
static void close_phase(struct engine *e, uint64_t now)
{
	struct engine_phase *to;
	bool counts;

	to = phase_of(e, &counts);
	e->ops->drain(e, to, now - e->phase_ns);
	account(e);
	count_second(e, now, NSEC_PER_SEC / PART_OF_SECOND);
	gather_cpus(e);
	/* Last, so that these times end where the wall clock of the slice does. */
	gather_times(e, to);
	if (counts)
		__atomic_store_n(&to->filled, 1, __ATOMIC_RELEASE);
}

static void next_phase(struct engine *e)
{
	close_phase(e, now_ns());
	probe_follow_epoch(&e->w->probe);
	e->phase_ns = e->second_ns = now_ns();
	e->second_loops = e->loops;
}

void engine_run(struct engine *e)
{
	struct worker *w = e->w;
	struct engine_result *r = w->group->shared;
	uint64_t poll_ns = (w->spec->phases ? EPOCH_POLL_MS : STOP_POLL_MS) * NSEC_PER_MSEC;
	uint64_t now = now_ns();

	r->kind = e->ops->kind;
	w->probe.helpers.count = e->count;
	e->phase_ns = e->second_ns = now;
	start_threads(e);
	while (!stopped(w)) {
		uint64_t second = e->second_ns + NSEC_PER_SEC;

		engine_sleep_until(second < now + poll_ns ? second : now + poll_ns);
		look(e);
		if (probe_epoch(&w->probe) != w->probe.phase)
			next_phase(e);
		now = now_ns();
		count_second(e, now, NSEC_PER_SEC);
	}
	now = now_ns();
	end_threads(e, e->count);
	close_phase(e, now);
}

size_t engine_shared_bytes(const struct spec *spec)
{
	return sizeof(struct engine_result) + (spec->phases + 1) * sizeof(struct engine_phase);
}

static void put_uint(struct mp_out *o, const char *name, uint64_t value)
{
	mp_str(o, name);
	mp_uint(o, value);
}

static void put_schbench(struct mp_out *o, const struct schbench_stats *s)
{
	mp_str(o, "schbench");
	mp_map(o, 8);
	put_plat(o, "wakeup", &s->wakeup);
	put_plat(o, "request", &s->request);
	put_plat(o, "rps", &s->rps);
	put_uint(o, "msg_run_delay_ns", s->msg_run_delay_ns);
	put_uint(o, "msg_pcount", s->msg_pcount);
	put_uint(o, "worker_run_delay_ns", s->worker_run_delay_ns);
	put_uint(o, "worker_pcount", s->worker_pcount);
	put_uint(o, "loop_count", s->loop_count);
}

static void put_counters(struct mp_out *o, const char *name, const struct taobench_counters *c)
{
	mp_str(o, name);
	mp_map(o, 5);
	put_uint(o, "get_cmds", c->get_cmds);
	put_uint(o, "get_misses", c->get_misses);
	put_uint(o, "fast_ops", c->fast_ops);
	put_uint(o, "slow_ops", c->slow_ops);
	put_uint(o, "elapsed_ns", c->elapsed_ns);
}

static void put_taobench(struct mp_out *o, const struct taobench_stats *s)
{
	mp_str(o, "taobench");
	mp_map(o, 2);
	put_counters(o, "counters", &s->counters);
	put_plat(o, "serve_lat", &s->serve);
}

unsigned int engine_fields(const struct mp_out *o, const struct engine_result *r, uint32_t epoch)
{
	return r && r->kind != ENGINE_NONE && o->cap - o->len > ENGINE_WIRE_MAX &&
	       __atomic_load_n(&r->phases[epoch].filled, __ATOMIC_ACQUIRE);
}

void put_engine_fields(struct mp_out *o, const struct engine_result *r, uint32_t epoch)
{
	if (r->kind == ENGINE_SCHBENCH)
		put_schbench(o, &r->phases[epoch].schbench);
	else
		put_taobench(o, &r->phases[epoch].taobench);
}

void put_taobench_whole(struct mp_out *o, const struct engine_result *r)
{
	if (r && r->kind == ENGINE_TAOBENCH) {
		put_counters(o, "taobench_whole", &r->whole);
		return;
	}
	mp_str(o, "taobench_whole");
	mp_nil(o);
}
