// SPDX-License-Identifier: GPL-2.0-only
/* MutexContention, PriorityInversion: workers that contend for one lock in a futex word. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "await.h"
#include "work.h"

static bool compare_and_set(uint32_t *word, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/* The plain lock: 0 free, 1 taken. False when it is time to stop. */
static bool lock_plain(struct worker *w, uint32_t *word)
{
	uint64_t blocked_at = 0;

	while (!compare_and_set(word, 0, 1))
		if (!await_change(w, word, 1, &blocked_at))
			return false;
	sample_wait(w, blocked_at);
	return true;
}

static void unlock_plain(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
	futex_wake(word, 1);
}

/* LOCK_PI2 is LOCK_PI with the monotonic clock; its timeout is a point in time. */
static long futex_lock_pi(uint32_t *word, uint64_t until_ns)
{
	struct timespec until = timespec_of(until_ns);

	return syscall(SYS_futex, word, FUTEX_LOCK_PI2, 0, &until, NULL, 0);
}

/* The lock whose holder inherits the priority of those who wait: 0 free, else the holder's tid. */
static bool lock_pi(struct worker *w, uint32_t *word)
{
	uint64_t blocked_at;

	if (compare_and_set(word, 0, (uint32_t)gettid()))
		return true;
	blocked_at = now_ns();
	while (futex_lock_pi(word, now_ns() + STOP_POLL_MS * NSEC_PER_MSEC) < 0) {
		/* A holder that was killed leaves a word that nobody can lock any more. */
		if (errno != ETIMEDOUT && errno != EINTR && errno != EAGAIN)
			idle_poll();
		probe_unblocked(&w->probe, now_ns());
		if (stopped(w))
			return false;
	}
	probe_unblocked(&w->probe, now_ns());
	sample_wait(w, blocked_at);
	return true;
}

static void unlock_pi(uint32_t *word)
{
	if (!compare_and_set(word, (uint32_t)gettid(), 0))
		syscall(SYS_futex, word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
}

/* Take the lock, spin @units while holding it, let it go whatever happened. */
static bool with_lock(struct worker *w, bool pi, uint64_t units)
{
	uint32_t *word = &w->group->words[0];
	bool whole;

	if (!(pi ? lock_pi(w, word) : lock_plain(w, word)))
		return false;
	whole = spin_units(w, units);
	if (pi)
		unlock_pi(word);
	else
		unlock_plain(word);
	return whole;
}

enum {
	CONTENDERS, /* group_params: one member each */
	HOLD_ITERS,
	WORK_ITERS,
};

static bool mutex_contention(struct worker *w)
{
	return spin_units(w, param(w, WORK_ITERS)) && with_lock(w, false, param(w, HOLD_ITERS));
}

enum {
	HIGH_COUNT, /* group_params: one member each */
	MEDIUM_COUNT,
	LOW_COUNT,
	TIER_HOLD_ITERS,
	TIER_WORK_ITERS,
	PI_MODE, /* 0 plain, 1 pi */
};

enum tier {
	HIGH,
	MEDIUM,
	LOW,
};

/*
 * Real-time workers that never slept would leave the CPU to nobody. The low tier
 * sleeps least, so that it has the lock for a good part of the time.
 */
static const struct {
	int fifo_priority;
	uint64_t pause_us;
} tiers[] = {[HIGH] = {70, 1000}, [MEDIUM] = {50, 1000}, [LOW] = {30, 100}};

static enum tier tier_of(const struct worker *w)
{
	if (w->position < param(w, HIGH_COUNT))
		return HIGH;
	return w->position < param(w, HIGH_COUNT) + param(w, MEDIUM_COUNT) ? MEDIUM : LOW;
}

static bool prepare_tier(struct worker *w, char *error, size_t size)
{
	uint32_t own = 0;

	if (!param(w, PI_MODE))
		return true;
	if (futex_lock_pi(&own, now_ns() + NSEC_PER_SEC) < 0) {
		snprintf(error, size, "pi_mode pi needs priority-inheriting futexes: %s",
			 strerror(errno));
		return false;
	}
	unlock_pi(&own);
	return true;
}

static void take_priority(struct worker *w)
{
	struct telemetry *t = w->probe.out;
	struct sched_param fifo = {.sched_priority = tiers[tier_of(w)].fifo_priority};

	if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		snprintf(t->policy_error, sizeof(t->policy_error),
			 "sched_setscheduler to policy fifo (priority %d): %s", fifo.sched_priority,
			 strerror(errno));
}

static bool priority_inversion(struct worker *w)
{
	enum tier tier = tier_of(w);
	uint64_t hold = tier == LOW ? param(w, TIER_HOLD_ITERS) : 0, ignored;

	if (!spin_units(w, param(w, TIER_WORK_ITERS)))
		return false;
	if (tier != MEDIUM && !with_lock(w, param(w, PI_MODE), hold))
		return false;
	return sleep_for(w, tiers[tier].pause_us * NSEC_PER_USEC, &ignored);
}

const struct work_type work_mutex_contention = {
	.name = "MutexContention",
	.group_params = 1U << CONTENDERS,
	.fills = FILLS(WAKE),
	.params = {[CONTENDERS] = {"contenders", 4, 2, 256},
		   [HOLD_ITERS] = {"hold_iters", 256, 1, 1000000000},
		   [WORK_ITERS] = {"work_iters", 1024, 1, 1000000000}},
	.iterate = mutex_contention,
};

const struct work_type work_priority_inversion = {
	.name = "PriorityInversion",
	.group_params = 1U << HIGH_COUNT | 1U << MEDIUM_COUNT | 1U << LOW_COUNT,
	.fills = FILLS(WAKE),
	.params = {[HIGH_COUNT] = {"high_count", 1, 1, 64},
		   [MEDIUM_COUNT] = {"medium_count", 1, 0, 64},
		   [LOW_COUNT] = {"low_count", 1, 1, 64},
		   [TIER_HOLD_ITERS] = {"hold_iters", 4096, 1, 1000000000},
		   [TIER_WORK_ITERS] = {"work_iters", 1024, 1, 1000000000},
		   [PI_MODE] = {"pi_mode", 0, 0, 1}},
	.prepare = prepare_tier,
	.started = take_priority,
	.iterate = priority_inversion,
};
