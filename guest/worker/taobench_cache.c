// SPDX-License-Identifier: GPL-2.0-only
#include "taobench.h"

#include <stdlib.h>
#include <string.h>

#define HUNDRED	      100
#define LEAST_OBJECTS 256

/* Sizes of TAO's objects, and how many of WEIGHT_SUM have them. */
static const struct {
	uint32_t bytes;
	uint32_t weight;
} sizes[] = {
	{64, 450},  {128, 300}, {256, 130}, {512, 70},
	{1024, 30}, {4096, 12}, {16384, 3}, {65536, 1},
};

#define SIZES	   (sizeof(sizes) / sizeof(sizes[0]))
#define WEIGHT_SUM 996
#define MEAN_BYTES 332 /* of one object */

/* A finalizer of good avalanche (MurmurHash3): neighbouring keys get unrelated sizes. */
static uint32_t scramble(uint32_t x)
{
	x = (x ^ x >> 16) * 0x85ebca6bU;
	x = (x ^ x >> 13) * 0xc2b2ae35U;
	return x ^ x >> 16;
}

uint32_t tao_value_bytes(uint32_t key)
{
	uint32_t at = (uint32_t)((uint64_t)scramble(key) * WEIGHT_SUM >> 32);
	size_t i = 0;

	while (at >= sizes[i].weight)
		at -= sizes[i++].weight;
	return sizes[i].bytes;
}

/* How many of the numbers below @count belong to a shard. */
static uint32_t share(uint64_t count, unsigned int shard)
{
	return (uint32_t)(count / TAO_SHARDS + (shard < count % TAO_SHARDS));
}

bool tao_cache_fill(struct tao_cache *c, uint64_t bytes, uint64_t hit_pct)
{
	uint64_t objects = bytes / MEAN_BYTES;

	if (objects < LEAST_OBJECTS)
		objects = LEAST_OBJECTS;
	c->keys = (uint32_t)((objects * HUNDRED + hit_pct - 1) / hit_pct);
	for (unsigned int i = 0; i < TAO_SHARDS; i++) {
		struct tao_shard *s = &c->shards[i];

		pthread_mutex_init(&s->lock, NULL);
		s->count = share(objects, i);
		s->slots = calloc(s->count, sizeof(*s->slots));
		s->where = calloc(share(c->keys, i), sizeof(*s->where));
		s->values = calloc(s->count, sizeof(*s->values));
		if (!s->slots || !s->where || !s->values)
			return false;
	}
	for (uint32_t key = 0; key < objects; key++)
		if (!tao_cache_put(c, key))
			return false;
	return true;
}

bool tao_cache_get(struct tao_cache *c, uint32_t key, uint64_t *checksum)
{
	struct tao_shard *s = &c->shards[key % TAO_SHARDS];
	uint32_t bytes = tao_value_bytes(key), slot;

	pthread_mutex_lock(&s->lock);
	slot = s->where[key / TAO_SHARDS];
	if (slot) {
		const uint64_t *words = (const uint64_t *)s->values[slot - 1];

		for (uint32_t i = 0; i < bytes / sizeof(*words); i++)
			*checksum += words[i];
	}
	pthread_mutex_unlock(&s->lock);
	return slot != 0;
}

bool tao_cache_put(struct tao_cache *c, uint32_t key)
{
	struct tao_shard *s = &c->shards[key % TAO_SHARDS];
	uint32_t rank = key / TAO_SHARDS, bytes = tao_value_bytes(key);
	uint8_t *value = malloc(bytes), *evicted = value;

	if (!value)
		return false;
	memset(value, (int)key, bytes);
	pthread_mutex_lock(&s->lock);
	if (!s->where[rank]) {
		uint32_t slot = s->oldest;

		evicted = s->values[slot];
		if (s->slots[slot])
			s->where[s->slots[slot] - 1] = 0;
		s->slots[slot] = rank + 1;
		s->values[slot] = value;
		s->where[rank] = slot + 1;
		s->oldest = (slot + 1) % s->count;
	}
	pthread_mutex_unlock(&s->lock);
	free(evicted);
	return true;
}
