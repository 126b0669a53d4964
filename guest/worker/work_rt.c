// SPDX-License-Identifier: GPL-2.0-only
/* RtStarvation, PreemptStorm, AsymmetricWaker: groups whose members differ in scheduling class. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "await.h"
#include "placement.h"

#define LOWEST_RT 1
#define BEGIN_MS  STOP_POLL_MS

/* A role without a priority of its own gets the lowest. */
static void take_role(struct worker *w, int policy, int priority)
{
	struct sched_param rank = {.sched_priority = priority};
	struct telemetry *t = w->probe.out;

	if (sched_setscheduler(0, policy, &rank) < 0)
		snprintf(t->policy_error, sizeof(t->policy_error),
			 "sched_setscheduler to policy %d (priority %d) of role %u: %s", policy,
			 priority, w->position, strerror(errno));
}

enum {
	RT_WORKERS,
	CFS_WORKERS,
	RT_PRIORITY,
	STARVE_BURST,
};

static void started_starvation(struct worker *w)
{
	bool rt = w->position < param(w, RT_WORKERS);

	take_role(w, rt ? SCHED_FIFO : SCHED_OTHER, rt ? (int)param(w, RT_PRIORITY) : 0);
}

/*
 * A victim that never gets a CPU must at least have begun, or its report would be
 * about no time at all: the real-time members wait for the victims, if briefly.
 */
static void begin_starving(struct worker *w)
{
	uint32_t *begun = &w->group->words[0], seen;
	uint64_t deadline = now_ns() + BEGIN_MS * NSEC_PER_MSEC, now;

	if (w->position >= param(w, RT_WORKERS)) {
		__atomic_fetch_add(begun, 1, __ATOMIC_RELEASE);
		futex_wake(begun, INT32_MAX);
		return;
	}
	while ((seen = __atomic_load_n(begun, __ATOMIC_ACQUIRE)) < param(w, CFS_WORKERS) &&
	       (now = now_ns()) < deadline && !stopped(w))
		futex_wait(begun, seen, deadline - now);
	probe_unblocked(&w->probe, now_ns());
}

/* No member ever blocks: what the others get is what the kernel takes from the real-time ones. */
static bool starve(struct worker *w)
{
	if (!w->probe.units)
		begin_starving(w);
	return spin_units(w, param(w, STARVE_BURST));
}

enum {
	SPINNERS,
	RT_BURST,
	RT_SLEEP_US,
};

static void started_storm(struct worker *w)
{
	if (w->position == 0)
		take_role(w, SCHED_FIFO, LOWEST_RT);
	else
		take_role(w, SCHED_OTHER, 0);
}

static bool storm(struct worker *w)
{
	uint64_t elapsed;

	if (w->position != 0)
		return spin_units(w, SPIN_CHUNK);
	if (!spin_units(w, param(w, RT_BURST)) ||
	    !sleep_for(w, param(w, RT_SLEEP_US) * NSEC_PER_USEC, &elapsed))
		return false;
	probe_sample(&w->probe, RESERVOIR_WAKE, elapsed);
	return true;
}

enum {
	WAKER_CLASS,
	WAKEE_CLASS,
	WAKER_BURST,
};

/* In the order of the choices of waker_class and wakee_class. */
static const int classes[] = {SCHED_OTHER, SCHED_BATCH, SCHED_IDLE,
			      SCHED_FIFO,  SCHED_RR,	SCHED_EXT};

#define LAST_CLASS (sizeof(classes) / sizeof(classes[0]) - 1)

static void started_waker(struct worker *w)
{
	int policy = classes[param(w, w->position == 0 ? WAKER_CLASS : WAKEE_CLASS)];

	take_role(w, policy, policy == SCHED_FIFO || policy == SCHED_RR ? LOWEST_RT : 0);
}

/* The word holds the position whose turn it is. Only the wakee's waits are samples. */
static bool asymmetric(struct worker *w)
{
	uint32_t *word = &w->group->words[0];
	uint64_t blocked_at = 0;

	if (!await_value(w, word, w->position, &blocked_at))
		return false;
	if (w->position == 0) {
		if (!spin_units(w, param(w, WAKER_BURST)))
			return false;
	} else {
		sample_wait(w, blocked_at);
		probe_units(&w->probe, 1);
	}
	__atomic_store_n(word, 1 - w->position, __ATOMIC_RELEASE);
	futex_wake(word, 1);
	return true;
}

const struct work_type work_rt_starvation = {
	.name = "RtStarvation",
	.group_params = 1U << RT_WORKERS | 1U << CFS_WORKERS,
	.params = {[RT_WORKERS] = {"rt_workers", 1, 1, 512},
		   [CFS_WORKERS] = {"cfs_workers", 1, 1, 512},
		   [RT_PRIORITY] = {"rt_priority", 50, 1, 97},
		   [STARVE_BURST] = {"burst_iters", 1024, 1, 1000000000}},
	.started = started_starvation,
	.iterate = starve,
};

const struct work_type work_preempt_storm = {
	.name = "PreemptStorm",
	.group_size = 1,
	.group_params = 1U << SPINNERS,
	.fills = FILLS(WAKE),
	.params = {[SPINNERS] = {"cfs_workers", 2, 1, 1023},
		   [RT_BURST] = {"rt_burst_iters", 1024, 1, 1000000000},
		   [RT_SLEEP_US] = {"rt_sleep_us", 1000, 1, 60000000}},
	.started = started_storm,
	.iterate = storm,
};

const struct work_type work_asymmetric_waker = {
	.name = "AsymmetricWaker",
	.group_size = 2,
	.fills = FILLS(WAKE),
	.params = {[WAKER_CLASS] = {"waker_class", 0, 0, LAST_CLASS},
		   [WAKEE_CLASS] = {"wakee_class", 0, 0, LAST_CLASS},
		   [WAKER_BURST] = {"burst_iters", 1024, 1, 1000000000}},
	.started = started_waker,
	.iterate = asymmetric,
};
