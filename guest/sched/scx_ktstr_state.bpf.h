/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The knobs, counters and maps of scx_ktstr, and how they are looked up and counted.
 * Part of scx_ktstr.bpf.c, apart from it for length: it defines variables.
 */
#ifndef KTSTR_SCX_KTSTR_STATE_BPF_H
#define KTSTR_SCX_KTSTR_STATE_BPF_H

#include "scx_common.bpf.h"
#include "scx_ktstr.h"

const volatile u32 degrade;
const volatile u32 scattershot;
const volatile u32 scatter_wrong;
const volatile u32 direct_idle;
const volatile u64 slice_us;
const volatile u32 fail_init;
const volatile u32 fail_verify;
const volatile u32 verify_loop;
const volatile u32 lost_wakeup;
const volatile char starve_cgroup[STARVE_NAME];

volatile u32 stall;
volatile u32 crash;
volatile u32 degrade_rt;
volatile u32 drop_every;
volatile u32 slow_every;
volatile u32 exit_code_user;
volatile u32 starve_tgid;
volatile u64 starve_cgroup_id;
volatile u64 starve_for_ms;
volatile u64 stall_after_ms;
volatile u64 exit_after_ms;
volatile s32 slow_cpu = -1;
volatile u32 starve_every = 64;
volatile u32 lockup_ms;

static u64 lockup_asked_ns;

/* The CPUs in whose express queues somebody may wait; only with lost_wakeup. */
u64 express_cpus;

u64 nr_enqueued;
u64 nr_dispatched;
u64 nr_direct;
u64 nr_select_cpu;
u64 nr_running_cb;
u64 nr_stopping;
u64 nr_heartbeat;
u64 degrade_cnt;
u64 slow_cnt;
u64 drop_cnt;
u64 stall_cnt;
u64 task_seen_full;
u64 attach_ns;
struct ktstr_live live;

/* Read only by convention: the kfuncs take them as plain char pointers. */
static char crash_fmt[] = "ktstr: host-triggered crash";
static char exit_fmt[] = "ktstr: exit after %llu ms";

/* Its own section: 34 KB that a snapshot of the counters need not carry. */
struct ktstr_exit_record ktstr_exit SEC(".bss.exit");

struct heartbeat {
	struct bpf_timer timer;
	u64 period_ns;
	u32 was_stalled;
	u64 starving_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KTSTR_MAX_CPUS);
	__type(key, u32);
	__type(value, struct ktstr_cpu_ctx);
} cpu_ctx_arr SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KTSTR_NR_STATS);
	__type(key, u32);
	__type(value, u64);
} pcpu_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, u64);
	__type(value, struct ktstr_dsq_stats);
} dsq_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct ktstr_cgroup_stats);
} cgroup_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, KTSTR_NR_PRIO);
	__type(key, u32);
	__type(value, struct ktstr_prio_stats);
} pid_class SEC(".maps");

/* tid -> times enqueued; entries of dead tasks are removed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u64);
} task_seen SEC(".maps");

/* Finished stretches on a CPU by log2 of their length in us. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, u32);
	__type(value, u64);
} run_hist SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct heartbeat);
} heartbeat_arr SEC(".maps");

#define INC(counter)	__sync_fetch_and_add(&(counter), 1)
#define ADD(counter, n) __sync_fetch_and_add(&(counter), (n))

static __always_inline struct ktstr_cpu_ctx *cpu_ctx(s32 cpu)
{
	u32 key = cpu;

	return bpf_map_lookup_elem(&cpu_ctx_arr, &key);
}

static __always_inline void pcpu_inc(u32 stat)
{
	u64 *count = bpf_map_lookup_elem(&pcpu_stats, &stat);

	if (count)
		(*count)++;
}

static struct ktstr_dsq_stats *dsq_stats_of(u64 dsq_id)
{
	struct ktstr_dsq_stats zero = {};

	if (!bpf_map_lookup_elem(&dsq_stats, &dsq_id))
		bpf_map_update_elem(&dsq_stats, &dsq_id, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&dsq_stats, &dsq_id);
}

static struct ktstr_cgroup_stats *cgroup_stats_of(u64 cgroup_id)
{
	struct ktstr_cgroup_stats zero = {};

	if (!bpf_map_lookup_elem(&cgroup_stats, &cgroup_id))
		bpf_map_update_elem(&cgroup_stats, &cgroup_id, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&cgroup_stats, &cgroup_id);
}

static struct ktstr_prio_stats *prio_stats_of(u32 prio_class)
{
	struct ktstr_prio_stats zero = {};

	if (!bpf_map_lookup_elem(&pid_class, &prio_class))
		bpf_map_update_elem(&pid_class, &prio_class, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&pid_class, &prio_class);
}

static __always_inline u32 prio_class_of(const struct task_struct *p)
{
	if (p->flags & PF_KTHREAD)
		return KTSTR_PRIO_KTHREAD;
	if (p->static_prio < DEFAULT_PRIO)
		return KTSTR_PRIO_HIGH;
	return p->static_prio > DEFAULT_PRIO ? KTSTR_PRIO_LOW : KTSTR_PRIO_NORMAL;
}

static void count_insert(u64 dsq_key, u64 dsq_id)
{
	struct ktstr_dsq_stats *stats = dsq_stats_of(dsq_key);
	s32 queued = dsq_key == KTSTR_DSQ_LOCAL ? 0 : scx_bpf_dsq_nr_queued(dsq_id);

	if (!stats)
		return;
	INC(stats->nr_inserted);
	if (queued < 0)
		return;
	stats->nr_queued = queued;
	if (stats->max_queued < (u32)queued)
		stats->max_queued = queued;
}

static void count_enqueue(struct task_struct *p, u64 cgroup_id)
{
	struct ktstr_cgroup_stats *cgrp = cgroup_id ? cgroup_stats_of(cgroup_id) : NULL;
	struct ktstr_prio_stats *prio = prio_stats_of(prio_class_of(p));
	u32 tid = p->pid;
	u64 one = 1, *seen = bpf_map_lookup_elem(&task_seen, &tid);

	if (cgrp)
		INC(cgrp->nr_enqueued);
	if (prio)
		prio->nr_enqueued++;
	if (seen)
		INC(*seen);
	else if (bpf_map_update_elem(&task_seen, &tid, &one, BPF_NOEXIST))
		INC(task_seen_full);
}

static __always_inline u32 log2_bucket(u64 value)
{
	u32 bucket = 0;

#pragma clang loop unroll(full)
	for (int bit = 4; bit >= 0; bit--) {
		if (value >> (1 << bit)) {
			value >>= 1 << bit;
			bucket |= 1 << bit;
		}
	}
	return bucket;
}

#endif
