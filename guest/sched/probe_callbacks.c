// SPDX-License-Identifier: GPL-2.0-only
/* Probing the callbacks of schedulers: each program is the target of two of its own. */
#include "prober.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The shape of sched_ext_ops' callbacks: which argument is the task, how many there are. */
static const struct callback {
	const char *name;
	int task_arg, nr_args;
	unsigned int flags;
} callbacks[] = {
	{"select_cpu", 0, 3, PROBE_F_RETURNS},
	{"enqueue", 0, 2, 0},
	{"dequeue", 0, 2, 0},
	{"dispatch", 1, 2, PROBE_F_REST},
	{"tick", 0, 1, 0},
	{"runnable", 0, 2, 0},
	{"running", 0, 1, 0},
	{"stopping", 0, 2, 0},
	{"quiescent", 0, 2, 0},
	{"yield", 0, 2, PROBE_F_RETURNS},
	{"core_sched_before", 0, 2, PROBE_F_RETURNS},
	{"set_weight", 0, 2, 0},
	{"set_cpumask", 0, 2, 0},
	{"update_idle", -1, 2, 0},
	{"cpu_acquire", -1, 2, 0},
	{"cpu_release", -1, 2, 0},
	{"init_task", 0, 2, PROBE_F_REST | PROBE_F_RETURNS},
	{"exit_task", 0, 2, PROBE_F_REST},
	{"enable", 0, 1, PROBE_F_REST},
	{"disable", 0, 1, PROBE_F_REST},
	{"dump", -1, 1, PROBE_F_LATE},
	{"dump_cpu", -1, 3, PROBE_F_LATE},
	{"dump_task", 1, 2, PROBE_F_LATE | PROBE_F_REST},
	{"cgroup_init", -1, 2, PROBE_F_RETURNS},
	{"cgroup_exit", -1, 1, 0},
	{"cgroup_prep_move", 0, 3, PROBE_F_REST | PROBE_F_RETURNS},
	{"cgroup_move", 0, 3, PROBE_F_REST},
	{"cgroup_cancel_move", 0, 3, PROBE_F_REST},
	{"cgroup_set_weight", -1, 2, 0},
	{"cgroup_set_bandwidth", -1, 3, 0},
	{"cgroup_set_idle", -1, 2, 0},
	{"sub_attach", -1, 1, PROBE_F_RETURNS},
	{"sub_detach", -1, 1, 0},
	{"cpu_online", -1, 1, 0},
	{"cpu_offline", -1, 1, 0},
	{"init", -1, 0, PROBE_F_BEGINS | PROBE_F_RETURNS},
	{"exit", -1, 1, PROBE_F_LATE | PROBE_F_EXIT_INFO},
};

static const struct callback *callback_of(const char *program)
{
	const struct callback *best = NULL;
	size_t length = strlen(program);

	/* As in "exit_op", where C has the plain name already. */
	if (length > 3 && !strcmp(program + length - 3, "_op"))
		length -= 3;
	for (size_t i = 0; i < sizeof(callbacks) / sizeof(callbacks[0]); i++) {
		size_t n = strlen(callbacks[i].name);
		bool ends = length >= n && !strncmp(program + length - n, callbacks[i].name, n) &&
			    (length == n || program[length - n - 1] == '_');

		if (ends && (!best || n > strlen(best->name)))
			best = &callbacks[i];
	}
	return best;
}

/* Name and BTF id of a program's own function, as its BTF has them. */
static int function_of(int fd, const struct bpf_prog_info *info, char *name, __u32 *type_id)
{
	struct bpf_func_info func = {0};
	struct bpf_prog_info ask = {
		.nr_func_info = 1,
		.func_info_rec_size = info->func_info_rec_size,
		.func_info = (__u64)(unsigned long)&func,
	};
	__u32 size = sizeof(ask);
	const struct btf_type *t;
	struct btf *btf;

	if (!info->btf_id || info->func_info_rec_size != sizeof(func) ||
	    bpf_prog_get_info_by_fd(fd, &ask, &size) || !func.type_id)
		return -ENOENT;
	btf = btf__load_from_kernel_by_id(info->btf_id);
	if (!btf)
		return -errno;
	t = btf__type_by_id(btf, func.type_id);
	snprintf(name, PROBE_NAME, "%s", t ? btf__name_by_offset(btf, t->name_off) : "");
	*type_id = func.type_id;
	btf__free(btf);
	return name[0] ? 0 : -ENOENT;
}

