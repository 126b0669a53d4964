// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "crew.h"
#include "placement.h"
#include "relax.h"

#define START_JITTER_UNITS 4096
#define GATE_GRACE_MS	   2000

/* Die with the leader, be killable with all descendants, hold nothing that is the leader's. */
static void become_worker(const struct crew *crew, pid_t leader)
{
	sigset_t none;
	int null;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != leader)
		_exit(1); /* it died before the request was in force */
	setpgid(0, 0);
	prctl(PR_SET_NAME, crew->spec->type->name);
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

void worker_main(struct crew *crew, struct group *group, unsigned int index)
{
	const struct spec *spec = crew->spec;
	struct telemetry *t = &crew->telemetry[index];
	struct worker w = {
		.spec = spec,
		.index = index,
		.position = index % work_group_size(spec),
		.group = group,
		.stop = &crew->control->stop,
	};

	become_worker(crew, crew->leader);
	t->tid = getpid();
	probe_init(&w.probe, t, crew->live ? &crew->live[spec->slot + index] : NULL,
		   spec->gap_check, worker_seed(spec, index));
	if (spec->type->prepare && !spec->type->prepare(&w, t->setup_error, sizeof(t->setup_error)))
		_exit(1);
	/* Before the gate: an op that comes right after the spawn may change it again. */
	apply_affinity(spec, t->affinity_error, sizeof(t->affinity_error));
	if (!pass_gate(crew))
		_exit(1);

	apply_policy(spec, t->policy_error, sizeof(t->policy_error));
	/* Another seed is another interleaving, also where the clock is virtual. */
	if (spec->has_seed)
		relax(random_below(&w.probe.rng, START_JITTER_UNITS));

	if (spec->type->started)
		spec->type->started(&w);

	probe_start(&w.probe);
	if (spec->type->run)
		spec->type->run(&w);
	else
		while (!stopped(&w))
			if (spec->type->iterate(&w))
				probe_iteration(&w.probe);
	probe_finish(&w.probe);
	_exit(0);
}
