// SPDX-License-Identifier: GPL-2.0-only
#include "plat.h"

unsigned int plat_bucket(uint32_t value)
{
	unsigned int top = value ? 31 - (unsigned int)__builtin_clz(value) : 0;
	unsigned int shift, bucket;

	if (top <= PLAT_BITS)
		return value;
	shift = top - PLAT_BITS;
	bucket = ((shift + 1) << PLAT_BITS) + (value >> shift & (PLAT_VAL - 1));
	return bucket < PLAT_NR ? bucket : PLAT_NR - 1;
}

static uint32_t add_saturating(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static void widen(struct plat *p, uint32_t max, uint32_t min)
{
	if (max > p->max)
		p->max = max;
	/* 0 is no measurement here: neither an empty histogram's nor a zero among the values. */
	if (min && (!p->min || min < p->min))
		p->min = min;
}

void plat_add(struct plat *p, uint64_t value)
{
	uint32_t v = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
	uint32_t *count = &p->buckets[plat_bucket(v)];

	*count = add_saturating(*count, 1);
	p->nr_samples++;
	widen(p, v, v);
}

void plat_move(struct plat *to, struct plat *from)
{
	if (!from->nr_samples)
		return;
	for (unsigned int i = 0; i < PLAT_NR; i++)
		to->buckets[i] = add_saturating(to->buckets[i], from->buckets[i]);
	to->nr_samples += from->nr_samples;
	widen(to, from->max, from->min);
	*from = (struct plat){0};
}

void put_plat(struct mp_out *o, const char *name, const struct plat *p)
{
	uint32_t used = 0;

	_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "pairs travel as they are");
	for (unsigned int i = 0; i < PLAT_NR; i++)
		used += p->buckets[i] != 0;
	mp_str(o, name);
	mp_map(o, 4);
	mp_str(o, "plat");
	mp_tagged(o, 0xc6, used * 2 * sizeof(uint32_t), 4); /* bin 32, filled in below */
	for (uint32_t i = 0; i < PLAT_NR; i++) {
		uint32_t pair[2] = {i, p->buckets[i]};

		if (pair[1])
			mp_raw(o, pair, sizeof(pair));
	}
	mp_str(o, "nr_samples");
	mp_uint(o, p->nr_samples);
	mp_str(o, "max");
	mp_uint(o, p->max);
	mp_str(o, "min");
	mp_uint(o, p->min);
}
