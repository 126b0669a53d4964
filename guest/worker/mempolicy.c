// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "mempolicy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "affinity.h"

/* include/uapi/linux/mempolicy.h; its newest names are missing from older headers. */
enum {
	POLICY_DEFAULT,
	POLICY_PREFERRED,
	POLICY_BIND,
	POLICY_INTERLEAVE,
	POLICY_LOCAL,
	POLICY_PREFERRED_MANY,	    /* since 5.15 */
	POLICY_WEIGHTED_INTERLEAVE, /* since 6.9 */
};
#define FLAG_STATIC	    (1U << 15)
#define FLAG_RELATIVE	    (1U << 14)
#define FLAG_NUMA_BALANCING (1U << 13)

static const struct {
	const char *name;
	int policy;
	bool takes_nodes;
} policies[] = {
	{"default", POLICY_DEFAULT, false},
	{"bind", POLICY_BIND, true},
	{"preferred", POLICY_PREFERRED, true},
	{"interleave", POLICY_INTERLEAVE, true},
	{"local", POLICY_LOCAL, false},
	{"preferred-many", POLICY_PREFERRED_MANY, true},
	{"weighted-interleave", POLICY_WEIGHTED_INTERLEAVE, true},
};

static const struct {
	const char *name;
	unsigned int flag;
} flags[] = {
	{"static", FLAG_STATIC},
	{"relative", FLAG_RELATIVE},
	{"numa-balancing", FLAG_NUMA_BALANCING},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

bool parse_mem_policy(struct spec *spec, const char *text)
{
	for (size_t i = 0; i < COUNT(policies); i++) {
		if (strcmp(policies[i].name, text))
			continue;
		spec->mem_policy_name = text;
		spec->mem_policy = policies[i].policy;
		return true;
	}
	return false;
}

bool parse_mem_nodes(struct spec *spec, const char *text)
{
	spec->mem_nodes_text = text;
	return parse_list(text, spec->mem_nodes, MAX_NODES);
}

bool parse_mem_flags(struct spec *spec, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < COUNT(flags) &&
		       (strlen(flags[i].name) != len || strncmp(flags[i].name, text, len)))
			i++;
		if (i == COUNT(flags))
			return false;
		spec->mem_flags |= flags[i].flag;
		text += len + (text[len] == ',');
	}
	return true;
}

static bool takes_nodes(const struct spec *spec)
{
	for (size_t i = 0; i < COUNT(policies); i++)
		if (policies[i].policy == spec->mem_policy)
			return policies[i].takes_nodes;
	return false;
}

const char *mem_policy_mistake(const struct spec *spec)
{
	unsigned int nodes = 0;

	for (unsigned int i = 0; i < NODE_MASK_WORDS; i++)
		nodes += (unsigned int)__builtin_popcountll(spec->mem_nodes[i]);
	if (takes_nodes(spec) && !nodes)
		return "mempolicy needs mem_nodes";
	if (!takes_nodes(spec) && (nodes || spec->mem_flags))
		return "mempolicy default and local take neither mem_nodes nor mem_flags";
	if (spec->mem_policy == POLICY_PREFERRED && nodes != 1)
		return "mempolicy preferred takes exactly one node";
	if ((spec->mem_flags & FLAG_STATIC) && (spec->mem_flags & FLAG_RELATIVE))
		return "mem_flags static and relative exclude each other";
	return NULL;
}

void apply_mem_policy(const struct spec *spec, char *error, size_t size)
{
	unsigned long highest = 0;
	long failed;

	if (spec->mem_policy == POLICY_DEFAULT)
		return;
	for (unsigned long node = 0; node < MAX_NODES; node++)
		if (spec->mem_nodes[node / 64] >> (node % 64) & 1)
			highest = node;
	/* The kernel takes the number of bits to be one more than it is. */
	failed = takes_nodes(spec) ?
			 syscall(SYS_set_mempolicy, spec->mem_policy | (int)spec->mem_flags,
				 spec->mem_nodes, highest + 2) :
			 syscall(SYS_set_mempolicy, spec->mem_policy, NULL, 0);
	if (failed)
		snprintf(error, size, "set_mempolicy %s of nodes %s: %s", spec->mem_policy_name,
			 spec->mem_nodes_text ? spec->mem_nodes_text : "-", strerror(errno));
}
