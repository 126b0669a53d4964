/* SPDX-License-Identifier: GPL-2.0-only */
/* Keys and values of the maps in truth.bpf.c; neither size is a multiple of
 * eight. */
#ifndef TRUTH_H
#define TRUTH_H

#include <linux/types.h>

struct key {
	__u32 n;
	__u32 spread;
	__u32 negated;
};

#define KEY(N) {(N), (N) * 2654435761u, ~(N)}

struct mixed {
	__u32 count;
	__s32 delta;
	__u32 low : 3, mode : 5, rest : 24;
	char name[6];
	__u8 on;
	__u8 unused;
};

#endif
