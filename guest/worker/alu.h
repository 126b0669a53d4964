// SPDX-License-Identifier: GPL-2.0-only
/* Parallel multiply chains: work of high IPC that touches no memory. */
#ifndef WORKER_ALU_H
#define WORKER_ALU_H

#include "work.h"

#define ALU_MAX_WIDTH	  8
#define ALU_DEFAULT_WIDTH 4
#define ALU_ROUNDS	  1024 /* work units of a chunk: one unit is a step of every chain */

struct alu {
	uint64_t chains[ALU_MAX_WIDTH];
};

void alu_init(struct alu *alu, uint64_t seed);

/* @units steps of @width chains side by side; false when the stop flag cut it short. */
bool alu_units(struct worker *w, struct alu *alu, unsigned int width, uint64_t units);

#endif
