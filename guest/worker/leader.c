// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "leader.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "crew.h"
#include "relax.h"
#include "report.h"

#define COLLECT_TIMEOUT_MS 5000 /* from the stop command to the last exit */
/* A signal can arrive just before the call it should end; so it is sent again. */
#define INTERRUPT_AGAIN_MS 100

enum state {
	STATE_SPAWNING, /* not all workers are at the gate */
	STATE_GATED,
	STATE_RUNNING,
	STATE_COLLECTING,
	STATE_REPORTING, /* every worker has ended or was given up */
	STATE_LOST,	 /* the agent is gone or the run cannot go on */
};

struct leader {
	struct crew crew;
	enum state state;
	uint64_t deadline; /* of the state; 0: none */
	uint64_t ready;
	bool start_asked; /* 'S' came before all workers were at the gate */
};

static void enter(struct leader *l, enum state state, uint64_t timeout_ms)
{
	l->state = state;
	l->deadline = timeout_ms ? now_ns() + timeout_ms * NSEC_PER_MSEC : 0;
}

static void give_up(struct leader *l, const char *text)
{
	send_error(text);
	enter(l, STATE_LOST, 0);
}

static void start_running(struct leader *l)
{
	crew_open_gate(&l->crew);
	enter(l, STATE_RUNNING, 0);
}

static void start_collecting(struct leader *l)
{
	if (l->crew.custom)
		custom_stop(&l->crew);
	__atomic_store_n(&l->crew.control->stop, 1, __ATOMIC_RELEASE);
	crew_open_gate(&l->crew);
	crew_interrupt(&l->crew);
	enter(l, STATE_COLLECTING, COLLECT_TIMEOUT_MS);
}

static void obey(struct leader *l, char command)
{
	char text[ERROR_TEXT_SIZE];

	if (command == 'S' && l->state == STATE_SPAWNING) {
		l->start_asked = true;
	} else if (command == 'S' && l->state == STATE_GATED) {
		start_running(l);
	} else if (command == 'T' && l->state < STATE_COLLECTING) {
		start_collecting(l);
	} else if (command != 'S' && command != 'T') {
		snprintf(text, sizeof(text), "%s: unknown command byte 0x%02x; S and T are known",
			 l->crew.spec->type->name, (unsigned char)command);
		give_up(l, text);
	}
}

static void read_commands(struct leader *l)
{
	char buf[16];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		enter(l, STATE_LOST, 0);
		return;
	}
	for (ssize_t i = 0; i < n && l->state != STATE_LOST; i++)
		obey(l, buf[i]);
}

static void note_ready(struct leader *l)
{
	if (l->state != STATE_SPAWNING || l->ready < l->crew.spec->workers)
		return;
	crew_ready(&l->crew);
	enter(l, STATE_GATED, l->crew.spec->start_timeout_ms);
	if (!send_pids(&l->crew))
		enter(l, STATE_LOST, 0);
	else if (l->start_asked)
		start_running(l);
}

static void read_ready(struct leader *l)
{
	uint64_t count;

	if (read(l->crew.ready_fd, &count, sizeof(count)) != sizeof(count))
		return;
	l->ready += count;
	note_ready(l);
}

/* Programs cannot make the leader look, so it looks from time to time. */
static void look_at_custom(struct leader *l)
{
	if (l->state == STATE_SPAWNING) {
		l->ready = custom_ready(&l->crew);
		note_ready(l);
	} else {
		custom_fetch(&l->crew);
	}
}

/* How many workers that are threads ended alone; with the last of them their process ends. */
static unsigned int ended_alone(const struct crew *crew)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < crew->created && crew->host; i++)
		count += *crew->telemetry[i].panic != '\0';
	return count;
}

static void say_how(const struct child *child, char *text, size_t size)
{
	if (child->fate == FATE_WAIT_FAILED)
		snprintf(text, size, "could not be waited for: %s", strerror(child->status));
	else if (WIFSIGNALED(child->status))
		snprintf(text, size, "was killed by signal %d", WTERMSIG(child->status));
	else
		snprintf(text, size, "exited with code %d", WEXITSTATUS(child->status));
}

