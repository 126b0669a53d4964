// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>

#include "relax.h"
#include "telemetry.h"
#include "work.h"

#define ROUNDS 5

static void clock_read(struct probe *p)
{
	p->stamp_ns = now_ns();
}

static void epoch_look(struct probe *p)
{
	probe_follow_epoch(p);
}

/* Past the cap, where every push draws a number. */
static void push(struct probe *p)
{
	probe_sample(p, RESERVOIR_WAKE, p->stamp_ns);
}

static void spin_iteration(struct probe *p)
{
	relax(SPIN_CHUNK);
	p->units += SPIN_CHUNK;
}

static const struct piece {
	const char *name;
	void (*run)(struct probe *p);
	int turns; /* so that a round takes milliseconds */
} pieces[] = {
	{"spin_iteration", spin_iteration, 100}, {"checkpoint", probe_checkpoint, 20000},
	{"clock_read", clock_read, 20000},	 {"reservoir_push", push, 20000},
	{"epoch_look", epoch_look, 20000},
};

#define PIECES (sizeof(pieces) / sizeof(pieces[0]))

/* The least of several rounds: what a shared machine adds is never negative. */
static double cost_ns(const struct piece *piece, struct probe *p)
{
	uint64_t least = UINT64_MAX;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t began = now_ns(), took;

		for (int i = 0; i < piece->turns; i++)
			piece->run(p);
		took = now_ns() - began;
		least = took < least ? took : least;
	}
	return (double)least / piece->turns;
}

int measure_json(void)
{
	struct telemetry *t = calloc(1, sizeof(*t));
	uint32_t epoch = EPOCH_BASELINE;
	double ns[PIECES];
	struct probe p;

	if (!t)
		return 1;
	relax_init();
	probe_init(&p, t, NULL, CHECK_UNITS, 1);
	p.slices.epoch = &epoch;
	probe_start(&p);
	t->sample_total[RESERVOIR_WAKE] = MAX_SAMPLES;
	printf("{");
	for (size_t i = 0; i < PIECES; i++) {
		ns[i] = cost_ns(&pieces[i], &p);
		printf("%s\"%s_ns\": %.2f", i ? ", " : "", pieces[i].name, ns[i]);
	}
	for (size_t i = 1; i < PIECES; i++)
		printf(", \"%s_share\": %.6f", pieces[i].name, ns[i] / ns[0]);
	printf("}\n");
	free(t);
	return fflush(stdout) ? 1 : 0;
}
