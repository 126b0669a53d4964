// SPDX-License-Identifier: GPL-2.0-only
/* Schbench: wake-up latency, request latency and requests per second as schbench measures them. */
#include "schbench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 4096
#define FIRST_RATE  10 /* requests per second from which auto_rps sets out */
#define MATRICES    3
#define CACHE_LINE  64
#define HUNDRED	    100

/* A test's build reads what the test writes, for the busy time there is everybody's. */
#ifndef SYSTEM_STAT
#define SYSTEM_STAT "/proc/stat"
#endif

static struct schbench *of(struct engine *e)
{
	return e->own;
}

/* Share of the system's CPU time since the last look that was not idle, in per cent; -1: none. */
static double busy_pct(uint64_t last[2])
{
	char buf[512];
	char *at = buf + strlen("cpu");
	uint64_t all = 0, idle = 0, spent, rested;
	int fd = open(SYSTEM_STAT, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	for (int column = 1; *at; column++) {
		uint64_t ticks = strtoull(at, &at, 10);

		all += ticks;
		if (column == 4)
			idle = ticks;
		at += strspn(at, " ");
	}
	spent = all - last[0];
	rested = idle - last[1];
	if (!last[0])
		spent = 0;
	last[0] = all;
	last[1] = idle;
	return spent ? HUNDRED - HUNDRED * (double)rested / (double)spent : -1;
}

/* schbench's steps: large ones far from the target, an eighth of the way close to it. */
static double rate_factor(double factor)
{
	if (factor > 3)
		return 3;
	if (factor >= 1.5 || factor < 0.3)
		return factor < 0.3 ? 0.3 : factor;
	if (factor >= 1)
		return 1 + (factor - 1) / (factor < 1.2 ? 8 : 4);
	if (factor > 0.8)
		return factor + (1 - factor) / (factor > 0.9 ? 8 : 4);
	return factor;
}

void schbench_tune_rate(struct schbench *b, uint64_t target_pct)
{
	double busy = busy_pct(b->busy), factor, rate;

	if (busy < 0)
		return;
	factor = rate_factor(busy > 0 ? (double)target_pct / busy : 3);
	if (factor > 0.95 && factor < 1.05)
		b->rate_is_tuned = true;
	rate = b->rate * factor;
	/* Up is rounded up, so that a small rate can grow at all; 0 would end the open loop. */
	rate += factor > 1 && rate != (double)(uint64_t)rate;
	if (rate >= 1 && rate < INT32_MAX)
		__atomic_store_n(&b->rate, (uint32_t)rate, __ATOMIC_RELAXED);
}

static void second(struct engine *e, struct engine_phase *to, uint64_t loops, uint64_t ns)
{
	uint64_t target_pct = param(e->w, AUTO_RPS);

	if (!target_pct || of(e)->rate_is_tuned)
		plat_add(&to->schbench.rps, loops * NSEC_PER_SEC / ns);
	if (target_pct)
		schbench_tune_rate(of(e), target_pct);
}

static void release(struct engine *e)
{
	for (unsigned int i = 0; i < e->count; i++)
		engine_post(&e->threads[i]->gate);
}

static void drain(struct engine *e, struct engine_phase *to, uint64_t ns)
{
	struct schbench *b = of(e);

	(void)ns;
	for (unsigned int i = 0; i < e->count; i++) {
		struct schbench_thread *s = &b->threads[i];

		engine_record(&s->thread);
		engine_see(&s->thread);
		/* What was counted as iterations, so that the two never differ. */
		to->schbench.loop_count += s->thread.seen_loops - s->drained_loops;
		s->drained_loops = s->thread.seen_loops;
		plat_move(&to->schbench.wakeup, &s->wakeup);
		plat_move(&to->schbench.request, &s->request);
		engine_recorded(&s->thread);
	}
}

static void run_delay(struct engine_phase *to, bool serves, uint64_t ns, uint64_t times)
{
	struct schbench_stats *s = &to->schbench;

	*(serves ? &s->msg_run_delay_ns : &s->worker_run_delay_ns) += ns;
	*(serves ? &s->msg_pcount : &s->worker_pcount) += times;
}

static const struct engine_ops ops = {
	.kind = ENGINE_SCHBENCH,
	.release = release,
	.drain = drain,
	.second = second,
	.run_delay = run_delay,
};

static bool prepare(struct worker *w, char *error, size_t size)
{
	uint64_t messengers = param(w, MESSAGE_THREADS), crew = param(w, WORKER_THREADS);

	if (messengers * (1 + crew) <= MAX_THREADS)
		return true;
	snprintf(error, size,
		 "message_threads x (1 + worker_threads) must be at most %u threads, found %llu",
		 MAX_THREADS, (unsigned long long)(messengers * (1 + crew)));
	return false;
}

/* The largest n for which three matrices of n x n numbers fit the footprint. */
static unsigned int matrix_size(uint64_t kib)
{
	uint64_t numbers = kib * 1024 / MATRICES / sizeof(uint64_t), n = 0;

	while ((n + 1) * (n + 1) <= numbers)
		n++;
	return (unsigned int)n;
}

static uint32_t first_rate(const struct worker *w, unsigned int messengers)
{
	uint64_t rate = param(w, REQUESTS_PER_SEC);

	if (!rate && param(w, AUTO_RPS))
		rate = FIRST_RATE;
	if (!rate)
		return 0;
	return rate < messengers ? 1 : (uint32_t)(rate / messengers);
}

static void configure(struct schbench *b, const struct worker *w)
{
	uint64_t crew = param(w, WORKER_THREADS);

	b->messengers = (unsigned int)param(w, MESSAGE_THREADS);
	if (!crew)
		crew = (engine_cpus() + b->messengers - 1) / b->messengers;
	b->crew_size = (unsigned int)crew;
	b->matrix_size = matrix_size(param(w, CACHE_FOOTPRINT_KIB));
	b->operations = param(w, OPERATIONS);
	if (!param(w, SKIP_LOCKING))
		b->locked_operations = b->operations * param(w, SPLIT_PERCENT) / HUNDRED;
	b->sleep_ns = param(w, SLEEP_US) * NSEC_PER_USEC;
	b->rate = first_rate(w, b->messengers);
}

static void *memory(struct worker *w, size_t count, size_t bytes)
{
	void *at = calloc(count, bytes);

	if (at)
		return at;
	work_panic(w, "no memory for %zu x %zu bytes", count, bytes);
}

static void make_thread(struct schbench *b, unsigned int i)
{
	unsigned int place = i % (1 + b->crew_size); /* the message thread comes first */
	size_t numbers = (size_t)MATRICES * b->matrix_size * b->matrix_size;
	struct schbench_thread *s = &b->threads[i];

	b->engine.threads[i] = &s->thread;
	s->bench = b;
	s->thread.serves = place == 0;
	if (place == 0) {
		s->thread.name = "schbench-msg";
		s->thread.body = schbench_message_thread;
		s->crew = s + 1;
	} else {
		s->thread.name = "schbench-worker";
		s->thread.body = schbench_worker_thread;
		s->boss = s - place;
		s->matrices = memory(b->engine.w, numbers + 1, sizeof(uint64_t));
	}
}

static void run(struct worker *w)
{
	struct schbench *b = memory(w, 1, sizeof(*b));
	struct engine *e = &b->engine;

	configure(b, w);
	*e = (struct engine){.w = w, .ops = &ops, .own = b, .open_loop = b->rate != 0};
	e->count = b->messengers * (1 + b->crew_size);
	b->threads = memory(w, e->count, sizeof(*b->threads));
	e->threads = memory(w, e->count, sizeof(struct engine_thread *));
	b->locks = memory(w, MAX_CPUS, sizeof(*b->locks));
	for (unsigned int i = 0; i < e->count; i++)
		make_thread(b, i);
	engine_run(e);
}

const struct work_type work_schbench = {
	.name = "Schbench",
	.makes_tasks = true,
	.group_size = 1,
	.params = {{"message_threads", 1, 1, 256},
		   {"worker_threads", 0, 0, 1024},
		   {"cache_footprint_kib", 256, 0, 65536},
		   {"operations", 5, 0, 1000000},
		   {"sleep_us", 100, 0, 100000},
		   {"skip_locking", 0, 0, 1},
		   {"requests_per_sec", 0, 0, 10000000},
		   {"auto_rps", 0, 0, 100},
		   {"split_percent", 100, 0, 100}},
	.shared_bytes = engine_shared_bytes,
	.prepare = prepare,
	.run = run,
};
