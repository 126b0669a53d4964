// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "jitter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "affinity.h"

struct jitter jitter_of(const struct spec *spec, uint64_t seed)
{
	/* An odd factor: another stream than the probe's, and still never 0. */
	return (struct jitter){
		.rng = seed * 0xd1342543de82ef95ULL,
		.below_ns = spec->jitter_us * NSEC_PER_USEC,
	};
}

static bool has(const uint64_t *mask, unsigned int cpu)
{
	return mask[cpu / 64] >> cpu % 64 & 1;
}

void jitter_first_cpu(struct jitter *j, const struct spec *spec, char *error, size_t size)
{
	uint64_t pool[CPU_MASK_WORDS] = {0}, one[CPU_MASK_WORDS] = {0}, all[CPU_MASK_WORDS];
	unsigned int count = 0, cpu = 0;
	uint64_t nth;

	if (!j->below_ns || (spec->affinity && spec->affinity_intent != AFFINITY_INHERIT))
		return;
	if (syscall(SYS_sched_getaffinity, 0, sizeof(pool), pool) < 0)
		return;
	for (unsigned int i = 0; i < CPU_MASK_WORDS; i++)
		count += (unsigned int)__builtin_popcountll(pool[i]);
	nth = random_below(&j->rng, count);
	while (!has(pool, cpu) || nth--)
		cpu++;
	one[cpu / 64] = 1ULL << cpu % 64;
	if (syscall(SYS_sched_setaffinity, 0, sizeof(one), one) < 0)
		return;
	/* All CPUs, not those of before: the kernel keeps to the cgroup's, also when they change. */
	memset(all, 0xff, sizeof(all));
	if (syscall(SYS_sched_setaffinity, 0, sizeof(all), all) < 0)
		snprintf(error, size, "sched_setaffinity back to all CPUs: %s", strerror(errno));
}

void jitter_start(struct jitter *j)
{
	struct timespec delay;

	if (!j->below_ns)
		return;
	delay = timespec_of(random_below(&j->rng, j->below_ns));
	clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, NULL);
}

uint64_t jitter_offset(struct jitter *j, uint64_t period_ns)
{
	return j->below_ns ? random_below(&j->rng, period_ns) : 0;
}
