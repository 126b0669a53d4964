/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of scx_probe share: the object file (probe.bpf.c) and what was
 * loaded of it. What is attached stays so until the process ends.
 */
#ifndef KTSTR_PROBER_H
#define KTSTR_PROBER_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe.h"

#define EXIT_UNUSABLE 2

/* A program as the loaded object has it, to be loaded again for another target. */
struct recipe {
	const struct bpf_insn *insns;
	size_t count;
	enum bpf_attach_type type;
};

/* The object's variables, as the programs see them. */
struct bss {
	struct probe_counters *counters;
	struct probe_probed *probed;
};

struct prober {
	const char *path;
	struct bpf_object *exits, *callbacks;
	struct recipe entry, leave;
	struct bss bss;
	__u32 last_id;
};

/* Say on stderr what failed, `err` being an errno of either sign; returns the exit status. */
int prober_fail(const char *what, int err);
/* Note what cannot be probed. The first reason is kept: later ones usually follow from it. */
void prober_missing(struct prober *pr, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Before the object is loaded: only the programs of these names are to be; NULL is none. */
void prober_load_only(struct bpf_object *obj, const char *first, const char *second);
/* Before the object is loaded: set a u32 of .rodata. 0 or a negative errno. */
int prober_set_constant(struct bpf_object *obj, const char *name, __u32 value);
/* Find the variables of the loaded pr->exits. 0 or a negative errno. */
int prober_map_globals(struct prober *pr);

/*
 * Load the maps and probe the kernel's exit path; a kernel where that cannot be
 * done is noted as missing. 0, or the exit status after a message.
 */
int probe_exits(struct prober *pr);
/* Probe the callbacks of every struct_ops program that came since the last look. */
void probe_callbacks(struct prober *pr);

#endif
