// SPDX-License-Identifier: GPL-2.0-only
/* The object cache of the taobench engine. */
#ifndef WORKER_TAOBENCH_H
#define WORKER_TAOBENCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAO_SHARDS 256

/* Values of keys in a shard, the oldest of which makes room for a new one. */
struct tao_shard {
	pthread_mutex_t lock;
	uint32_t count;	  /* slots: all objects of the cache, spread over the shards */
	uint32_t oldest;  /* slot that is taken next */
	uint32_t *slots;  /* rank of the key in each slot, plus 1; 0: empty */
	uint32_t *where;  /* slot of each key rank, plus 1; 0: not cached */
	uint8_t **values; /* per slot; the length is that of the key */
};

/* Key k is in shard k % TAO_SHARDS, there with the rank k / TAO_SHARDS. */
struct tao_cache {
	uint32_t keys; /* 0 to keys - 1 may be asked for */
	struct tao_shard shards[TAO_SHARDS];
};

/* Bytes of the value of @key: always the same, over all keys of taobench's distribution. */
uint32_t tao_value_bytes(uint32_t key);
/* A cache of @bytes, full, of which uniform keys hit @hit_pct of 100. False: no memory. */
bool tao_cache_fill(struct tao_cache *c, uint64_t bytes, uint64_t hit_pct);
/* Read the value; false when @key is not cached. The checksum keeps the reading from vanishing. */
bool tao_cache_get(struct tao_cache *c, uint32_t key, uint64_t *checksum);
/* Make a value for @key and cache it, unless it is cached by now. False: no memory. */
bool tao_cache_put(struct tao_cache *c, uint32_t key);

#endif
