// SPDX-License-Identifier: GPL-2.0-only
/* CachePressure, CacheYield, CachePipe: strided read-modify-writes over a buffer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "await.h"
#include "pipe_pair.h"
#include "work.h"

#define PASS_UNITS 1024 /* work units of one iteration: one unit is one read-modify-write */
#define CACHE_LINE 64

struct cache_state {
	volatile uint8_t *bytes;
	size_t size;
	size_t stride;
	size_t at;
	struct pipe_pair pair;
};

enum {
	SIZE_KIB,
	STRIDE,		 /* CachePressure, CacheYield */
	BURST_ITERS = 1, /* CachePipe */
};

static struct cache_state *open_buffer(struct worker *w, size_t stride, char *error, size_t size)
{
	struct cache_state *s = work_state(w, sizeof(*s), error, size);
	void *bytes;

	if (!s)
		return NULL;
	s->size = param(w, SIZE_KIB) * 1024;
	s->stride = stride % s->size;
	bytes = aligned_alloc(CACHE_LINE, s->size);
	if (!bytes) {
		snprintf(error, size, "no memory for a buffer of %zu bytes", s->size);
		return NULL;
	}
	/* Now, so that the first pass measures caches and not page faults. */
	memset(bytes, 1, s->size);
	s->bytes = bytes;
	return s;
}

static bool prepare_strided(struct worker *w, char *error, size_t size)
{
	return open_buffer(w, param(w, STRIDE), error, size) != NULL;
}

static bool prepare_pipe(struct worker *w, char *error, size_t size)
{
	struct cache_state *s = open_buffer(w, CACHE_LINE, error, size);

	if (!s)
		return false;
	pipe_pair_take(w, &s->pair);
	return true;
}

static bool touch(struct worker *w, uint64_t units)
{
	struct cache_state *s = w->state;

	while (units) {
		uint64_t chunk = units < PASS_UNITS ? units : PASS_UNITS;

		if (stopped(w))
			return false;
		for (uint64_t i = 0; i < chunk; i++) {
			s->bytes[s->at]++;
			s->at += s->stride;
			if (s->at >= s->size)
				s->at -= s->size;
		}
		probe_units(&w->probe, chunk);
		units -= chunk;
	}
	return true;
}

static bool cache_pressure(struct worker *w)
{
	return touch(w, PASS_UNITS);
}

static bool cache_yield(struct worker *w)
{
	if (!touch(w, PASS_UNITS))
		return false;
	yield_sampled(w);
	return true;
}

static bool cache_pipe(struct worker *w)
{
	struct cache_state *s = w->state;

	return pipe_pair_alive(w, &s->pair) && touch(w, param(w, BURST_ITERS)) &&
	       pipe_pair_exchange(w, &s->pair);
}

#define SIZE_PARAM   {"size_kib", 32, 1, 262144}
#define STRIDE_PARAM {"stride", 64, 1, 1048576}

const struct work_type work_cache_pressure = {
	.name = "CachePressure",
	.group_size = 1,
	.params = {[SIZE_KIB] = SIZE_PARAM, [STRIDE] = STRIDE_PARAM},
	.prepare = prepare_strided,
	.iterate = cache_pressure,
};

const struct work_type work_cache_yield = {
	.name = "CacheYield",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.params = {[SIZE_KIB] = SIZE_PARAM, [STRIDE] = STRIDE_PARAM},
	.prepare = prepare_strided,
	.iterate = cache_yield,
};

const struct work_type work_cache_pipe = {
	.name = "CachePipe",
	.group_size = 2,
	.fills = FILLS(WAKE),
	.params = {[SIZE_KIB] = SIZE_PARAM, [BURST_ITERS] = {"burst_iters", 1024, 1, 1000000000}},
	.group_fds = pipe_pair_fds,
	.open_group = pipe_pair_open,
	.prepare = prepare_pipe,
	.iterate = cache_pipe,
};
