/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx_ktstr: what its maps hold, and which of it must agree.
 *
 * Knobs (all off by default). .rodata, before load: degrade, scattershot,
 * scatter_wrong, direct_idle, slice_us, fail_init, fail_verify, verify_loop, starve_cgroup
 * (text: the last part of a cgroup's path; its tasks are starved as below),
 * lost_wakeup (tasks of a negative nice value go through queues of their CPUs, and now and
 * then one of them is forgotten there: a race of two CPUs about the word that tells which
 * queues to look into. The value, from 1, is how many rounds of an empty loop, less one,
 * the race has beside what it always takes).
 * .bss and .data, at any time, also written from outside the guest:
 *   stall            u32  dispatch moves nothing: the watchdog ejects the scheduler
 *   stall_after_ms   u64  the same, from that long after attach
 *   crash            u32  scx_bpf_error("ktstr: host-triggered crash")
 *   degrade_rt       u32  random allowed CPU's local queue; every other dispatch skipped
 *   exit_after_ms    u64  clean scx_bpf_exit(exit_code_user) that long after attach
 *   exit_code_user   u32  the user part of the exit code (its low 32 bits)
 *   drop_every       u32  1 enqueue in N is lost: the watchdog ejects the scheduler
 *   slow_every       u32  dispatch acts on 1 call in N (0, 1: off)
 *   slow_cpu         s32  limits that to one CPU (-1: all); alone it means N = 4
 *   starve_every     u32  how rarely the starved run (0, 1: nobody is starved)
 *   starve_for_ms    u64  back to starving nobody, that long after it began (0: never)
 *   starve_tgid      u32  this process's tasks run on 1 dispatch in starve_every
 *   starve_cgroup_id u64  the same for the tasks directly in a cgroup
 * A knob that works by time or by a write fires within HEARTBEAT_MS.
 *
 * Invariants, for checking a read from outside. The freeze can fall between
 * two increments, so each holds within 1 per CPU (CPUs below KTSTR_MAX_CPUS):
 *   nr_dispatched  = sum of cpu_ctx_arr[*].nr_dispatched
 *                  = sum over CPUs of pcpu_stats[KTSTR_STAT_DISPATCHED]
 *                  = sum of dsq_stats[SHARED, STARVE, EXPRESS].nr_consumed
 *   nr_running_cb  = sum of cpu_ctx_arr[*].nr_running
 *   nr_stopping    = sum of cpu_ctx_arr[*].nr_stopping = sum of run_hist[*]
 *   nr_enqueued    = sum over CPUs of pcpu_stats[KTSTR_STAT_ENQUEUED]
 *                  = sum of dsq_stats[*].nr_inserted + drop_cnt - nr_direct
 *   nr_running_cb - nr_stopping lies in 0..number of CPUs
 */
#ifndef KTSTR_SCX_KTSTR_H
#define KTSTR_SCX_KTSTR_H

#include "scx_common.bpf.h"

#define KTSTR_MAX_CPUS	 256
#define KTSTR_TIMEOUT_MS 20000
#define HEARTBEAT_MS	 10
#define STARVE_NAME	 64

/* Queues of our own, and keys of dsq_stats, where KTSTR_DSQ_LOCAL is all local ones. */
enum ktstr_dsq {
	KTSTR_DSQ_SHARED = 0,
	KTSTR_DSQ_STARVE = 1,
	KTSTR_DSQ_LOCAL = 2,
	KTSTR_DSQ_EXPRESS = 3,	     /* in dsq_stats all express queues together */
	KTSTR_DSQ_EXPRESS_OF = 0x40, /* and the CPU's number: its express queue */
};

#define KTSTR_EXPRESS_CPUS 64

enum ktstr_stat {
	KTSTR_STAT_ENQUEUED,
	KTSTR_STAT_DISPATCHED,
	KTSTR_STAT_RUNNING,
	KTSTR_STAT_STOPPING,
	KTSTR_STAT_SELECT_CPU,
	KTSTR_NR_STATS,
};

/* What the scheduler is doing to its users at the moment. */
enum ktstr_mode {
	KTSTR_MODE_NORMAL,
	KTSTR_MODE_SLOW,
	KTSTR_MODE_DEGRADED,
	KTSTR_MODE_STALLED,
	KTSTR_MODE_EXITING,
};

enum ktstr_prio_class {
	KTSTR_PRIO_KTHREAD,
	KTSTR_PRIO_HIGH,
	KTSTR_PRIO_NORMAL,
	KTSTR_PRIO_LOW,
	KTSTR_NR_PRIO,
};

/* One CPU, written under its runqueue lock. Times in ns. */
struct ktstr_cpu_ctx {
	u64 nr_dispatch_calls;
	u64 nr_dispatched;
	u64 nr_skipped;
	u64 nr_running;
	u64 nr_stopping;
	u64 busy_ns;
	u64 run_start_ns;
	u32 last_pid;
	s32 cpu;
	char last_comm[16];
};

struct ktstr_dsq_stats {
	u64 nr_inserted;
	u64 nr_consumed;
	u32 nr_queued;
	u32 max_queued;
};

/* Keyed by cgroup v2 id. runtime_ns counts finished stretches only. */
struct ktstr_cgroup_stats {
	u64 nr_enqueued;
	u64 nr_running;
	u64 runtime_ns;
	u32 last_pid;
	u32 last_cpu;
};

struct ktstr_prio_stats {
	u64 nr_enqueued;
	u64 runtime_ns;
};

struct ktstr_stamp {
	u64 ns;
	s32 cpu;
	u32 pid;
};

/* One of each kind of member, so that a renderer of .bss meets them all. Last writer wins. */
struct ktstr_live {
	enum ktstr_mode mode;
	bool attached;
	u32 prio_class : 3;
	u32 last_cpu : 10;
	u32 from_wakeup : 1;
	struct ktstr_stamp last_dispatch;
	u64 dispatched_by_cpu[8];
	char last_comm[16];
};

/* Written once by ops.exit(); `kind` last, so a nonzero kind means the rest is whole. */
struct ktstr_exit_record {
	s32 kind;
	s64 exit_code;
	char reason[128];
	char msg[1024];
	char dump[32768];
};

#endif
