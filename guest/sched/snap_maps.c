// SPDX-License-Identifier: GPL-2.0-only
/* Every BPF map of the kernel with its contents, by bpf(2). */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapper.h"

#define MAX_KEY 512 /* MAX_BPF_STACK, the largest key of a hash */

/* Since 6.9; older headers have a hole there. */
#define BTF_VMLINUX_ID_AT (offsetof(struct bpf_map_info, btf_value_type_id) + 4)

/* Keys and values of one map; touched as far as they are used. */
static uint8_t keys[SNAP_MAX_MAP_BYTES], values[SNAP_MAX_MAP_BYTES];

struct contents {
	size_t count, key_bytes, value_bytes;
	char truncated[96], error[96];
};

static bool is_percpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_array(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static bool is_listed(uint32_t type)
{
	return is_array(type) || is_percpu(type) || type == BPF_MAP_TYPE_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* All entries that fit, in one call, which tears no bucket of a hash. */
static void read_entries(int fd, const struct bpf_map_info *info, size_t stride, size_t room,
			 struct contents *got)
{
	uint8_t place[MAX_KEY];
	size_t fit = smaller(room, SNAP_MAX_MAP_BYTES) /
		     (stride > info->key_size ? stride : info->key_size);
	size_t most = smaller(smaller(fit, SNAP_MAX_ENTRIES), info->max_entries);
	uint32_t count = (uint32_t)most;
	int err = -ENOSPC;

	if (most)
		err = bpf_map_lookup_batch(fd, NULL, place, keys, values, &count, NULL);
	/* -ENOENT: that was the last. */
	if (!err || err == -ENOENT)
		got->count = count;
	got->key_bytes = got->count * info->key_size;
	got->value_bytes = got->count * stride;
	/* -ENOSPC: not even one bucket fits. */
	if (err == -ENOSPC || (!err && got->count < info->max_entries))
		snprintf(got->truncated, sizeof(got->truncated),
			 "only the first %zu entries fit into the snapshot's limits", got->count);
	else if (err && err != -ENOENT)
		snprintf(got->error, sizeof(got->error), "bpf(2) does not list it: %s",
			 strerror(-err));
}

/* A data section may be larger than a snapshot keeps of any map: it is cut. */
static void read_long_value(int fd, const struct bpf_map_info *info, size_t room,
			    struct contents *got)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (info->value_size + page - 1) / page * page;
	void *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (mapped == MAP_FAILED) {
		snprintf(got->error, sizeof(got->error),
			 "its %u bytes exceed the snapshot's limit for one map", info->value_size);
		return;
	}
	got->count = 1;
	got->value_bytes = smaller(room, SNAP_MAX_MAP_BYTES);
	memcpy(values, mapped, got->value_bytes);
	munmap(mapped, size);
	snprintf(got->truncated, sizeof(got->truncated),
		 "only the first %zu of %u bytes fit into the snapshot's limits", got->value_bytes,
		 info->value_size);
}

static void read_one(int fd, const struct bpf_map_info *info, struct contents *got)
{
	uint32_t key = 0;
	int err = bpf_map_lookup_elem(fd, &key, values);

	if (err) {
		snprintf(got->error, sizeof(got->error), "bpf(2) does not read it: %s",
			 strerror(-err));
		return;
	}
	got->count = 1;
	got->value_bytes = info->value_size;
}

static void read_contents(int fd, const struct bpf_map_info *info, int nr_cpus, size_t room,
			  struct contents *got)
{
	size_t stride = info->value_size;

	*got = (struct contents){0};
	if (is_percpu(info->type))
		stride = (stride + 7) / 8 * 8 * (size_t)nr_cpus;
	if (info->type == BPF_MAP_TYPE_ARRAY && info->max_entries == 1 &&
	    stride > smaller(room, SNAP_MAX_MAP_BYTES))
		read_long_value(fd, info, room, got);
	else if (info->type == BPF_MAP_TYPE_STRUCT_OPS && stride <= smaller(room, sizeof(values)))
		read_one(fd, info, got);
	else if (info->type == BPF_MAP_TYPE_STRUCT_OPS)
		snprintf(got->error, sizeof(got->error), "its %zu bytes exceed the limits", stride);
	else if (is_listed(info->type) && stride && info->key_size && info->key_size <= MAX_KEY)
		read_entries(fd, info, stride, room, got);
}

static void put_text(struct mp_out *out, const char *name, const char *text)
{
	mp_str(out, name);
	if (text[0])
		mp_str(out, text);
	else
		mp_nil(out);
}

static void put_number(struct mp_out *out, const char *name, uint64_t number)
{
	mp_str(out, name);
	mp_uint(out, number);
}

static void put_map(struct mp_out *out, const struct bpf_map_info *info, const struct contents *got)
{
	uint32_t owner;

	memcpy(&owner, (const char *)info + BTF_VMLINUX_ID_AT, sizeof(owner));
	mp_map(out, 17);
	put_number(out, "id", info->id);
	put_number(out, "type", info->type);
	mp_str(out, "name");
	mp_strn(out, info->name, strnlen(info->name, sizeof(info->name)));
	put_number(out, "key_size", info->key_size);
	put_number(out, "value_size", info->value_size);
	put_number(out, "max_entries", info->max_entries);
	put_number(out, "flags", info->map_flags);
	put_number(out, "btf", info->btf_id);
	put_number(out, "key_type", info->btf_key_type_id);
	put_number(out, "value_type", info->btf_value_type_id);
	put_number(out, "vmlinux_type", info->btf_vmlinux_value_type_id);
	put_number(out, "vmlinux_btf", owner);
	put_number(out, "count", got->count);
	mp_str(out, "keys");
	/* Those of an array are its indices. */
	mp_bin(out, keys, is_array(info->type) ? 0 : got->key_bytes);
	mp_str(out, "values");
	mp_bin(out, values, got->value_bytes);
	put_text(out, "truncated", got->truncated);
	put_text(out, "error", got->error);
}

void snap_put_maps(struct mp_out *out, int nr_cpus, struct snap_sent *btfs)
{
	static uint32_t ids[SNAP_MAX_MAPS];
	size_t total = 0, head = out->len;
	uint32_t id = 0, there = 0, count = 0;

	/* Listed first: reading takes a while, and maps come and go. */
	while (there < SNAP_MAX_MAPS && !bpf_map_get_next_id(id, &id))
		ids[there++] = id;
	mp_array(out, 0);
	for (uint32_t i = 0; i < there; i++) {
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info), owner;
		int fd = bpf_map_get_fd_by_id(ids[i]);
		struct contents got;

		if (fd < 0)
			continue; /* gone since it was listed */
		if (!bpf_map_get_info_by_fd(fd, &info, &size)) {
			read_contents(fd, &info, nr_cpus, SNAP_MAX_TOTAL - total, &got);
			total += got.key_bytes + got.value_bytes;
			put_map(out, &info, &got);
			count++;
			memcpy(&owner, (char *)&info + BTF_VMLINUX_ID_AT, sizeof(owner));
			if (info.btf_id && !snap_was_sent(btfs, info.btf_id))
				snap_note_sent(btfs, info.btf_id);
			if (owner && !snap_was_sent(btfs, owner))
				snap_note_sent(btfs, owner);
		}
		close(fd);
	}
	mp_set_count(out, head, count);
}
