/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages to whoever started the loader: on file descriptor 3, if it was
 * open at start, each a u32 little-endian length and that many bytes of msgpack.
 */
#ifndef KTSTR_STATUS_H
#define KTSTR_STATUS_H

#include "exit_record.h"

/* First of all calls, before any descriptor is opened that could become 3. */
void status_init(void);
void status_loaded(const struct bpf_object *obj);
void status_attached(const char *ops, uint64_t ns);
void status_exit(const struct exit_info *info);
/* `err` is a positive errno. The message's first line also goes to stderr. */
void status_error(const char *stage, int err, const char *message);

uint64_t monotonic_ns(void);

#endif
