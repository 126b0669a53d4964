/* SPDX-License-Identifier: GPL-2.0-only */
/* How a scheduler ended: from the record its ops.exit() left, or from sysfs. */
#ifndef KTSTR_EXIT_RECORD_H
#define KTSTR_EXIT_RECORD_H

#include "globals.h"

#define EXIT_DUMP_MAX (256 * 1024)
#define SCX_SYSFS     "/sys/kernel/sched_ext"

/* scx_exit_kind of include/linux/sched/ext.h; errors start at SCX_EXIT_ERROR. */
enum {
	KIND_NONE = 0,
	KIND_ERROR = 1024
};

struct exit_info {
	int32_t kind;
	int64_t exit_code;
	const char *reason;
	const char *msg;
	const char *dump;
};

/* Where one object keeps its record: a struct with kind, reason, msg, maybe exit_code and dump. */
struct exit_source {
	struct global record;
	struct global dump; /* scx keeps the dump beside the struct; unset: none or inside it */
	uint32_t kind_off, code_off, reason_off, msg_off, dump_off;
	uint32_t reason_size, msg_size, dump_size;
	bool found, has_code;
	struct section_view record_view, dump_view;
	char *text; /* bounded copies of the three texts */
};

/*
 * Before load: look for `ktstr_exit` or a struct user_exit_info, and give the
 * latter's dump its usual 32 KiB. Finding none is not an error.
 */
int exit_source_find(struct exit_source *src, struct bpf_object *obj);
int exit_source_open(struct exit_source *src);
/* True once ops.exit() has run; the texts stay valid until the source is closed. */
bool exit_source_read(struct exit_source *src, struct exit_info *out);
void exit_source_close(struct exit_source *src);

const char *exit_kind_name(int32_t kind);
/* Content of SCX_SYSFS/state, "unknown" if unreadable. */
void scx_state_read(char *state, size_t size);

#endif
