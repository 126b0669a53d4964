// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "custom.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crew.h"

extern char **environ;

/* A Python function takes six words beside the sixteen that a scenario may give. */
#define MAX_ARGS 22

static unsigned int group_fds(const struct spec *spec)
{
	(void)spec;
	return 1;
}

static bool open_group(const struct spec *spec, struct group *group)
{
	(void)spec;
	group->fds[0] = memfd_create("ktstr-custom", MFD_CLOEXEC);
	return group->fds[0] >= 0 && ftruncate(group->fds[0], 2 * CUSTOM_PAGE) == 0;
}

static struct custom_control *map_pages(int fd)
{
	void *at = mmap(NULL, 2 * CUSTOM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

bool custom_map(struct crew *crew, unsigned int index, int fd)
{
	struct custom_worker *c = &crew->custom[index];

	*c = (struct custom_worker){.control = map_pages(fd), .rng = index + 1};
	if (!c->control)
		return false;
	c->counters = (struct custom_counters *)((char *)c->control + CUSTOM_PAGE);
	return true;
}

unsigned int custom_ready(const struct crew *crew)
{
	unsigned int ready = 0;

	for (unsigned int i = 0; i < crew->created; i++)
		ready += __atomic_load_n(&crew->custom[i].control->ready, __ATOMIC_ACQUIRE) != 0;
	return ready;
}

void custom_go(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++) {
		struct custom_worker *c = &crew->custom[i];

		if (c->start_ns)
			continue;
		read_schedstat_of(crew->children[i].pid, c->start_schedstat);
		c->start_ns = now_ns();
		__atomic_store_n(&c->control->go, 1, __ATOMIC_RELEASE);
		futex_wake(&c->control->go, 1);
	}
}

void custom_stop(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++) {
		if (!crew->children[i].reaped)
			read_numa_pages_of(crew->children[i].pid, crew->telemetry[i].numa_pages,
					   MAX_NODES);
		__atomic_store_n(&crew->custom[i].control->stop, 1, __ATOMIC_RELEASE);
	}
}

/* Nothing in the pages is trusted: a total that runs away costs one ring a time, no more. */
static void fetch(struct crew *crew, unsigned int index)
{
	struct custom_worker *c = &crew->custom[index];
	struct telemetry *t = &crew->telemetry[index];
	uint64_t total = __atomic_load_n(&c->counters->wake_total, __ATOMIC_ACQUIRE);
	uint64_t from = total > CUSTOM_RING ? total - CUSTOM_RING : 0;
	int cpu = read_cpu_of(crew->children[index].pid);

	t->work_units = __atomic_load_n(&c->counters->work_units, __ATOMIC_RELAXED);
	t->iterations = __atomic_load_n(&c->counters->iterations, __ATOMIC_RELAXED);
	for (uint64_t i = from > c->fetched ? from : c->fetched; i < total; i++)
		reservoir_push(t->samples[RESERVOIR_WAKE], MAX_SAMPLES,
			       &t->sample_total[RESERVOIR_WAKE], &c->rng,
			       c->counters->wake_ns[i % CUSTOM_RING]);
	if (total > c->fetched)
		c->fetched = total;
	t->sample_missed[RESERVOIR_WAKE] = c->fetched - t->sample_total[RESERVOIR_WAKE];
	if (crew->live)
		__atomic_store_n(&crew->live[crew->spec->slot + index], t->iterations,
				 __ATOMIC_RELAXED);
	if (cpu >= 0 && cpu < MAX_CPUS)
		t->cpus_used[cpu / 64] |= 1ULL << (cpu % 64);
}

void custom_fetch(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->created; i++)
		if (!crew->children[i].reaped && crew->custom[i].start_ns)
			fetch(crew, i);
}

void custom_ended(struct crew *crew, unsigned int index, bool success)
{
	const struct custom_worker *c = &crew->custom[index];
	struct telemetry *t = &crew->telemetry[index];
	uint64_t schedstat[SCHEDSTAT_FIELDS];

	if (!c->start_ns)
		return;
	t->wall_time_ns = now_ns() - c->start_ns;
	fetch(crew, index);
	read_schedstat_of(crew->children[index].pid, schedstat);
	t->schedstat_cpu_time_ns = schedstat[SCHEDSTAT_CPU] - c->start_schedstat[SCHEDSTAT_CPU];
	t->schedstat_run_delay_ns =
		schedstat[SCHEDSTAT_DELAY] - c->start_schedstat[SCHEDSTAT_DELAY];
	t->schedstat_run_count = schedstat[SCHEDSTAT_COUNT] - c->start_schedstat[SCHEDSTAT_COUNT];
	t->cpu_time_ns = t->schedstat_cpu_time_ns;
	t->off_cpu_ns = t->wall_time_ns > t->cpu_time_ns ? t->wall_time_ns - t->cpu_time_ns : 0;
	t->completed = success;
}

void custom_exec(const struct worker *w, uint64_t seed, char *error, size_t size)
{
	const struct spec *spec = w->spec;
	struct custom_control *control = map_pages(w->group->fds[0]);
	int fd = dup(w->group->fds[0]); /* without close-on-exec */
	char number[16], *words = spec->args ? strdup(spec->args) : NULL;
	char *argv[MAX_ARGS + 2] = {(char *)spec->program};
	char *rest = words;

	if (!control || fd < 0) {
		snprintf(error, size, "the two shared pages: %s", strerror(errno));
		return;
	}
	*control = (struct custom_control){
		.magic = CUSTOM_MAGIC,
		.version = CUSTOM_VERSION,
		.index = w->index,
		.workers = (uint32_t)spec->workers,
		.seed = seed,
	};
	for (int i = 1; rest && i <= MAX_ARGS; i++)
		argv[i] = strsep(&rest, "\x1f");
	snprintf(number, sizeof(number), "%d", fd);
	setenv(CUSTOM_FD_NAME, number, 1);
	/* What ends the waits of a work type would end a program that has no handler for it. */
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_DFL);
	execve(spec->program, argv, environ);
	snprintf(error, size, "%s: %s", spec->program, strerror(errno));
}

const struct work_type work_custom = {
	.name = "Custom",
	.group_size = 1,
	.fills = FILLS(WAKE),
	.group_fds = group_fds,
	.open_group = open_group,
};
