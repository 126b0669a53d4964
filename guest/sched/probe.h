/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the probes record, and where: the layout that scx_probe, its BPF object
 * and the host's reader (harness/ktstr/series/repro/probes.py) share. Little-endian,
 * no padding that is not named.
 *
 * Two rings per CPU in one array map, which overwrite their oldest events: one
 * for callbacks that are about a task, one for the rest (dispatch, tasks coming
 * and going), which come in floods that would push the former out. An event whose `ns` is 0 is empty or half written.
 */
#ifndef KTSTR_PROBE_H
#define KTSTR_PROBE_H

#define PROBE_MAX_CPUS	 256
#define PROBE_MAX_PROBED 128
#define PROBE_TASK_SLOTS 256
#define PROBE_REST_SLOTS 64
#define PROBE_SLOTS	 (PROBE_TASK_SLOTS + PROBE_REST_SLOTS)
#define PROBE_NAME	 48
#define PROBE_TEXT	 160
#define PROBE_NO_DSQ	 (~0ull)

enum probe_phase {
	PROBE_ENTRY = 1,
	PROBE_EXIT = 2,
	PROBE_TRIGGER = 3, /* the kernel takes note that the scheduler is to end */
};

/* How a callback is recorded; `probe_probed.task_arg` says which argument is the task. */
enum probe_flags {
	PROBE_F_REST = 1,      /* into the second ring, though it is about a task */
	PROBE_F_LATE = 2,      /* also after the trigger */
	PROBE_F_BEGINS = 4,    /* a scheduler begins: forget the trigger of the one before */
	PROBE_F_EXIT_INFO = 8, /* the argument is a struct scx_exit_info: take its kind */
	PROBE_F_RETURNS = 16,  /* what it returns means something */
};

struct probe_event {
	__u64 ns;   /* CLOCK_MONOTONIC */
	__u64 task; /* address of the task_struct; 0: none */
	__u64 args[3];
	__s64 ret; /* of PROBE_EXIT, of a callback that returns something */
	__u64 slice;
	__u64 vtime;
	__u64 dsq_id;	   /* the queue the task is on; PROBE_NO_DSQ: on none */
	__u64 ddsp_dsq_id; /* the queue it was directly dispatched to */
	__u32 scx_flags;
	__s32 pid;
	__s32 cpu;
	__u16 probed; /* index into `probed` */
	__u16 phase;
	char comm[16];
};

/* One struct_ops program. */
struct probe_probed {
	char name[PROBE_NAME]; /* of the program */
	char callback[24];     /* the member of sched_ext_ops its name ends in; empty: none */
	__u32 prog_id;
	__u32 flags;
	__s32 task_arg; /* -1: none */
	__u32 nr_args;
	__u64 entries;
	__u64 exits;
};

/* Counters of the whole run; texts are written by scx_probe before anything is attached. */
struct probe_counters {
	__u64 probe_count;    /* events recorded */
	__u64 kprobe_returns; /* of those, returns of callbacks */
	__u64 meta_miss;      /* callbacks whose task could not be read */
	__u64 ringbuf_drops;  /* events that a later one has overwritten */
	__u64 trigger_count;  /* error exits seen */
	__u64 exit_hits;      /* exits of any kind seen */
	__u64 after_trigger;  /* callbacks not recorded because the scheduler was ending */
	__u32 frozen;
	__u32 nr_probed;
	__u32 nr_cpus;
	__u32 nr_refused;	     /* struct_ops programs that could not be probed */
	char exit_probe[PROBE_TEXT]; /* what stands at the exit path */
	char missing[PROBE_TEXT];    /* what could not be probed, and why */
};

#endif
