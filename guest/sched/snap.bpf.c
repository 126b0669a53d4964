// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads what the kernel keeps per CPU and shows nowhere: run queues, and times to the nanosecond.
 * Runs when scx_snap asks, and has no maps that a snapshot could show.
 */
#include <linux/bpf.h>
#include <linux/types.h>

/* After the kernel's types, which these use without including them. */
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "snap.h"

char _license[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int pid;
	int tgid;
	char comm[16];
};

struct scx_dispatch_q {
	__u32 nr;
};

struct scx_rq {
	struct scx_dispatch_q local_dsq;
	__u32 flags;
	__u32 nr_running;
};

struct rq {
	unsigned int nr_running;
	__u64 nr_switches;
	__u64 clock;
	struct task_struct *curr;
	struct task_struct *idle;
	struct scx_rq scx;
};

struct kernel_cpustat {
	__u64 cpustat[10];
};

struct kernel_stat {
	unsigned long irqs_sum;
};

#pragma clang attribute pop

extern const struct rq runqueues __ksym __weak;
extern const struct kernel_cpustat kernel_cpustat __ksym __weak;
extern const struct kernel_stat kstat __ksym __weak;

/* A member of any size, where this kernel has it; numbers are little-endian. */
#define PUT(out, number, ptr, member)                                                             \
	do {                                                                                      \
		__u64 value = 0;                                                                  \
                                                                                                  \
		if (bpf_core_field_exists((ptr)->member) &&                                       \
		    !bpf_core_read(&value, bpf_core_field_size((ptr)->member), &(ptr)->member)) { \
			(out)->numbers[number] = value;                                           \
			known |= 1u << (number);                                                  \
		}                                                                                 \
	} while (0)

static __always_inline __u32 read_queue(struct snap_cpu *out, const struct rq *rq)
{
	struct task_struct *curr = BPF_CORE_READ(rq, curr);
	char comm[sizeof(out->comm)] = {};
	__u32 known = 0;

	PUT(out, SNAP_NR_RUNNING, rq, nr_running);
	PUT(out, SNAP_SCX_NR_RUNNING, rq, scx.nr_running);
	PUT(out, SNAP_LOCAL_DSQ_DEPTH, rq, scx.local_dsq.nr);
	PUT(out, SNAP_SCX_FLAGS, rq, scx.flags);
	PUT(out, SNAP_CLOCK, rq, clock);
	PUT(out, SNAP_NR_SWITCHES, rq, nr_switches);
	out->numbers[SNAP_IDLE] = curr == BPF_CORE_READ(rq, idle);
	known |= 1u << SNAP_IDLE;
	PUT(out, SNAP_CURR_PID, curr, pid);
	PUT(out, SNAP_CURR_TGID, curr, tgid);
	bpf_core_read(comm, sizeof(comm), &curr->comm);
	__builtin_memcpy(out->comm, comm, sizeof(comm));
	return known;
}

/* Whole structures: which of their members are what, the host knows by their BTF. */
#define COPY(out, bytes, size_of, ptr, type)                                    \
	do {                                                                    \
		__u64 buffer[sizeof((out)->bytes) / 8] = {};                    \
		__u32 size = bpf_core_type_size(type);                          \
                                                                                \
		if (size > sizeof(buffer))                                      \
			size = sizeof(buffer);                                  \
		if (!bpf_probe_read_kernel(buffer, size, ptr)) {                \
			__builtin_memcpy((out)->bytes, buffer, sizeof(buffer)); \
			(out)->size_of = size;                                  \
		}                                                               \
	} while (0)

SEC("syscall")
int read_cpu(struct snap_cpu *out)
{
	__u32 cpu = out->cpu;

	out->known = 0;
	out->cpustat_size = 0;
	out->kstat_size = 0;
	if (&runqueues) {
		const struct rq *rq = bpf_per_cpu_ptr(&runqueues, cpu);

		if (rq)
			out->known = read_queue(out, rq);
	}
	if (&kernel_cpustat) {
		const void *times = bpf_per_cpu_ptr(&kernel_cpustat, cpu);

		if (times)
			COPY(out, cpustat, cpustat_size, times, struct kernel_cpustat);
	}
	if (&kstat) {
		const void *counts = bpf_per_cpu_ptr(&kstat, cpu);

		if (counts)
			COPY(out, kstat, kstat_size, counts, struct kernel_stat);
	}
	return 0;
}
