// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "crew.h"

/* A worker in an uninterruptible sleep cannot be reaped; do not wait for it for ever. */
#define REAP_TIMEOUT_MS 2000
#define CACHE_LINE	64
#define WORDS_BYTES	(GROUP_WORDS * sizeof(uint32_t))

/* The workers' SIGUSR1 only makes a system call return; so it must have a handler. */
static void interrupted(int sig)
{
	(void)sig;
}

static bool fail(char *error, const char *what)
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
		return fail(error, "slot is given but the counter page (fd 3) is not open");
	if ((spec->slot + spec->workers) * sizeof(uint64_t) > (uint64_t)st.st_size) {
		snprintf(error, ERROR_TEXT_SIZE,
			 "%s: slots %llu to %llu lie beyond the counter page of %lld bytes",
			 spec->type->name, (unsigned long long)spec->slot,
			 (unsigned long long)(spec->slot + spec->workers - 1),
			 (long long)st.st_size);
		return false;
	}
	at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, LIVE_FD, 0);
	if (at == MAP_FAILED)
		return fail(error, "cannot map the counter page (fd 3)");
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
	if (!crew->control || !crew->shared || !crew->telemetry || !crew->children)
		return fail(error, "cannot map the telemetry area");

	set_signals();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	crew->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	crew->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (crew->signal_fd < 0 || crew->ready_fd < 0)
		return fail(error, "cannot open signalfd and eventfd");
	return true;
}

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

static bool spawn_worker(struct crew *crew, struct group *group, char *error)
{
	const struct spec *spec = crew->spec;
	unsigned int index = crew->created;
	pid_t pid = fork_into(spec->cgroup_fd);

	if (pid == 0)
		worker_main(crew, group, index);
	if (pid < 0) {
		snprintf(error, ERROR_TEXT_SIZE,
			 "%s: cannot create worker %u of %llu in cgroup \"%s\": %s",
			 spec->type->name, index, (unsigned long long)spec->workers, spec->cgroup,
			 strerror(errno));
		return false;
	}
	/* By both sides, for whichever comes first. */
	setpgid(pid, pid);
	crew->children[index].pid = pid;
	crew->created++;
	return true;
}

/* One group: open what its members share, fork them, close the leader's copies. */
static bool spawn_group(struct crew *crew, unsigned int number, char *error)
{
	const struct spec *spec = crew->spec;
	const struct work_type *type = spec->type;
	char *memory = crew->shared + number * crew->shared_stride;
	struct group group = {
		.words = (uint32_t *)memory,
		.shared = memory + WORDS_BYTES,
		.nfds = type->group_fds ? type->group_fds(spec) : 0,
	};
	bool ok;

	group.fds = malloc((group.nfds + 1) * sizeof(*group.fds));
	if (!group.fds)
		return fail(error, type->name);
	memset(group.fds, 0xff, (group.nfds + 1) * sizeof(*group.fds));
	ok = !type->open_group || type->open_group(spec, &group) || fail(error, type->name);
	for (unsigned int i = 0; i < work_group_size(spec) && ok; i++)
		ok = spawn_worker(crew, &group, error);
	for (unsigned int i = 0; i < group.nfds; i++)
		if (group.fds[i] >= 0)
			close(group.fds[i]);
	free(group.fds);
	return ok;
}

bool crew_spawn(struct crew *crew, char *error)
{
	unsigned int groups = (unsigned int)crew->spec->workers / work_group_size(crew->spec);
	bool ok = true;

	for (unsigned int g = 0; g < groups && ok; g++)
		ok = spawn_group(crew, g, error);
	if (crew->spec->cgroup_fd >= 0)
		close(crew->spec->cgroup_fd);
	return ok;
}

void crew_open_gate(struct crew *crew)
{
	__atomic_store_n(&crew->control->go, 1, __ATOMIC_RELEASE);
	futex_wake(&crew->control->go, INT32_MAX);
}

unsigned int crew_alive(const struct crew *crew)
{
	unsigned int alive = 0;

	for (unsigned int i = 0; i < crew->created; i++)
		alive += !crew->children[i].reaped;
	return alive;
}

int crew_reap(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++) {
		struct child *child = &crew->children[i];
		siginfo_t info = {0};
		pid_t pid;

		if (child->reaped)
			continue;
		if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == 0)
			continue;
		/* While it is a zombie its number is not reused: end what it left in its group. */
		if (info.si_pid)
			kill(-child->pid, SIGKILL);
		pid = waitpid(child->pid, &child->status, WNOHANG);
		if (pid < 0)
			child->status = errno;
		if (child->fate == FATE_RUNNING)
			child->fate = pid < 0 ? FATE_WAIT_FAILED : FATE_ENDED;
		child->reaped = true;
		return (int)i;
	}
	return -1;
}

void crew_interrupt(const struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++)
		if (!crew->children[i].reaped)
			kill(crew->children[i].pid, SIGUSR1);
}

void crew_kill(struct crew *crew, enum fate fate)
{
	uint64_t deadline = now_ns() + REAP_TIMEOUT_MS * NSEC_PER_MSEC;

	for (unsigned int i = 0; i < crew->created; i++) {
		struct child *child = &crew->children[i];

		if (child->reaped)
			continue;
		child->fate = fate;
		kill(-child->pid, SIGKILL);
		kill(child->pid, SIGKILL);
	}
	while (crew_alive(crew) && now_ns() < deadline) {
		struct timespec pause = timespec_of(NSEC_PER_MSEC);

		if (crew_reap(crew) < 0)
			nanosleep(&pause, NULL);
	}
}
