// SPDX-License-Identifier: GPL-2.0-only
/* PipeIo: pairs that spin, then exchange one byte through two pipes. */
#include "pipe_pair.h"
#include "work.h"

static bool prepare(struct worker *w, char *error, size_t size)
{
	struct pipe_pair *pair = work_state(w, sizeof(*pair), error, size);

	if (!pair)
		return false;
	pipe_pair_take(w, pair);
	return true;
}

static bool iterate(struct worker *w)
{
	struct pipe_pair *pair = w->state;

	return pipe_pair_alive(w, pair) && spin_units(w, param(w, 0)) &&
	       pipe_pair_exchange(w, pair);
}

const struct work_type work_pipe_io = {
	.name = "PipeIo",
	.group_size = 2,
	.fills = FILLS(WAKE),
	.params = {{"burst_iters", 1024, 1, 1000000000}},
	.group_fds = pipe_pair_fds,
	.open_group = pipe_pair_open,
	.prepare = prepare,
	.iterate = iterate,
};
