// SPDX-License-Identifier: GPL-2.0-only
/* FutexFanOut, FanOutCompute, ThunderingHerd: one wakes many through one futex word. */
#include <stdio.h>
#include <stdlib.h>

#include "await.h"
#include "work.h"

#define POST_WAKE_SPIN 256 /* FAN_OUT_POST_WAKE_SPIN_ITERS of the reference */

/*
 * When each of the last generations was posted. The messenger does not wait for
 * those it wakes: one that is kept off its CPU finds many generations posted and
 * must measure from the one that woke it, not from the newest.
 */
#define STAMPS 65536

struct fan_state {
	uint64_t broadcasts;
	size_t dim;
	uint64_t *a, *b, *product;
};

/* The word that counts generations; position 0 alone advances it. */
static uint32_t *generation(const struct worker *w)
{
	return &w->group->words[0];
}

static bool prepare(struct worker *w, char *error, size_t size)
{
	w->probe.out->is_messenger = w->position == 0;
	return work_state(w, sizeof(struct fan_state), error, size) != NULL;
}

static void post(struct worker *w, int waiters)
{
	__atomic_fetch_add(generation(w), 1, __ATOMIC_RELEASE);
	futex_wake(generation(w), waiters);
}

/*
 * Wait for the next generation; false when it is time to stop. Those posted
 * while the worker was busy are over: it takes part in one that finds it waiting.
 */
static bool receive(struct worker *w, uint32_t *present, uint64_t *blocked_at)
{
	*present = __atomic_load_n(generation(w), __ATOMIC_ACQUIRE);
	return await_change(w, generation(w), *present, blocked_at);
}

enum {
	FAN_OUT, /* group_params: one member each */
	SPIN_ITERS,
};

static bool fan_out(struct worker *w)
{
	uint64_t blocked_at = 0;
	uint32_t present;

	if (!spin_units(w, param(w, SPIN_ITERS)))
		return false;
	if (w->position == 0) {
		post(w, (int)param(w, FAN_OUT));
		return spin_units(w, POST_WAKE_SPIN);
	}
	if (!receive(w, &present, &blocked_at))
		return false;
	sample_wait(w, blocked_at);
	return true;
}

enum {
	FOOTPRINT_KIB = 1,
	OPERATIONS,
	SLEEP_US,
};

static size_t stamp_bytes(const struct spec *spec)
{
	(void)spec;
	return STAMPS * sizeof(uint64_t);
}

static bool prepare_compute(struct worker *w, char *error, size_t size)
{
	uint64_t bytes = param(w, FOOTPRINT_KIB) * 1024;
	struct fan_state *s;
	size_t cells;

	if (!prepare(w, error, size))
		return false;
	if (w->position == 0)
		return true;
	s = w->state;
	/* The largest of which three fit: floor(sqrt(KiB * 1024 / 3 / 8)). */
	while (3 * sizeof(uint64_t) * (s->dim + 1) * (s->dim + 1) <= bytes)
		s->dim++;
	cells = s->dim * s->dim;
	s->a = malloc(3 * cells * sizeof(uint64_t));
	if (!s->a) {
		snprintf(error, size, "no memory for matrices of %llu KiB",
			 (unsigned long long)param(w, FOOTPRINT_KIB));
		return false;
	}
	s->b = s->a + cells;
	s->product = s->b + cells;
	/* Written now, so that the first product does not pay for the page faults. */
	for (size_t i = 0; i < 3 * cells; i++)
		s->a[i] = xorshift64(&w->probe.rng);
	return true;
}

/* A work unit is one cell: the inner product of a row and a column. */
static bool multiply(struct worker *w, const struct fan_state *s)
{
	const size_t n = s->dim;

	for (size_t row = 0; row < n; row++) {
		if (stopped(w))
			return false;
		for (size_t column = 0; column < n; column++) {
			uint64_t sum = 0;

			for (size_t k = 0; k < n; k++)
				sum += s->a[row * n + k] * s->b[k * n + column];
			s->product[row * n + column] = sum;
		}
		probe_units(&w->probe, n);
	}
	return true;
}

