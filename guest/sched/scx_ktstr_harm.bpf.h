/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How scx_ktstr misbehaves when its knobs ask for it: scattering, starving, slowing,
 * crashing, locking up, losing wake-ups, and failing verification. Part of scx_ktstr.bpf.c.
 */
#ifndef KTSTR_SCX_KTSTR_HARM_BPF_H
#define KTSTR_SCX_KTSTR_HARM_BPF_H

#include "scx_ktstr_state.bpf.h"

/* Calls per acting dispatch on this CPU; 1 when it is not slowed. */
static __always_inline u32 slow_factor(s32 cpu)
{
	u32 every = slow_every;

	if (slow_cpu >= 0) {
		if (slow_cpu != cpu)
			return 1;
		if (!every)
			return 4;
	}
	return every ? every : 1;
}

/*
 * A random online CPU that is (or, for wrong placement, is not) in the task's
 * mask; negative when there is none.
 */
static s32 pick_random_cpu(struct task_struct *p, bool allowed)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	u32 nr = scx_bpf_nr_cpu_ids(), start, i;
	s32 found = -1;

	start = bpf_get_prandom_u32() % (nr ? nr : 1);
	bpf_for(i, 0, nr) {
		u32 cpu = (start + i) % nr;

		if (!bpf_cpumask_test_cpu(cpu, online))
			continue;
		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr) == allowed) {
			found = cpu;
			break;
		}
	}
	scx_bpf_put_cpumask(online);
	return found;
}

static s32 scatter_target(struct task_struct *p)
{
	/* On older kernels entering BPF itself raises the current task's count by one. */
	u32 own = p->pid == (s32)bpf_get_current_pid_tgid();
	s32 cpu = -1;

	if (scatter_wrong)
		cpu = pick_random_cpu(p, false);
	else if (p->migration_disabled > own)
		return scx_bpf_task_cpu(p);
	if (cpu < 0)
		cpu = pick_random_cpu(p, true);
	return cpu < 0 ? scx_bpf_task_cpu(p) : cpu;
}

static bool in_starved_cgroup(struct task_struct *p)
{
	char name[STARVE_NAME] = {};
	const char *of = BPF_CORE_READ(p, cgroups, dfl_cgrp, kn, name);
	u32 i;

	if (bpf_probe_read_kernel_str(name, sizeof(name), of) <= 1)
		return false;
	bpf_for(i, 0, STARVE_NAME) {
		if (name[i] != starve_cgroup[i])
			return false;
		if (!name[i])
			return true;
	}
	return false;
}

static __always_inline bool starves_somebody(void)
{
	return starve_every > 1 && (starve_tgid || starve_cgroup_id || starve_cgroup[0]);
}

static __always_inline bool is_starved(struct task_struct *p, u64 cgroup_id)
{
	if (!starves_somebody())
		return false;
	if (starve_cgroup[0] && in_starved_cgroup(p))
		return true;
	if (starve_tgid && starve_tgid == (u32)p->tgid)
		return true;
	return starve_cgroup_id && starve_cgroup_id == cgroup_id;
}

static __always_inline bool is_express(const struct task_struct *p, s32 cpu)
{
	return lost_wakeup && cpu >= 0 && cpu < KTSTR_EXPRESS_CPUS &&
	       prio_class_of(p) == KTSTR_PRIO_HIGH;
}

/*
 * The ordering bug to be found: a bit is taken out of a word that all CPUs share by
 * reading, changing and writing it. What another CPU announces in between is written
 * over, and the task that it queued waits until the next one for the same CPU.
 */
static bool dispatch_express(s32 cpu)
{
	u64 waiting = express_cpus, own;
	u32 i;

	if (cpu < 0 || cpu >= KTSTR_EXPRESS_CPUS)
		return false;
	own = 1ULL << cpu;
	if (!(waiting & own))
		return false;
	if (dsq_move_to_local(KTSTR_DSQ_EXPRESS_OF + cpu))
		return true;
	bpf_for(i, 1, lost_wakeup)
		;
	express_cpus = waiting & ~own;
	return false;
}

static s32 create_express_queues(void)
{
	u32 nr = scx_bpf_nr_cpu_ids(), cpu;
	s32 err = 0;

	bpf_for(cpu, 0, nr < KTSTR_EXPRESS_CPUS ? nr : KTSTR_EXPRESS_CPUS) {
		err = scx_bpf_create_dsq(KTSTR_DSQ_EXPRESS_OF + cpu, -1);
		if (err)
			break;
	}
	return err;
}

/* Rejected by the verifier: a lookup's result used without the NULL check. */
static __always_inline void break_verifier(void)
{
	u32 key = KTSTR_MAX_CPUS;
	u64 *missing = bpf_map_lookup_elem(&run_hist, &key);

	*missing = 1;
}

/* A long verifier log of similar states, then a loop without an end. */
static __always_inline void loop_verifier(void)
{
	u64 x = bpf_ktime_get_ns();

#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++) {
		x = x * 31 + bpf_get_prandom_u32();
		if (x & (1 << i))
			INC(nr_heartbeat);
	}
	for (;;)
		INC(nr_heartbeat);
}

static __always_inline void raise_crash(void)
{
	/* The verifier wants real memory for the arguments, also when there are none. */
	unsigned long long none[] = {0};

	live.mode = KTSTR_MODE_EXITING;
	scx_bpf_error_bstr(crash_fmt, none, sizeof(none));
}

/*
 * Keeps one CPU busy with its run queue locked and interrupts off, as a scheduler
 * that never comes back would: the queue's clock stands still meanwhile. It begins
 * a second after it was asked for, when the step that asked is being held.
 */
static __always_inline void lock_up(void)
{
	u64 since_ns = bpf_ktime_get_ns(), for_ns = (u64)lockup_ms * 1000000;
	u32 i, k;

	if (!lockup_asked_ns)
		lockup_asked_ns = since_ns;
	if (since_ns - lockup_asked_ns < 1000000000)
		return;
	lockup_ms = 0;
	lockup_asked_ns = 0;
	/* One loop alone may have no more than 2^23 rounds, which may pass too soon. */
	bpf_for(i, 0, 1 << 20) {
		if (bpf_ktime_get_ns() - since_ns >= for_ns)
			break;
		bpf_for(k, 0, 1 << 10)
			;
	}
}

#endif
