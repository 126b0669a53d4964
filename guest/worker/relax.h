// SPDX-License-Identifier: GPL-2.0-only
/* The busy loop under every spinning work type. */
#ifndef WORKER_RELAX_H
#define WORKER_RELAX_H

#include <stdint.h>

/* Choose the loop for this CPU; once, before the first relax(). */
void relax_init(void);

/* Spin @turns turns of some 10 to 50 ns each, with the CPU's pause hint where that is sound. */
void relax(uint64_t turns);

#endif
