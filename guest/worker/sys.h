// SPDX-License-Identifier: GPL-2.0-only
/* Clocks, futexes and the generator of pseudo-random numbers. */
#ifndef WORKER_SYS_H
#define WORKER_SYS_H

#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC  1000000000ULL

/* How long a blocked worker may go without looking at the stop flag. */
#define STOP_POLL_MS 100

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / NSEC_PER_SEC),
				 .tv_nsec = (long)(ns % NSEC_PER_SEC)};
}

/* Shared (not FUTEX_PRIVATE) operations: the words live in memory shared by processes. */
static inline long futex_wait(uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec ts = timespec_of(timeout_ns);

	return syscall(SYS_futex, word, FUTEX_WAIT, expected, &ts, NULL, 0);
}

static inline long futex_wake(uint32_t *word, int count)
{
	return syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

/* xorshift64 with the shifts 13, 7, 17 (Marsaglia 2003); the state must not be 0. */
static inline uint64_t xorshift64(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* A draw from 0..bound-1: the high half of a 128-bit product, free of modulo bias at this size. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)xorshift64(state) * bound) >> 64);
}

#endif
