// SPDX-License-Identifier: GPL-2.0-only
/* The workers of one spec as their leader holds them. */
#ifndef WORKER_CREW_H
#define WORKER_CREW_H

#include <sys/types.h>

#include "custom.h"
#include "spec.h"
#include "telemetry.h"
#include "work.h"

/* One page shared by leader and workers. */
struct control {
	uint32_t go; /* futex: the start gate, opens at 1 */
	uint32_t stop;
};

enum fate {
	FATE_RUNNING,
	FATE_ENDED, /* status tells how */
	FATE_TIMED_OUT,
	FATE_WAIT_FAILED, /* status is an errno */
};

struct child {
	pid_t pid; /* the thread's number, 0 until it is at the gate, where workers are threads */
	enum fate fate;
	int status;
	bool reaped;
};

struct crew {
	const struct spec *spec;
	struct control *control;
	char *shared; /* per group: futex words, then the type's own */
	size_t shared_stride;
	struct telemetry *telemetry; /* per worker */
	char *slices;		     /* per worker, NULL when there are no phases */
	uint64_t *live;		     /* the page of fd 3, or NULL */
	struct child *children;
	struct custom_worker *custom; /* per worker, NULL when the work is none */
	unsigned int created;
	pid_t leader;
	pid_t host;    /* the process that holds the workers when they are threads, else 0 */
	int ready_fd;  /* eventfd: one count per worker at the gate */
	int signal_fd; /* SIGCHLD */
};

#define LIVE_FD		 3
#define SPAWN_TIMEOUT_MS 30000 /* until every worker is at the gate */

/* Map the shared memory and open the descriptors. False with a sentence in @error. */
bool crew_init(struct crew *crew, const struct spec *spec, char *error);
/* Put @what and errno into @error; false. */
bool crew_fail(char *error, const char *what);
/* Create every worker. On failure those already created must be killed by the caller. */
bool crew_spawn(struct crew *crew, char *error);
/* Every worker is at the gate: take over the numbers of those that are threads. */
void crew_ready(struct crew *crew);
/* The slices of worker @index, without an epoch when it keeps none. */
struct slices crew_slices(const struct crew *crew, unsigned int index);
/* The memory that the members of group @group share beside its futex words. */
void *crew_shared(const struct crew *crew, unsigned int group);
/* Open the gate; with the stop flag set the workers pass it without doing any work. */
void crew_open_gate(struct crew *crew);
/* Collect what has ended, without waiting. The index of one that ended, or -1. */
int crew_reap(struct crew *crew);
/* How many run. */
unsigned int crew_alive(const struct crew *crew);
/* SIGUSR1 to those that run: ends blocking system calls, nothing else. */
void crew_interrupt(const struct crew *crew);
/* SIGKILL the process groups of all that run and reap them; @fate is what they are noted with. */
void crew_kill(struct crew *crew, enum fate fate);

/* The life of worker @index in a process of its own. */
void worker_main(struct crew *crew, struct group *group, unsigned int index)
	__attribute__((noreturn));
/* The life of the process whose threads are the workers; @groups has one per group. */
void host_main(struct crew *crew, struct group *groups) __attribute__((noreturn));

#endif
