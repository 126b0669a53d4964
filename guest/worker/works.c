// SPDX-License-Identifier: GPL-2.0-only
#include "work.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One row per work type, in the order in which they are listed. */
#define WORK_TYPES(ROW)                  \
	ROW(work_spin_wait)              \
	ROW(work_yield_heavy)            \
	ROW(work_mixed)                  \
	ROW(work_bursty)                 \
	ROW(work_pipe_io)                \
	ROW(work_futex_ping_pong)        \
	ROW(work_io_sync_write)          \
	ROW(work_alu_hot)                \
	ROW(work_timer_latency)          \
	ROW(work_cache_pressure)         \
	ROW(work_cache_yield)            \
	ROW(work_cache_pipe)             \
	ROW(work_futex_fan_out)          \
	ROW(work_fan_out_compute)        \
	ROW(work_thundering_herd)        \
	ROW(work_mutex_contention)       \
	ROW(work_priority_inversion)     \
	ROW(work_producer_consumer)      \
	ROW(work_sequence)               \
	ROW(work_idle_churn)             \
	ROW(work_smt_sibling_spin)       \
	ROW(work_ipc_variance)           \
	ROW(work_fork_exit)              \
	ROW(work_nice_sweep)             \
	ROW(work_affinity_churn)         \
	ROW(work_cross_affinity_churn)   \
	ROW(work_policy_churn)           \
	ROW(work_page_fault_churn)       \
	ROW(work_cgroup_churn)           \
	ROW(work_cgroup_attach_storm)    \
	ROW(work_rt_starvation)          \
	ROW(work_preempt_storm)          \
	ROW(work_asymmetric_waker)       \
	ROW(work_wake_chain)             \
	ROW(work_signal_storm)           \
	ROW(work_epoll_storm)            \
	ROW(work_numa_working_set_sweep) \
	ROW(work_numa_migration_churn)   \
	ROW(work_io_rand_read)           \
	ROW(work_io_convoy)              \
	ROW(work_net_traffic)            \
	ROW(work_irq_wake)               \
	ROW(work_schbench)               \
	ROW(work_taobench)               \
	ROW(work_custom)

#define DECLARE(type) extern const struct work_type type;
#define ENTRY(type)   &type,

WORK_TYPES(DECLARE)

static const struct work_type *const table[] = {WORK_TYPES(ENTRY)};

#define TABLE_SIZE (sizeof(table) / sizeof(table[0]))

/* The names of the report fields the reservoirs end in. */
static const char *const reservoir_fields[RESERVOIR_KINDS] = {
	[RESERVOIR_WAKE] = "wake_latencies_ns",
	[RESERVOIR_COST] = "iteration_costs_ns",
	[RESERVOIR_TIMER] = "timer_latencies_ns",
};

const struct work_type *work_at(size_t i)
{
	return i < TABLE_SIZE ? table[i] : NULL;
}

const struct work_type *work_find(const char *name)
{
	for (size_t i = 0; i < TABLE_SIZE; i++)
		if (!strcmp(table[i]->name, name))
			return table[i];
	return NULL;
}

const char *work_suggest(const char *name)
{
	for (size_t i = 0; i < TABLE_SIZE; i++)
		if (!strcasecmp(table[i]->name, name))
			return table[i]->name;
	return NULL;
}

int work_list_json(void)
{
	printf("{\"types\": [");
	for (size_t i = 0; i < TABLE_SIZE; i++) {
		const struct work_type *t = table[i];
		const char *sep = "";

		printf("%s\n {\"name\": \"%s\", \"group_size\": %u, \"params\": [", i ? "," : "",
		       t->name, t->group_size);
		for (const struct work_param *p = t->params; p < t->params + MAX_PARAMS && p->name;
		     p++) {
			printf("%s{\"name\": \"%s\", \"default\": %llu, \"min\": %llu, \"max\": %llu}",
			       sep, p->name, (unsigned long long)p->fallback,
			       (unsigned long long)p->min, (unsigned long long)p->max);
			sep = ", ";
		}
		printf("], \"group_params\": [");
		sep = "";
		for (int k = 0; k < MAX_PARAMS; k++) {
			if (!(t->group_params >> k & 1))
				continue;
			printf("%s\"%s\"", sep, t->params[k].name);
			sep = ", ";
		}
		printf("], \"fills\": [");
		sep = "";
		for (int kind = 0; kind < RESERVOIR_KINDS; kind++) {
			if (!(t->fills & (1U << kind)))
				continue;
			printf("%s\"%s\"", sep, reservoir_fields[kind]);
			sep = ", ";
		}
		printf("], \"process_wide\": %s, \"makes_tasks\": %s}",
		       t->process_wide ? "true" : "false", t->makes_tasks ? "true" : "false");
	}
	printf("\n]}\n");
	return fflush(stdout) ? 1 : 0;
}
