// SPDX-License-Identifier: GPL-2.0-only
/* PageFaultChurn: anonymous pages that are touched, dropped and touched again. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "work.h"

#define PAGE 4096

enum {
	REGION_KIB,
	TOUCHES,
	SPIN_ITERS,
};

struct fault_state {
	volatile char *region;
	size_t bytes;
	uint64_t rng;
};

static bool prepare(struct worker *w, char *error, size_t size)
{
	struct fault_state *s = work_state(w, sizeof(*s), error, size);
	void *at;

	if (!s)
		return false;
	s->bytes = param(w, REGION_KIB) * 1024;
	at = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED) {
		snprintf(error, size, "cannot map %zu bytes: %s", s->bytes, strerror(errno));
		return false;
	}
	/* One fault per 4 KiB; a kernel without huge pages refuses, and has none to avoid. */
	madvise(at, s->bytes, MADV_NOHUGEPAGE);
	s->region = at;
	s->rng = (uint64_t)syscall(SYS_gettid) | 1;
	return true;
}

static bool iterate(struct worker *w)
{
	struct fault_state *s = w->state;
	uint64_t pages = s->bytes / PAGE;

	for (uint64_t i = 0; i < param(w, TOUCHES); i++) {
		if (stopped(w))
			return false;
		s->region[random_below(&s->rng, pages) * PAGE] = 1;
		probe_units(&w->probe, 1);
	}
	if (!spin_units(w, param(w, SPIN_ITERS)))
		return false;
	madvise((void *)s->region, s->bytes, MADV_DONTNEED);
	return true;
}

const struct work_type work_page_fault_churn = {
	.name = "PageFaultChurn",
	.group_size = 1,
	.params = {[REGION_KIB] = {"region_kib", 4096, 4, 1048576},
		   [TOUCHES] = {"touches_per_cycle", 256, 1, 1000000},
		   [SPIN_ITERS] = {"spin_iters", 64, 0, 1000000000}},
	.prepare = prepare,
	.iterate = iterate,
};
