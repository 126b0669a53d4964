// SPDX-License-Identifier: GPL-2.0-only
/* How the calling thread is scheduled. */
#ifndef WORKER_PLACEMENT_H
#define WORKER_PLACEMENT_H

#include "spec.h"

#ifndef SCHED_EXT
#define SCHED_EXT 7 /* include/uapi/linux/sched.h, since 6.12 */
#endif

/* The SCHED_* number of a policy name, or -1. */
int policy_by_name(const char *name);

#define POLICY_ALLOWED "normal, batch, idle, fifo, rr, deadline or ext"

/*
 * Give the calling thread the policy and nice value of @spec. On failure @error
 * (@size bytes) says what was refused; the thread goes on as it was.
 */
void apply_policy(const struct spec *spec, char *error, size_t size);

#endif
