// SPDX-License-Identifier: GPL-2.0-only
/* CgroupChurn, CgroupAttachStorm: tasks that change their cgroup, alive or while they exit. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "control.h"
#include "own_cgroup.h"
#include "work.h"

#define REMOVE_TRIES 20 /* a task that exits leaves its cgroup a moment later */

/*
 * The other cgroups stand beside the worker's own, since only there they have
 * controllers, and have its limits. Workers of one cgroup share them: who
 * creates one finds it there, and the last to leave can remove it.
 */
struct cgroup_state {
	char home[CGROUP_PATH];
	uint64_t due_ns;
	unsigned int next;
	bool told;
};

/* Siblings are called like the worker's cgroup with a dot in between, which no scenario writes. */
static void sibling(const struct cgroup_state *s, unsigned int i, char path[CGROUP_PATH + 32])
{
	snprintf(path, CGROUP_PATH + 32, "%s.churn-%u", s->home, i);
}

static void copy_control(const char *from, const char *to, const char *name)
{
	char text[1024];

	/* Without the controller there is no such file, and no limit to keep. */
	if (control_read(from, name, text, sizeof(text)))
		control_write(to, name, text);
}

static bool prepare_siblings(struct worker *w, unsigned int count, char *error, size_t size)
{
	struct cgroup_state *s = work_state(w, sizeof(*s), error, size);
	char path[CGROUP_PATH + 32];

	if (!s || !own_cgroup(s->home, error, size))
		return false;
	for (unsigned int i = 0; i < count; i++) {
		sibling(s, i, path);
		if (mkdir(path, 0755) < 0 && errno != EEXIST) {
			snprintf(error, size, "cannot create the cgroup %s: %s", path,
				 strerror(errno));
			return false;
		}
		copy_control(s->home, path, "cpuset.cpus");
		copy_control(s->home, path, "cpuset.mems");
		copy_control(s->home, path, "cpu.weight");
		copy_control(s->home, path, "cpu.max");
	}
	return true;
}

static void remove_siblings(const struct cgroup_state *s, unsigned int count)
{
	struct timespec pause = timespec_of(NSEC_PER_MSEC);
	char path[CGROUP_PATH + 32];

	for (unsigned int i = 0; i < count; i++) {
		sibling(s, i, path);
		for (int tries = 0; rmdir(path) < 0 && errno == EBUSY && tries < REMOVE_TRIES;
		     tries++)
			nanosleep(&pause, NULL);
	}
}

/* Once: it would be the same thousands of times. */
static void tell(struct worker *w, const char *path)
{
	struct cgroup_state *s = w->state;

	/* At the end a partner may have removed the sibling already. */
	if (!s->told && !stopped(w))
		dprintf(STDERR_FILENO, "worker %u: %s: cannot move to %s: %s\n", w->index,
			w->spec->type->name, path, strerror(errno));
	s->told = true;
}

enum {
	GROUPS,
	CYCLE_MS,
};

static bool prepare_churn(struct worker *w, char *error, size_t size)
{
	return prepare_siblings(w, (unsigned int)param(w, GROUPS), error, size);
}

static bool churn(struct worker *w)
{
	struct cgroup_state *s = w->state;
	char path[CGROUP_PATH + 32];
	uint64_t now;

	if (!spin_units(w, SPIN_CHUNK))
		return false;
	now = now_ns();
	if (now < s->due_ns)
		return true;
	s->due_ns = now + param(w, CYCLE_MS) * NSEC_PER_MSEC;
	sibling(s, s->next, path);
	s->next = (s->next + 1) % (unsigned int)param(w, GROUPS);
	if (!control_write(path, "cgroup.procs", "0"))
		tell(w, path);
	/* The kernel lets one move pass at a time; waiting for that is not wanting a CPU. */
	probe_unblocked(&w->probe, now_ns());
	return true;
}

static void finished_churn(struct worker *w)
{
	const struct cgroup_state *s = w->state;

	/* Its own cgroup may be gone; then there is nowhere to go back to. */
	control_write(s->home, "cgroup.procs", "0");
	remove_siblings(s, (unsigned int)param(w, GROUPS));
}

enum {
	REAP_WAIT,
	REAP_IGNORE,
};

static bool prepare_storm(struct worker *w, char *error, size_t size)
{
	/* The kernel then reaps by itself, at the same time as the worker writes. */
	if (param(w, 0) == REAP_IGNORE)
		signal(SIGCHLD, SIG_IGN);
	return prepare_siblings(w, 1, error, size);
}

static bool storm(struct worker *w)
{
	struct cgroup_state *s = w->state;
	char path[CGROUP_PATH + 32], number[16];
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0) {
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	sibling(s, 0, path);
	snprintf(number, sizeof(number), "%d", child);
	/* ESRCH: the child was faster, which is the race this type is about. */
	if (!control_write(path, "cgroup.procs", number) && errno != ESRCH)
		tell(w, path);
	/* The wait ends by itself when there is nothing to reap, and by the stop. */
	while (param(w, 0) == REAP_WAIT && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		if (stopped(w))
			return false;
	probe_unblocked(&w->probe, now_ns());
	probe_units(&w->probe, 1);
	/* Forks are slow: waiting for a thousand of them would hide every migration. */
	probe_checkpoint(&w->probe);
	return true;
}

static void finished_storm(struct worker *w)
{
	remove_siblings(w->state, 1);
}

const struct work_type work_cgroup_churn = {
	.name = "CgroupChurn",
	.process_wide = true,
	.group_size = 1,
	.params = {[GROUPS] = {"groups", 2, 1, 64}, [CYCLE_MS] = {"cycle_ms", 100, 1, 60000}},
	.prepare = prepare_churn,
	.iterate = churn,
	.finished = finished_churn,
};

const struct work_type work_cgroup_attach_storm = {
	.name = "CgroupAttachStorm",
	.process_wide = true,
	.makes_tasks = true,
	.group_size = 1,
	.params = {{"reap", REAP_WAIT, REAP_WAIT, REAP_IGNORE}},
	.prepare = prepare_storm,
	.iterate = storm,
	.finished = finished_storm,
};
