// SPDX-License-Identifier: GPL-2.0-only
/* BTF, programs and links: what says how maps are to be read and whose they are. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <unistd.h>

#include "snapper.h"

#define LINK_STRUCT_OPS 9 /* BPF_LINK_TYPE_STRUCT_OPS, since 6.4 */
#define MAX_LINKS	64

/* The beginning of struct bpf_link_info as of 6.4, for older headers. */
struct link_info {
	uint32_t type, id, prog_id, unused;
	uint32_t map_id; /* of struct_ops */
	uint32_t rest[27];
};

static void put_btf(struct mp_out *out, const struct bpf_btf_info *info, const char *name,
		    const uint8_t *data)
{
	mp_map(out, 4);
	mp_str(out, "id");
	mp_uint(out, info->id);
	mp_str(out, "name");
	mp_str(out, name);
	mp_str(out, "kernel");
	mp_bool(out, info->kernel_btf);
	mp_str(out, "data");
	/* The kernel's own is megabytes, and the host has it. */
	if (data && info->btf_size <= SNAP_MAX_BTF &&
	    (!info->kernel_btf || strcmp(name, "vmlinux")))
		mp_bin(out, data, info->btf_size);
	else
		mp_nil(out);
}

static bool send_btf(struct mp_out *out, uint32_t id, size_t *room)
{
	static uint8_t data[SNAP_MAX_BTF];
	int fd = bpf_btf_get_fd_by_id(id);
	struct bpf_btf_info info = {0};
	uint32_t size = sizeof(info);
	char name[64] = "";
	bool fits;

	if (fd < 0)
		return false;
	info.name = (uint64_t)(uintptr_t)name;
	info.name_len = sizeof(name);
	if (bpf_btf_get_info_by_fd(fd, &info, &size)) {
		close(fd);
		return false;
	}
	fits = info.btf_size <= *room;
	if (fits && strcmp(name, "vmlinux")) {
		info = (struct bpf_btf_info){.btf = (uint64_t)(uintptr_t)data,
					     .btf_size = sizeof(data),
					     .name = (uint64_t)(uintptr_t)name,
					     .name_len = sizeof(name)};
		size = sizeof(info);
		fits = !bpf_btf_get_info_by_fd(fd, &info, &size);
		*room -= fits ? info.btf_size : 0;
	}
	close(fd);
	put_btf(out, &info, name, fits ? data : NULL);
	return true;
}

void snap_put_btfs(struct mp_out *out, const struct snap_sent *btfs, struct snap_sent *sent)
{
	size_t room = SNAP_MAX_BTF, head = out->len;
	uint32_t count = 0;

	mp_array(out, 0);
	for (unsigned int i = 0; i < btfs->count; i++) {
		if (snap_was_sent(sent, btfs->ids[i]) || !send_btf(out, btfs->ids[i], &room))
			continue;
		snap_note_sent(sent, btfs->ids[i]);
		count++;
	}
	mp_set_count(out, head, count);
}

void snap_put_progs(struct mp_out *out, struct snap_sent *sent)
{
	size_t head = out->len;
	uint32_t id = 0, count = 0;

	mp_array(out, 0);
	while (sent->count < SNAP_MAX_SENT && !bpf_prog_get_next_id(id, &id)) {
		uint32_t used[SNAP_MAX_USED], size = sizeof(struct bpf_prog_info);
		struct bpf_prog_info info = {.map_ids = (uint64_t)(uintptr_t)used,
					     .nr_map_ids = SNAP_MAX_USED};
		int fd;

		if (snap_was_sent(sent, id))
			continue;
		fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		if (!bpf_prog_get_info_by_fd(fd, &info, &size)) {
			snap_note_sent(sent, id);
			mp_map(out, 3);
			mp_str(out, "id");
			mp_uint(out, id);
			mp_str(out, "type");
			mp_uint(out, info.type);
			mp_str(out, "maps");
			if (info.nr_map_ids > SNAP_MAX_USED)
				info.nr_map_ids = SNAP_MAX_USED;
			mp_array(out, info.nr_map_ids);
			for (uint32_t i = 0; i < info.nr_map_ids; i++)
				mp_uint(out, used[i]);
			count++;
		}
		close(fd);
	}
	mp_set_count(out, head, count);
}

void snap_put_links(struct mp_out *out)
{
	size_t head = out->len;
	uint32_t id = 0, count = 0;

	mp_array(out, 0);
	while (count < MAX_LINKS && !bpf_link_get_next_id(id, &id)) {
		struct link_info info = {0};
		uint32_t size = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == LINK_STRUCT_OPS) {
			mp_uint(out, info.map_id);
			count++;
		}
		close(fd);
	}
	mp_set_count(out, head, count);
}
