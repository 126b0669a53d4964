// SPDX-License-Identifier: GPL-2.0-only
/* FutexPingPong: pairs that hand a turn to each other through one futex word. */
#include <errno.h>

#include "work.h"

/* The word holds the position whose turn it is. */
static bool await_turn(struct worker *w, uint32_t *word)
{
	uint64_t blocked_at = now_ns();
	bool blocked = false;
	uint32_t turn;

	while ((turn = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != w->position) {
		if (stopped(w))
			return false;
		/* EAGAIN: the turn came before the kernel could put us to sleep. */
		if (futex_wait(word, turn, STOP_POLL_MS * NSEC_PER_MSEC) < 0 && errno == EAGAIN)
			continue;
		blocked = true;
		probe_unblocked(&w->probe, now_ns());
	}
	if (blocked)
		probe_sample(&w->probe, RESERVOIR_WAKE, w->probe.stamp_ns - blocked_at);
	return true;
}

static bool iterate(struct worker *w)
{
	uint32_t *word = &w->group->words[0];

	if (!await_turn(w, word))
		return false;
	if (!spin_units(w, param(w, 0)))
		return false;
	__atomic_store_n(word, 1 - w->position, __ATOMIC_RELEASE);
	futex_wake(word, 1);
	return true;
}

const struct work_type work_futex_ping_pong = {
	.name = "FutexPingPong",
	.group_size = 2,
	.fills = FILLS(WAKE),
	.params = {{"spin_iters", 1024, 1, 1000000000}},
	.iterate = iterate,
};
