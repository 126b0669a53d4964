// SPDX-License-Identifier: GPL-2.0-only
/* FutexPingPong: pairs that hand a turn to each other through one futex word. */
#include "await.h"
#include "work.h"

static bool iterate(struct worker *w)
{
	uint32_t *word = &w->group->words[0]; /* the position whose turn it is */
	uint64_t blocked_at = 0;

	if (!await_value(w, word, w->position, &blocked_at))
		return false;
	sample_wait(w, blocked_at);
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
