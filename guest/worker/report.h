// SPDX-License-Identifier: GPL-2.0-only
/* Messages to the agent on fd 1: u32 length of kind and payload (little endian), kind, payload. */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "crew.h"

/* Each returns false when the agent no longer reads (or memory ran out). */
bool send_pids(const struct crew *crew);		       /* 'P' */
bool send_report(const struct crew *crew, unsigned int index); /* 'R' */
bool send_error(const char *text);			       /* 'E' */
bool send_done(void);					       /* 'D' */

#endif
