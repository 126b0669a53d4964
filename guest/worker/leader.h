// SPDX-License-Identifier: GPL-2.0-only
/* The leader: creates the workers of a spec, obeys the agent, collects and reports. */
#ifndef WORKER_LEADER_H
#define WORKER_LEADER_H

#include "spec.h"

enum exit_status {
	EXIT_OK = 0,
	EXIT_BROKEN = 1,  /* the workers could not be run to the end */
	EXIT_INVALID = 2, /* the spec is wrong */
};

/* Run @spec to its end under the commands on fd 0; the exit status. */
int lead(const struct spec *spec);

#endif
