/* SPDX-License-Identifier: GPL-2.0-only */
/* What snap.bpf.c reads of one CPU; shared with scx_snap, which sends it on. */
#ifndef KTSTR_SNAP_H
#define KTSTR_SNAP_H

#include <linux/types.h>

#define SNAP_CPUSTAT 128 /* bytes of struct kernel_cpustat that are read */
#define SNAP_KSTAT   64	 /* bytes of struct kernel_stat */

/* Which of the numbers this kernel has, one bit each, in the order of struct snap_cpu. */
enum snap_number {
	SNAP_NR_RUNNING,
	SNAP_SCX_NR_RUNNING,
	SNAP_LOCAL_DSQ_DEPTH,
	SNAP_SCX_FLAGS,
	SNAP_CLOCK,
	SNAP_NR_SWITCHES,
	SNAP_IDLE,
	SNAP_CURR_PID,
	SNAP_CURR_TGID,
	SNAP_NUMBERS
};

struct snap_cpu {
	__u32 cpu;   /* set by the caller */
	__u32 known; /* a bit of each enum snap_number; 0 for a CPU that is not there */
	__u64 numbers[SNAP_NUMBERS];
	char comm[16];
	__u32 cpustat_size, kstat_size;
	__u8 cpustat[SNAP_CPUSTAT];
	__u8 kstat[SNAP_KSTAT];
};

#endif
