// SPDX-License-Identifier: GPL-2.0-only
/*
 * The latency histogram of schbench, which is fio's (stat.h, FIO_IO_U_PLAT_*):
 * 19 groups of 256 buckets. Values up to 511 have a bucket each; beyond, every
 * power of two is cut into 256. The host reads percentiles from merged buckets.
 */
#ifndef WORKER_PLAT_H
#define WORKER_PLAT_H

#include <stdint.h>

#include "msgpack_out.h"

#define PLAT_BITS 8
#define PLAT_VAL  (1U << PLAT_BITS) /* buckets of a group */
#define PLAT_NR	  (19 * PLAT_VAL)

struct plat {
	uint64_t nr_samples;
	uint32_t max;
	uint32_t min; /* the smallest positive value; 0: none yet */
	uint32_t buckets[PLAT_NR];
};

/* The bucket of @value; what lies beyond the last one counts there. */
unsigned int plat_bucket(uint32_t value);
/* Count @value, at most the largest 32-bit number, once. */
void plat_add(struct plat *p, uint64_t value);
/* Add @from to @to and empty it; a full bucket stays full. */
void plat_move(struct plat *to, struct plat *from);
/* The histogram as a map: pairs of bucket and count (u32, little endian), ascending. */
void put_plat(struct mp_out *o, const char *name, const struct plat *p);

/* Most bytes that put_plat() writes, beside the name. */
#define PLAT_WIRE_MAX (8 * PLAT_NR + 128)

#endif
