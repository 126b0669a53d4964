// SPDX-License-Identifier: GPL-2.0-only
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"

#define DEFAULT_SOCKET "/var/run/scx/root/stats"

static int usage(const char *complaint)
{
	status_error("open", EINVAL, complaint);
	fprintf(stderr,
		"usage: scx_load [--timeout-ms N] [--stats-socket PATH] "
		"[--log-level 0|1|2] [--probe-pid PID] [--set NAME=VALUE]... OBJECT.bpf.o\n");
	return EXIT_UNUSABLE;
}

int options_parse(struct options *opt, int argc, char **argv)
{
	static const struct option longs[] = {
		{"timeout-ms", required_argument, NULL, 't'},
		{"stats-socket", required_argument, NULL, 's'},
		{"log-level", required_argument, NULL, 'l'},
		{"set", required_argument, NULL, 'v'},
		{"probe-pid", required_argument, NULL, 'p'},
		{0},
	};
	int c;

	*opt = (struct options){.socket = DEFAULT_SOCKET, .log_level = LIBBPF_INFO};
	opt->sets = calloc((size_t)argc, sizeof(*opt->sets));
	if (!opt->sets)
		return usage("out of memory");
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 't')
			opt->timeout_ms = optarg;
		else if (c == 's')
			opt->socket = optarg;
		else if (c == 'p')
			opt->probe_pid = (pid_t)atoi(optarg);
		else if (c == 'v')
			opt->sets[opt->nr_sets++] = optarg;
		else if (c == 'l' && strlen(optarg) == 1 && strchr("012", *optarg))
			opt->log_level = *optarg - '0';
		else
			return usage("wrong option");
	}
	if (optind + 1 != argc)
		return usage("exactly one object file is needed");
	opt->object = argv[optind];
	return 0;
}
