// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_load: load one sched_ext BPF object, set its globals, attach it, serve
 * its statistics, and report how it ends.
 *
 *   scx_load [--timeout-ms N] [--stats-socket PATH] [--log-level N]
 *            [--probe-pid PID] [--set NAME=VALUE]... OBJECT.bpf.o
 *
 * Exit status: 0 detached on SIGTERM or SIGINT, 1 the scheduler ended with an
 * error, 2 wrong usage, load or attach failed, 3 the scheduler ended by itself
 * without an error. Messages for the caller: status.h. Everything libbpf and
 * the verifier say goes to stderr.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "object.h"
#include "options.h"
#include "stats_globals.h"
#include "status.h"

enum {
	EXIT_SIGNALLED = 0,
	EXIT_SCHED_ERROR = 1,
	EXIT_SCHED_CLEAN = 3
};

#define POLL_NS 20000000
/* From "not enabled any more" to the end with a record: a dump of every task lies between. */
#define RECORD_DEADLINE_NS 3000000000ull
/* For scx_probe to put its probes on the programs; under emulation it loads two for each. */
#define PROBE_DEADLINE_S 15

struct loader {
	struct options opt;
	struct sched_object so;
	struct bpf_link *link;
	struct exit_source exit;
	struct stats_globals globals;
	struct stats_server server;
	bool serving;
	int epoll_fd, signal_fd, timer_fd;
	uint64_t gone_ns; /* when the kernel first said it is not enabled any more */
};

/* `err` is a positive errno; what libbpf said goes along. */
static int fail(const char *stage, int err, const char *what)
{
	const char *tail = object_log_tail();
	char message[4096];

	snprintf(message, sizeof(message), "%s: %s%s%s", what, strerror(err), tail[0] ? "\n" : "",
		 tail);
	status_error(stage, err, message);
	return EXIT_UNUSABLE;
}

/* The same for a sentence that is complete. */
static int refuse(const char *stage, int err, const char *why)
{
	status_error(stage, err, why);
	return EXIT_UNUSABLE;
}

static int open_object(struct loader *ld)
{
	char why[512];
	int err = object_open(&ld->so, ld->opt.object, why, sizeof(why));

	if (err)
		return refuse("open", -err, why);
	err = exit_source_find(&ld->exit, ld->so.obj);
	return err ? fail("open", -err, "sizing the exit dump") : 0;
}

static int apply_sets(struct loader *ld)
{
	char why[4096];
	int err = 0;

	if (ld->opt.timeout_ms)
		err = object_set_timeout(&ld->so, ld->opt.timeout_ms, why, sizeof(why));
	for (int i = 0; !err && i < ld->opt.nr_sets; i++)
		err = global_set(ld->so.obj, ld->opt.sets[i], why, sizeof(why));
	return err ? refuse("set", -err, why) : 0;
}

static bool signal_pending(void)
{
	sigset_t set;

	sigpending(&set);
	return sigismember(&set, SIGTERM) || sigismember(&set, SIGINT);
}

static int load_object(struct loader *ld)
{
	int err;

	object_keep_logs(ld->so.obj);
	err = bpf_object__load(ld->so.obj);
	if (err)
		object_print_logs(ld->so.obj);
	object_drop_logs(ld->so.obj);
	if (err)
		return fail("load", -err, ld->opt.object);
	status_loaded(ld->so.obj);
	err = exit_source_open(&ld->exit);
	if (!err)
		err = stats_globals_open(&ld->globals, ld->so.obj);
	return err ? fail("load", -err, "reading the object's globals") : 0;
}

