// SPDX-License-Identifier: GPL-2.0-only
/* Where and how the calling process is scheduled. */
#ifndef WORKER_PLACEMENT_H
#define WORKER_PLACEMENT_H

#include "spec.h"

#ifndef SCHED_EXT
#define SCHED_EXT 7 /* include/uapi/linux/sched.h, since 6.12 */
#endif

/* Parse a CPU list ("0-1,3") into @mask; false when it is malformed, empty or out of range. */
bool parse_cpu_list(const char *text, uint64_t mask[CPU_MASK_WORDS]);

/* The SCHED_* number of a policy name, or -1. */
int policy_by_name(const char *name);

/*
 * Apply affinity, or policy and nice value, of @spec to the calling process.
 * On failure @error (@size bytes) says what was refused; the process goes on as it was.
 */
void apply_affinity(const struct spec *spec, char *error, size_t size);
void apply_policy(const struct spec *spec, char *error, size_t size);

#endif
