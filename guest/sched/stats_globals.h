/* SPDX-License-Identifier: GPL-2.0-only */
/* The integer globals of an object's .bss as a stats source. */
#ifndef KTSTR_STATS_GLOBALS_H
#define KTSTR_STATS_GLOBALS_H

#include "globals.h"
#include "stats_server.h"

struct stats_globals {
	const struct bpf_object *obj;
	struct section_view view; /* of .bss; empty if the object has none */
};

/* After load. */
int stats_globals_open(struct stats_globals *sg, struct bpf_object *obj);
/* {"at_ns": monotonic ns, "NAME": value, …} */
void stats_globals_print(FILE *out, void *arg);
/* The scx_stats description of that object, as one struct marked top. */
void stats_globals_print_meta(FILE *out, void *arg);
void stats_globals_close(struct stats_globals *sg);

#endif
