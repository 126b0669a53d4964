// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work types. To add one: define its struct work_type in a work_*.c file, name
 * that in worker.mk and give the type a row in the table of works.c.
 */
#ifndef WORKER_WORK_H
#define WORKER_WORK_H

#include "spec.h"
#include "telemetry.h"

#define SPIN_CHUNK 1024 /* work units of one plain spin iteration */

struct work_param {
	const char *name;
	uint64_t fallback;
	uint64_t min;
	uint64_t max;
};

/* Workers of one group share these: made by the leader before the group is forked. */
struct group {
	uint32_t *words; /* GROUP_WORDS zeroed futex words in shared memory */
	void *shared;	 /* zeroed, the type's shared_bytes, on a cache line of its own */
	int *fds;	 /* the type's group_fds; -1 where unused; members get their own copies */
	unsigned int nfds;
};

#define GROUP_WORDS 16 /* one cache line */

struct jitter;

struct worker {
	const struct spec *spec;
	unsigned int index;    /* among the workers of the spec */
	unsigned int position; /* within its group */
	struct group *group;
	const uint32_t *stop;
	struct probe probe;
	struct jitter *jitter;
	void *state; /* of the work type */
};

struct work_type {
	const char *name;
	unsigned int group_size;   /* members of a group, beside group_params */
	unsigned int group_params; /* bit per parameter whose value adds members */
	unsigned int fills;	   /* bit per enum reservoir_kind */
	/* What it does befalls its whole process, so that workers cannot be threads of one. */
	bool process_wide;
	/* It makes tasks at run time, which the kernel lets none of SCHED_DEADLINE do. */
	bool makes_tasks;
	struct work_param params[MAX_PARAMS]; /* up to the first without a name */
	/* Memory and descriptors that a group of @spec shares; NULL: none. */
	size_t (*shared_bytes)(const struct spec *spec);
	unsigned int (*group_fds)(const struct spec *spec);
	/* In the leader: open what the group shares. False with errno on failure. */
	bool (*open_group)(const struct spec *spec, struct group *group);
	/* In the worker, before the start. False with a sentence in @error on failure. */
	bool (*prepare)(struct worker *w, char *error, size_t size);
	/* In the worker, after the start gate and the spec's own policy: what differs by role. */
	void (*started)(struct worker *w);
	/* One outer iteration; false when it was cut short and must not be counted. */
	bool (*iterate)(struct worker *w);
	/* In place of iterate: an engine that works until the stop flag is set. */
	void (*run)(struct worker *w);
	/* In the worker, after everything was measured: undo what outlives it. */
	void (*finished)(struct worker *w);
};

#define FILLS(kind) (1U << RESERVOIR_##kind)

/* The number that the workers of @spec are a multiple of. */
unsigned int work_group_size(const struct spec *spec);
/* Exact name; NULL when there is none. */
const struct work_type *work_find(const char *name);
/* The name that differs only in case, or NULL. */
const char *work_suggest(const char *name);
/* The @i-th work type, NULL past the end. */
const struct work_type *work_at(size_t i);
/* All types with parameters, bounds and group sizes as one JSON object on stdout. */
int work_list_json(void);

static inline bool stopped(const struct worker *w)
{
	return __atomic_load_n(w->stop, __ATOMIC_RELAXED) != 0;
}

static inline uint64_t param(const struct worker *w, unsigned int i)
{
	return w->spec->params[i];
}

/*
 * @units turns of a busy loop, accounted in chunks so that every checkpoint is
 * met; false when the stop flag cut it short.
 */
bool spin_units(struct worker *w, uint64_t units);
/* Zeroed memory for the worker's life, also as w->state; NULL with a sentence in @error. */
void *work_state(struct worker *w, size_t bytes, char *error, size_t size);
/*
 * The worker cannot go on once it was started: say so and end, a process with
 * exit code 1, a thread alone, its process and the other workers living on.
 */
void work_panic(struct worker *w, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
/* Sleep until signalled or STOP_POLL_MS have passed, for a worker with nothing to do. */
void idle_poll(void);

#endif
