// SPDX-License-Identifier: GPL-2.0-only
/*
 * Probes on a scheduler's callbacks and on the kernel's exit path; see probe.h.
 * on_entry and on_return are recipes: scx_probe loads them once per program.
 */
/* Before libbpf's macros, which need it. */
#include <linux/ptrace.h>

#include "scx_common.bpf.h"

#include "probe.h"

char _license[] SEC("license") = "GPL";

#define FIRST_ERROR_KIND 1024

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct scx_dispatch_q___probe {
	u64 id;
};

struct sched_ext_entity___probe {
	struct scx_dispatch_q___probe *dsq;
	u32 flags;
	u64 ddsp_dsq_id;
	u64 slice;
	u64 dsq_vtime;
};

struct task_struct___probe {
	int pid;
	char comm[16];
	struct sched_ext_entity___probe scx;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROBE_SLOTS); /* times the CPUs, set before loading */
	__type(key, u32);
	__type(value, struct probe_event);
} ktstr_probes SEC(".maps");

const volatile u32 nr_cpus = 1;
const volatile u32 kind_arg; /* which argument of the function on the exit path is the kind */

struct probe_counters ktstr_probe_counters;
struct probe_probed ktstr_probed[PROBE_MAX_PROBED];

/* Events ever written to each ring; of one CPU on a cache line of its own. */
struct {
	u64 task, rest, unused[6];
} ktstr_probe_heads[PROBE_MAX_CPUS];

static __always_inline struct probe_event *next_event(bool rest)
{
	u32 cpu = bpf_get_smp_processor_id(), slot;
	struct probe_event *event;
	u64 nth;

	if (cpu >= nr_cpus || cpu >= PROBE_MAX_CPUS)
		return NULL;
	if (rest) {
		nth = __sync_fetch_and_add(&ktstr_probe_heads[cpu].rest, 1);
		slot = PROBE_TASK_SLOTS + nth % PROBE_REST_SLOTS;
	} else {
		nth = __sync_fetch_and_add(&ktstr_probe_heads[cpu].task, 1);
		slot = nth % PROBE_TASK_SLOTS;
	}
	if (nth >= (rest ? PROBE_REST_SLOTS : PROBE_TASK_SLOTS))
		__sync_fetch_and_add(&ktstr_probe_counters.ringbuf_drops, 1);
	slot += cpu * PROBE_SLOTS;
	event = bpf_map_lookup_elem(&ktstr_probes, &slot);
	if (!event)
		return NULL;
	event->ns = 0;
	event->cpu = (s32)cpu;
	return event;
}

static __always_inline void describe_task(struct probe_event *event, u64 task)
{
	struct task_struct___probe *p = (void *)task;
	struct scx_dispatch_q___probe *dsq = NULL;

	event->task = task;
	event->slice = event->vtime = event->ddsp_dsq_id = 0;
	event->scx_flags = 0;
	event->dsq_id = PROBE_NO_DSQ;
	event->pid = -1;
	event->comm[0] = 0;
	if (!task)
		return;
	if (bpf_core_read(&event->pid, sizeof(event->pid), &p->pid)) {
		__sync_fetch_and_add(&ktstr_probe_counters.meta_miss, 1);
		return;
	}
	bpf_core_read(event->comm, sizeof(event->comm), &p->comm);
	bpf_core_read(&event->slice, sizeof(u64), &p->scx.slice);
	bpf_core_read(&event->vtime, sizeof(u64), &p->scx.dsq_vtime);
	bpf_core_read(&event->ddsp_dsq_id, sizeof(u64), &p->scx.ddsp_dsq_id);
	bpf_core_read(&event->scx_flags, sizeof(u32), &p->scx.flags);
	bpf_core_read(&dsq, sizeof(dsq), &p->scx.dsq);
	if (dsq)
		bpf_core_read(&event->dsq_id, sizeof(u64), &dsq->id);
}

