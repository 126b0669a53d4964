// SPDX-License-Identifier: GPL-2.0-only
/* The threads of the schbench engine. */
#ifndef WORKER_SCHBENCH_H
#define WORKER_SCHBENCH_H

#include "engine.h"

enum schbench_param {
	MESSAGE_THREADS,
	WORKER_THREADS,
	CACHE_FOOTPRINT_KIB,
	OPERATIONS,
	SLEEP_US,
	SKIP_LOCKING,
	REQUESTS_PER_SEC,
	AUTO_RPS,
	SPLIT_PERCENT,
};

/* A message thread, or a worker thread that it wakes. */
struct schbench_thread {
	struct engine_thread thread;
	struct schbench *bench;
	/* Of a worker thread: next in the waiting list; of a message thread: its head. */
	struct schbench_thread *next;
	struct schbench_thread *boss; /* NULL: this is a message thread */
	struct schbench_thread *crew; /* of a message thread: its first worker thread */
	uint64_t wake_us;	      /* when it was woken; 0: not by its message thread */
	uint64_t drained_loops;
	uint32_t queued;    /* requests injected and not taken yet */
	uint64_t *matrices; /* two factors and their product */
	struct plat wakeup;
	struct plat request;
};

struct cpu_lock {
	uint32_t held;
	uint32_t apart[15]; /* from the next one's cache line */
};

struct schbench {
	struct engine engine;
	struct schbench_thread *threads; /* each message thread, followed by its worker threads */
	unsigned int messengers;
	unsigned int crew_size; /* worker threads of one message thread */
	unsigned int matrix_size;
	uint64_t locked_operations; /* of those of one request, done under the lock of the CPU */
	uint64_t operations;
	uint64_t sleep_ns;
	uint32_t rate; /* requests injected per second and message thread; 0: a closed loop */
	struct cpu_lock *locks;
	uint64_t busy[2];   /* all and idle time of the system when last looked at, in ticks */
	bool rate_is_tuned; /* the target of auto_rps was met once */
};

/* The bodies of the two kinds of threads. */
void schbench_message_thread(struct engine_thread *t);
void schbench_worker_thread(struct engine_thread *t);
/* Once a second: move the rate towards auto_rps per cent of busy CPUs. */
void schbench_tune_rate(struct schbench *b, uint64_t target_pct);

#endif
