// SPDX-License-Identifier: GPL-2.0-only
/* TimerLatency: how late an absolute timer wakes its sleeper, as cyclictest measures it. */
#include "jitter.h"

struct timer_state {
	uint64_t deadline; /* 0: the series has not begun */
};

static bool prepare(struct worker *w, char *error, size_t size)
{
	return work_state(w, sizeof(struct timer_state), error, size) != NULL;
}

static bool iterate(struct worker *w)
{
	struct timer_state *s = w->state;
	uint64_t interval = param(w, 0) * NSEC_PER_USEC;
	uint64_t now = now_ns();
	struct timespec until;
	bool woken; /* by the timer, not by the signal that ends the run */

	if (!s->deadline)
		s->deadline = now - jitter_offset(w->jitter, interval);
	/* A deadline missed while the worker was late has no wake-up of its own: skip it. */
	s->deadline += interval;
	if (s->deadline <= now)
		s->deadline += (now - s->deadline) / interval * interval + interval;

	until = timespec_of(s->deadline);
	woken = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0;
	now = now_ns();
	probe_unblocked(&w->probe, now);
	if (!woken)
		return false;
	probe_sample(&w->probe, RESERVOIR_TIMER, now > s->deadline ? now - s->deadline : 0);
	probe_units(&w->probe, 1);
	/* A step of seconds holds fewer cycles than units between two checkpoints. */
	probe_checkpoint(&w->probe);
	return true;
}

const struct work_type work_timer_latency = {
	.name = "TimerLatency",
	.group_size = 1,
	.fills = FILLS(TIMER),
	.params = {{"interval_us", 1000, 10, 60000000}},
	.prepare = prepare,
	.iterate = iterate,
};