static __always_inline void finish_event(struct probe_event *event, __u16 nth, __u16 phase)
{
	event->probed = nth;
	event->phase = phase;
	barrier();
	event->ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&ktstr_probe_counters.probe_count, 1);
}

static __always_inline void record(void *ctx, const u64 *at, __u16 phase, u64 ret)
{
	u64 nth = bpf_get_attach_cookie(ctx), args[3] = {}, task = 0;
	struct probe_probed *which;
	struct probe_event *event;
	s32 task_arg;
	u32 flags;

	if (nth >= PROBE_MAX_PROBED)
		return;
	which = &ktstr_probed[nth];
	if (phase == PROBE_ENTRY)
		__sync_fetch_and_add(&which->entries, 1);
	else
		__sync_fetch_and_add(&which->exits, 1);
	flags = which->flags;
	if (phase == PROBE_ENTRY && flags & PROBE_F_BEGINS)
		ktstr_probe_counters.frozen = 0;
	if (ktstr_probe_counters.frozen && !(flags & PROBE_F_LATE)) {
		__sync_fetch_and_add(&ktstr_probe_counters.after_trigger, 1);
		return;
	}
	bpf_probe_read_kernel(args, sizeof(args), at);
	if (which->nr_args < 3)
		args[2] = 0;
	if (which->nr_args < 2)
		args[1] = 0;
	if (which->nr_args < 1)
		args[0] = 0;
	task_arg = which->task_arg;
	if (task_arg == 0)
		task = args[0];
	else if (task_arg == 1)
		task = args[1];
	event = next_event(!task || flags & PROBE_F_REST);
	if (!event)
		return;
	if (flags & PROBE_F_EXIT_INFO) {
		struct scx_exit_info *info = (void *)args[0];
		s32 kind = 0;

		bpf_core_read(&kind, sizeof(kind), &info->kind);
		args[0] = (u64)kind;
	}
	event->args[0] = args[0];
	event->args[1] = args[1];
	event->args[2] = args[2];
	event->ret = flags & PROBE_F_RETURNS ? (s32)ret : 0;
	describe_task(event, task);
	if (phase == PROBE_EXIT)
		__sync_fetch_and_add(&ktstr_probe_counters.kprobe_returns, 1);
	finish_event(event, (__u16)nth, phase);
}

SEC("fentry")
int on_entry(u64 *ctx)
{
	/* Of a struct_ops program the one argument is the array of the callback's. */
	record(ctx, (const u64 *)ctx[0], PROBE_ENTRY, 0);
	return 0;
}

SEC("fexit")
int on_return(u64 *ctx)
{
	u64 ret = 0;

	bpf_get_func_ret(ctx, &ret);
	record(ctx, (const u64 *)ctx[0], PROBE_EXIT, ret);
	return 0;
}

static __always_inline void note_exit(u64 kind)
{
	struct probe_event *event;

	__sync_fetch_and_add(&ktstr_probe_counters.exit_hits, 1);
	if ((u32)kind < FIRST_ERROR_KIND)
		return;
	__sync_fetch_and_add(&ktstr_probe_counters.trigger_count, 1);
	/* The first is the one the kernel keeps. */
	if (__sync_lock_test_and_set(&ktstr_probe_counters.frozen, 1))
		return;
	event = next_event(false);
	if (!event)
		return;
	event->args[0] = (u32)kind;
	event->args[1] = event->args[2] = event->ret = 0;
	describe_task(event, bpf_get_current_task());
	finish_event(event, 0, PROBE_TRIGGER);
}

SEC("tp_btf/sched_ext_exit")
int on_exit_tracepoint(u64 *ctx)
{
	note_exit((u32)ctx[1]);
	return 0;
}

SEC("kprobe")
int on_exit_function(struct pt_regs *ctx)
{
	u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);

	/* Both are read at their own offsets: the verifier refuses one that is computed. */
	barrier_var(first);
	barrier_var(second);
	note_exit(kind_arg ? second : first);
	return 0;
}