/* A worker that dies early: before the start it spoils the spec, later it is its own report. */
static void note_death(struct leader *l, unsigned int index)
{
	const struct crew *crew = &l->crew;
	const struct child *child = &crew->children[index];
	const char *setup_error = crew->telemetry[index].setup_error;
	const char *until = l->state == STATE_RUNNING ? "stop" : "start";
	char text[ERROR_TEXT_SIZE], how[64];

	say_how(child, how, sizeof(how));
	if (crew->host && ended_alone(crew) == crew->created)
		snprintf(text, sizeof(text),
			 "%s: the workers' process (pid %d) ended before the %s: none of its %u "
			 "threads could go on",
			 crew->spec->type->name, crew->host, until, crew->created);
	else
		snprintf(text, sizeof(text), "%s: worker %u (pid %d) %s before the %s%s%.*s",
			 crew->spec->type->name, index, child->pid, how, until,
			 *setup_error ? ": " : "", TELEMETRY_TEXT - 1, setup_error);
	if (l->state == STATE_RUNNING)
		dprintf(STDERR_FILENO, "%s\n", text);
	else if (l->state < STATE_RUNNING)
		give_up(l, text);
}

static void read_deaths(struct leader *l)
{
	struct signalfd_siginfo info;
	int index;

	while (read(l->crew.signal_fd, &info, sizeof(info)) == sizeof(info))
		;
	while ((index = crew_reap(&l->crew)) >= 0)
		note_death(l, (unsigned int)index);
}

static void expire(struct leader *l)
{
	const struct crew *crew = &l->crew;
	char text[ERROR_TEXT_SIZE];

	if (l->state == STATE_COLLECTING) {
		crew_kill(&l->crew, FATE_TIMED_OUT);
		enter(l, STATE_REPORTING, 0);
		return;
	}
	if (l->state == STATE_SPAWNING)
		snprintf(text, sizeof(text), "%s: after %d ms %llu of %llu workers are at the gate",
			 crew->spec->type->name, SPAWN_TIMEOUT_MS, (unsigned long long)l->ready,
			 (unsigned long long)crew->spec->workers);
	else
		snprintf(text, sizeof(text), "%s: no start command within %llu ms",
			 crew->spec->type->name, (unsigned long long)crew->spec->start_timeout_ms);
	give_up(l, text);
}

static int poll_timeout(const struct leader *l)
{
	uint64_t now = now_ns(), left = INT32_MAX, most = INT32_MAX;

	if (l->deadline)
		left = l->deadline > now ? (l->deadline - now) / NSEC_PER_MSEC + 1 : 0;
	if (l->state == STATE_COLLECTING)
		most = INTERRUPT_AGAIN_MS;
	if (l->crew.custom)
		most = l->state == STATE_SPAWNING ? CUSTOM_READY_MS : CUSTOM_FETCH_MS;
	left = left < most ? left : most;
	return left < INT32_MAX ? (int)left : -1;
}

static void wait_for_event(struct leader *l)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = l->crew.signal_fd, .events = POLLIN},
		{.fd = l->crew.ready_fd, .events = POLLIN},
	};
	int n = poll(fds, 3, poll_timeout(l));

	if (n < 0)
		return; /* EINTR */
	if (l->crew.custom)
		look_at_custom(l);
	if (fds[2].revents)
		read_ready(l);
	if (fds[0].revents && l->state != STATE_LOST)
		read_commands(l);
	if (fds[1].revents)
		read_deaths(l);
	if (l->state == STATE_LOST)
		return;
	if (l->state == STATE_COLLECTING && !crew_alive(&l->crew))
		enter(l, STATE_REPORTING, 0);
	else if (l->deadline && now_ns() >= l->deadline)
		expire(l);
	else if (n == 0 && l->state == STATE_COLLECTING)
		crew_interrupt(&l->crew);
}

static bool report_all(const struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++)
		if (!send_report(crew, i))
			return false;
	return send_done();
}

int lead(const struct spec *spec)
{
	static struct leader leader;
	struct leader *l = &leader;
	char error[ERROR_TEXT_SIZE];

	relax_init();
	if (!crew_init(&l->crew, spec, error)) {
		send_error(error);
		return EXIT_BROKEN;
	}
	if (!crew_spawn(&l->crew, error)) {
		send_error(error);
		crew_kill(&l->crew, FATE_ENDED);
		return EXIT_BROKEN;
	}
	enter(l, STATE_SPAWNING, SPAWN_TIMEOUT_MS);
	while (l->state < STATE_REPORTING)
		wait_for_event(l);
	if (l->state == STATE_REPORTING && report_all(&l->crew))
		return EXIT_OK;
	crew_kill(&l->crew, FATE_ENDED);
	return EXIT_BROKEN;
}