/* When the generation after @before was posted, the one that ended the wait. */
static uint64_t posted_at(const struct worker *w, uint32_t before)
{
	const uint64_t *stamps = w->group->shared;
	uint32_t newest = __atomic_load_n(generation(w), __ATOMIC_ACQUIRE), first = before + 1;

	/* The messenger is about to overwrite the oldest: keep half the stamps away from it. */
	if (newest - first >= STAMPS / 2)
		first = newest - STAMPS / 2;
	return __atomic_load_n(&stamps[first % STAMPS], __ATOMIC_RELAXED);
}

static bool compute_receiver(struct worker *w)
{
	uint64_t blocked_at = 0, posted, ignored;
	uint32_t before;

	if (!receive(w, &before, &blocked_at))
		return false;
	posted = posted_at(w, before);
	/* Held up right after waking, it may find its stamp gone: a later one tells nothing. */
	if (blocked_at && posted <= w->probe.stamp_ns)
		probe_sample(&w->probe, RESERVOIR_WAKE, w->probe.stamp_ns - posted);
	if (param(w, SLEEP_US) && !sleep_for(w, param(w, SLEEP_US) * NSEC_PER_USEC, &ignored))
		return false;
	for (uint64_t i = 0; i < param(w, OPERATIONS); i++)
		if (!multiply(w, w->state))
			return false;
	return true;
}

static bool fan_out_compute(struct worker *w)
{
	uint64_t *stamps = w->group->shared;
	uint32_t next;

	if (w->position)
		return compute_receiver(w);
	next = __atomic_load_n(generation(w), __ATOMIC_RELAXED) + 1;
	__atomic_store_n(&stamps[next % STAMPS], now_ns(), __ATOMIC_RELAXED);
	post(w, (int)param(w, FAN_OUT));
	return spin_units(w, POST_WAKE_SPIN);
}

enum {
	WAITERS, /* group_params: one member each */
	BATCHES,
	INTER_BATCH_MS,
};

static bool prepare_herd(struct worker *w, char *error, size_t size)
{
	return work_state(w, sizeof(struct fan_state), error, size) != NULL;
}

static bool waker(struct worker *w)
{
	struct fan_state *s = w->state;
	uint64_t pause = param(w, INTER_BATCH_MS) * NSEC_PER_MSEC, ignored;

	if (s->broadcasts == param(w, BATCHES)) {
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	/* Before the broadcast: by then the herd has gathered. */
	if (pause && !sleep_for(w, pause, &ignored))
		return false;
	post(w, INT32_MAX);
	s->broadcasts++;
	probe_units(&w->probe, 1);
	/* A step of seconds holds fewer broadcasts than units between two checkpoints. */
	probe_checkpoint(&w->probe);
	return true;
}

static bool thundering_herd(struct worker *w)
{
	uint64_t blocked_at = 0;
	uint32_t present;

	if (w->position == 0)
		return waker(w);
	if (!receive(w, &present, &blocked_at))
		return false;
	sample_wait(w, blocked_at);
	return spin_units(w, SPIN_CHUNK);
}

const struct work_type work_futex_fan_out = {
	.name = "FutexFanOut",
	.group_size = 1,
	.group_params = 1U << FAN_OUT,
	.fills = FILLS(WAKE),
	.params = {[FAN_OUT] = {"fan_out", 4, 1, 255},
		   [SPIN_ITERS] = {"spin_iters", 1024, 1, 1000000000}},
	.prepare = prepare,
	.iterate = fan_out,
};

const struct work_type work_fan_out_compute = {
	.name = "FanOutCompute",
	.group_size = 1,
	.group_params = 1U << FAN_OUT,
	.fills = FILLS(WAKE),
	.params = {[FAN_OUT] = {"fan_out", 4, 1, 255},
		   [FOOTPRINT_KIB] = {"cache_footprint_kib", 256, 1, 65536},
		   [OPERATIONS] = {"operations", 5, 1, 1000000},
		   [SLEEP_US] = {"sleep_us", 100, 0, 60000000}},
	.shared_bytes = stamp_bytes,
	.prepare = prepare_compute,
	.iterate = fan_out_compute,
};

const struct work_type work_thundering_herd = {
	.name = "ThunderingHerd",
	.group_size = 1,
	.group_params = 1U << WAITERS,
	.fills = FILLS(WAKE),
	.params = {[WAITERS] = {"waiters", 7, 1, 255},
		   [BATCHES] = {"batches", 1000, 1, 1000000000},
		   [INTER_BATCH_MS] = {"inter_batch_ms", 5, 0, 60000}},
	.prepare = prepare_herd,
	.iterate = thundering_herd,
};
