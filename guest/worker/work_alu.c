// SPDX-License-Identifier: GPL-2.0-only
/* AluHot: independent multiply chains that keep the integer pipeline busy and never block. */
#include "work.h"

#define MAX_WIDTH  8
#define ALU_ROUNDS 1024 /* work units of one iteration: one round is a step of every chain */

/* Knuth's MMIX generator: odd multiplier, so a chain never collapses to 0. */
#define ALU_MULTIPLIER 6364136223846793005ULL
#define ALU_INCREMENT  1442695040888963407ULL

struct alu_state {
	uint64_t chains[MAX_WIDTH];
};

/* @width is a constant wherever this is inlined, so that the chains live in registers. */
static inline __attribute__((always_inline)) void run_chains(uint64_t *chains, unsigned int width)
{
	uint64_t x[MAX_WIDTH];

	for (unsigned int c = 0; c < width; c++)
		x[c] = chains[c];
	for (unsigned int round = 0; round < ALU_ROUNDS; round++) {
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

static bool prepare(struct worker *w, char *error, size_t size)
{
	struct alu_state *s = work_state(w, sizeof(*s), error, size);

	if (!s)
		return false;
	for (unsigned int c = 0; c < MAX_WIDTH; c++)
		s->chains[c] = w->index + c + 1;
	return true;
}

static bool iterate(struct worker *w)
{
	struct alu_state *s = w->state;
	uint64_t began = now_ns();

	switch (param(w, 0)) {
#define CASE(width)                           \
	case width:                           \
		run_chains(s->chains, width); \
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
	probe_sample(&w->probe, RESERVOIR_COST, now_ns() - began);
	probe_units(&w->probe, ALU_ROUNDS);
	return true;
}

const struct work_type work_alu_hot = {
	.name = "AluHot",
	.group_size = 1,
	.fills = FILLS(COST),
	.params = {{"width", 4, 1, MAX_WIDTH}},
	.prepare = prepare,
	.iterate = iterate,
};
