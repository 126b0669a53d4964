// SPDX-License-Identifier: GPL-2.0-only
/* ForkExit, NiceSweep, PolicyChurn: tasks that come and go or keep changing how they are ranked. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "work.h"

#define NICE_SPIN 512 /* steps before each change of the nice value */
#define NICE_MIN  (-20)
#define NICE_MAX  19

/* Give the CPU away; what passes until it is back is a wake latency. */
static void yield_sampled(struct worker *w)
{
	uint64_t blocked_at = now_ns(), now;

	sched_yield();
	now = now_ns();
	probe_sample(&w->probe, RESERVOIR_WAKE, now - blocked_at);
	probe_unblocked(&w->probe, now);
}

static bool fork_exit(struct worker *w)
{
	uint64_t blocked_at, now;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0) {
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	blocked_at = now_ns();
	/* A child that is never scheduled must not keep the worker: the stop interrupts the wait. */
	while (waitpid(child, NULL, 0) < 0)
		if (errno != EINTR || stopped(w))
			return false;
	now = now_ns();
	probe_sample(&w->probe, RESERVOIR_WAKE, now - blocked_at);
	probe_unblocked(&w->probe, now);
	probe_units(&w->probe, 1);
	/* Forks are slow: waiting for a thousand of them would hide every migration. */
	probe_checkpoint(&w->probe);
	return true;
}

struct sweep_state {
	int next;
};

static bool prepare_sweep(struct worker *w, char *error, size_t size)
{
	struct sweep_state *s = work_state(w, sizeof(*s), error, size);

	if (!s)
		return false;
	s->next = NICE_MIN;
	return true;
}

static bool nice_sweep(struct worker *w)
{
	struct sweep_state *s = w->state;

	if (!spin_units(w, NICE_SPIN))
		return false;
	/* Without the privilege to rise, the sweep is that of the values that are allowed. */
	while (setpriority(PRIO_PROCESS, 0, s->next) < 0 && s->next < NICE_MAX)
		s->next++;
	s->next = s->next < NICE_MAX ? s->next + 1 : NICE_MIN;
	yield_sampled(w);
	return true;
}

static const struct {
	int policy;
	int priority;
} policies[] = {
	{SCHED_OTHER, 0}, {SCHED_BATCH, 0}, {SCHED_IDLE, 0}, {SCHED_FIFO, 1}, {SCHED_RR, 1},
};

#define POLICIES (sizeof(policies) / sizeof(policies[0]))

struct policy_state {
	unsigned int next;
};

static bool prepare_policy(struct worker *w, char *error, size_t size)
{
	return work_state(w, sizeof(struct policy_state), error, size) != NULL;
}

static bool policy_churn(struct worker *w)
{
	struct policy_state *s = w->state;

	if (!spin_units(w, param(w, 0)))
		return false;
	/* The real-time ones are passed over where they are not allowed. */
	for (unsigned int tries = 0; tries < POLICIES; tries++) {
		struct sched_param rank = {.sched_priority = policies[s->next].priority};
		int policy = policies[s->next].policy;

		s->next = (s->next + 1) % POLICIES;
		if (sched_setscheduler(0, policy, &rank) == 0)
			break;
	}
	yield_sampled(w);
	return true;
}

const struct work_type work_fork_exit = {
	.name = "ForkExit",
	.process_wide = true,
	.makes_tasks = true,
	.group_size = 1,
	.fills = FILLS(WAKE),
	.iterate = fork_exit,
};

const struct work_type work_nice_sweep = {
	.name = "NiceSweep",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.prepare = prepare_sweep,
	.iterate = nice_sweep,
};

const struct work_type work_policy_churn = {
	.name = "PolicyChurn",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.params = {{"spin_iters", 1024, 1, 1000000000}},
	.prepare = prepare_policy,
	.iterate = policy_churn,
};
