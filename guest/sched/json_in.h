/* SPDX-License-Identifier: GPL-2.0-only */
/* The one JSON shape a stats client sends: {"req": text, "args": {text: value, …}}. */
#ifndef KTSTR_JSON_IN_H
#define KTSTR_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>

struct stats_request {
	char req[64];
	char target[64]; /* args.target, empty if not given */
};

/*
 * Parse one line of `len` bytes. False for anything but one such object: bad
 * syntax, bytes after it, nesting over 16, no "req", or a text that is too long.
 */
bool stats_request_parse(const char *line, size_t len, struct stats_request *out);

#endif
