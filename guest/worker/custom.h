// SPDX-License-Identifier: GPL-2.0-only
/*
 * Custom work: a program of the user's in place of a work type. It speaks to the
 * leader through two pages of shared memory, an inherited descriptor whose number
 * is in the environment (docs/guide/custom-work.md is the contract).
 */
#ifndef WORKER_CUSTOM_H
#define WORKER_CUSTOM_H

#include "procfs.h"
#include "spec.h"

#define CUSTOM_FD_NAME	"KTSTR_CUSTOM_FD"
#define CUSTOM_MAGIC	0x5453544bU /* "KTST" */
#define CUSTOM_VERSION	1
#define CUSTOM_PAGE	4096
#define CUSTOM_RING	256 /* wake latencies that are kept until they are fetched */
#define CUSTOM_FETCH_MS 50
#define CUSTOM_READY_MS 5

/* The first page. The harness writes all but @ready. */
struct custom_control {
	uint32_t magic;
	uint32_t version;
	uint32_t ready; /* the program: set up, waiting for @go */
	uint32_t go;	/* futex */
	uint32_t stop;
	uint32_t index; /* among the workers of the work */
	uint32_t workers;
	uint32_t unused;
	uint64_t seed;
};

/* The second page, which only the program writes. */
struct custom_counters {
	uint64_t work_units;
	uint64_t iterations;
	uint64_t wake_total; /* latencies noted so far; the next goes to wake_ns[total % RING] */
	uint64_t wake_ns[CUSTOM_RING];
};

/* One worker as the leader sees it. */
struct custom_worker {
	struct custom_control *control;	  /* NULL: it could not be made */
	struct custom_counters *counters; /* the page behind it */
	uint64_t start_ns;		  /* 0: the gate has not been opened */
	uint64_t start_schedstat[SCHEDSTAT_FIELDS];
	uint64_t fetched; /* of wake_total */
	uint64_t rng;
};

struct crew;
struct worker;

/* In the leader: map the pages of worker @index behind @fd. False with errno. */
bool custom_map(struct crew *crew, unsigned int index, int fd);
/* How many programs are ready. */
unsigned int custom_ready(const struct crew *crew);
/* Open the gate of all, or ask all to stop. */
void custom_go(struct crew *crew);
void custom_stop(struct crew *crew);
/* Take over what the programs have counted. */
void custom_fetch(struct crew *crew);
/* Worker @index is a zombie: its last figures; @success: it exited with status 0. */
void custom_ended(struct crew *crew, unsigned int index, bool success);
/* In the worker: become the program. Returns with a sentence in @error when that fails. */
void custom_exec(const struct worker *w, uint64_t seed, char *error, size_t size);

#endif
