// SPDX-License-Identifier: GPL-2.0-only
/* EpollStorm: producers fire bursts of events at consumers that wait in one epoll. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "await.h"

#define BURST_GAP_US 1000 /* a producer's sleep between two bursts */

enum {
	PRODUCERS,
	CONSUMERS,
	EVENTS_PER_BURST,
};

enum {
	EVENT_FD,
	EPOLL_FD,
	EPOLL_FDS,
};

static unsigned int group_fds(const struct spec *spec)
{
	(void)spec;
	return EPOLL_FDS;
}

static bool open_group(const struct spec *spec, struct group *group)
{
	struct epoll_event event = {.events = EPOLLIN};
	int *fds = group->fds;

	(void)spec;
	fds[EVENT_FD] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fds[EPOLL_FD] = epoll_create1(EPOLL_CLOEXEC);
	return fds[EVENT_FD] >= 0 && fds[EPOLL_FD] >= 0 &&
	       epoll_ctl(fds[EPOLL_FD], EPOLL_CTL_ADD, fds[EVENT_FD], &event) == 0;
}

static bool produce(struct worker *w)
{
	const uint64_t one = 1;
	uint64_t elapsed;

	for (uint64_t i = 0; i < param(w, EVENTS_PER_BURST); i++) {
		if (stopped(w))
			return false;
		if (write(w->group->fds[EVENT_FD], &one, sizeof(one)) == sizeof(one))
			probe_units(&w->probe, 1);
	}
	/* The pace of the bursts, not a wake-up of interest. */
	return sleep_for(w, BURST_GAP_US * NSEC_PER_USEC, &elapsed);
}

/* A consumer takes all events there are: who comes too late goes back to sleep. */
static bool consume(struct worker *w)
{
	uint64_t blocked_at = 0, count;
	struct epoll_event event;

	while (read(w->group->fds[EVENT_FD], &count, sizeof(count)) != sizeof(count)) {
		if (stopped(w))
			return false;
		if (!blocked_at)
			blocked_at = now_ns();
		epoll_wait(w->group->fds[EPOLL_FD], &event, 1, STOP_POLL_MS);
		probe_unblocked(&w->probe, now_ns());
	}
	sample_wait(w, blocked_at);
	return spin_units(w, SPIN_CHUNK);
}

static bool iterate(struct worker *w)
{
	return w->position < param(w, PRODUCERS) ? produce(w) : consume(w);
}

const struct work_type work_epoll_storm = {
	.name = "EpollStorm",
	.group_params = 1U << PRODUCERS | 1U << CONSUMERS,
	.fills = FILLS(WAKE),
	.params = {[PRODUCERS] = {"producers", 1, 1, 512},
		   [CONSUMERS] = {"consumers", 2, 1, 512},
		   [EVENTS_PER_BURST] = {"events_per_burst", 32, 1, 1000000}},
	.group_fds = group_fds,
	.open_group = open_group,
	.iterate = iterate,
};
