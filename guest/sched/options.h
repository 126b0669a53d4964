/* SPDX-License-Identifier: GPL-2.0-only */
/* The loader's command line. */
#ifndef KTSTR_OPTIONS_H
#define KTSTR_OPTIONS_H

#include <sys/types.h>

#define EXIT_UNUSABLE 2 /* wrong usage, load or attach failed */

struct options {
	const char *object;
	const char *socket;
	const char *timeout_ms;
	pid_t probe_pid;
	int log_level;
	int nr_sets;
	char **sets; /* NAME=VALUE each; of the heap */
};

/* 0, or the exit status after a message. */
int options_parse(struct options *opt, int argc, char **argv);

#endif
