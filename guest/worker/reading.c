// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "reading.h"

#include "sys.h"

struct reading reading_now(void)
{
	struct reading r = {.migrated = read_numa_pages_migrated()};

	read_schedstat(r.schedstat);
	r.at_ns = now_ns();
	r.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return r;
}

struct reading reading_since(const struct reading *start)
{
	struct reading r = {.at_ns = now_ns() - start->at_ns};

	r.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start->cpu_ns;
	read_schedstat(r.schedstat);
	for (int i = 0; i < SCHEDSTAT_FIELDS; i++)
		r.schedstat[i] -= start->schedstat[i];
	r.migrated = read_numa_pages_migrated() - start->migrated;
	return r;
}

uint64_t off_cpu_ns(const struct helpers *h, uint64_t wall_ns, uint64_t cpu_ns, uint64_t helpers_ns)
{
	uint64_t on = h->count ? helpers_ns / h->count : cpu_ns;

	return wall_ns > on ? wall_ns - on : 0;
}
