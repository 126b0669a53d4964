// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the threads of schbench (https://github.com/masoncl/schbench) do. Worker
 * threads put themselves on the lockless list of their message thread, which
 * wakes all that wait at once; woken, they sleep as if for a network and then
 * multiply matrices under a spin lock of the CPU. With a rate, message threads
 * hand out requests instead.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "relax.h"
#include "schbench.h"

#define MAX_QUEUED 128 /* requests per worker thread beyond which none are injected */
#define PAUSE_NS   (100 * NSEC_PER_USEC)

static struct schbench_thread *of(struct engine_thread *t)
{
	return (struct schbench_thread *)t;
}

static void enlist(struct schbench_thread *boss, struct schbench_thread *me)
{
	struct schbench_thread *head = __atomic_load_n(&boss->next, __ATOMIC_RELAXED);

	do
		me->next = head;
	while (!__atomic_compare_exchange_n(&boss->next, &head, me, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
}

static void wake(struct schbench_thread *s, uint64_t now)
{
	__atomic_store_n(&s->wake_us, now, __ATOMIC_RELAXED);
	engine_post(&s->thread.gate);
}

/* One clock reading for all: a waker that is preempted half-way shows in the latencies. */
static void wake_waiting(struct schbench_thread *boss)
{
	struct schbench_thread *s = __atomic_exchange_n(&boss->next, NULL, __ATOMIC_SEQ_CST);
	uint64_t now = now_us();

	while (s) {
		struct schbench_thread *next = s->next; /* woken, it may enlist again */

		wake(s, now);
		s = next;
	}
}

static void answer_messages(struct schbench_thread *boss)
{
	struct engine_thread *t = &boss->thread;

	for (;;) {
		__atomic_store_n(&t->gate, GATE_BLOCKED, __ATOMIC_SEQ_CST);
		wake_waiting(boss);
		if (engine_stopping(t->engine))
			break;
		engine_await(&t->gate);
	}
	wake_waiting(boss); /* those that enlisted before they could see the flag */
}

/* Injects all requests of a second at its beginning, as schbench does. */
static void inject_requests(struct schbench_thread *boss)
{
	const struct schbench *b = boss->bench;
	struct engine *e = boss->thread.engine;
	unsigned int turn = 0;

	while (!engine_stopping(e)) {
		uint64_t end = now_ns() + NSEC_PER_SEC, now;
		uint32_t rate = __atomic_load_n(&b->rate, __ATOMIC_RELAXED);

		for (uint32_t i = 0; i < rate && !engine_stopping(e); i++) {
			struct schbench_thread *s = &boss->crew[turn++ % b->crew_size];

			if (__atomic_load_n(&s->queued, __ATOMIC_SEQ_CST) > MAX_QUEUED) {
				engine_sleep_until(now_ns() + PAUSE_NS);
				continue;
			}
			now = now_us();
			__atomic_fetch_add(&s->queued, 1, __ATOMIC_SEQ_CST);
			wake(s, now);
		}
		while (!engine_stopping(e) && (now = now_ns()) < end) {
			uint64_t poll = now + STOP_POLL_MS / 2 * NSEC_PER_MSEC;

			engine_sleep_until(poll < end ? poll : end);
		}
	}
}

void schbench_message_thread(struct engine_thread *t)
{
	if (of(t)->bench->rate)
		inject_requests(of(t));
	else
		answer_messages(of(t));
}

static void record(struct schbench_thread *s, struct plat *p, uint64_t from_us, bool loop)
{
	uint64_t now = now_us();

	engine_record(&s->thread);
	/* schbench leaves out what took no whole microsecond. */
	if (now > from_us)
		plat_add(p, now - from_us);
	if (loop)
		engine_loop(&s->thread);
	engine_recorded(&s->thread);
}

/* Wait for work; how many requests there are, 0 when there may be none. */
static uint32_t message_and_wait(struct schbench_thread *s)
{
	struct engine_thread *t = &s->thread;
	bool open = t->engine->open_loop;
	uint32_t queued;
	uint64_t woken;

	__atomic_store_n(&s->wake_us, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&t->gate, GATE_BLOCKED, __ATOMIC_SEQ_CST);
	if (open) {
		queued = __atomic_exchange_n(&s->queued, 0, __ATOMIC_SEQ_CST);
		if (queued) {
			__atomic_store_n(&t->gate, GATE_RUNNING, __ATOMIC_SEQ_CST);
			return queued;
		}
	} else {
		enlist(s->boss, s);
		engine_post(&s->boss->thread.gate);
	}
	if (!engine_stopping(t->engine))
		engine_await(&t->gate);
	woken = __atomic_load_n(&s->wake_us, __ATOMIC_RELAXED);
	if (woken)
		record(s, &s->wakeup, woken, false);
	return open ? 0 : 1;
}

/*
 * The product may overlap the factors for all the compiler knows, so that each
 * partial sum goes to memory, as in schbench: the time of a request shall be
 * comparable with its.
 */
static bool multiply(const struct schbench_thread *s)
{
	const struct schbench *b = s->bench;
	unsigned long n = b->matrix_size;
	uint64_t *left = s->matrices, *right = left + n * n, *product = right + n * n;

	for (unsigned long i = 0; i < n; i++) {
		if (engine_stopping(&b->engine))
			return false;
		for (unsigned long j = 0; j < n; j++) {
			product[i * n + j] = 0;
			for (unsigned long k = 0; k < n; k++)
				product[i * n + j] += left[i * n + k] * right[k * n + j];
		}
	}
	return true;
}

/* The lock of the CPU this thread is on: what else runs there in the meantime must spin. */
static struct cpu_lock *lock_cpu(struct schbench *b)
{
	for (;;) {
		int cpu = sched_getcpu();
		struct cpu_lock *lock = &b->locks[cpu];

		while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
			relax(1);
		if (sched_getcpu() == cpu)
			return lock;
		__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
	}
}

static bool work(struct schbench_thread *s)
{
	struct schbench *b = s->bench;
	struct cpu_lock *lock = b->locked_operations ? lock_cpu(b) : NULL;
	bool ok = true;

	for (uint64_t i = 0; i < b->operations && ok; i++) {
		if (lock && i == b->locked_operations) {
			__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
			lock = NULL;
		}
		ok = multiply(s);
	}
	if (lock)
		__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
	return ok;
}

static bool serve_request(struct schbench_thread *s)
{
	struct timespec nap = timespec_of(s->bench->sleep_ns);
	uint64_t start = now_us();

	if (s->bench->sleep_ns)
		nanosleep(&nap, NULL);
	if (!work(s))
		return false;
	record(s, &s->request, start, true);
	return true;
}

void schbench_worker_thread(struct engine_thread *t)
{
	struct schbench_thread *s = of(t);

	/* Memory that was never written is one shared page of zeros, not a cache footprint. */
	for (unsigned int i = 0; i < 2 * s->bench->matrix_size * s->bench->matrix_size; i++)
		s->matrices[i] = i;
	while (!engine_stopping(t->engine))
		for (uint32_t left = message_and_wait(s); left; left--)
			if (!serve_request(s))
				break;
}
