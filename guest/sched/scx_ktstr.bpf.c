// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_ktstr: one global FIFO, a set of knobs to misbehave on purpose, and live
 * counters in every kind of map that is read from outside the guest.
 * Knobs, map layouts and invariants: scx_ktstr.h.
 */
#include "scx_ktstr.h"
#include "scx_common.bpf.h"
#include "scx_ktstr_harm.bpf.h"
#include "scx_ktstr_state.bpf.h"

char _license[] SEC("license") = "GPL";

static __always_inline u64 slice_ns(void)
{
	return slice_us ? slice_us * 1000 : SCX_CONST(scx_public_consts, SCX_SLICE_DFL);
}

s32 SEC("struct_ops/ktstr_select_cpu")
	BPF_PROG(ktstr_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool is_idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);

	INC(nr_select_cpu);
	pcpu_inc(KTSTR_STAT_SELECT_CPU);
	/* A stalled scheduler must not let sleepers slip past its queue. */
	if (direct_idle && is_idle && !stall) {
		dsq_insert(p, SCX_CONST(scx_dsq_id_flags, SCX_DSQ_LOCAL), slice_ns(), 0);
		INC(nr_direct);
		count_insert(KTSTR_DSQ_LOCAL, 0);
	}
	return cpu;
}

void SEC("struct_ops/ktstr_enqueue") BPF_PROG(ktstr_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 nth = INC(nr_enqueued) + 1, cgroup_id = task_cgroup_id(p), target = KTSTR_DSQ_SHARED;
	s32 cpu = scx_bpf_task_cpu(p);
	u32 every = drop_every;

	pcpu_inc(KTSTR_STAT_ENQUEUED);
	count_enqueue(p, cgroup_id);
	live.prio_class = prio_class_of(p);
	live.from_wakeup = enq_flags & 1;
	if (every && nth % every == 0) {
		INC(drop_cnt);
		return;
	}
	if (is_starved(p, cgroup_id)) {
		target = KTSTR_DSQ_STARVE;
	} else if (scattershot || scatter_wrong || degrade || degrade_rt) {
		u64 local_on = SCX_CONST(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON);

		if (degrade || degrade_rt)
			INC(degrade_cnt);
		dsq_insert(p, local_on | (u32)scatter_target(p), slice_ns(), enq_flags);
		count_insert(KTSTR_DSQ_LOCAL, 0);
		return;
	} else if (is_express(p, cpu)) {
		dsq_insert(p, KTSTR_DSQ_EXPRESS_OF + cpu, slice_ns(), enq_flags);
		count_insert(KTSTR_DSQ_EXPRESS, KTSTR_DSQ_EXPRESS_OF + cpu);
		__sync_fetch_and_or(&express_cpus, 1ULL << cpu);
		return;
	}
	dsq_insert(p, target, slice_ns(), enq_flags);
	count_insert(target, target);
}

static void count_dispatch(s32 cpu, struct ktstr_cpu_ctx *cc, u64 dsq_id)
{
	struct ktstr_dsq_stats *stats = dsq_stats_of(dsq_id);

	INC(nr_dispatched);
	cc->nr_dispatched++;
	pcpu_inc(KTSTR_STAT_DISPATCHED);
	if (stats)
		INC(stats->nr_consumed);
	live.last_dispatch.ns = bpf_ktime_get_ns();
	live.last_dispatch.cpu = cpu;
	if (cpu >= 0 && cpu < 8)
		live.dispatched_by_cpu[cpu]++;
}

