// SPDX-License-Identifier: GPL-2.0-only
/* What leader and workers share: memory, descriptors, signals, the gate. */
#define _GNU_SOURCE
#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define CACHE_LINE  64
#define WORDS_BYTES (GROUP_WORDS * sizeof(uint32_t))

/* The workers' SIGUSR1 only makes a system call return; so it must have a handler. */
static void interrupted(int sig)
{
	(void)sig;
}

bool crew_fail(char *error, const char *what)
{
	snprintf(error, ERROR_TEXT_SIZE, "%s: %s", what, strerror(errno));
	return false;
}

/* Untouched pages cost nothing, so the reservoirs may be large: hence NORESERVE. */
static void *map_shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static bool map_live_page(struct crew *crew, char *error)
{
	const struct spec *spec = crew->spec;
	struct stat st;
	void *at;

	if (fstat(LIVE_FD, &st) < 0)
		return crew_fail(error, "slot is given but the counter page (fd 3) is not open");
	if ((spec->slot + spec->workers) * sizeof(uint64_t) > (uint64_t)st.st_size) {
		snprintf(error, ERROR_TEXT_SIZE,
			 "%s: slots %llu to %llu lie beyond the counter page of %lld bytes",
			 spec->type->name, (unsigned long long)spec->slot,
			 (unsigned long long)(spec->slot + spec->workers - 1),
			 (long long)st.st_size);
		return false;
	}
	if (spec->phases && (spec->epoch_slot + 1) * sizeof(uint64_t) > (uint64_t)st.st_size) {
		snprintf(error, ERROR_TEXT_SIZE,
			 "%s: epoch_slot %llu lies beyond the counter page of %lld bytes",
			 spec->type->name, (unsigned long long)spec->epoch_slot,
			 (long long)st.st_size);
		return false;
	}
	at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, LIVE_FD, 0);
	if (at == MAP_FAILED)
		return crew_fail(error, "cannot map the counter page (fd 3)");
	close(LIVE_FD);
	crew->live = at;
	return true;
}

static void set_signals(void)
{
	struct sigaction interrupt = {.sa_handler = interrupted}; /* no SA_RESTART */
	sigset_t set;

	/* An ignored SIGCHLD, inherited, would make exit statuses vanish. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &interrupt, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

bool crew_init(struct crew *crew, const struct spec *spec, char *error)
{
	size_t workers = spec->workers, groups = workers / work_group_size(spec);
	size_t own = spec->type->shared_bytes ? spec->type->shared_bytes(spec) : 0;
	sigset_t set;

	*crew = (struct crew){.spec = spec, .leader = getpid()};
	if (spec->has_slot && !map_live_page(crew, error))
		return false;
	crew->control = map_shared(sizeof(*crew->control));
	crew->shared_stride = WORDS_BYTES + (own + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
	crew->shared = map_shared(groups * crew->shared_stride);
	crew->telemetry = map_shared(workers * sizeof(*crew->telemetry));
	crew->children = calloc(workers, sizeof(*crew->children));
	if (spec->program)
		crew->custom = calloc(workers, sizeof(*crew->custom));
	if (spec->phases)
		crew->slices = map_shared(workers * slices_bytes(spec->phases));
	if (!crew->control || !crew->shared || !crew->telemetry || !crew->children ||
	    (spec->phases && !crew->slices) || (spec->program && !crew->custom))
		return crew_fail(error, "cannot map the telemetry area");

	set_signals();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	crew->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	crew->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (crew->signal_fd < 0 || crew->ready_fd < 0)
		return crew_fail(error, "cannot open signalfd and eventfd");
	return true;
}

struct slices crew_slices(const struct crew *crew, unsigned int index)
{
	const struct spec *spec = crew->spec;

	if (!crew->slices)
		return (struct slices){0};
	return (struct slices){
		.epoch = (const uint32_t *)&crew->live[spec->epoch_slot],
		.memory = crew->slices + index * slices_bytes(spec->phases),
		.count = (unsigned int)spec->phases,
		.cap = phase_cap(spec->phases),
	};
}

void *crew_shared(const struct crew *crew, unsigned int group)
{
	return crew->shared + group * crew->shared_stride + WORDS_BYTES;
}

void crew_open_gate(struct crew *crew)
{
	if (crew->custom)
		custom_go(crew);
	__atomic_store_n(&crew->control->go, 1, __ATOMIC_RELEASE);
	futex_wake(&crew->control->go, INT32_MAX);
}
