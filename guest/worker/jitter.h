/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a seed changes from run to run, within what any scheduler has to bear: on
 * which CPU a worker first stands, when it starts, and where its periods lie.
 * All of it is nothing while the spec has no jitter_us.
 */
#ifndef WORKER_JITTER_H
#define WORKER_JITTER_H

#include "work.h"

struct jitter {
	uint64_t rng; /* apart from the probe's: what is measured draws the same with and without */
	uint64_t below_ns;
};

/* @seed is the worker's own, never 0. */
struct jitter jitter_of(const struct spec *spec, uint64_t seed);
/*
 * Move to a random CPU and stay free to leave it. A worker with an affinity of its
 * own is left alone. A sentence in @error when the kernel refuses the way back.
 */
void jitter_first_cpu(struct jitter *j, const struct spec *spec, char *error, size_t size);
/* Sleep for less than jitter_us; cut short by a signal. */
void jitter_start(struct jitter *j);
/* A part of @period_ns by which a period may begin early; 0 without jitter. */
uint64_t jitter_offset(struct jitter *j, uint64_t period_ns);

#endif
