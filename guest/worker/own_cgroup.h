// SPDX-License-Identifier: GPL-2.0-only
/* The cgroup (v2) a worker runs in, for work types that look into it or leave it. */
#ifndef WORKER_OWN_CGROUP_H
#define WORKER_OWN_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

#define CGROUP_PATH 512

/*
 * The folder of the calling process's cgroup. False with a sentence in @error
 * (@size bytes) when that is the root, which is nobody's own.
 */
bool own_cgroup(char path[CGROUP_PATH], char *error, size_t size);

#endif
