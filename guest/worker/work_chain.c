// SPDX-License-Identifier: GPL-2.0-only
/* WakeChain: a ring of workers, each of which works for a while and wakes the next. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>

#include "await.h"

#define HOP_SPIN 64 /* steps between two looks at the clock */

enum {
	DEPTH,
	WAKE,
	WORK_PER_HOP_US,
};

enum {
	WAKE_PIPE, /* the kernel tells the scheduler that the waker is about to sleep */
	WAKE_FUTEX,
};

/* Pipe i, fds[2i] to read and fds[2i + 1] to write, leads to position i. */
static unsigned int group_fds(const struct spec *spec)
{
	return spec->params[WAKE] == WAKE_PIPE ? 2 * (unsigned int)spec->params[DEPTH] : 0;
}

static bool open_group(const struct spec *spec, struct group *group)
{
	(void)spec;
	for (unsigned int i = 0; i < group->nfds; i += 2)
		if (pipe2(group->fds + i, O_CLOEXEC | O_NONBLOCK) < 0)
			return false;
	/* The token that goes round; position 0 begins. */
	return group->nfds == 0 || write(group->fds[1], "", 1) == 1;
}

static bool await_byte(struct worker *w, uint64_t *blocked_at)
{
	struct pollfd pfd = {.fd = w->group->fds[2 * w->position], .events = POLLIN};
	char byte;

	while (read(pfd.fd, &byte, 1) != 1) {
		if (stopped(w))
			return false;
		if (!*blocked_at)
			*blocked_at = now_ns();
		poll(&pfd, 1, STOP_POLL_MS);
		probe_unblocked(&w->probe, now_ns());
	}
	return true;
}

/* The word holds the position whose turn it is. */
static bool await_turn(struct worker *w)
{
	uint64_t blocked_at = 0;

	if (param(w, WAKE) == WAKE_PIPE ?
		    !await_byte(w, &blocked_at) :
		    !await_value(w, &w->group->words[0], w->position, &blocked_at))
		return false;
	sample_wait(w, blocked_at);
	return true;
}

static void pass_on(struct worker *w)
{
	unsigned int next = (w->position + 1) % (unsigned int)param(w, DEPTH);

	if (param(w, WAKE) == WAKE_PIPE) {
		/* Never full: there is one byte in the whole ring. */
		if (write(w->group->fds[2 * next + 1], "", 1) != 1)
			idle_poll();
		return;
	}
	__atomic_store_n(&w->group->words[0], next, __ATOMIC_RELEASE);
	/* All wait on one word; those whose turn it is not go back to sleep. */
	futex_wake(&w->group->words[0], INT32_MAX);
}

static bool iterate(struct worker *w)
{
	uint64_t end;

	if (!await_turn(w))
		return false;
	/* In small pieces: a hop may be shorter than a chunk of spin_for. */
	end = now_ns() + param(w, WORK_PER_HOP_US) * NSEC_PER_USEC;
	do {
		if (!spin_units(w, HOP_SPIN))
			return false;
	} while (now_ns() < end);
	pass_on(w);
	return true;
}

const struct work_type work_wake_chain = {
	.name = "WakeChain",
	.group_params = 1U << DEPTH,
	.fills = FILLS(WAKE),
	.params = {[DEPTH] = {"depth", 4, 2, 256},
		   [WAKE] = {"wake", WAKE_PIPE, WAKE_PIPE, WAKE_FUTEX},
		   [WORK_PER_HOP_US] = {"work_per_hop_us", 100, 1, 60000000}},
	.group_fds = group_fds,
	.open_group = open_group,
	.iterate = iterate,
};
