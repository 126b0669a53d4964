// SPDX-License-Identifier: GPL-2.0-only
/* AluHot, IpcVariance: multiply chains, alone or in turn with cache misses; they never block. */
#include "alu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Knuth's MMIX generator: odd multiplier, so a chain never collapses to 0. */
#define ALU_MULTIPLIER 6364136223846793005ULL
#define ALU_INCREMENT  1442695040888963407ULL

#define CACHE_LINE     64
#define COLD_BYTES     (512 * 1024)
#define COLD_TOUCHES   1024 /* between two looks at the stop flag */

/* @width is a constant wherever this is inlined, so that the chains live in registers. */
static inline __attribute__((always_inline)) void run_chains(uint64_t *chains, unsigned int width,
							     uint64_t rounds)
{
	uint64_t x[ALU_MAX_WIDTH];

	for (unsigned int c = 0; c < width; c++)
		x[c] = chains[c];
	for (uint64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 8
		for (unsigned int c = 0; c < width; c++) {
			x[c] = x[c] * ALU_MULTIPLIER + ALU_INCREMENT;
			/* Opaque to the compiler: no folding of rounds, no vector code. */
			__asm__ volatile("" : "+r"(x[c]));
		}
	}
	for (unsigned int c = 0; c < width; c++)
		chains[c] = x[c];
}

void alu_init(struct alu *alu, uint64_t seed)
{
	for (unsigned int c = 0; c < ALU_MAX_WIDTH; c++)
		alu->chains[c] = seed + c + 1;
}

bool alu_units(struct worker *w, struct alu *alu, unsigned int width, uint64_t units)
{
	while (units) {
		uint64_t chunk = units < ALU_ROUNDS ? units : ALU_ROUNDS;

		if (stopped(w))
			return false;
		switch (width) {
#define CASE(n)                                      \
	case n:                                      \
		run_chains(alu->chains, (n), chunk); \
		break
			CASE(1);
			CASE(2);
			CASE(3);
			CASE(4);
			CASE(5);
			CASE(6);
			CASE(7);
			CASE(8);
#undef CASE
		}
		probe_units(&w->probe, chunk);
		units -= chunk;
	}
	return true;
}

static bool prepare_hot(struct worker *w, char *error, size_t size)
{
	struct alu *alu = work_state(w, sizeof(*alu), error, size);

	if (alu)
		alu_init(alu, w->index);
	return alu != NULL;
}

static bool alu_hot(struct worker *w)
{
	uint64_t began = now_ns();

	if (!alu_units(w, w->state, (unsigned int)param(w, 0), ALU_ROUNDS))
		return false;
	probe_sample(&w->probe, RESERVOIR_COST, now_ns() - began);
	return true;
}

struct variance_state {
	struct alu alu;
	uint64_t rng;
	volatile uint8_t *cold;
};

enum {
	HOT_ITERS,
	COLD_ITERS,
	PERIOD_ITERS,
};

static bool prepare_variance(struct worker *w, char *error, size_t size)
{
	struct variance_state *s = work_state(w, sizeof(*s), error, size);
	void *cold = s ? aligned_alloc(CACHE_LINE, COLD_BYTES) : NULL;

	if (!s)
		return false;
	if (!cold) {
		snprintf(error, size, "no memory for a buffer of %d bytes", COLD_BYTES);
		return false;
	}
	/* Now, so that the first touches miss the cache and not the page table. */
	memset(cold, 1, COLD_BYTES);
	s->cold = cold;
	s->rng = w->probe.rng;
	alu_init(&s->alu, w->index);
	return true;
}

/* A work unit is one touch of a line picked at random: no prefetcher can see it coming. */
static bool touch_cold(struct worker *w, struct variance_state *s, uint64_t touches)
{
	while (touches) {
		uint64_t chunk = touches < COLD_TOUCHES ? touches : COLD_TOUCHES;

		if (stopped(w))
			return false;
		for (uint64_t i = 0; i < chunk; i++)
			s->cold[random_below(&s->rng, COLD_BYTES / CACHE_LINE) * CACHE_LINE]++;
		probe_units(&w->probe, chunk);
		touches -= chunk;
	}
	return true;
}

static bool ipc_variance(struct worker *w)
{
	struct variance_state *s = w->state;
	uint64_t began = now_ns();

	for (uint64_t i = 0; i < param(w, PERIOD_ITERS); i++) {
		if (!alu_units(w, &s->alu, ALU_DEFAULT_WIDTH, param(w, HOT_ITERS)))
			return false;
		if (!touch_cold(w, s, param(w, COLD_ITERS)))
			return false;
	}
	probe_sample(&w->probe, RESERVOIR_COST, now_ns() - began);
	return true;
}

const struct work_type work_alu_hot = {
	.name = "AluHot",
	.group_size = 1,
	.fills = FILLS(COST),
	.params = {{"width", ALU_DEFAULT_WIDTH, 1, ALU_MAX_WIDTH}},
	.prepare = prepare_hot,
	.iterate = alu_hot,
};

const struct work_type work_ipc_variance = {
	.name = "IpcVariance",
	.group_size = 1,
	.fills = FILLS(COST),
	.params = {[HOT_ITERS] = {"hot_iters", 100000, 1, 1000000000},
		   [COLD_ITERS] = {"cold_iters", 1024, 1, 1000000000},
		   [PERIOD_ITERS] = {"period_iters", 64, 1, 1000000}},
	.prepare = prepare_variance,
	.iterate = ipc_variance,
};
