// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "placement.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

#define RESET_ON_FORK 1 /* SCHED_FLAG_RESET_ON_FORK of include/uapi/linux/sched.h */

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

static const struct {
	const char *name;
	int policy;
} policies[] = {
	{"normal", SCHED_OTHER}, {"batch", SCHED_BATCH}, {"idle", SCHED_IDLE},
	{"fifo", SCHED_FIFO},	 {"rr", SCHED_RR},	 {"deadline", SCHED_DEADLINE},
	{"ext", SCHED_EXT},
};

int policy_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (!strcmp(policies[i].name, name))
			return policies[i].policy;
	return -1;
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
	if (spec->policy == SCHED_DEADLINE) {
		attr.runtime = spec->dl_runtime_us * NSEC_PER_USEC;
		attr.deadline = spec->dl_deadline_us * NSEC_PER_USEC;
		attr.period = spec->dl_period_us * NSEC_PER_USEC;
		/* The kernel lets such a thread create another only with this flag. */
		attr.flags = RESET_ON_FORK;
	}
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
