// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_probe: put probes on the callbacks of every sched_ext scheduler that is
 * loaded while this runs, and on the kernel's exit path.
 *
 *   scx_probe OBJECT.bpf.o
 *
 * Says "ready: ..." on stdout once the exit path is probed. New struct_ops
 * programs are looked for every POLL_MS, and at once when a process sends
 * SIGUSR1, which gets a SIGUSR1 back when its programs are probed. What is
 * recorded stays in the maps (probe.h) and is read from outside the guest; it
 * is gone when this ends. Exit status: 0 on SIGTERM or SIGINT, 2 otherwise.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "probe.h"

#define EXIT_UNUSABLE 2
#define POLL_MS	      10

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

/* Functions that every error goes through on its way to ops.exit(), newest kernels first. */
static const char *const exit_functions[] = {"scx_vexit", "scx_ops_exit_kind"};

struct recipe {
	const struct bpf_insn *insns;
	size_t count;
	enum bpf_attach_type type;
};

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

static int print_warnings(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, args) : 0;
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "scx_probe: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return EXIT_UNUSABLE;
}

/* Keep the first reason only: later ones usually follow from it. */
static void note_missing(struct prober *pr, const char *fmt, ...)
{
	char text[PROBE_TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "scx_probe: %s\n", text);
	if (!pr->bss.counters->missing[0])
		memcpy(pr->bss.counters->missing, text, sizeof(text));
}

/* Place of a variable in the content of its section, NULL when there is none of that size. */
static void *variable(const struct bpf_object *obj, const char *section, char *content,
		      const char *name, size_t size)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (__u32)id);

	for (int i = 0; t && content && i < btf_vlen(t); i++) {
		const struct btf_var_secinfo *info = btf_var_secinfos(t) + i;
		const struct btf_type *var = btf__type_by_id(btf, info->type);

		if (info->size == size && !strcmp(btf__name_by_offset(btf, var->name_off), name))
			return content + info->offset;
	}
	return NULL;
}

static int set_constant(struct bpf_object *obj, const char *name, __u32 value)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, ".rodata");
	size_t whole;
	void *place = map ? variable(obj, ".rodata", bpf_map__initial_value(map, &whole), name,
				     sizeof(value)) :
			    NULL;

	if (!place)
		return -ENOENT;
	memcpy(place, &value, sizeof(value));
	return 0;
}

/* The loaded object's variables, as the programs see them. */
static int map_globals(struct prober *pr)
{
	struct bpf_map *map = bpf_object__find_map_by_name(pr->exits, ".bss");
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	char *content;

	if (!map)
		return -ENOENT;
	size = (bpf_map__value_size(map) + page - 1) / page * page;
	content = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (content == MAP_FAILED)
		return -errno;
	pr->bss.counters = variable(pr->exits, ".bss", content, "ktstr_probe_counters",
				    sizeof(struct probe_counters));
	pr->bss.probed = variable(pr->exits, ".bss", content, "ktstr_probed",
				  PROBE_MAX_PROBED * sizeof(struct probe_probed));
	return pr->bss.counters && pr->bss.probed ? 0 : -EINVAL;
}

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

static void load_only(struct bpf_object *obj, const char *first, const char *second)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		const char *name = bpf_program__name(prog);

		bpf_program__set_autoload(prog, (first && !strcmp(name, first)) ||
							(second && !strcmp(name, second)));
	}
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
	load_only(pr->exits, path->program, NULL);
	ring = bpf_object__find_map_by_name(pr->exits, "ktstr_probes");
	err = ring ? bpf_map__set_max_entries(ring, (__u32)nr_cpus * PROBE_SLOTS) : -ENOENT;
	if (!err)
		err = set_constant(pr->exits, "nr_cpus", (__u32)nr_cpus);
	if (!err)
		err = set_constant(pr->exits, "kind_arg", (__u32)path->kind_arg);
	if (!err)
		err = bpf_object__load(pr->exits);
	if (!err)
		err = map_globals(pr);
	if (err) {
		bpf_object__close(pr->exits);
		return err;
	}
	pr->bss.counters->nr_cpus = (__u32)nr_cpus;
	return 0;
}

static int open_exits(struct prober *pr)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	struct exit_path path;
	const char *name;
	int err, refused = 0;

	if (!kernel)
		return fail("the kernel has no BTF", errno);
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
		return fail(pr->path, err);
	if (path.program)
		refused = attach_exit_probe(pr, path.program, path.function);
	if (refused)
		note_missing(pr,
			     "the exit path cannot be probed (%s: %s); probes on the callbacks "
			     "only",
			     name, strerror(-refused));
	else if (!path.program)
		note_missing(pr, "this kernel has no exit tracepoint, and no function with the "
				 "exit's kind to probe instead; probes on the callbacks only");
	else
		snprintf(pr->bss.counters->exit_probe, PROBE_TEXT, "%s %s",
			 path.function ? "kprobe" : "tp_btf", name);
	return 0;
}

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
	load_only(obj, "on_entry", "on_return");
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
		return note_missing(pr, "more than %d struct_ops programs", PROBE_MAX_PROBED);
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
		note_missing(pr, "%s cannot be probed: %s", place->name, strerror(-err));
		*place = (struct probe_probed){0};
		counters->nr_refused++;
		return;
	}
	counters->nr_probed++;
}

/* Probe every struct_ops program that came since the last look. */
static void look(struct prober *pr)
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

static int serve(struct prober *pr, int signals)
{
	struct pollfd waited = {.fd = signals, .events = POLLIN};

	for (;;) {
		struct signalfd_siginfo got;

		if (poll(&waited, 1, POLL_MS) > 0 &&
		    read(signals, &got, sizeof(got)) == sizeof(got)) {
			if (got.ssi_signo != SIGUSR1)
				return 0;
			look(pr);
			if (got.ssi_pid > 1)
				kill((pid_t)got.ssi_pid, SIGUSR1);
		}
		look(pr);
	}
}

int main(int argc, char **argv)
{
	const struct sched_param param = {.sched_priority = 98};
	struct prober pr = {0};
	sigset_t set;
	int signals, err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2) {
		fprintf(stderr, "usage: scx_probe OBJECT.bpf.o\n");
		return EXIT_UNUSABLE;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return fail("signalfd", errno);
	/* Not to be held back by the scheduler that is looked at. */
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		fprintf(stderr, "scx_probe: no SCHED_FIFO: %s\n", strerror(errno));
	libbpf_set_print(print_warnings);
	pr.path = argv[1];
	err = open_exits(&pr);
	if (err)
		return err;
	printf("ready: %s\n", pr.bss.counters->exit_probe[0] ? pr.bss.counters->exit_probe :
							       pr.bss.counters->missing);
	return serve(&pr, signals);
}
