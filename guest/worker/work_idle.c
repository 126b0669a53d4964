// SPDX-License-Identifier: GPL-2.0-only
/* IdleChurn: short bursts between short sleeps, so that CPUs go idle and come back all the time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "await.h"

#define LEAST_SLACK_NS 1 /* 0 would mean the default of 50 us */

enum {
	BURST_US,
	SLEEP_US,
	PRECISE_TIMING, /* 0 off, 1 on */
};

static bool prepare(struct worker *w, char *error, size_t size)
{
	if (!param(w, PRECISE_TIMING) || prctl(PR_SET_TIMERSLACK, LEAST_SLACK_NS, 0, 0, 0) == 0)
		return true;
	snprintf(error, size, "precise_timing on, timer slack of %d ns: %s", LEAST_SLACK_NS,
		 strerror(errno));
	return false;
}

static bool iterate(struct worker *w)
{
	uint64_t asked = param(w, SLEEP_US) * NSEC_PER_USEC, elapsed;

	if (!spin_for(w, param(w, BURST_US) * NSEC_PER_USEC))
		return false;
	if (!sleep_for(w, asked, &elapsed))
		return false;
	/* What lies beyond the time asked for: timer slack, and waking up. */
	probe_sample(&w->probe, RESERVOIR_WAKE, elapsed > asked ? elapsed - asked : 0);
	return true;
}

const struct work_type work_idle_churn = {
	.name = "IdleChurn",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.params = {[BURST_US] = {"burst_us", 1000, 1, 60000000},
		   [SLEEP_US] = {"sleep_us", 5000, 1, 60000000},
		   [PRECISE_TIMING] = {"precise_timing", 0, 0, 1}},
	.prepare = prepare,
	.iterate = iterate,
};
