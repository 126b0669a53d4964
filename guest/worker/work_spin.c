// SPDX-License-Identifier: GPL-2.0-only
/* SpinWait, YieldHeavy, Mixed, Bursty: CPU burners that differ in how they give the CPU away. */
#include <sched.h>

#include "work.h"

static bool spin_wait(struct worker *w)
{
	return spin_units(w, SPIN_CHUNK);
}

static bool yield_heavy(struct worker *w)
{
	probe_units(&w->probe, 1);
	sched_yield();
	return true;
}

static bool mixed(struct worker *w)
{
	if (!spin_units(w, SPIN_CHUNK))
		return false;
	sched_yield();
	return true;
}

enum {
	BURST_US,
	SLEEP_US,
};

static bool bursty(struct worker *w)
{
	uint64_t end = now_ns() + param(w, BURST_US) * NSEC_PER_USEC;
	struct timespec pause = timespec_of(param(w, SLEEP_US) * NSEC_PER_USEC);
	uint64_t slept_at, now;
	bool woken; /* by the timer, not by the signal that ends the run */

	do {
		if (!spin_units(w, SPIN_CHUNK))
			return false;
	} while (now_ns() < end);

	slept_at = now_ns();
	woken = clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL) == 0;
	now = now_ns();
	probe_unblocked(&w->probe, now);
	if (woken)
		probe_sample(&w->probe, RESERVOIR_WAKE, now - slept_at);
	return woken;
}

const struct work_type work_spin_wait = {
	.name = "SpinWait",
	.group_size = 1,
	.iterate = spin_wait,
};

const struct work_type work_yield_heavy = {
	.name = "YieldHeavy",
	.group_size = 1,
	.iterate = yield_heavy,
};

const struct work_type work_mixed = {
	.name = "Mixed",
	.group_size = 1,
	.iterate = mixed,
};

const struct work_type work_bursty = {
	.name = "Bursty",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.params = {[BURST_US] = {"burst_us", 50000, 1, 60000000},
		   [SLEEP_US] = {"sleep_us", 100000, 1, 60000000}},
	.iterate = bursty,
};
