// SPDX-License-Identifier: GPL-2.0-only
/* Which CPUs a worker binds itself to. */
#ifndef WORKER_AFFINITY_H
#define WORKER_AFFINITY_H

#include "spec.h"

/* The pool is what the worker's cgroup allows when it starts. */
enum affinity_intent {
	AFFINITY_INHERIT, /* make no call */
	AFFINITY_EXACT,	  /* the CPUs that were listed */
	AFFINITY_RANDOM,  /* half of the pool, at least one, drawn for each worker */
	AFFINITY_LLC,	/* of the last-level cache that has most of the pool: what is in the pool */
	AFFINITY_CROSS, /* every CPU; the kernel keeps to the cgroup's */
	AFFINITY_SINGLE,   /* the first of the pool */
	AFFINITY_SMT_PAIR, /* two threads of the first core that has two in the pool */
};

#define AFFINITY_ALLOWED "inherit, random, llc, cross, single, smt-pair or a CPU list like 0-1,3"

/*
 * Parse a list of numbers below @limit ("0-1,3") into @mask of that many bits;
 * false when it is malformed, empty or out of range.
 */
bool parse_list(const char *text, uint64_t *mask, unsigned long limit);
/* Take the value of the key "affinity"; false when it is neither an intent nor a CPU list. */
bool parse_affinity(struct spec *spec, const char *text);
/*
 * Bind the calling thread as @spec asks, random choices drawn from @rng. On
 * failure @error (@size bytes) says what was refused; the thread goes on as it was.
 */
void apply_affinity(const struct spec *spec, uint64_t *rng, char *error, size_t size);

#endif
