// SPDX-License-Identifier: GPL-2.0-only
/*
 * A scheduler that the verifier refuses late in a loop, in turn ROOM: it walks them one by one, and
 * only there beyond_dispatch writes behind the end of its array.
 */
#include "scx_common.bpf.h"

#ifndef ROOM
#define ROOM 100
#endif
#define TURNS (ROOM + 20)
#define QUEUE 7

u64 counts[ROOM];

void SEC("struct_ops/beyond_enqueue") BPF_PROG(beyond_enqueue, struct task_struct *p, u64 enq_flags)
{
	dsq_insert(p, QUEUE, 5000000, enq_flags);
}

void SEC("struct_ops/beyond_dispatch") BPF_PROG(beyond_dispatch, s32 cpu, struct task_struct *prev)
{
	u64 turn = 0;

	while (turn < TURNS) {
		counts[turn]++;
		/* So that the compiler leaves the loop as it is. */
		asm volatile("" : "+r"(turn));
		turn++;
	}
	dsq_move_to_local(QUEUE);
}

s32 SEC("struct_ops.s/beyond_init") BPF_PROG(beyond_init)
{
	return scx_bpf_create_dsq(QUEUE, -1);
}

SEC(".struct_ops.link")
struct sched_ext_ops beyond_ops = {
	.enqueue = (void *)beyond_enqueue,
	.dispatch = (void *)beyond_dispatch,
	.init = (void *)beyond_init,
	.timeout_ms = 10000,
	.name = "beyond",
};

char _license[] SEC("license") = "GPL";
