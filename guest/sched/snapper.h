/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of scx_snap share: the packed answer, its limits, what was sent before. */
#ifndef KTSTR_SNAPPER_H
#define KTSTR_SNAPPER_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/msgpack_out.h"

/* As introspect/regions.Limits, but for the total, which has to fit into one frame. */
#define SNAP_MAX_MAPS	   4096
#define SNAP_MAX_ENTRIES   4096
#define SNAP_MAX_MAP_BYTES (1u << 20)
#define SNAP_MAX_TOTAL	   (8u << 20)
#define SNAP_MAX_BTF	   (1u << 20) /* of one object, and of all that one answer brings */
#define SNAP_MAX_SENT	   4096
#define SNAP_MAX_USED	   64 /* maps of one program, as MAX_USED_MAPS of the verifier */
#define SNAP_MAX_FILE	   65536

/* Ids of what was sent before: BTF and programs stay what they are. */
struct snap_sent {
	uint32_t ids[SNAP_MAX_SENT];
	unsigned int count;
};

static inline bool snap_was_sent(const struct snap_sent *sent, uint32_t id)
{
	for (unsigned int i = 0; i < sent->count; i++)
		if (sent->ids[i] == id)
			return true;
	return false;
}

static inline void snap_note_sent(struct snap_sent *sent, uint32_t id)
{
	if (sent->count < SNAP_MAX_SENT)
		sent->ids[sent->count++] = id;
}

/* snap_maps.c: "maps", with the contents of those that bpf(2) can list. */
void snap_put_maps(struct mp_out *out, int nr_cpus, struct snap_sent *btfs);
/* snap_objects.c: "btfs" and "progs" that are new, "links" of struct_ops maps. */
void snap_put_btfs(struct mp_out *out, const struct snap_sent *btfs, struct snap_sent *sent);
void snap_put_progs(struct mp_out *out, struct snap_sent *sent);
void snap_put_links(struct mp_out *out);
/* snap_cpus.c: "cpus"; NULL or why this kernel's cannot be read. */
const char *snap_load(const char *path);
void snap_put_cpus(struct mp_out *out, int nr_cpus);

#endif
