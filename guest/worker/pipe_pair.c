// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "pipe_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "await.h"

/* fds[0], fds[1]: read and write end towards position 0; fds[2], fds[3]: towards position 1. */
unsigned int pipe_pair_fds(const struct spec *spec)
{
	(void)spec;
	return 4;
}

bool pipe_pair_open(const struct spec *spec, struct group *group)
{
	(void)spec;
	int *fds = group->fds;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	return pipe2(fds + 2, O_CLOEXEC | O_NONBLOCK) == 0;
}

void pipe_pair_take(struct worker *w, struct pipe_pair *pair)
{
	const int *fds = w->group->fds;
	unsigned int mine = 2 * w->position, other = 2 - mine;

	pair->rx = fds[mine];
	pair->tx = fds[other + 1];
	/* Without these copies the death of the partner shows as end of file. */
	close(fds[mine + 1]);
	close(fds[other]);
}

bool pipe_pair_alive(struct worker *w, const struct pipe_pair *pair)
{
	if (!pair->alone)
		return true;
	idle_poll();
	probe_unblocked(&w->probe, now_ns());
	return false;
}

/* Wait for the byte; true once it is there. A read that need not wait is not a wake-up. */
static bool receive(struct worker *w, struct pipe_pair *pair)
{
	struct pollfd pfd = {.fd = pair->rx, .events = POLLIN};
	uint64_t blocked_at = 0;
	char byte;

	for (;;) {
		ssize_t n = read(pair->rx, &byte, 1);

		if (n == 1)
			break;
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			pair->alone = true;
			return false;
		}
		if (stopped(w))
			return false;
		if (!blocked_at)
			blocked_at = now_ns();
		poll(&pfd, 1, STOP_POLL_MS);
		probe_unblocked(&w->probe, now_ns());
	}
	sample_wait(w, blocked_at);
	return true;
}

bool pipe_pair_exchange(struct worker *w, struct pipe_pair *pair)
{
	if (write(pair->tx, "", 1) != 1) {
		pair->alone = true;
		return false;
	}
	return receive(w, pair);
}
