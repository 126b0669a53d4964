// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_probe: put probes on the callbacks of every sched_ext scheduler that is
 * loaded while this runs, and on the kernel's exit path.
 *
 *   scx_probe OBJECT.bpf.o
 *
 * Says "ready: ..." on stdout once the exit path is probed. New struct_ops
 * programs are looked for every POLL_MS, and at once when a process sends
 * SIGUSR1, which gets a SIGUSR1 back when its programs are probed. What is
 * recorded stays in the maps (probe.h) and is read from outside the guest; it
 * is gone when this ends. Exit status: 0 on SIGTERM or SIGINT, 2 otherwise.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "prober.h"

#define POLL_MS 10

static int print_warnings(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, args) : 0;
}

static int serve(struct prober *pr, int signals)
{
	struct pollfd waited = {.fd = signals, .events = POLLIN};

	for (;;) {
		struct signalfd_siginfo got;

		if (poll(&waited, 1, POLL_MS) > 0 &&
		    read(signals, &got, sizeof(got)) == sizeof(got)) {
			if (got.ssi_signo != SIGUSR1)
				return 0;
			probe_callbacks(pr);
			if (got.ssi_pid > 1)
				kill((pid_t)got.ssi_pid, SIGUSR1);
		}
		probe_callbacks(pr);
	}
}

int main(int argc, char **argv)
{
	const struct sched_param param = {.sched_priority = 98};
	struct prober pr = {0};
	sigset_t set;
	int signals, err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2) {
		fprintf(stderr, "usage: scx_probe OBJECT.bpf.o\n");
		return EXIT_UNUSABLE;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return prober_fail("signalfd", errno);
	/* Not to be held back by the scheduler that is looked at. */
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		fprintf(stderr, "scx_probe: no SCHED_FIFO: %s\n", strerror(errno));
	libbpf_set_print(print_warnings);
	pr.path = argv[1];
	err = probe_exits(&pr);
	if (err)
		return err;
	printf("ready: %s\n", pr.bss.counters->exit_probe[0] ? pr.bss.counters->exit_probe :
							       pr.bss.counters->missing);
	return serve(&pr, signals);
}
