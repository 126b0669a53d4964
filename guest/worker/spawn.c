// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "crew.h"

/* A worker in an uninterruptible sleep cannot be reaped; do not wait for it for ever. */
#define REAP_TIMEOUT_MS 2000

/* Like fork(); a child that starts in its cgroup was never seen by the scheduler outside it. */
static pid_t fork_into(int cgroup_fd)
{
	struct clone_args args = {
		.flags = cgroup_fd < 0 ? 0 : CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd < 0 ? 0 : (uint64_t)cgroup_fd,
	};

	if (cgroup_fd < 0)
		return fork();
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static bool creation_failed(const struct crew *crew, unsigned int index, char *error)
{
	snprintf(error, ERROR_TEXT_SIZE, "%s: cannot create worker %u of %llu in cgroup \"%s\": %s",
		 crew->spec->type->name, index, (unsigned long long)crew->spec->workers,
		 crew->spec->cgroup, strerror(errno));
	return false;
}

static bool spawn_worker(struct crew *crew, struct group *group, char *error)
{
	unsigned int index = crew->created;
	pid_t pid = fork_into(crew->spec->cgroup_fd);

	if (pid == 0)
		worker_main(crew, group, index);
	if (pid < 0)
		return creation_failed(crew, index, error);
	/* By both sides, for whichever comes first. */
	setpgid(pid, pid);
	crew->children[index].pid = pid;
	crew->created++;
	return true;
}

/* What the members of group @number share; close_group undoes it, also after a failure. */
static bool open_group(struct crew *crew, unsigned int number, struct group *group, char *error)
{
	const struct spec *spec = crew->spec;
	const struct work_type *type = spec->type;

	*group = (struct group){
		.words = (uint32_t *)(crew->shared + number * crew->shared_stride),
		.shared = crew_shared(crew, number),
		.nfds = type->group_fds ? type->group_fds(spec) : 0,
	};
	group->fds = malloc((group->nfds + 1) * sizeof(*group->fds));
	if (!group->fds)
		return crew_fail(error, type->name);
	memset(group->fds, 0xff, (group->nfds + 1) * sizeof(*group->fds));
	return !type->open_group || type->open_group(spec, group) || crew_fail(error, type->name);
}

static void close_group(struct group *group)
{
	for (unsigned int i = 0; i < group->nfds && group->fds; i++)
		if (group->fds[i] >= 0)
			close(group->fds[i]);
	free(group->fds);
}

/* One process per worker; the leader keeps no copy of what a group's members share. */
static bool spawn_processes(struct crew *crew, unsigned int groups, char *error)
{
	bool ok = true;

	for (unsigned int g = 0; g < groups && ok; g++) {
		struct group group;

		ok = open_group(crew, g, &group, error);
		if (ok && crew->custom && !custom_map(crew, g, group.fds[0]))
			ok = crew_fail(error, crew->spec->type->name);
		for (unsigned int i = 0; i < work_group_size(crew->spec) && ok; i++)
			ok = spawn_worker(crew, &group, error);
		close_group(&group);
	}
	return ok;
}

/* One process that will have a thread per worker. */
static bool spawn_host(struct crew *crew, unsigned int groups, char *error)
{
	struct group *all = calloc(groups, sizeof(*all));
	unsigned int opened = 0;
	bool ok = all != NULL || crew_fail(error, crew->spec->type->name);

	for (; ok && opened < groups; opened++)
		ok = open_group(crew, opened, &all[opened], error);
	if (ok) {
		crew->host = fork_into(crew->spec->cgroup_fd);
		if (crew->host == 0)
			host_main(crew, all);
		ok = crew->host > 0 || creation_failed(crew, 0, error);
	}
	while (opened)
		close_group(&all[--opened]);
	free(all);
	if (!ok)
		return false;
	setpgid(crew->host, crew->host);
	crew->created = (unsigned int)crew->spec->workers;
	return true;
}

bool crew_spawn(struct crew *crew, char *error)
{
	const struct spec *spec = crew->spec;
	unsigned int groups = (unsigned int)spec->workers / work_group_size(spec);
	bool ok = spec->threads ? spawn_host(crew, groups, error) :
				  spawn_processes(crew, groups, error);

	if (spec->cgroup_fd >= 0)
		close(spec->cgroup_fd);
	return ok;
}

void crew_ready(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created && crew->host; i++)
		crew->children[i].pid = crew->telemetry[i].tid;
}

unsigned int crew_alive(const struct crew *crew)
{
	unsigned int alive = 0;

	for (unsigned int i = 0; i < crew->created; i++)
		alive += !crew->children[i].reaped;
	return alive;
}

/* Wait for a process without blocking; false while it runs. Its status goes to child @index. */
static bool reap(struct crew *crew, pid_t pid, unsigned int index)
{
	struct child *child = &crew->children[index];
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
		return false;
	/* While it is a zombie its number is not reused: end what it left in its group. */
	if (info.si_pid) {
		kill(-pid, SIGKILL);
		if (crew->custom)
			custom_ended(crew, index,
				     info.si_code == CLD_EXITED && info.si_status == 0);
	}
	pid = waitpid(pid, &child->status, WNOHANG);
	if (pid < 0)
		child->status = errno;
	if (child->fate == FATE_RUNNING)
		child->fate = pid < 0 ? FATE_WAIT_FAILED : FATE_ENDED;
	child->reaped = true;
	return true;
}

/* The threads of a process end together. The first that says why, else the first. */
static int reap_host(struct crew *crew)
{
	struct child *first = &crew->children[0];
	int speaker = 0;

	if (first->reaped || !reap(crew, crew->host, 0))
		return -1;
	for (unsigned int i = crew->created; i-- > 0;) {
		crew->children[i].fate = first->fate;
		crew->children[i].status = first->status;
		crew->children[i].reaped = true;
		if (*crew->telemetry[i].setup_error)
			speaker = (int)i;
	}
	return speaker;
}

int crew_reap(struct crew *crew)
{
	if (crew->host)
		return reap_host(crew);
	for (unsigned int i = 0; i < crew->created; i++)
		if (!crew->children[i].reaped && reap(crew, crew->children[i].pid, i))
			return (int)i;
	return -1;
}

void crew_interrupt(const struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++) {
		const struct child *child = &crew->children[i];

		if (!child->reaped && child->pid)
			syscall(SYS_tgkill, crew->host ? crew->host : child->pid, child->pid,
				SIGUSR1);
	}
}

static void kill_group(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

void crew_kill(struct crew *crew, enum fate fate)
{
	uint64_t deadline = now_ns() + REAP_TIMEOUT_MS * NSEC_PER_MSEC;

	for (unsigned int i = 0; i < crew->created; i++) {
		struct child *child = &crew->children[i];

		if (child->reaped)
			continue;
		child->fate = fate;
		kill_group(crew->host ? crew->host : child->pid);
	}
	while (crew_alive(crew) && now_ns() < deadline) {
		struct timespec pause = timespec_of(NSEC_PER_MSEC);

		if (crew_reap(crew) < 0)
			nanosleep(&pause, NULL);
	}
}
