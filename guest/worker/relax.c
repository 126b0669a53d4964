// SPDX-License-Identifier: GPL-2.0-only
#include "relax.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#define MULTIPLIES_PER_TURN 4

/*
 * QEMU's TCG leaves the translated code at every pause to let another vCPU run.
 * With -icount and idle neighbours the virtual clock then jumps to the next
 * timer: 775 us for one pause (QEMU 7.2, 4 vCPUs), so that a burst of 1024 is
 * half a second; with thread=multi all vCPUs meet at one lock. There a turn is
 * a short chain of multiplies instead, of about the length of a pause on a CPU.
 */
static bool emulated;

void relax_init(void)
{
#ifdef __x86_64__
	const unsigned int hypervisor_bit = 1U << 31, hypervisor_leaf = 0x40000000;
	unsigned int a, b, c, d;
	char name[12];

	__cpuid(1, a, b, c, d);
	if (!(c & hypervisor_bit))
		return;
	__cpuid(hypervisor_leaf, a, b, c, d);
	memcpy(name, &b, 4);
	memcpy(name + 4, &c, 4);
	memcpy(name + 8, &d, 4);
	emulated = !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
#endif
}

static void multiply_chain(uint64_t turns)
{
	uint64_t x = turns;

	for (uint64_t i = 0; i < turns; i++) {
#pragma GCC unroll 4
		for (int k = 0; k < MULTIPLIES_PER_TURN; k++) {
			x = x * 6364136223846793005ULL + 1;
			__asm__ volatile("" : "+r"(x));
		}
	}
}

static void pause_loop(uint64_t turns)
{
	for (uint64_t i = 0; i < turns; i++) {
#if defined(__x86_64__)
		__asm__ volatile("pause");
#elif defined(__aarch64__)
		__asm__ volatile("isb");
#else
		__asm__ volatile("" ::: "memory");
#endif
	}
}

void relax(uint64_t turns)
{
	if (emulated)
		multiply_chain(turns);
	else
		pause_loop(turns);
}
