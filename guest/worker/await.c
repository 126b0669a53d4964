// SPDX-License-Identifier: GPL-2.0-only
#include "await.h"

#include <errno.h>
#include <sched.h>

static bool await(struct worker *w, uint32_t *word, uint32_t value, bool equal,
		  uint64_t *blocked_at)
{
	uint32_t seen;

	while (((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) == value) != equal) {
		uint64_t before = now_ns();

		if (stopped(w))
			return false;
		/* EAGAIN: the word changed before the kernel could put us to sleep. */
		if (futex_wait(word, seen, STOP_POLL_MS * NSEC_PER_MSEC) < 0 && errno == EAGAIN)
			continue;
		if (!*blocked_at)
			*blocked_at = before;
		probe_unblocked(&w->probe, now_ns());
	}
	return true;
}

bool await_value(struct worker *w, uint32_t *word, uint32_t value, uint64_t *blocked_at)
{
	return await(w, word, value, true, blocked_at);
}

bool await_change(struct worker *w, uint32_t *word, uint32_t value, uint64_t *blocked_at)
{
	return await(w, word, value, false, blocked_at);
}

bool spin_for(struct worker *w, uint64_t ns)
{
	uint64_t end = now_ns() + ns;

	do {
		if (!spin_units(w, SPIN_CHUNK))
			return false;
	} while (now_ns() < end);
	return true;
}

bool sleep_for(struct worker *w, uint64_t ns, uint64_t *elapsed)
{
	struct timespec pause = timespec_of(ns);
	uint64_t slept_at = now_ns();
	bool woken = clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL) == 0;
	uint64_t now = now_ns();

	probe_unblocked(&w->probe, now);
	*elapsed = now - slept_at;
	return woken;
}

void yield_sampled(struct worker *w)
{
	uint64_t yielded_at = now_ns(), now;

	sched_yield();
	now = now_ns();
	probe_sample(&w->probe, RESERVOIR_WAKE, now - yielded_at);
	probe_unblocked(&w->probe, now);
}
