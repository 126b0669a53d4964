// SPDX-License-Identifier: GPL-2.0-only
/* One work spec: what `worker lead KEY=VALUE...` was asked to run. */
#ifndef WORKER_SPEC_H
#define WORKER_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_WORKERS	1024
#define MAX_PARAMS	8
#define MAX_CPUS	8192
#define CPU_MASK_WORDS	(MAX_CPUS / 64)
#define ERROR_TEXT_SIZE 512

struct work_type;

struct spec {
	const struct work_type *type;
	uint64_t params[MAX_PARAMS]; /* in the order of type->params */
	uint64_t workers;
	uint64_t step;
	uint64_t group_idx;
	uint64_t work_idx;
	const char *cgroup;
	const char *affinity; /* as given; NULL: inherit */
	uint64_t cpu_mask[CPU_MASK_WORDS];
	int policy; /* SCHED_* */
	const char *policy_name;
	uint64_t rt_prio;
	bool has_nice;
	int nice;
	bool has_seed;
	uint64_t seed;
	bool has_slot;
	uint64_t slot;
	int cgroup_fd;	    /* -1: children stay in the cgroup of the leader */
	uint64_t gap_check; /* work units between gap measurements; 0: none are made */
	uint64_t start_timeout_ms;
};

/*
 * Fill @spec from KEY=VALUE words. On a mistake return false with one sentence
 * in @error (of ERROR_TEXT_SIZE bytes). Strings point into @argv.
 */
bool spec_parse(struct spec *spec, int argc, char **argv, char *error);

#endif
