// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "affinity.h"
#include "crew.h"
#include "jitter.h"
#include "mempolicy.h"
#include "placement.h"
#include "relax.h"

#define START_JITTER_UNITS 4096
#define GATE_GRACE_MS	   2000
#define THREAD_STACK	   (1U << 20)

struct thread {
	pthread_t id;
	struct crew *crew;
	struct group *groups; /* of all workers */
	unsigned int index;
	pthread_barrier_t *apart; /* passed when no two threads share descriptors any more */
};

/* Die with the leader, be killable with all descendants, hold nothing that is the leader's. */
static void become_worker(const struct crew *crew)
{
	sigset_t none;
	int null;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != crew->leader)
		_exit(1); /* it died before the request was in force */
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* The agent must see end of file when the leader is gone, whoever else is left. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	} else {
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
	}
	if (crew->spec->cgroup_fd >= 0)
		close(crew->spec->cgroup_fd);
	close(crew->signal_fd);
}

/* Block until the gate opens. False when it did not within the time allowed. */
static bool pass_gate(const struct crew *crew)
{
	uint32_t *go = &crew->control->go;
	/* The leader gives up first, and says why; this is for a leader that cannot. */
	uint64_t timeout_ms = SPAWN_TIMEOUT_MS + crew->spec->start_timeout_ms + GATE_GRACE_MS;
	uint64_t deadline = now_ns() + timeout_ms * NSEC_PER_MSEC;
	uint64_t one = 1;
	ssize_t n = write(crew->ready_fd, &one, sizeof(one));

	if (n != sizeof(one))
		return false;
	close(crew->ready_fd);
	while (!__atomic_load_n(go, __ATOMIC_ACQUIRE)) {
		uint64_t now = now_ns();

		if (now >= deadline)
			return false;
		futex_wait(go, 0, deadline - now);
	}
	return true;
}

/* Distinct for every worker of a seed and never 0, which xorshift64 cannot leave. */
static uint64_t worker_seed(const struct spec *spec, unsigned int index)
{
	const uint64_t golden = 0x9e3779b97f4a7c15ULL;
	uint64_t x =
		spec->seed + golden * (index + 1 + (spec->work_idx << 10) + (spec->step << 20));

	x ^= x >> 32;
	x *= golden;
	return x ? x : golden;
}

/* The life of a worker, in a process or a thread of its own. */
static void work(struct crew *crew, struct group *group, unsigned int index)
{
	const struct spec *spec = crew->spec;
	struct telemetry *t = &crew->telemetry[index];
	struct slices slices = crew_slices(crew, index);
	struct jitter jitter = jitter_of(spec, worker_seed(spec, index));
	struct worker w = {
		.spec = spec,
		.index = index,
		.position = index % work_group_size(spec),
		.group = group,
		.stop = &crew->control->stop,
		.jitter = &jitter,
	};

	t->tid = gettid();
	prctl(PR_SET_NAME, spec->comm ? spec->comm : spec->type->name);
	probe_init(&w.probe, t, crew->live ? &crew->live[spec->slot + index] : NULL,
		   spec->gap_check, worker_seed(spec, index));
	probe_keep_slices(&w.probe, &slices);
	/* First, so that what the type allocates lies where the scenario wants it. */
	apply_affinity(spec, &w.probe.rng, t->affinity_error, sizeof(t->affinity_error));
	apply_mem_policy(spec, t->memory_error, sizeof(t->memory_error));
	jitter_first_cpu(&jitter, spec, t->affinity_error, sizeof(t->affinity_error));
	if (spec->program) {
		apply_policy(spec, t->policy_error, sizeof(t->policy_error));
		custom_exec(&w, w.probe.rng, t->setup_error, sizeof(t->setup_error));
		_exit(1);
	}
	if (spec->type->prepare && !spec->type->prepare(&w, t->setup_error, sizeof(t->setup_error)))
		_exit(1);
	/* An op that comes right after the gate may change the affinity again. */
	if (!pass_gate(crew))
		_exit(1);

	apply_policy(spec, t->policy_error, sizeof(t->policy_error));
	/* Another seed is another interleaving, also where the clock is virtual. */
	if (spec->has_seed)
		relax(random_below(&w.probe.rng, START_JITTER_UNITS));
	jitter_start(&jitter);

	if (spec->type->started)
		spec->type->started(&w);

	probe_start(&w.probe);
	if (spec->type->run)
		spec->type->run(&w);
	else
		while (!stopped(&w)) {
			if (spec->type->iterate(&w))
				probe_iteration(&w.probe);
			probe_follow_epoch(&w.probe);
		}
	probe_finish(&w.probe);
	if (spec->type->finished)
		spec->type->finished(&w);
}

void worker_main(struct crew *crew, struct group *group, unsigned int index)
{
	become_worker(crew);
	work(crew, group, index);
	_exit(0);
}

static void close_groups(struct group *groups, unsigned int from, unsigned int to)
{
	for (unsigned int g = from; g < to; g++)
		for (unsigned int i = 0; i < groups[g].nfds; i++)
			if (groups[g].fds[i] >= 0)
				close(groups[g].fds[i]);
}

/* A thread has descriptors of its own, and of them its group's only, as a process would. */
static void *thread_main(void *arg)
{
	struct thread *thread = arg;
	unsigned int group_size = work_group_size(thread->crew->spec);
	unsigned int groups = (unsigned int)thread->crew->spec->workers / group_size;
	unsigned int own = thread->index / group_size;

	if (unshare(CLONE_FILES) < 0)
		_exit(1);
	close_groups(thread->groups, 0, own);
	close_groups(thread->groups, own + 1, groups);
	pthread_barrier_wait(thread->apart);
	work(thread->crew, &thread->groups[own], thread->index);
	return NULL;
}

void host_main(struct crew *crew, struct group *groups)
{
	unsigned int workers = (unsigned int)crew->spec->workers;
	unsigned int group_size = work_group_size(crew->spec);
	struct thread *threads = calloc(workers, sizeof(*threads));
	pthread_barrier_t apart;
	pthread_attr_t attr;

	become_worker(crew);
	if (!threads)
		_exit(1);
	pthread_barrier_init(&apart, NULL, workers + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	for (unsigned int i = 0; i < workers; i++) {
		int error;

		threads[i] = (struct thread){
			.crew = crew, .groups = groups, .index = i, .apart = &apart};
		error = pthread_create(&threads[i].id, &attr, thread_main, &threads[i]);
		if (!error)
			continue;
		snprintf(crew->telemetry[i].setup_error, TELEMETRY_TEXT, "pthread_create: %s",
			 strerror(error));
		_exit(1);
	}
	pthread_barrier_wait(&apart);
	close_groups(groups, 0, workers / group_size);
	close(crew->ready_fd);
	for (unsigned int i = 0; i < workers; i++)
		pthread_join(threads[i].id, NULL);
	_exit(0);
}
