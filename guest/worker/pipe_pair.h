// SPDX-License-Identifier: GPL-2.0-only
/* Groups of two whose members exchange one byte through two pipes. */
#ifndef WORKER_PIPE_PAIR_H
#define WORKER_PIPE_PAIR_H

#include "work.h"

struct pipe_pair {
	int rx;
	int tx;
	bool alone; /* the partner is gone */
};

/* The hooks group_fds and open_group of a work type of pairs. */
unsigned int pipe_pair_fds(const struct spec *spec);
bool pipe_pair_open(const struct spec *spec, struct group *group);
/* In prepare: take one's own ends, close the partner's. */
void pipe_pair_take(struct worker *w, struct pipe_pair *pair);
/* Whether there is a partner; when there is none any more, idles for a while. */
bool pipe_pair_alive(struct worker *w, const struct pipe_pair *pair);
/*
 * Send a byte and wait for the partner's. The wake latency is sampled if it had
 * to wait. False when it is time to stop or the partner is gone.
 */
bool pipe_pair_exchange(struct worker *w, struct pipe_pair *pair);

#endif