static int watch_fd(struct loader *ld, int fd, void *ptr)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = ptr};

	return fd < 0 || epoll_ctl(ld->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int start_serving(struct loader *ld, const sigset_t *signals)
{
	const struct itimerspec every = {.it_interval.tv_nsec = POLL_NS,
					 .it_value.tv_nsec = POLL_NS};
	struct stats_source source = {stats_globals_print, stats_globals_print_meta, &ld->globals};
	char why[256];
	int err;

	ld->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	ld->signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	ld->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (ld->epoll_fd < 0 || watch_fd(ld, ld->signal_fd, &ld->signal_fd) ||
	    watch_fd(ld, ld->timer_fd, &ld->timer_fd) ||
	    timerfd_settime(ld->timer_fd, 0, &every, NULL))
		return fail("attach", errno, "setting up the event loop");
	err = stats_server_open(&ld->server, ld->epoll_fd, ld->opt.socket, source, why,
				sizeof(why));
	if (err)
		return refuse("attach", -err, why);
	ld->serving = true;
	return 0;
}

/*
 * Real time, so that a scheduler that runs nobody cannot keep us from saying so,
 * and above real-time workers; 99 is left to whoever must stop even us.
 */
static void become_realtime(void)
{
	const struct sched_param param = {.sched_priority = 98};

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		fprintf(stderr,
			"scx_load: no SCHED_FIFO (%s): a stalled scheduler may delay its "
			"own report\n",
			strerror(errno));
}

/*
 * Have scx_probe put its probes on the programs while nothing calls them yet:
 * it gets a SIGUSR1 and answers with one. Without an answer the scheduler is
 * attached all the same.
 */
static void wait_for_probes(pid_t pid)
{
	const struct timespec deadline = {.tv_sec = PROBE_DEADLINE_S};
	sigset_t answer;

	sigemptyset(&answer);
	sigaddset(&answer, SIGUSR1);
	if (kill(pid, SIGUSR1))
		fprintf(stderr, "scx_load: no probes: process %d: %s\n", pid, strerror(errno));
	else if (sigtimedwait(&answer, NULL, &deadline) < 0)
		fprintf(stderr, "scx_load: the probes were not in place within %d s\n",
			PROBE_DEADLINE_S);
}

static int attach(struct loader *ld)
{
	struct exit_info info;
	bool ended;
	int err;

	become_realtime();
	ld->link = bpf_map__attach_struct_ops(ld->so.ops_map);
	err = errno;
	ended = exit_source_read(&ld->exit, &info);
	/*
	 * A failed ops.init() is an error of attaching on every kernel, but newer
	 * ones let the system call succeed and only tell through ops.exit().
	 */
	if (ended && (!ld->link || info.kind == KIND_ERROR)) {
		char what[1400];

		status_exit(&info);
		snprintf(what, sizeof(what), "%s was ejected while attaching: %s", ld->so.ops_name,
			 info.msg[0] ? info.msg : info.reason);
		return refuse("attach", ld->link ? ECANCELED : err, what);
	}
	if (!ld->link)
		return fail("attach", err, ld->so.ops_name);
	status_attached(ld->so.ops_name, monotonic_ns());
	return 0;
}

/* What to say when the object kept no record: what the kernel shows. */
static void report_state(const char *how)
{
	char state[64], text[160];
	struct exit_info info = {.reason = text, .msg = "", .dump = ""};

	scx_state_read(state, sizeof(state));
	snprintf(text, sizeof(text), "%s: sched_ext is %s and the object left no exit record", how,
		 state);
	status_exit(&info);
}

/* Negative while the scheduler lives, else the exit status. */
static int check_scheduler(struct loader *ld)
{
	struct exit_info info;
	uint64_t now = monotonic_ns();
	char state[64];

	if (exit_source_read(&ld->exit, &info)) {
		status_exit(&info);
		return info.kind >= KIND_ERROR ? EXIT_SCHED_ERROR : EXIT_SCHED_CLEAN;
	}
	scx_state_read(state, sizeof(state));
	if (strcmp(state, "disabled") && strcmp(state, "disabling")) {
		ld->gone_ns = 0;
		return -1;
	}
	if (!ld->gone_ns)
		ld->gone_ns = now;
	if ((ld->exit.found || strcmp(state, "disabled")) && now - ld->gone_ns < RECORD_DEADLINE_NS)
		return -1;
	report_state("ended by itself");
	return EXIT_SCHED_ERROR;
}

/*
 * Detach on a signal. A scheduler that was ending already keeps its own end:
 * the signal did not stop it.
 */
static int detach(struct loader *ld)
{
	struct exit_info info;
	int status = check_scheduler(ld);
	bool ended;

	while (status < 0 && ld->gone_ns) {
		usleep(POLL_NS / 1000);
		status = check_scheduler(ld);
	}
	if (status >= 0)
		return status;
	/* Returns when the kernel is done with it, ops.exit() included. */
	bpf_link__destroy(ld->link);
	ld->link = NULL;
	ended = exit_source_read(&ld->exit, &info);
	if (ended)
		status_exit(&info);
	else
		report_state("detached");
	/* It may have failed between the check and the detaching. */
	return ended && info.kind >= KIND_ERROR ? EXIT_SCHED_ERROR : EXIT_SIGNALLED;
}

static int serve(struct loader *ld)
{
	for (;;) {
		struct epoll_event events[8];
		int n = epoll_wait(ld->epoll_fd, events, 8, -1), status;
		uint64_t now = monotonic_ns(), ticks;

		for (int i = 0; i < n; i++) {
			void *ptr = events[i].data.ptr;

			if (ptr == &ld->signal_fd)
				return detach(ld);
			if (ptr != &ld->timer_fd) {
				stats_server_event(&ld->server, ptr, now);
				continue;
			}
			if (read(ld->timer_fd, &ticks, sizeof(ticks)) < 0)
				continue;
			stats_server_expire(&ld->server, now);
			status = check_scheduler(ld);
			if (status >= 0)
				return status;
		}
	}
}

static int run(struct loader *ld, const sigset_t *signals)
{
	int status = open_object(ld);

	if (!status)
		status = apply_sets(ld);
	if (!status)
		status = load_object(ld);
	if (!status)
		status = start_serving(ld, signals);
	if (status || signal_pending())
		return status;
	if (ld->opt.probe_pid > 1)
		wait_for_probes(ld->opt.probe_pid);
	status = attach(ld);
	return status ? status : serve(ld);
}

static void release(struct loader *ld)
{
	if (ld->serving)
		stats_server_close(&ld->server);
	bpf_link__destroy(ld->link);
	stats_globals_close(&ld->globals);
	exit_source_close(&ld->exit);
	bpf_object__close(ld->so.obj);
	free(ld->opt.sets);
}

int main(int argc, char **argv)
{
	/* 256 KiB of client buffers: not for the stack. */
	static struct loader ld;
	sigset_t signals, probed;
	int status;

	status_init();
	setvbuf(stderr, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* Waited for by name only, and not for the event loop. */
	sigemptyset(&probed);
	sigaddset(&probed, SIGUSR1);
	sigprocmask(SIG_BLOCK, &probed, NULL);
	status = options_parse(&ld.opt, argc, argv);
	if (!status) {
		object_log_start(ld.opt.log_level);
		status = run(&ld, &signals);
	}
	release(&ld);
	return status;
}