static struct recipe recipe_of(struct bpf_object *obj, const char *name, enum bpf_attach_type type)
{
	const struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);

	return (struct recipe){bpf_program__insns(prog), bpf_program__insn_cnt(prog), type};
}

/* Load the object's two recipes with this program as their target, to have them relocated. */
static int open_callbacks(struct prober *pr, int target, const char *function)
{
	struct bpf_object *obj = bpf_object__open_file(pr->path, NULL);
	struct bpf_map *map;
	int err;

	if (!obj)
		return -errno;
	prober_load_only(obj, "on_entry", "on_return");
	bpf_object__for_each_map(map, obj) {
		struct bpf_map *same = NULL;

		while ((same = bpf_object__next_map(pr->exits, same)))
			if (!strcmp(bpf_map__name(same), bpf_map__name(map)))
				break;
		err = same ? bpf_map__reuse_fd(map, bpf_map__fd(same)) : -ENOENT;
		if (err)
			goto failed;
	}
	err = bpf_program__set_attach_target(bpf_object__find_program_by_name(obj, "on_entry"),
					     target, function);
	if (!err)
		err = bpf_program__set_attach_target(
			bpf_object__find_program_by_name(obj, "on_return"), target, function);
	if (!err)
		err = bpf_object__load(obj);
	if (err)
		goto failed;
	pr->callbacks = obj;
	pr->entry = recipe_of(obj, "on_entry", BPF_TRACE_FENTRY);
	pr->leave = recipe_of(obj, "on_return", BPF_TRACE_FEXIT);
	return 0;
failed:
	bpf_object__close(obj);
	return err;
}

static int probe_with(const struct recipe *from, int target, __u32 type_id, __u32 nth)
{
	LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = from->type,
		    .attach_prog_fd = (__u32)target, .attach_btf_id = type_id);
	LIBBPF_OPTS(bpf_link_create_opts, attach, .tracing.cookie = nth);
	int link, fd;

	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING,
			   from->type == BPF_TRACE_FENTRY ? "probe_entry" : "probe_return", "GPL",
			   from->insns, from->count, &load);
	if (fd < 0)
		return fd;
	link = bpf_link_create(fd, 0, from->type, &attach);
	close(fd);
	/* The link stays open as long as this process lives. */
	return link < 0 ? link : 0;
}

static void probe_program(struct prober *pr, int fd, const struct bpf_prog_info *info)
{
	struct probe_counters *counters = pr->bss.counters;
	struct probe_probed *place = &pr->bss.probed[counters->nr_probed];
	const struct callback *callback;
	char name[PROBE_NAME] = {0};
	__u32 type_id = 0;
	int err;

	if (counters->nr_probed >= PROBE_MAX_PROBED) {
		counters->nr_refused++;
		return prober_missing(pr, "more than %d struct_ops programs", PROBE_MAX_PROBED);
	}
	err = function_of(fd, info, name, &type_id);
	if (!err && !pr->callbacks)
		err = open_callbacks(pr, fd, name);
	callback = callback_of(name);
	*place = (struct probe_probed){.prog_id = info->id, .task_arg = -1};
	snprintf(place->name, sizeof(place->name), "%s", name[0] ? name : info->name);
	if (callback) {
		snprintf(place->callback, sizeof(place->callback), "%s", callback->name);
		place->task_arg = callback->task_arg;
		place->nr_args = (__u32)callback->nr_args;
		place->flags = callback->flags;
	}
	if (!err)
		err = probe_with(&pr->leave, fd, type_id, counters->nr_probed);
	if (!err)
		err = probe_with(&pr->entry, fd, type_id, counters->nr_probed);
	if (err) {
		prober_missing(pr, "%s cannot be probed: %s", place->name, strerror(-err));
		*place = (struct probe_probed){0};
		counters->nr_refused++;
		return;
	}
	counters->nr_probed++;
}

void probe_callbacks(struct prober *pr)
{
	__u32 id = pr->last_id;

	while (!bpf_prog_get_next_id(id, &id)) {
		struct bpf_prog_info info = {0};
		__u32 size = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);

		pr->last_id = id;
		if (fd < 0)
			continue;
		if (!bpf_prog_get_info_by_fd(fd, &info, &size) &&
		    info.type == BPF_PROG_TYPE_STRUCT_OPS)
			probe_program(pr, fd, &info);
		close(fd);
	}
}
