// SPDX-License-Identifier: GPL-2.0-only
/* What measuring costs. */
#ifndef WORKER_MEASURE_H
#define WORKER_MEASURE_H

/*
 * Time the pieces of the measuring code and an iteration of SpinWait, and print
 * nanoseconds and shares as one JSON object on stdout; the exit status.
 */
int measure_json(void);

#endif
