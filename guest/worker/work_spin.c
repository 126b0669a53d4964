// SPDX-License-Identifier: GPL-2.0-only
/* SpinWait, YieldHeavy, Mixed, Bursty: CPU burners that differ in how they give the CPU away. */
#include <sched.h>

#include "await.h"
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
	uint64_t elapsed;

	if (!spin_for(w, param(w, BURST_US) * NSEC_PER_USEC))
		return false;
	if (!sleep_for(w, param(w, SLEEP_US) * NSEC_PER_USEC, &elapsed))
		return false;
	probe_sample(&w->probe, RESERVOIR_WAKE, elapsed);
	return true;
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
