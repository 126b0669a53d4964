// SPDX-License-Identifier: GPL-2.0-only
/* Waits that look at the stop flag every STOP_POLL_MS, and spells of work measured in time. */
#ifndef WORKER_AWAIT_H
#define WORKER_AWAIT_H

#include "work.h"

/*
 * Sleep on the futex @word until it holds @value, or something else than @value.
 * The first time that it really sleeps, *@blocked_at, 0 before, takes the time;
 * the stamp of the probe is that of the last wake-up. False when it is time to stop.
 */
bool await_value(struct worker *w, uint32_t *word, uint32_t value, uint64_t *blocked_at);
bool await_change(struct worker *w, uint32_t *word, uint32_t value, uint64_t *blocked_at);

/* Note the wake latency of a wait that is over; one that did not sleep has none. */
static inline void sample_wait(struct worker *w, uint64_t blocked_at)
{
	if (blocked_at)
		probe_sample(&w->probe, RESERVOIR_WAKE, w->probe.stamp_ns - blocked_at);
}

/* Spin until @ns have passed, at least one chunk; false when the stop flag cut it short. */
bool spin_for(struct worker *w, uint64_t ns);

/*
 * Sleep @ns by the monotonic clock; *@elapsed is how long it took. False when it
 * was not the timer that ended it but the signal that ends the run.
 */
bool sleep_for(struct worker *w, uint64_t ns, uint64_t *elapsed);

/* Give the CPU away; what passes until it is back is sampled as a wake latency. */
void yield_sampled(struct worker *w);

#endif
