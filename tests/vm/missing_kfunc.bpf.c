// SPDX-License-Identifier: GPL-2.0-only
/* A scheduler for another kernel: it calls a kfunc that no kernel has, scx_bpf_flick(). */
#include "scx_common.bpf.h"

#ifdef WEAK
extern void scx_bpf_flick(s32 cpu) __ksym __weak;
#else
extern void scx_bpf_flick(s32 cpu) __ksym;
#endif

void SEC("struct_ops/flick_enqueue") BPF_PROG(flick_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_flick(0);
}

SEC(".struct_ops.link")
struct sched_ext_ops user_ops = {
	.enqueue = (void *)flick_enqueue,
	.name = "flick",
};

char _license[] SEC("license") = "GPL";
