// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "placement.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of include/uapi/linux/sched/types.h, first version: no libc here has it. */
struct sched_attr_v0 {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

bool parse_cpu_list(const char *text, uint64_t mask[CPU_MASK_WORDS])
{
	const char *at = text;

	memset(mask, 0, CPU_MASK_WORDS * sizeof(mask[0]));
	for (;;) {
		unsigned long first, last;
		char *end;

		/* strtoul alone would take blanks and signs. */
		if (*at < '0' || *at > '9')
			return false;
		first = last = strtoul(at, &end, 10);
		if (*end == '-') {
			at = end + 1;
			if (*at < '0' || *at > '9')
				return false;
			last = strtoul(at, &end, 10);
		}
		if (first > last || last >= MAX_CPUS)
			return false;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			mask[cpu / 64] |= 1ULL << (cpu % 64);
		if (*end == '\0')
			return true;
		if (*end != ',')
			return false;
		at = end + 1;
	}
}

static const struct {
	const char *name;
	int policy;
} policies[] = {
	{"normal", SCHED_OTHER}, {"batch", SCHED_BATCH}, {"idle", SCHED_IDLE},
	{"fifo", SCHED_FIFO},	 {"rr", SCHED_RR},	 {"ext", SCHED_EXT},
};

int policy_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (!strcmp(policies[i].name, name))
			return policies[i].policy;
	return -1;
}

void apply_affinity(const struct spec *spec, char *error, size_t size)
{
	if (spec->affinity &&
	    syscall(SYS_sched_setaffinity, 0, sizeof(spec->cpu_mask), spec->cpu_mask) < 0)
		snprintf(error, size, "sched_setaffinity to CPUs %s: %s", spec->affinity,
			 strerror(errno));
}

void apply_policy(const struct spec *spec, char *error, size_t size)
{
	struct sched_attr_v0 attr = {
		.size = sizeof(attr),
		.policy = (uint32_t)spec->policy,
		.nice = spec->has_nice ? spec->nice : getpriority(PRIO_PROCESS, 0),
	};
	bool change;

	if (spec->policy == SCHED_FIFO || spec->policy == SCHED_RR)
		attr.priority = (uint32_t)spec->rt_prio;
	/* A leader kept responsive by a real-time policy must not pass it on. */
	change = spec->policy != SCHED_OTHER || sched_getscheduler(0) != SCHED_OTHER;
	if (change && syscall(SYS_sched_setattr, 0, &attr, 0) < 0) {
		snprintf(error, size, "sched_setattr to policy %s (priority %u, nice %d): %s",
			 spec->policy_name, attr.priority, attr.nice, strerror(errno));
		return;
	}
	if (spec->has_nice && setpriority(PRIO_PROCESS, 0, spec->nice) < 0)
		snprintf(error, size, "setpriority to nice %d: %s", spec->nice, strerror(errno));
}
