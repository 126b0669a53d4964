/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of sched_ext and of the kernel's types that scx_ktstr touches.
 *
 * Instead of a generated vmlinux.h this header names only the fields in use;
 * their offsets are relocated against the running kernel's BTF (CO-RE), and
 * every kfunc is weak, so one object loads on 6.12 up to current 7.x.
 * Checked against the BTF of 6.19 and 7.2.
 */
#ifndef KTSTR_SCX_COMMON_BPF_H
#define KTSTR_SCX_COMMON_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/version.h>
#include <stdbool.h>

/* After the kernel's types, which these use without including them. */
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

typedef __u8 u8;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;

#define PF_EXITING	0x00000004
#define PF_KTHREAD	0x00200000
#define CLOCK_MONOTONIC 1
#define EINVAL		22

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
/* What bpf_for() keeps its state in; older UAPI headers do not have it yet. */
struct bpf_iter_num {
	u64 opaque[1];
} __attribute__((aligned(8)));
#endif

/* MAX_RT_PRIO + 20: the static priority of nice 0 (include/linux/sched/prio.h). */
#define DEFAULT_PRIO 120

/* CO-RE tells an enum from an int, so the field needs its real kind. */
enum scx_exit_kind {
	SCX_EXIT_NONE
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Only ever pointed to, but a forward declaration would not match in the kfuncs' types. */
struct cpumask {
	unsigned long bits[1];
};

struct kernfs_node {
	const char *name;
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	unsigned int flags;
	int static_prio;
	const struct cpumask *cpus_ptr;
	unsigned short migration_disabled;
	int pid;
	int tgid;
	char comm[16];
	struct css_set *cgroups;
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	char *msg;
	char *dump;
};

struct scx_exit_task_args {
	bool cancelled;
};

#pragma clang attribute pop

/*
 * libbpf copies struct_ops members into the kernel's own layout by name and
 * drops the ones a kernel lacks only if they are zero, so the callbacks in use
 * are all that is declared. The type name is what selects the kernel's struct.
 */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*exit_task)(struct task_struct *p, struct scx_exit_task_args *args);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *ei);
	u32 timeout_ms;
	char name[128];
};

/* Values come from the running kernel: these enums promise no stable numbers. */
enum scx_public_consts {
	SCX_SLICE_DFL = 1
};
enum scx_dsq_id_flags {
	SCX_DSQ_LOCAL = 1,
	SCX_DSQ_LOCAL_ON = 2
};
enum scx_kick_flags {
	SCX_KICK_IDLE = 1
};

#define SCX_CONST(type, value) bpf_core_enum_value(enum type, value)

s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __weak __ksym;
s32 scx_bpf_dsq_nr_queued(u64 dsq_id) __weak __ksym;
s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
			   bool *is_idle) __weak __ksym;
void scx_bpf_kick_cpu(s32 cpu, u64 flags) __weak __ksym;
s32 scx_bpf_task_cpu(const struct task_struct *p) __weak __ksym;
u32 scx_bpf_nr_cpu_ids(void) __weak __ksym;
const struct cpumask *scx_bpf_get_online_cpumask(void) __weak __ksym;
void scx_bpf_put_cpumask(const struct cpumask *mask) __weak __ksym;
bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *mask) __weak __ksym;
void scx_bpf_error_bstr(char *fmt, unsigned long long *data, u32 data__sz) __weak __ksym;
void scx_bpf_exit_bstr(s64 code, char *fmt, unsigned long long *data, u32 data__sz) __weak __ksym;

/*
 * Inserting and moving were renamed in 6.13 and got a second signature in
 * 6.19 and 7.1. libbpf strips the last ___suffix before it looks a kfunc up,
 * hence the doubled suffix for kernel names that themselves end in ___v2.
 */
bool scx_bpf_dsq_insert___v2___compat(struct task_struct *p, u64 dsq_id, u64 slice,
				      u64 enq_flags) __weak __ksym;
void scx_bpf_dsq_insert___v1(struct task_struct *p, u64 dsq_id, u64 slice,
			     u64 enq_flags) __weak __ksym;
void scx_bpf_dispatch___v0(struct task_struct *p, u64 dsq_id, u64 slice,
			   u64 enq_flags) __weak __ksym;
bool scx_bpf_dsq_move_to_local___v2___compat(u64 dsq_id, u64 enq_flags) __weak __ksym;
bool scx_bpf_dsq_move_to_local___v1(u64 dsq_id) __weak __ksym;
bool scx_bpf_consume___v0(u64 dsq_id) __weak __ksym;

/* Put a task that ops.enqueue() or ops.select_cpu() owns on a dispatch queue. */
static __always_inline void dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert___v2___compat))
		scx_bpf_dsq_insert___v2___compat(p, dsq_id, slice, enq_flags);
	else if (bpf_ksym_exists(scx_bpf_dsq_insert___v1))
		scx_bpf_dsq_insert___v1(p, dsq_id, slice, enq_flags);
	else
		scx_bpf_dispatch___v0(p, dsq_id, slice, enq_flags);
}

/* Move the first task that may run here to this CPU's local queue; false: there was none. */
static __always_inline bool dsq_move_to_local(u64 dsq_id)
{
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___v2___compat))
		return scx_bpf_dsq_move_to_local___v2___compat(dsq_id, 0);
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___v1))
		return scx_bpf_dsq_move_to_local___v1(dsq_id);
	return scx_bpf_consume___v0(dsq_id);
}

/*
 * The id (inode number of the directory) of the task's cgroup v2 group, with
 * or without the cpu controller; 0 when the kernel has no such field.
 */
static __always_inline u64 task_cgroup_id(struct task_struct *p)
{
	struct css_set *set;
	struct cgroup *cgrp;
	struct kernfs_node *kn;

	if (!bpf_core_field_exists(p->cgroups))
		return 0;
	set = p->cgroups;
	cgrp = set ? set->dfl_cgrp : NULL;
	kn = cgrp ? cgrp->kn : NULL;
	return kn ? kn->id : 0;
}

#endif
