// SPDX-License-Identifier: GPL-2.0-only
/* Lets a test draw what jitter.c draws. */
#include "jitter.h"

/* @n parts of @period_ns that a worker of this seed would begin early by, into @out. */
void jitter_offsets(uint64_t seed, uint64_t below_us, uint64_t period_ns, uint64_t *out, size_t n);

void jitter_offsets(uint64_t seed, uint64_t below_us, uint64_t period_ns, uint64_t *out, size_t n)
{
	const struct spec spec = {.jitter_us = below_us};
	struct jitter jitter = jitter_of(&spec, seed);

	for (size_t i = 0; i < n; i++)
		out[i] = jitter_offset(&jitter, period_ns);
}
