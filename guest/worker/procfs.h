// SPDX-License-Identifier: GPL-2.0-only
/* The few /proc files a worker reads about itself. */
#ifndef WORKER_PROCFS_H
#define WORKER_PROCFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum schedstat_field {
	SCHEDSTAT_CPU,	 /* time on a CPU, ns */
	SCHEDSTAT_DELAY, /* time runnable, waiting for a CPU, ns */
	SCHEDSTAT_COUNT, /* times scheduled in */
	SCHEDSTAT_FIELDS,
};

/*
 * The calling thread's schedstat (/proc/thread-self/schedstat, kernel/sched/stats).
 * Zeros where the kernel has no sched_info.
 */
void read_schedstat(uint64_t out[SCHEDSTAT_FIELDS]);
/* The same of another process's first thread, also when it is a zombie. */
void read_schedstat_of(pid_t pid, uint64_t out[SCHEDSTAT_FIELDS]);

/* The CPU that a process ran on last (/proc/PID/stat, field 39), or -1. */
int read_cpu_of(pid_t pid);
/* The same of another thread of the process. */
void read_thread_schedstat(int32_t tid, uint64_t out[SCHEDSTAT_FIELDS]);

/* numa_pages_migrated of /proc/vmstat, for the whole system; 0 without NUMA balancing. */
uint64_t read_numa_pages_migrated(void);

/* Add the resident pages of the calling process per node (/proc/self/numa_maps) to @pages. */
void read_numa_pages(uint64_t *pages, size_t nodes);
/* The same of another process. */
void read_numa_pages_of(pid_t pid, uint64_t *pages, size_t nodes);

#endif
