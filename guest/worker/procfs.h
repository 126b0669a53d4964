// SPDX-License-Identifier: GPL-2.0-only
/* The few /proc files a worker reads about itself. */
#ifndef WORKER_PROCFS_H
#define WORKER_PROCFS_H

#include <stddef.h>
#include <stdint.h>

/*
 * CPU time (ns), run delay (ns) and times scheduled in, of the calling process
 * (/proc/self/schedstat, kernel/sched/stats). Zeros where the kernel has no sched_info.
 */
void read_schedstat(uint64_t out[3]);

/* numa_pages_migrated of /proc/vmstat, for the whole system; 0 without NUMA balancing. */
uint64_t read_numa_pages_migrated(void);

/* Add the resident pages of the calling process per node (/proc/self/numa_maps) to @pages. */
void read_numa_pages(uint64_t *pages, size_t nodes);

#endif