void SEC("struct_ops/ktstr_dispatch") BPF_PROG(ktstr_dispatch, s32 cpu, struct task_struct *prev)
{
	struct ktstr_cpu_ctx *cc = cpu_ctx(cpu);
	u32 factor, starve = starve_every;
	u64 call;

	if (!cc)
		return;
	cc->cpu = cpu;
	call = ++cc->nr_dispatch_calls;
	if (crash) {
		raise_crash();
		return;
	}
	if (lockup_ms)
		lock_up();
	if (stall) {
		INC(stall_cnt);
		return;
	}
	if ((degrade || degrade_rt) && (call & 1)) {
		INC(degrade_cnt);
		cc->nr_skipped++;
		return;
	}
	if (verify_loop)
		loop_verifier();
	if (fail_verify)
		break_verifier();
	factor = slow_factor(cpu);
	if (factor > 1 && call % factor) {
		INC(slow_cnt);
		cc->nr_skipped++;
		return;
	}
	if (lost_wakeup && dispatch_express(cpu))
		count_dispatch(cpu, cc, KTSTR_DSQ_EXPRESS);
	else if ((starve < 2 || call % starve == 0) && dsq_move_to_local(KTSTR_DSQ_STARVE))
		count_dispatch(cpu, cc, KTSTR_DSQ_STARVE);
	else if (dsq_move_to_local(KTSTR_DSQ_SHARED))
		count_dispatch(cpu, cc, KTSTR_DSQ_SHARED);
}

void SEC("struct_ops/ktstr_running") BPF_PROG(ktstr_running, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct ktstr_cpu_ctx *cc = cpu_ctx(cpu);
	u64 cgroup_id = task_cgroup_id(p);
	struct ktstr_cgroup_stats *cgrp = cgroup_id ? cgroup_stats_of(cgroup_id) : NULL;

	if (!cc)
		return;
	INC(nr_running_cb);
	cc->nr_running++;
	pcpu_inc(KTSTR_STAT_RUNNING);
	cc->cpu = cpu;
	cc->run_start_ns = bpf_ktime_get_ns();
	cc->last_pid = p->pid;
	__builtin_memcpy(cc->last_comm, p->comm, sizeof(cc->last_comm));
	if (cgrp) {
		INC(cgrp->nr_running);
		cgrp->last_pid = p->pid;
		cgrp->last_cpu = cpu;
	}
	live.last_cpu = cpu;
	live.last_dispatch.pid = p->pid;
	__builtin_memcpy(live.last_comm, p->comm, sizeof(live.last_comm));
}

void SEC("struct_ops/ktstr_stopping") BPF_PROG(ktstr_stopping, struct task_struct *p, bool runnable)
{
	struct ktstr_cpu_ctx *cc = cpu_ctx(scx_bpf_task_cpu(p));
	u64 cgroup_id = task_cgroup_id(p), ran_ns, *count;
	struct ktstr_cgroup_stats *cgrp = cgroup_id ? cgroup_stats_of(cgroup_id) : NULL;
	struct ktstr_prio_stats *prio = prio_stats_of(prio_class_of(p));
	u32 bucket;

	/* A task that was on the CPU before the scheduler has no start to count from. */
	if (!cc || !cc->run_start_ns)
		return;
	ran_ns = bpf_ktime_get_ns() - cc->run_start_ns;
	cc->run_start_ns = 0;
	INC(nr_stopping);
	cc->nr_stopping++;
	pcpu_inc(KTSTR_STAT_STOPPING);
	cc->busy_ns += ran_ns;
	bucket = log2_bucket(ran_ns / 1000);
	count = bpf_map_lookup_elem(&run_hist, &bucket);
	if (count)
		INC(*count);
	if (cgrp)
		ADD(cgrp->runtime_ns, ran_ns);
	if (prio)
		prio->runtime_ns += ran_ns;
}

void SEC("struct_ops/ktstr_exit_task")
	BPF_PROG(ktstr_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	u32 tid = p->pid;

	if (p->flags & PF_EXITING)
		bpf_map_delete_elem(&task_seen, &tid);
}

static __always_inline bool past(u64 since_ns, u64 after_ms)
{
	return after_ms && bpf_ktime_get_ns() - since_ns >= after_ms * 1000000;
}

static __always_inline enum ktstr_mode mode_now(void)
{
	if (stall)
		return KTSTR_MODE_STALLED;
	if (degrade || degrade_rt)
		return KTSTR_MODE_DEGRADED;
	return slow_cpu >= 0 || slow_every > 1 ? KTSTR_MODE_SLOW : KTSTR_MODE_NORMAL;
}

/* Whether starving ended since the last beat, by its time or by a write; the queue is full then. */
static __always_inline bool end_of_starving(struct heartbeat *hb)
{
	if (hb->starving_ns && past(hb->starving_ns, starve_for_ms))
		starve_every = 0;
	if (starves_somebody()) {
		if (!hb->starving_ns)
			hb->starving_ns = bpf_ktime_get_ns();
		return false;
	}
	if (!hb->starving_ns)
		return false;
	hb->starving_ns = 0;
	return true;
}

