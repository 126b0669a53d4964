// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "affinity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

#define CPU_DIR		  "/sys/devices/system/cpu/cpu%u/"
#define MAX_CACHE_INDICES 16

struct cpus {
	uint64_t mask[CPU_MASK_WORDS];
};

static const char *const intents[] = {
	[AFFINITY_INHERIT] = "inherit", [AFFINITY_RANDOM] = "random",
	[AFFINITY_LLC] = "llc",		[AFFINITY_CROSS] = "cross",
	[AFFINITY_SINGLE] = "single",	[AFFINITY_SMT_PAIR] = "smt-pair",
};

bool parse_list(const char *text, uint64_t *mask, unsigned long limit)
{
	const char *at = text;

	memset(mask, 0, limit / 64 * sizeof(mask[0]));
	for (;;) {
		unsigned long first, last;
		char *end;

		/* strtoul alone would take blanks and signs. */
		if (*at < '0' || *at > '9')
			return false;
		first = last = strtoul(at, &end, 10);
		if (*end == '-') {
			at = end + 1;
			if (*at < '0' || *at > '9')
				return false;
			last = strtoul(at, &end, 10);
		}
		if (first > last || last >= limit)
			return false;
		for (unsigned long i = first; i <= last; i++)
			mask[i / 64] |= 1ULL << (i % 64);
		if (*end == '\0')
			return true;
		if (*end != ',')
			return false;
		at = end + 1;
	}
}

bool parse_affinity(struct spec *spec, const char *text)
{
	spec->affinity = text;
	spec->affinity_intent = AFFINITY_EXACT;
	for (size_t i = 0; i < sizeof(intents) / sizeof(intents[0]); i++) {
		if (intents[i] && !strcmp(intents[i], text)) {
			spec->affinity_intent = (int)i;
			return true;
		}
	}
	return parse_list(text, spec->cpu_mask, MAX_CPUS);
}

static bool has(const struct cpus *set, unsigned int cpu)
{
	return set->mask[cpu / 64] >> (cpu % 64) & 1;
}

static void add(struct cpus *set, unsigned int cpu)
{
	set->mask[cpu / 64] |= 1ULL << (cpu % 64);
}

static unsigned int count(const struct cpus *set)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < CPU_MASK_WORDS; i++)
		n += (unsigned int)__builtin_popcountll(set->mask[i]);
	return n;
}

static struct cpus both(const struct cpus *a, const struct cpus *b)
{
	struct cpus out;

	for (unsigned int i = 0; i < CPU_MASK_WORDS; i++)
		out.mask[i] = a->mask[i] & b->mask[i];
	return out;
}

/* The lowest @n of @set. */
static struct cpus lowest(const struct cpus *set, unsigned int n)
{
	struct cpus out = {0};

	for (unsigned int cpu = 0; cpu < MAX_CPUS && n; cpu++) {
		if (!has(set, cpu))
			continue;
		add(&out, cpu);
		n--;
	}
	return out;
}

/* The first line of a sysfs file of @cpu; false when there is none. */
static bool read_cpu_file(unsigned int cpu, const char *name, char *line, size_t size)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), CPU_DIR "%s", cpu, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, line, size - 1);
	close(fd);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return n > 0;
}

static bool read_cpus(unsigned int cpu, const char *name, struct cpus *out)
{
	char line[4096];

	return read_cpu_file(cpu, name, line, sizeof(line)) &&
	       parse_list(line, out->mask, MAX_CPUS);
}

/* The CPUs that share the cache of the highest level with @cpu. */
static bool read_llc(unsigned int cpu, struct cpus *out)
{
	unsigned long highest = 0;
	bool found = false;

	for (int i = 0; i < MAX_CACHE_INDICES; i++) {
		char name[64], line[32];
		unsigned long level;

		snprintf(name, sizeof(name), "cache/index%d/level", i);
		if (!read_cpu_file(cpu, name, line, sizeof(line)))
			break;
		level = strtoul(line, NULL, 10);
		snprintf(name, sizeof(name), "cache/index%d/shared_cpu_list", i);
		if (level > highest && read_cpus(cpu, name, out)) {
			highest = level;
			found = true;
		}
	}
	return found;
}

static bool pick_llc(const struct cpus *pool, struct cpus *out)
{
	struct cpus seen = {0}, llc;
	unsigned int most = 0;

	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!has(pool, cpu) || has(&seen, cpu) || !read_llc(cpu, &llc))
			continue;
		llc = both(&llc, pool);
		for (unsigned int i = 0; i < CPU_MASK_WORDS; i++)
			seen.mask[i] |= llc.mask[i];
		if (count(&llc) > most) {
			most = count(&llc);
			*out = llc;
		}
	}
	return most > 0;
}

static bool pick_smt_pair(const struct cpus *pool, struct cpus *out)
{
	struct cpus core;

	for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!has(pool, cpu) || !read_cpus(cpu, "topology/thread_siblings_list", &core))
			continue;
		core = both(&core, pool);
		if (count(&core) < 2)
			continue;
		*out = lowest(&core, 2);
		return true;
	}
	return false;
}

/* Selection sampling (Knuth, Algorithm S): every subset of that size is as likely as the next. */
static struct cpus pick_half(const struct cpus *pool, uint64_t *rng)
{
	unsigned int left = count(pool), wanted = left > 1 ? left / 2 : left;
	struct cpus out = {0};

	for (unsigned int cpu = 0; cpu < MAX_CPUS && wanted; cpu++) {
		if (!has(pool, cpu))
			continue;
		if (random_below(rng, left) < wanted) {
			add(&out, cpu);
			wanted--;
		}
		left--;
	}
	return out;
}

void apply_affinity(const struct spec *spec, uint64_t *rng, char *error, size_t size)
{
	struct cpus pool = {0}, chosen = {0};

	if (!spec->affinity || spec->affinity_intent == AFFINITY_INHERIT)
		return;
	if (syscall(SYS_sched_getaffinity, 0, sizeof(pool), &pool) < 0) {
		snprintf(error, size, "sched_getaffinity: %s", strerror(errno));
		return;
	}
	switch (spec->affinity_intent) {
	case AFFINITY_EXACT:
		memcpy(chosen.mask, spec->cpu_mask, sizeof(chosen.mask));
		break;
	case AFFINITY_RANDOM:
		chosen = pick_half(&pool, rng);
		break;
	case AFFINITY_CROSS:
		memset(&chosen, 0xff, sizeof(chosen));
		break;
	case AFFINITY_SINGLE:
		chosen = lowest(&pool, 1);
		break;
	case AFFINITY_LLC:
		if (pick_llc(&pool, &chosen))
			break;
		snprintf(error, size, "affinity llc: the kernel tells no caches of the %u CPUs",
			 count(&pool));
		return;
	case AFFINITY_SMT_PAIR:
		if (pick_smt_pair(&pool, &chosen))
			break;
		snprintf(error, size, "affinity smt-pair: no two of the %u CPUs are of one core",
			 count(&pool));
		return;
	}
	if (syscall(SYS_sched_setaffinity, 0, sizeof(chosen), &chosen) < 0)
		snprintf(error, size, "sched_setaffinity to CPUs %s: %s", spec->affinity,
			 strerror(errno));
}
