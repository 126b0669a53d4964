// SPDX-License-Identifier: GPL-2.0-only
/* NumaWorkingSetSweep, NumaMigrationChurn: memory or tasks that go round the NUMA nodes. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "affinity.h"
#include "control.h"
#include "work.h"

#define SYS_NODES    "/sys/devices/system/node"
#define PAGE	     4096
#define NODE_WORDS   (MAX_NODES / 64)
#define CPULIST_TEXT 4096
#define QUERY_PAGES  512 /* in one question to the kernel */

struct nodes {
	unsigned int count;
	unsigned int numbers[MAX_NODES];
};

/* Nodes of the list @name below SYS_NODES; false with a sentence when they are fewer than two. */
static bool find_nodes(struct nodes *nodes, const char *name, const char *having, char *error,
		       size_t size)
{
	uint64_t mask[NODE_WORDS];
	char text[CPULIST_TEXT];

	nodes->count = 0;
	if (control_read(SYS_NODES, name, text, sizeof(text))) {
		if (parse_list(text, mask, MAX_NODES))
			for (unsigned int n = 0; n < MAX_NODES; n++)
				if (mask[n / 64] >> (n % 64) & 1)
					nodes->numbers[nodes->count++] = n;
	}
	if (nodes->count >= 2)
		return true;
	snprintf(error, size, "needs at least 2 NUMA nodes with %s, there are %u", having,
		 nodes->count);
	return false;
}

enum {
	REGION_KIB,
	SWEEP_PERIOD_MS,
	TARGET_NODES,
};

struct sweep_state {
	struct nodes nodes;
	volatile char *region;
	size_t bytes;
	uint64_t due_ns;
	unsigned int next;
	bool told;
};

static bool prepare_sweep(struct worker *w, char *error, size_t size)
{
	struct sweep_state *s = work_state(w, sizeof(*s), error, size);
	void *at;

	if (!s || !find_nodes(&s->nodes, "has_memory", "memory", error, size))
		return false;
	if (param(w, TARGET_NODES) && param(w, TARGET_NODES) < s->nodes.count)
		s->nodes.count = (unsigned int)param(w, TARGET_NODES);
	s->bytes = param(w, REGION_KIB) * 1024;
	at = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		snprintf(error, size, "cannot map %zu bytes: %s", s->bytes, strerror(errno));
		return false;
	}
	madvise(at, s->bytes, MADV_NOHUGEPAGE);
	s->region = at;
	/* Not all regions on one node at the same time. */
	s->next = w->index;
	return true;
}

static void bind_region(struct worker *w)
{
	struct sweep_state *s = w->state;
	unsigned int node = s->nodes.numbers[s->next++ % s->nodes.count];
	uint64_t mask[NODE_WORDS] = {0};

	mask[node / 64] = 1ULL << (node % 64);
	/* The kernel reads one bit less than it is told. */
	if (syscall(SYS_mbind, s->region, s->bytes, MPOL_BIND, mask, MAX_NODES + 1, MPOL_MF_MOVE) ==
		    0 ||
	    s->told)
		return;
	dprintf(STDERR_FILENO, "worker %u: NumaWorkingSetSweep: cannot bind to node %u: %s\n",
		w->index, node, strerror(errno));
	s->told = true;
}

static bool sweep(struct worker *w)
{
	struct sweep_state *s = w->state;
	uint64_t now = now_ns();

	if (now >= s->due_ns) {
		s->due_ns = now + param(w, SWEEP_PERIOD_MS) * NSEC_PER_MSEC;
		bind_region(w);
		/* The kernel has waited for all CPUs; that is no time spent wanting one. */
		probe_unblocked(&w->probe, now_ns());
	}
	for (size_t at = 0; at < s->bytes; at += PAGE) {
		if (stopped(w))
			return false;
		s->region[at]++;
		probe_units(&w->probe, 1);
	}
	return true;
}

/* The report's pages are those of the region: the rest of the process never moves. */
static void finished_sweep(struct worker *w)
{
	struct sweep_state *s = w->state;
	uint64_t *counts = w->probe.out->numa_pages;
	void *pages[QUERY_PAGES];
	int at_node[QUERY_PAGES];
	size_t total = s->bytes / PAGE;

	memset(counts, 0, MAX_NODES * sizeof(*counts));
	for (size_t done = 0; done < total;) {
		size_t n = total - done < QUERY_PAGES ? total - done : QUERY_PAGES;

		for (size_t i = 0; i < n; i++)
			pages[i] = (char *)s->region + (done + i) * PAGE;
		if (syscall(SYS_move_pages, 0, n, pages, NULL, at_node, 0) < 0)
			return;
		for (size_t i = 0; i < n; i++)
			if (at_node[i] >= 0 && at_node[i] < MAX_NODES)
				counts[at_node[i]]++;
		done += n;
	}
}

struct tour_state {
	struct nodes nodes;
	uint64_t due_ns;
	unsigned int next;
};

static bool prepare_tour(struct worker *w, char *error, size_t size)
{
	struct tour_state *s = work_state(w, sizeof(*s), error, size);

	if (!s || !find_nodes(&s->nodes, "has_cpu", "CPUs", error, size))
		return false;
	s->next = w->index;
	return true;
}

static bool go_to(unsigned int node)
{
	char dir[64], text[CPULIST_TEXT];
	uint64_t mask[CPU_MASK_WORDS];

	snprintf(dir, sizeof(dir), SYS_NODES "/node%u", node);
	if (!control_read(dir, "cpulist", text, sizeof(text)))
		return false;
	return parse_list(text, mask, MAX_CPUS) &&
	       syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask) == 0;
}

static bool tour(struct worker *w)
{
	struct tour_state *s = w->state;
	uint64_t now;

	if (!spin_units(w, SPIN_CHUNK))
		return false;
	now = now_ns();
	if (now < s->due_ns)
		return true;
	s->due_ns = now + param(w, 0) * NSEC_PER_MSEC;
	/* A node that the cpuset has no CPU of is passed over. */
	for (unsigned int tries = 0; tries < s->nodes.count; tries++)
		if (go_to(s->nodes.numbers[s->next++ % s->nodes.count]))
			break;
	return true;
}

const struct work_type work_numa_working_set_sweep = {
	.name = "NumaWorkingSetSweep",
	.group_size = 1,
	.params = {[REGION_KIB] = {"region_kib", 4096, 4, 1048576},
		   [SWEEP_PERIOD_MS] = {"sweep_period_ms", 100, 1, 60000},
		   [TARGET_NODES] = {"target_nodes", 0, 0, 64}},
	.prepare = prepare_sweep,
	.iterate = sweep,
	.finished = finished_sweep,
};

const struct work_type work_numa_migration_churn = {
	.name = "NumaMigrationChurn",
	.group_size = 1,
	.params = {{"period_ms", 100, 1, 60000}},
	.prepare = prepare_tour,
	.iterate = tour,
};
