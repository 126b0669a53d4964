/* SPDX-License-Identifier: GPL-2.0-only */
/* One opened BPF object with one sched_ext_ops map, and what libbpf says about it. */
#ifndef KTSTR_OBJECT_H
#define KTSTR_OBJECT_H

#include <bpf/libbpf.h>
#include <stddef.h>

#define OPS_TYPE      "sched_ext_ops"
#define OPS_NAME_SIZE 128

struct sched_object {
	struct bpf_object *obj;
	struct bpf_map *ops_map;
	char ops_name[OPS_NAME_SIZE];
};

/* Print libbpf's messages up to that level on stderr: 0 warnings, 1 info, 2 debug. */
void object_log_start(int level);
/* The end of what libbpf complained about so far: the verifier says why last. */
const char *object_log_tail(void);

/* These return a negative errno, and in `why` a sentence, on failure. */
int object_open(struct sched_object *so, const char *path, char *why, size_t size);
/* Before load: room for what the verifier says of each program. After it: print, and give back. */
void object_keep_logs(struct bpf_object *obj);
void object_print_logs(const struct bpf_object *obj);
void object_drop_logs(struct bpf_object *obj);
/* Set the watchdog timeout, as the user wrote it, before load. */
int object_set_timeout(struct sched_object *so, const char *text, char *why, size_t size);

#endif
