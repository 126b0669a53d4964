// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's half of user_sched.c: one queue for all, with a slice from a configuration file. */
#include "scx_common.bpf.h"

#define QUEUE 7

const volatile u64 slice_us = 20000;
u64 nr_enqueued;

void SEC("struct_ops/user_enqueue") BPF_PROG(user_enqueue, struct task_struct *p, u64 enq_flags)
{
	__sync_fetch_and_add(&nr_enqueued, 1);
	dsq_insert(p, QUEUE, slice_us * 1000, enq_flags);
}

void SEC("struct_ops/user_dispatch") BPF_PROG(user_dispatch, s32 cpu, struct task_struct *prev)
{
	dsq_move_to_local(QUEUE);
}

s32 SEC("struct_ops.s/user_init") BPF_PROG(user_init)
{
	return scx_bpf_create_dsq(QUEUE, -1);
}

SEC(".struct_ops.link")
struct sched_ext_ops user_ops = {
	.enqueue = (void *)user_enqueue,
	.dispatch = (void *)user_dispatch,
	.init = (void *)user_init,
	.timeout_ms = 10000,
	.name = "user_sched",
};

char _license[] SEC("license") = "GPL";
