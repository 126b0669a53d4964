// SPDX-License-Identifier: GPL-2.0-only
/* One work spec: what `worker lead KEY=VALUE...` was asked to run. */
#ifndef WORKER_SPEC_H
#define WORKER_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_WORKERS	1024
#define MAX_PARAMS	9
#define MAX_CPUS	8192
#define CPU_MASK_WORDS	(MAX_CPUS / 64)
#define MAX_NODES	1024 /* the kernel's largest MAX_NUMNODES */
#define NODE_MASK_WORDS (MAX_NODES / 64)
#define MAX_PHASES	256
#define COMM_LENGTH	15 /* TASK_COMM_LEN of the kernel, without its NUL */
#define ERROR_TEXT_SIZE 1024

struct work_type;

struct spec {
	const struct work_type *type;
	uint64_t params[MAX_PARAMS]; /* in the order of type->params */
	uint64_t workers;
	uint64_t step;
	uint64_t group_idx;
	uint64_t work_idx;
	const char *cgroup;
	bool threads;	      /* the workers are threads of one process */
	const char *comm;     /* NULL: the type's name */
	const char *affinity; /* as given; NULL: inherit */
	int affinity_intent;  /* enum affinity_intent */
	uint64_t cpu_mask[CPU_MASK_WORDS];
	int policy; /* SCHED_* */
	const char *policy_name;
	uint64_t rt_prio;
	uint64_t dl_runtime_us;
	uint64_t dl_deadline_us;
	uint64_t dl_period_us;
	const char *mem_policy_name; /* NULL: the kernel's default, no call is made */
	int mem_policy;		     /* MPOL_* */
	const char *mem_nodes_text;
	uint64_t mem_nodes[NODE_MASK_WORDS];
	unsigned int mem_flags; /* MPOL_F_* */
	bool has_nice;
	int nice;
	bool has_seed;
	uint64_t seed;
	bool has_slot;
	uint64_t slot;
	uint64_t epoch_slot; /* of the counter page: where the phase epoch is */
	uint64_t phases;     /* slices the worker keeps, one per step; 0: there is no epoch */
	const char *program; /* of custom work */
	const char *args;    /* its further words, separated by unit separators (0x1f) */
	int cgroup_fd;	     /* -1: children stay in the cgroup of the leader */
	uint64_t gap_check;  /* work units between gap measurements; 0: none are made */
	uint64_t start_timeout_ms;
	uint64_t jitter_us; /* how much later a worker may start, and differ otherwise; 0: not at all */
};

/*
 * Fill @spec from KEY=VALUE words. On a mistake return false with one sentence
 * in @error (of ERROR_TEXT_SIZE bytes). Strings point into @argv.
 */
bool spec_parse(struct spec *spec, int argc, char **argv, char *error);

#endif
