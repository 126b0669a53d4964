// SPDX-License-Identifier: GPL-2.0-only
/* Lets a test drive the histogram of plat.c directly. */
#include <stdlib.h>

#include "plat.h"

/*
 * The wire form of the histogram of @values, with that of @more moved into it,
 * in @out; its length, or 0 when it does not fit @cap or @more was not emptied.
 */
size_t plat_wire(const uint64_t *values, size_t n, const uint64_t *more, size_t m, uint8_t *out,
		 size_t cap);
/* The same of a histogram whose bucket of @value holds @count, after one more of them. */
size_t plat_full(uint32_t value, uint32_t count, uint8_t *out, size_t cap);

static size_t put(const struct plat *p, uint8_t *out, size_t cap)
{
	struct mp_out o = {.buf = out, .cap = cap};

	mp_map(&o, 1);
	put_plat(&o, "h", p);
	return o.overflow ? 0 : o.len;
}

size_t plat_wire(const uint64_t *values, size_t n, const uint64_t *more, size_t m, uint8_t *out,
		 size_t cap)
{
	static const struct plat empty;
	struct plat *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));
	size_t len;

	for (size_t i = 0; i < n; i++)
		plat_add(a, values[i]);
	for (size_t i = 0; i < m; i++)
		plat_add(b, more[i]);
	plat_move(a, b);
	len = memcmp(b, &empty, sizeof(*b)) ? 0 : put(a, out, cap);
	free(a);
	free(b);
	return len;
}

size_t plat_full(uint32_t value, uint32_t count, uint8_t *out, size_t cap)
{
	struct plat *p = calloc(1, sizeof(*p)), *again = calloc(1, sizeof(*again));
	size_t len;

	plat_add(p, value);
	p->buckets[plat_bucket(value)] = count;
	p->nr_samples = count;
	plat_add(again, value);
	plat_move(p, again);
	len = put(p, out, cap);
	free(p);
	free(again);
	return len;
}
