// SPDX-License-Identifier: GPL-2.0-only
/* Every possible CPU's run queue and times, by a BPF program that is run for each. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "snap.h"
#include "snapper.h"

static const char *const names[SNAP_NUMBERS] = {
	[SNAP_NR_RUNNING] = "nr_running",
	[SNAP_SCX_NR_RUNNING] = "scx_nr_running",
	[SNAP_LOCAL_DSQ_DEPTH] = "local_dsq_depth",
	[SNAP_SCX_FLAGS] = "scx_flags",
	[SNAP_CLOCK] = "clock",
	[SNAP_NR_SWITCHES] = "nr_switches",
	[SNAP_IDLE] = "idle",
	[SNAP_CURR_PID] = "curr_pid",
	[SNAP_CURR_TGID] = "curr_tgid",
};

static int program = -1;
static char why[160] = "snap.bpf.o was not loaded";

const char *snap_load(const char *path)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	int err = obj ? bpf_object__load(obj) : -errno;

	if (err) {
		snprintf(why, sizeof(why), "this kernel does not take %s: %s", path,
			 strerror(-err));
		bpf_object__close(obj);
		return why;
	}
	/* Kept until the process ends. */
	program = bpf_program__fd(bpf_object__find_program_by_name(obj, "read_cpu"));
	return NULL;
}

static void put_cpu(struct mp_out *out, const struct snap_cpu *cpu)
{
	mp_map(out, 4 + SNAP_NUMBERS);
	mp_str(out, "cpu");
	mp_uint(out, cpu->cpu);
	for (int i = 0; i < SNAP_NUMBERS; i++) {
		mp_str(out, names[i]);
		if (cpu->known >> i & 1)
			mp_uint(out, cpu->numbers[i]);
		else
			mp_nil(out);
	}
	mp_str(out, "curr_comm");
	mp_bin(out, cpu->comm, strnlen(cpu->comm, sizeof(cpu->comm)));
	mp_str(out, "cpustat");
	mp_bin(out, cpu->cpustat, cpu->cpustat_size);
	mp_str(out, "kstat");
	mp_bin(out, cpu->kstat, cpu->kstat_size);
}

void snap_put_cpus(struct mp_out *out, int nr_cpus)
{
	size_t head = out->len;
	uint32_t count = 0;

	if (program < 0) {
		mp_str(out, why);
		return;
	}
	mp_array(out, 0);
	for (int cpu = 0; cpu < nr_cpus; cpu++) {
		struct snap_cpu asked = {.cpu = (uint32_t)cpu};
		LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &asked,
			    .ctx_size_in = sizeof(asked));

		if (bpf_prog_test_run_opts(program, &opts) || !asked.known)
			continue;
		put_cpu(out, &asked);
		count++;
	}
	mp_set_count(out, head, count);
}
