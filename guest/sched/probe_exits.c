// SPDX-License-Identifier: GPL-2.0-only
/* Probing the kernel's exit path, which every kernel has elsewhere. */
#include "prober.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Functions that every error goes through on its way to ops.exit(), newest kernels first. */
static const char *const exit_functions[] = {"scx_vexit", "scx_ops_exit_kind"};

/* Which argument of a kernel function is called `kind`; negative when there is none. */
static int kind_argument(const struct btf *btf, const char *function)
{
	int id = btf__find_by_name_kind(btf, function, BTF_KIND_FUNC);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (__u32)id);

	t = t ? btf__type_by_id(btf, t->type) : NULL;
	for (int i = 0; t && i < btf_vlen(t) && i < 2; i++)
		if (!strcmp(btf__name_by_offset(btf, btf_params(t)[i].name_off), "kind"))
			return i;
	return -ENOENT;
}

static int attach_exit_probe(struct prober *pr, const char *program, const char *function)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(pr->exits, program);
	struct bpf_link *link = function ? bpf_program__attach_kprobe(prog, false, function) :
					   bpf_program__attach(prog);

	if (!link)
		return -errno;
	/* Kept until the process ends, as everything here. */
	return 0;
}

/* Where this kernel can be caught ending a scheduler. */
struct exit_path {
	const char *program, *function;
	int kind_arg;
};

static struct exit_path find_exit_path(const struct btf *kernel)
{
	if (btf__find_by_name_kind(kernel, "btf_trace_sched_ext_exit", BTF_KIND_TYPEDEF) > 0)
		return (struct exit_path){.program = "on_exit_tracepoint"};
	for (size_t i = 0; i < sizeof(exit_functions) / sizeof(exit_functions[0]); i++) {
		int nth = kind_argument(kernel, exit_functions[i]);

		if (nth >= 0)
			return (struct exit_path){"on_exit_function", exit_functions[i], nth};
	}
	return (struct exit_path){0};
}

/* Open and load the maps, and the exit path's program when there is one. */
static int load_exits(struct prober *pr, const struct exit_path *path)
{
	int nr_cpus = libbpf_num_possible_cpus(), err;
	struct bpf_map *ring;

	if (nr_cpus < 1 || nr_cpus > PROBE_MAX_CPUS)
		nr_cpus = PROBE_MAX_CPUS;
	pr->exits = bpf_object__open_file(pr->path, NULL);
	if (!pr->exits)
		return -errno;
	prober_load_only(pr->exits, path->program, NULL);
	ring = bpf_object__find_map_by_name(pr->exits, "ktstr_probes");
	err = ring ? bpf_map__set_max_entries(ring, (__u32)nr_cpus * PROBE_SLOTS) : -ENOENT;
	if (!err)
		err = prober_set_constant(pr->exits, "nr_cpus", (__u32)nr_cpus);
	if (!err)
		err = prober_set_constant(pr->exits, "kind_arg", (__u32)path->kind_arg);
	if (!err)
		err = bpf_object__load(pr->exits);
	if (!err)
		err = prober_map_globals(pr);
	if (err) {
		bpf_object__close(pr->exits);
		return err;
	}
	pr->bss.counters->nr_cpus = (__u32)nr_cpus;
	return 0;
}

int probe_exits(struct prober *pr)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	struct exit_path path;
	const char *name;
	int err, refused = 0;

	if (!kernel)
		return prober_fail("the kernel has no BTF", errno);
	path = find_exit_path(kernel);
	btf__free(kernel);
	name = path.function ? path.function : "sched_ext_exit";
	err = load_exits(pr, &path);
	if (err && path.program) {
		/* The callbacks can be probed all the same. */
		refused = err;
		path.program = NULL;
		err = load_exits(pr, &path);
	}
	if (err)
		return prober_fail(pr->path, err);
	if (path.program)
		refused = attach_exit_probe(pr, path.program, path.function);
	if (refused)
		prober_missing(pr,
			       "the exit path cannot be probed (%s: %s); probes on the callbacks "
			       "only",
			       name, strerror(-refused));
	else if (!path.program)
		prober_missing(pr, "this kernel has no exit tracepoint, and no function with the "
				   "exit's kind to probe instead; probes on the callbacks only");
	else
		snprintf(pr->bss.counters->exit_probe, PROBE_TEXT, "%s %s",
			 path.function ? "kprobe" : "tp_btf", name);
	return 0;
}
