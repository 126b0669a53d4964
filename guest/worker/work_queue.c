// SPDX-License-Identifier: GPL-2.0-only
/* ProducerConsumerImbalance: a bounded ring between producers with a rate and slow consumers. */
#include "await.h"
#include "work.h"

enum {
	PRODUCERS, /* group_params: one member each */
	CONSUMERS,
	PRODUCE_RATE_HZ,
	CONSUME_ITERS,
	QUEUE_DEPTH_TARGET,
};

/*
 * Every place in line has a slot and a lap. A slot's turn is twice the lap when
 * that lap's item may be put in, and one more when it may be taken out; so no
 * lock is needed, and whoever must wait sleeps on the turn of his own slot.
 */
struct slot {
	uint32_t turn;
	uint32_t pad;
	uint64_t item;
};

struct ring {
	uint64_t put;	/* places taken by producers */
	uint64_t taken; /* and by consumers */
	struct slot slots[];
};

struct pace {
	uint64_t due; /* when the next item is; 0: now */
};

static size_t ring_bytes(const struct spec *spec)
{
	return sizeof(struct ring) + spec->params[QUEUE_DEPTH_TARGET] * sizeof(struct slot);
}

static bool prepare(struct worker *w, char *error, size_t size)
{
	return work_state(w, sizeof(struct pace), error, size) != NULL;
}

/* The slot of the next place in @line, once it is @filled or empty; NULL at the stop. */
static struct slot *next_slot(struct worker *w, uint64_t *line, bool filled, uint32_t *turn)
{
	struct ring *ring = w->group->shared;
	uint64_t place = __atomic_fetch_add(line, 1, __ATOMIC_RELAXED);
	uint64_t depth = param(w, QUEUE_DEPTH_TARGET), blocked_at = 0;
	struct slot *slot = &ring->slots[place % depth];

	*turn = (uint32_t)(place / depth) * 2 + filled;
	if (!await_value(w, &slot->turn, *turn, &blocked_at))
		return NULL;
	sample_wait(w, blocked_at);
	return slot;
}

static void pass_on(struct slot *slot, uint32_t turn)
{
	__atomic_store_n(&slot->turn, turn + 1, __ATOMIC_RELEASE);
	/* All: those who wait may be of different laps. */
	futex_wake(&slot->turn, INT32_MAX);
}

static bool produce(struct worker *w)
{
	uint64_t period = NSEC_PER_SEC / param(w, PRODUCE_RATE_HZ), now = now_ns(), ignored;
	struct ring *ring = w->group->shared;
	struct pace *pace = w->state;
	struct slot *slot;
	uint32_t turn;

	if (pace->due > now && !sleep_for(w, pace->due - now, &ignored))
		return false;
	/* One that was held up does not make up for it: that would be another rate. */
	pace->due = (pace->due + period > now ? pace->due : now) + period;
	slot = next_slot(w, &ring->put, false, &turn);
	if (!slot)
		return false;
	slot->item = now;
	pass_on(slot, turn);
	probe_units(&w->probe, 1);
	/* A step of seconds holds fewer items than units between two checkpoints. */
	probe_checkpoint(&w->probe);
	return true;
}

static bool consume(struct worker *w)
{
	struct ring *ring = w->group->shared;
	uint32_t turn;
	struct slot *slot = next_slot(w, &ring->taken, true, &turn);

	if (!slot)
		return false;
	slot->item = 0;
	pass_on(slot, turn);
	return spin_units(w, param(w, CONSUME_ITERS));
}

static bool iterate(struct worker *w)
{
	return w->position < param(w, PRODUCERS) ? produce(w) : consume(w);
}

const struct work_type work_producer_consumer = {
	.name = "ProducerConsumerImbalance",
	.group_params = 1U << PRODUCERS | 1U << CONSUMERS,
	.fills = FILLS(WAKE),
	.params = {[PRODUCERS] = {"producers", 2, 1, 128},
		   [CONSUMERS] = {"consumers", 1, 1, 128},
		   [PRODUCE_RATE_HZ] = {"produce_rate_hz", 1000, 1, 1000000},
		   [CONSUME_ITERS] = {"consume_iters", 4096, 1, 1000000000},
		   [QUEUE_DEPTH_TARGET] = {"queue_depth_target", 1024, 1, 1048576}},
	.shared_bytes = ring_bytes,
	.prepare = prepare,
	.iterate = iterate,
};
