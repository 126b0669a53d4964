// SPDX-License-Identifier: GPL-2.0-only
/* AffinityChurn, CrossAffinityChurn: CPU masks that change all the time, one's own or others'. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "affinity.h"
#include "control.h"
#include "own_cgroup.h"
#include "work.h"

#define REFRESH_HOPS 256  /* after so many, look again which CPUs are allowed */
#define LIST_TEXT    8192 /* of numbers of CPUs */
#define FIRST_ROOM   1024

struct mask {
	uint64_t words[CPU_MASK_WORDS];
};

static bool set_mask(pid_t task, const struct mask *mask)
{
	return syscall(SYS_sched_setaffinity, task, sizeof(mask->words), mask->words) == 0;
}

/* The kernel fills only as many words as it has CPUs. */
static void get_mask(struct mask *mask)
{
	memset(mask, 0, sizeof(*mask));
	syscall(SYS_sched_getaffinity, 0, sizeof(mask->words), mask->words);
}

static unsigned int list_cpus(const struct mask *mask, uint16_t *cpus)
{
	unsigned int count = 0;

	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++)
		if (mask->words[cpu / 64] >> (cpu % 64) & 1)
			cpus[count++] = (uint16_t)cpu;
	return count;
}

static struct mask one_cpu(unsigned int cpu)
{
	struct mask mask = {0};

	mask.words[cpu / 64] = 1ULL << (cpu % 64);
	return mask;
}

struct churn_state {
	struct mask base; /* what the worker may ask for */
	uint64_t hops;
	unsigned int count;
	uint16_t cpus[MAX_CPUS]; /* what the cpuset leaves of it */
};

static bool prepare_churn(struct worker *w, char *error, size_t size)
{
	return work_state(w, sizeof(struct churn_state), error, size) != NULL;
}

static void refresh(struct churn_state *s)
{
	struct mask allowed;

	set_mask(0, &s->base);
	get_mask(&allowed);
	s->count = list_cpus(&allowed, s->cpus);
}

static void started_churn(struct worker *w)
{
	struct churn_state *s = w->state;

	/* Without an affinity of its own the cpuset alone is the limit, also when it grows. */
	if (w->spec->affinity)
		get_mask(&s->base);
	else
		memset(&s->base, 0xff, sizeof(s->base));
	refresh(s);
}

static bool affinity_churn(struct worker *w)
{
	struct churn_state *s = w->state;
	uint64_t blocked_at, now;
	struct mask target;

	if (!spin_units(w, param(w, 0)))
		return false;
	if (++s->hops % REFRESH_HOPS == 0)
		refresh(s);
	if (s->count) {
		target = one_cpu(s->cpus[random_below(&w->probe.rng, s->count)]);
		if (!set_mask(0, &target))
			refresh(s); /* the cpuset has changed */
	}
	blocked_at = now_ns();
	sched_yield();
	now = now_ns();
	probe_sample(&w->probe, RESERVOIR_WAKE, now - blocked_at);
	probe_unblocked(&w->probe, now);
	return true;
}

struct cross_state {
	char cgroup[CGROUP_PATH];
	struct mask masks[2]; /* all CPUs of the cgroup, and all but one */
	bool useful;	      /* two CPUs at least: the masks differ and neither is empty */
	unsigned int turn;
	unsigned int count;
	unsigned int room;
	pid_t *siblings; /* all other tasks of the cgroup, however many; never freed */
	char text[LIST_TEXT];
};

static bool prepare_cross(struct worker *w, char *error, size_t size)
{
	struct cross_state *s = work_state(w, sizeof(*s), error, size);

	/* In the root cgroup the siblings would be all tasks of the machine. */
	return s && own_cgroup(s->cgroup, error, size);
}

/* The CPUs of the cgroup, not those of the worker: other workers change the latter. */
static void read_masks(struct cross_state *s)
{
	uint16_t cpus[MAX_CPUS];
	unsigned int count;

	s->useful = false;
	if (!control_read(s->cgroup, "cpuset.cpus.effective", s->text, sizeof(s->text)) &&
	    !control_read("/sys/devices/system/cpu", "online", s->text, sizeof(s->text)))
		return;
	if (!parse_list(s->text, s->masks[0].words, MAX_CPUS))
		return;
	count = list_cpus(&s->masks[0], cpus);
	s->useful = count >= 2;
	s->masks[1] = s->masks[0];
	if (s->useful)
		s->masks[1].words[cpus[count - 1] / 64] &= ~(1ULL << (cpus[count - 1] % 64));
}

static bool add_sibling(struct cross_state *s, pid_t task)
{
	if (s->count == s->room) {
		unsigned int room = s->room ? 2 * s->room : FIRST_ROOM;
		pid_t *more = realloc(s->siblings, room * sizeof(*more));

		if (!more)
			return false;
		s->siblings = more;
		s->room = room;
	}
	s->siblings[s->count++] = task;
	return true;
}

static void read_siblings(struct worker *w)
{
	struct cross_state *s = w->state;
	pid_t self = (pid_t)syscall(SYS_gettid);
	FILE *list = control_open(s->cgroup, "cgroup.threads");
	int task;

	s->count = 0;
	if (!list)
		return;
	while (fscanf(list, "%d", &task) == 1)
		if (task > 0 && task != self && !add_sibling(s, task))
			break;
	fclose(list);
}

static void started_cross(struct worker *w)
{
	read_masks(w->state);
	read_siblings(w);
}

static void set_all(struct cross_state *s, const struct mask *mask)
{
	/* One that has ended, or whose cpuset has none of these CPUs, is passed over. */
	for (unsigned int i = 0; i < s->count; i++)
		set_mask(s->siblings[i], mask);
}

static bool cross_affinity_churn(struct worker *w)
{
	struct cross_state *s = w->state;

	if (!spin_units(w, param(w, 0)))
		return false;
	if (++s->turn % REFRESH_HOPS == 0)
		started_cross(w);
	if (s->useful)
		set_all(s, &s->masks[s->turn % 2]);
	sched_yield();
	probe_unblocked(&w->probe, now_ns());
	return true;
}

static void finished_cross(struct worker *w)
{
	struct cross_state *s = w->state;

	if (s->useful)
		set_all(s, &s->masks[0]);
}

const struct work_type work_affinity_churn = {
	.name = "AffinityChurn",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.params = {{"spin_iters", 1024, 1, 1000000000}},
	.prepare = prepare_churn,
	.started = started_churn,
	.iterate = affinity_churn,
};

const struct work_type work_cross_affinity_churn = {
	.name = "CrossAffinityChurn",
	.group_size = 1,
	.params = {{"spin_iters", 1024, 1, 1000000000}},
	.prepare = prepare_cross,
	.started = started_cross,
	.iterate = cross_affinity_churn,
	.finished = finished_cross,
};