/*
 * Fires what is due, and wakes idle CPUs that a skipped dispatch left beside
 * waiting tasks: without it "slow" would be a stall.
 */
static int beat(void *map, u32 *key, struct heartbeat *hb)
{
	enum ktstr_mode mode;
	u32 nr = scx_bpf_nr_cpu_ids(), cpu;
	bool kick, fed;

	INC(nr_heartbeat);
	if (crash) {
		raise_crash();
		return 0;
	}
	if (past(attach_ns, exit_after_ms)) {
		unsigned long long args[] = {exit_after_ms};

		live.mode = KTSTR_MODE_EXITING;
		scx_bpf_exit_bstr(exit_code_user, exit_fmt, args, sizeof(args));
		return 0;
	}
	if (past(attach_ns, stall_after_ms) && !hb->was_stalled)
		stall = 1;
	fed = end_of_starving(hb);
	mode = mode_now();
	live.mode = mode;
	kick = (hb->was_stalled && !stall) || fed || starves_somebody() ||
	       mode == KTSTR_MODE_SLOW || mode == KTSTR_MODE_DEGRADED;
	hb->was_stalled = stall;
	if (kick && (scx_bpf_dsq_nr_queued(KTSTR_DSQ_SHARED) > 0 ||
		     scx_bpf_dsq_nr_queued(KTSTR_DSQ_STARVE) > 0)) {
		bpf_for(cpu, 0, nr)
			scx_bpf_kick_cpu(cpu, SCX_CONST(scx_kick_flags, SCX_KICK_IDLE));
	}
	bpf_timer_start(&hb->timer, hb->period_ns, 0);
	return 0;
}

s32 SEC("struct_ops.s/ktstr_init") BPF_PROG(ktstr_init)
{
	u32 key = 0;
	struct heartbeat *hb = bpf_map_lookup_elem(&heartbeat_arr, &key);
	s32 err;

	if (fail_init || !hb)
		return -EINVAL;
	err = scx_bpf_create_dsq(KTSTR_DSQ_SHARED, -1);
	if (!err)
		err = scx_bpf_create_dsq(KTSTR_DSQ_STARVE, -1);
	if (!err && lost_wakeup)
		err = create_express_queues();
	if (err)
		return err;
	attach_ns = bpf_ktime_get_ns();
	live.attached = true;
	hb->period_ns = HEARTBEAT_MS * 1000000ULL;
	bpf_timer_init(&hb->timer, &heartbeat_arr, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&hb->timer, beat);
	return bpf_timer_start(&hb->timer, hb->period_ns, 0);
}

void SEC("struct_ops/ktstr_exit") BPF_PROG(ktstr_exit_op, struct scx_exit_info *ei)
{
	live.attached = false;
	live.mode = KTSTR_MODE_EXITING;
	ktstr_exit.exit_code = ei->exit_code;
	bpf_probe_read_kernel_str(ktstr_exit.reason, sizeof(ktstr_exit.reason), ei->reason);
	bpf_probe_read_kernel_str(ktstr_exit.msg, sizeof(ktstr_exit.msg), ei->msg);
	bpf_probe_read_kernel_str(ktstr_exit.dump, sizeof(ktstr_exit.dump), ei->dump);
	/* An exchange is a full barrier: the loader sees the kind only with the rest in place. */
	__sync_lock_test_and_set(&ktstr_exit.kind, ei->kind);
}

SEC(".struct_ops.link")
struct sched_ext_ops ktstr_ops = {
	.select_cpu = (void *)ktstr_select_cpu,
	.enqueue = (void *)ktstr_enqueue,
	.dispatch = (void *)ktstr_dispatch,
	.running = (void *)ktstr_running,
	.stopping = (void *)ktstr_stopping,
	.exit_task = (void *)ktstr_exit_task,
	.init = (void *)ktstr_init,
	.exit = (void *)ktstr_exit_op,
	.timeout_ms = KTSTR_TIMEOUT_MS,
	.name = "ktstr",
};
