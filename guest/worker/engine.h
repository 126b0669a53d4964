// SPDX-License-Identifier: GPL-2.0-only
/*
 * Engines: a work type that is a benchmark of many threads within one worker.
 * The worker's own thread controls them; it keeps time, follows the phases of
 * the scenario and gathers what the threads measured, phase by phase.
 */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include <pthread.h>

#include "plat.h"
#include "work.h"

/* Times are ns, histograms in us except rps. */
struct schbench_stats {
	struct plat wakeup;
	struct plat request;
	struct plat rps;
	uint64_t msg_run_delay_ns;
	uint64_t msg_pcount;
	uint64_t worker_run_delay_ns;
	uint64_t worker_pcount;
	uint64_t loop_count;
};

struct taobench_counters {
	uint64_t get_cmds;
	uint64_t get_misses;
	uint64_t fast_ops;
	uint64_t slow_ops;
	uint64_t elapsed_ns;
};

struct taobench_stats {
	struct taobench_counters counters;
	struct plat serve;
};

enum engine_kind {
	ENGINE_NONE, /* it never ran */
	ENGINE_SCHBENCH,
	ENGINE_TAOBENCH,
};

/* What an engine adds to the slice of a phase. */
struct engine_phase {
	uint32_t filled; /* set last, with release order */
	union {
		struct schbench_stats schbench;
		struct taobench_stats taobench;
	};
};

/* In the memory of the worker's group, so that the leader can report it. */
struct engine_result {
	enum engine_kind kind;
	struct taobench_counters whole;
	/* By epoch; 0 is the phase of a worker that lives in one step only. */
	struct engine_phase phases[];
};

struct engine;

/* What the kernel accounts to a thread. */
struct thread_times {
	uint32_t taken; /* set last, with release order */
	uint64_t cpu_ns;
	uint64_t schedstat[SCHEDSTAT_FIELDS];
};

/* One thread; an engine embeds this in what it needs itself. */
struct engine_thread {
	struct engine *engine;
	void (*body)(struct engine_thread *t);
	const char *name;
	bool serves; /* does no iterations of its own: wakes, queues, waits */
	pthread_t handle;
	int32_t tid;   /* 0 until it runs */
	uint32_t gate; /* futex of post() and await() */
	uint64_t loops;
	uint64_t seen_loops;		      /* of the control thread: as it counted them last */
	uint64_t schedstat[SCHEDSTAT_FIELDS]; /* when last gathered */
	uint64_t cpu_ns;		      /* likewise */
	struct thread_times last;	      /* once it ended */
	pthread_mutex_t lock; /* measurements of the thread, against the control thread */
	uint64_t cpus_used[CPU_MASK_WORDS];
};

struct engine_ops {
	enum engine_kind kind;
	/* Wake every thread that may block without a time-out: the engine is stopping. */
	void (*release)(struct engine *e);
	/* Move what the threads measured in @ns into @to, and see their loops, which match it. */
	void (*drain)(struct engine *e, struct engine_phase *to, uint64_t ns);
	/* @loops were done in @ns, about a second; NULL: of no interest. */
	void (*second)(struct engine *e, struct engine_phase *to, uint64_t loops, uint64_t ns);
	/* Run delay of one thread; NULL: of no interest. */
	void (*run_delay)(struct engine_phase *to, bool serves, uint64_t ns, uint64_t times);
};

struct engine {
	struct worker *w;
	const struct engine_ops *ops;
	void *own; /* of the engine */
	struct engine_thread **threads;
	unsigned int count;
	uint32_t stopping;
	uint64_t loops;	    /* of all threads, when last looked at */
	uint64_t phase_ns;  /* when the present phase began */
	uint64_t second_ns; /* the present second began then, with second_loops done */
	uint64_t second_loops;
	bool open_loop; /* may idle: no progress is no stall */
};

#define GATE_BLOCKED 0
#define GATE_RUNNING 1

/* CPUs the worker may run on. */
unsigned int engine_cpus(void);
/* Start the threads, gather until the stop flag is set, then end the threads. */
void engine_run(struct engine *e);
/* Sleep until @ns of CLOCK_MONOTONIC. */
void engine_sleep_until(uint64_t ns);
/* A thread is about to record measurements; ends with engine_recorded(). */
void engine_record(struct engine_thread *t);
void engine_recorded(struct engine_thread *t);
/* Let the owner of the gate run, if it blocks or is about to. */
void engine_post(uint32_t *gate);
/* Block until posted; the gate is GATE_BLOCKED before and after. */
void engine_await(uint32_t *gate);

static inline bool engine_stopping(const struct engine *e)
{
	return __atomic_load_n(&e->stopping, __ATOMIC_SEQ_CST) != 0;
}

/* The loops that the thread has done count from here on; exact only while its lock is held. */
static inline void engine_see(struct engine_thread *t)
{
	t->seen_loops = __atomic_load_n(&t->loops, __ATOMIC_RELAXED);
}

/* One more loop; between engine_record() and engine_recorded(), with what was measured in it. */
static inline void engine_loop(struct engine_thread *t)
{
	__atomic_store_n(&t->loops, t->loops + 1, __ATOMIC_RELAXED);
}

static inline uint64_t now_us(void)
{
	return now_ns() / NSEC_PER_USEC;
}

/* Memory of the group of a work type that is an engine. */
size_t engine_shared_bytes(const struct spec *spec);
/* What an engine adds to a slice of the report: how many fields (0 or 1) fit, and the field. */
unsigned int engine_fields(const struct mp_out *o, const struct engine_result *r, uint32_t epoch);
void put_engine_fields(struct mp_out *o, const struct engine_result *r, uint32_t epoch);
/* The field taobench_whole. @r may be NULL, here and above. */
void put_taobench_whole(struct mp_out *o, const struct engine_result *r);
/* Most bytes that one slice takes. */
#define ENGINE_WIRE_MAX (3 * PLAT_WIRE_MAX + 4096)

#endif
