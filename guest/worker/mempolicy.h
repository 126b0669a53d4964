// SPDX-License-Identifier: GPL-2.0-only
/* On which NUMA nodes a worker's memory is allocated. */
#ifndef WORKER_MEMPOLICY_H
#define WORKER_MEMPOLICY_H

#include "spec.h"

#define MEM_POLICY_ALLOWED \
	"default, bind, preferred, interleave, local, preferred-many or weighted-interleave"
#define MEM_FLAGS_ALLOWED "a comma-separated list of static, relative, numa-balancing"

/* Take the value of the key "mempolicy", "mem_nodes" or "mem_flags"; false when it is none. */
bool parse_mem_policy(struct spec *spec, const char *text);
bool parse_mem_nodes(struct spec *spec, const char *text);
bool parse_mem_flags(struct spec *spec, const char *text);
/* What is wrong with the three together, or NULL. */
const char *mem_policy_mistake(const struct spec *spec);
/*
 * Set the policy of the calling thread for what it touches from here on. On
 * failure @error (@size bytes) says what was refused; the thread goes on as it was.
 */
void apply_mem_policy(const struct spec *spec, char *error, size_t size);

#endif
