// SPDX-License-Identifier: GPL-2.0-only
/* Globals of every kind; NO_OPS, ONE_OPS, TWO_OPS or FLAVOURED choose the struct_ops maps. */
#include "scx_common.bpf.h"

enum sample_color {
	SAMPLE_RED,
	SAMPLE_BLUE = 7,
};

const volatile bool flag;
const volatile signed char tiny;
const volatile unsigned char byte;
volatile short small;
volatile u64 wide;
volatile s64 deep;
volatile enum sample_color color;
volatile char label[8] = "abc";
volatile struct {
	int x;
} pair;

#if defined(FLAVOURED)
struct sched_ext_ops___sample {
	s32 (*init)(void);
	char name[128];
};
#define OPS_STRUCT sched_ext_ops___sample
#else
#define OPS_STRUCT sched_ext_ops
#endif

s32 SEC("struct_ops.s/sample_init") BPF_PROG(sample_init)
{
	return flag + tiny + byte + small + wide + deep + color + label[0] + pair.x;
}

#if !defined(NO_OPS)
SEC(".struct_ops.link")
struct OPS_STRUCT first_ops = {
	.init = (void *)sample_init,
	.name = "first",
};
#endif
#if defined(TWO_OPS)
SEC(".struct_ops.link")
struct OPS_STRUCT second_ops = {
	.init = (void *)sample_init,
	.name = "second",
};
#endif

char _license[] SEC("license") = "GPL";
