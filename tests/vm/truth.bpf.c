// SPDX-License-Identifier: GPL-2.0-only
/* One BPF map of each type, and programs that write all of them on the CPU they
 * run on. */
#include "truth.h"
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#define COUNTED(NAME, TYPE, KEY, ENTRIES, FLAGS)   \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_##TYPE); \
		__uint(max_entries, ENTRIES);      \
		__uint(map_flags, FLAGS);          \
		__type(key, KEY);                  \
		__type(value, struct mixed);       \
	} NAME SEC(".maps")

COUNTED(a_plain, ARRAY, __u32, 8, 0);
COUNTED(a_mmap, ARRAY, __u32, 5, BPF_F_MMAPABLE);
COUNTED(a_pcpu, PERCPU_ARRAY, __u32, 4, 0);
COUNTED(h_pre, HASH, struct key, 64, 0);
COUNTED(h_nopre, HASH, struct key, 64, BPF_F_NO_PREALLOC);
/* Too large to be copied whole, so its chains are followed. */
COUNTED(h_big, HASH, struct key, 20000, 0);
COUNTED(h_pcpu, PERCPU_HASH, struct key, 32, 0);
COUNTED(h_pcpu_nopre, PERCPU_HASH, struct key, 32, BPF_F_NO_PREALLOC);
COUNTED(h_lru, LRU_HASH, struct key, 64, 0);
COUNTED(h_lru_own, LRU_HASH, struct key, 64, BPF_F_NO_COMMON_LRU);
COUNTED(h_lru_pcpu, LRU_PERCPU_HASH, struct key, 32, 0);

/* What is not decoded, and must be listed as that. */
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} n_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} n_array SEC(".maps") = {.values = {&n_inner}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} n_hash SEC(".maps") = {.values = {[1] = &n_inner}};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u64);
} n_queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 4);
	__type(value, __u64);
} n_stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} n_ring SEC(".maps");

struct prefix {
	__u32 length;
	__u32 bits;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u64);
} n_trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} n_task SEC(".maps");

struct mixed bss_mixed;
__u64 bss_sum[4];
__u32 data_tuned = 7;
const volatile __u64 rodata_fixed[2] = {0x1122334455667788, 3};

#define FOR_EACH_HASH(DO)                                                            \
	DO(h_pre, 0)                                                                 \
	DO(h_nopre, 0)                                                               \
	DO(h_big, 0) DO(h_pcpu, 1) DO(h_pcpu_nopre, 1) DO(h_lru, 0) DO(h_lru_own, 0) \
		DO(h_lru_pcpu, 1)

static __always_inline void put(void *map, const void *key, const struct mixed *value)
{
	struct mixed *slot = bpf_map_lookup_elem(map, key);

	if (slot)
		*slot = *value;
	else
		bpf_map_update_elem(map, key, value, BPF_ANY);
}

static __always_inline void add(void *map, const void *key, int own)
{
	struct mixed *slot = bpf_map_lookup_elem(map, key);

	if (!slot)
		return;
	if (own)
		slot->count++;
	else
		__sync_fetch_and_add(&slot->count, 1);
}

/* args: key's number, random bits. */
SEC("raw_tp")
int scramble(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 bits = ctx->args[1];
	__u32 n = ctx->args[0], a = n % 8, b = n % 5, c = n % 4;
	struct key key = KEY(n);
	struct mixed value = {
		.count = bits,
		.delta = bits >> 32,
		.low = bits >> 3,
		.mode = bits >> 7,
		.rest = bits >> 17,
		.name = {'a' + bits % 26, 'a' + bits % 25},
		.on = bits & 1,
	};

	put(&a_plain, &a, &value);
	put(&a_mmap, &b, &value);
	put(&a_pcpu, &c, &value);
#define PUT(MAP, OWN) put(&MAP, &key, &value);
	FOR_EACH_HASH(PUT)
	bss_mixed = value;
	bss_sum[n & 3] = bits;
	data_tuned = bits >> 5;
	return rodata_fixed[1];
}

/* args: key's number. Every counter below it goes up by one. */
SEC("raw_tp")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 n = ctx->args[0], a = n % 8, b = n % 5, c = n % 4;
	struct key key = KEY(n);

	add(&a_plain, &a, 0);
	add(&a_mmap, &b, 0);
	add(&a_pcpu, &c, 1);
#define ADD(MAP, OWN) add(&MAP, &key, OWN);
	FOR_EACH_HASH(ADD)
	__sync_fetch_and_add(&bss_sum[n & 3], 1);
	return 0;
}

static long look(__u64 turn, void *until)
{
	return bpf_ktime_get_ns() >= *(__u64 *)until;
}

/* args: ns to keep the CPU, with interrupts off when asked for from another
 * CPU. */
SEC("raw_tp")
int lock_up(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 until = bpf_ktime_get_ns() + ctx->args[0];

	for (int n = 0; n < 16 && bpf_ktime_get_ns() < until; n++)
		bpf_loop(1 << 23, look, &until, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
