// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bounded msgpack writer: just what guest programs send, no allocation.
 * Every put checks the room left; once it does not fit, `overflow` stays set
 * and nothing more is written, so one check at the end is enough.
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#ifndef KTSTR_MSGPACK_OUT_H
#define KTSTR_MSGPACK_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mp_out {
	uint8_t *buf;
	size_t cap;
	size_t len;
	bool overflow;
};

static inline void mp_raw(struct mp_out *o, const void *src, size_t n)
{
	if (o->overflow || n > o->cap - o->len) {
		o->overflow = true;
		return;
	}
	memcpy(o->buf + o->len, src, n);
	o->len += n;
}

/* One tag byte followed by `width` big-endian bytes of `v`. */
static inline void mp_tagged(struct mp_out *o, uint8_t tag, uint64_t v, int width)
{
	uint8_t b[9] = {tag};

	for (int i = 0; i < width; i++)
		b[1 + i] = (uint8_t)(v >> (8 * (width - 1 - i)));
	mp_raw(o, b, (size_t)width + 1);
}

static inline void mp_uint(struct mp_out *o, uint64_t v)
{
	if (v < 128)
		mp_tagged(o, (uint8_t)v, 0, 0);
	else
		mp_tagged(o, 0xcf, v, 8);
}

static inline void mp_int(struct mp_out *o, int64_t v)
{
	if (v >= 0)
		mp_uint(o, (uint64_t)v);
	else
		mp_tagged(o, 0xd3, (uint64_t)v, 8);
}

static inline void mp_nil(struct mp_out *o)
{
	mp_tagged(o, 0xc0, 0, 0);
}

static inline void mp_bool(struct mp_out *o, bool v)
{
	mp_tagged(o, v ? 0xc3 : 0xc2, 0, 0);
}

static inline void mp_map(struct mp_out *o, uint32_t pairs)
{
	mp_tagged(o, 0xdf, pairs, 4);
}

static inline void mp_array(struct mp_out *o, uint32_t items)
{
	mp_tagged(o, 0xdd, items, 4);
}

/* An array that began at `head` turned out to have this many items. */
static inline void mp_set_count(struct mp_out *o, size_t head, uint32_t items)
{
	for (int i = 0; !o->overflow && i < 4; i++)
		o->buf[head + 1 + (size_t)i] = (uint8_t)(items >> (8 * (3 - i)));
}

static inline void mp_strn(struct mp_out *o, const char *s, size_t n)
{
	mp_tagged(o, 0xdb, n, 4);
	mp_raw(o, s, n);
}

static inline void mp_str(struct mp_out *o, const char *s)
{
	mp_strn(o, s, strlen(s));
}

static inline void mp_bin(struct mp_out *o, const void *src, size_t n)
{
	mp_tagged(o, 0xc6, n, 4);
	mp_raw(o, src, n);
}

#endif
