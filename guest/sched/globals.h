/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The global variables of a BPF object, found through its own BTF: the
 * variables of the sections .rodata, .data and .bss and their dotted kin.
 */
#ifndef KTSTR_GLOBALS_H
#define KTSTR_GLOBALS_H

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct global {
	const char *name;
	const char *section;
	struct bpf_map *map;	     /* the map that holds the section */
	const struct btf_type *type; /* without typedefs and qualifiers */
	uint32_t offset;
	uint32_t size;
};

/* Integers as they are kept, whatever the C type is called. */
struct int_kind {
	uint32_t size; /* 1, 2, 4 or 8 */
	bool is_signed;
	bool is_bool;
};

/* Stops at the first nonzero return and returns it. */
int globals_each(const struct bpf_object *obj, int (*fn)(const struct global *g, void *arg),
		 void *arg);
bool global_find(const struct bpf_object *obj, const char *name, struct global *out);
bool global_int_kind(const struct btf *btf, const struct btf_type *type, struct int_kind *kind);
bool global_is_string(const struct btf *btf, const struct btf_type *type);

/* A little-endian integer of that kind, sign extended. */
int64_t int_read(const void *src, const struct int_kind *kind);

/*
 * Apply one NAME=VALUE to the initial values, between open and load. On
 * failure a negative errno, and in `why` a sentence that says what is allowed.
 */
int global_set(struct bpf_object *obj, const char *assignment, char *why, size_t why_size);

/* Map, or copy on every refresh, the live value of one section's map. */
struct section_view {
	struct bpf_map *map;
	void *value;
	size_t size;
	bool mapped;
};

int section_view_open(struct section_view *view, struct bpf_map *map);
int section_view_refresh(struct section_view *view);
void section_view_close(struct section_view *view);

#endif
