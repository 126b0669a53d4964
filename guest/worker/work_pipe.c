// SPDX-License-Identifier: GPL-2.0-only
/* PipeIo: pairs that spin, then exchange one byte through two pipes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "work.h"

struct pipe_state {
	int rx;
	int tx;
	bool alone; /* the partner is gone */
};

/* fds[0], fds[1]: read and write end towards position 0; fds[2], fds[3]: towards position 1. */
static unsigned int group_fds(const struct spec *spec)
{
	(void)spec;
	return 4;
}

static bool open_group(const struct spec *spec, struct group *group)
{
	(void)spec;
	int *fds = group->fds;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	return pipe2(fds + 2, O_CLOEXEC | O_NONBLOCK) == 0;
}

static bool prepare(struct worker *w, char *error, size_t size)
{
	const int *fds = w->group->fds;
	unsigned int mine = 2 * w->position, other = 2 - mine;
	struct pipe_state *s = work_state(w, sizeof(*s), error, size);

	if (!s)
		return false;
	s->rx = fds[mine];
	s->tx = fds[other + 1];
	/* Without these copies the death of the partner shows as end of file. */
	close(fds[mine + 1]);
	close(fds[other]);
	return true;
}

/* Wait for the byte; true once it is there. A read that need not wait is not a wake-up. */
static bool receive(struct worker *w, struct pipe_state *s)
{
	struct pollfd pfd = {.fd = s->rx, .events = POLLIN};
	uint64_t blocked_at = 0;
	char byte;

	for (;;) {
		ssize_t n = read(s->rx, &byte, 1);

		if (n == 1)
			break;
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			s->alone = true;
			return false;
		}
		if (stopped(w))
			return false;
		if (!blocked_at)
			blocked_at = now_ns();
		poll(&pfd, 1, STOP_POLL_MS);
		probe_unblocked(&w->probe, now_ns());
	}
	if (blocked_at)
		probe_sample(&w->probe, RESERVOIR_WAKE, w->probe.stamp_ns - blocked_at);
	return true;
}

static bool iterate(struct worker *w)
{
	struct pipe_state *s = w->state;

	if (s->alone) {
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	if (!spin_units(w, param(w, 0)))
		return false;
	if (write(s->tx, "", 1) != 1) {
		s->alone = true;
		return false;
	}
	return receive(w, s);
}

const struct work_type work_pipe_io = {
	.name = "PipeIo",
	.group_size = 2,
	.fills = FILLS(WAKE),
	.params = {{"burst_iters", 1024, 1, 1000000000}},
	.group_fds = group_fds,
	.open_group = open_group,
	.prepare = prepare,
	.iterate = iterate,
};
