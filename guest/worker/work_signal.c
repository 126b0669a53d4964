// SPDX-License-Identifier: GPL-2.0-only
/* SignalStorm: pairs that interrupt each other with signals while they work. */
#define _GNU_SOURCE
#include <signal.h>

#include "work.h"

enum {
	SIGNALS,
	WORK_ITERS,
};

/* SIGUSR1 belongs to the leader; this one only has to pass through the kernel. */
#define STORM_SIGNAL SIGUSR2

static void received(int sig)
{
	(void)sig;
}

static bool prepare(struct worker *w, char *error, size_t size)
{
	struct sigaction action = {.sa_handler = received, .sa_flags = SA_RESTART};

	(void)error;
	(void)size;
	sigaction(STORM_SIGNAL, &action, NULL);
	/* Known only once its handler stands: before, the signal would kill. */
	__atomic_store_n(&w->group->words[w->position], (uint32_t)syscall(SYS_gettid),
			 __ATOMIC_RELEASE);
	return true;
}

static bool iterate(struct worker *w)
{
	uint32_t partner = __atomic_load_n(&w->group->words[1 - w->position], __ATOMIC_ACQUIRE);

	if (!spin_units(w, param(w, WORK_ITERS)))
		return false;
	for (uint64_t i = 0; i < param(w, SIGNALS); i++) {
		if (stopped(w))
			return false;
		/* The number of a partner that ended may be a stranger's by now. */
		if (!partner || syscall(SYS_tkill, partner, STORM_SIGNAL) < 0)
			break;
	}
	probe_units(&w->probe, param(w, SIGNALS));
	return true;
}

static void finished(struct worker *w)
{
	__atomic_store_n(&w->group->words[w->position], 0, __ATOMIC_RELEASE);
}

const struct work_type work_signal_storm = {
	.name = "SignalStorm",
	.group_size = 2,
	.params = {[SIGNALS] = {"signals_per_iter", 16, 1, 1000000},
		   [WORK_ITERS] = {"work_iters", 1024, 1, 1000000000}},
	.prepare = prepare,
	.iterate = iterate,
	.finished = finished,
};
