// SPDX-License-Identifier: GPL-2.0-only
/* Global variables of a BPF object by name: find, set before load, view after it. */
#include "globals.h"

#include <bpf/bpf.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct btf_type *strip(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	return t;
}

static bool holds_globals(const char *section)
{
	static const char *const names[] = {".rodata", ".data", ".bss"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (!strncmp(section, names[i], n) && (section[n] == '\0' || section[n] == '.'))
			return true;
	}
	return false;
}

static int each_in_section(const struct btf *btf, const struct btf_type *sec, struct bpf_map *map,
			   int (*fn)(const struct global *g, void *arg), void *arg)
{
	const struct btf_var_secinfo *info = btf_var_secinfos(sec);

	for (int i = 0; i < btf_vlen(sec); i++) {
		const struct btf_type *var = btf__type_by_id(btf, info[i].type);
		struct global g = {
			.name = btf__name_by_offset(btf, var->name_off),
			.section = btf__name_by_offset(btf, sec->name_off),
			.map = map,
			.type = strip(btf, var->type),
			.offset = info[i].offset,
			.size = info[i].size,
		};
		int ret = g.type && g.name[0] ? fn(&g, arg) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

int globals_each(const struct bpf_object *obj, int (*fn)(const struct global *g, void *arg),
		 void *arg)
{
	const struct btf *btf = bpf_object__btf(obj);

	for (uint32_t id = 1; btf && id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *name = btf__name_by_offset(btf, t->name_off);
		struct bpf_map *map;
		int ret;

		if (!btf_is_datasec(t) || !holds_globals(name))
			continue;
		map = bpf_object__find_map_by_name(obj, name);
		if (!map)
			continue;
		ret = each_in_section(btf, t, map, fn, arg);
		if (ret)
			return ret;
	}
	return 0;
}

struct find_arg {
	const char *name;
	struct global *out;
};

static int find_one(const struct global *g, void *arg)
{
	struct find_arg *find = arg;

	if (strcmp(g->name, find->name))
		return 0;
	*find->out = *g;
	return 1;
}

bool global_find(const struct bpf_object *obj, const char *name, struct global *out)
{
	struct find_arg find = {.name = name, .out = out};

	return globals_each(obj, find_one, &find);
}

bool global_int_kind(const struct btf *btf, const struct btf_type *t, struct int_kind *kind)
{
	(void)btf;
	*kind = (struct int_kind){.size = t->size};
	if (btf_is_int(t)) {
		kind->is_signed = btf_int_encoding(t) & BTF_INT_SIGNED;
		kind->is_bool = btf_int_encoding(t) & BTF_INT_BOOL;
	} else if (btf_is_any_enum(t)) {
		kind->is_signed = btf_kflag(t);
	} else {
		return false;
	}
	return kind->size == 1 || kind->size == 2 || kind->size == 4 || kind->size == 8;
}

bool global_is_string(const struct btf *btf, const struct btf_type *t)
{
	const struct btf_type *elem = btf_is_array(t) ? strip(btf, btf_array(t)->type) : NULL;

	return elem && btf_is_int(elem) && elem->size == 1;
}

int64_t int_read(const void *src, const struct int_kind *kind)
{
	uint64_t raw = 0;
	int unused = 64 - 8 * (int)kind->size;

	memcpy(&raw, src, kind->size);
	if (kind->is_signed)
		return (int64_t)(raw << unused) >> unused;
	return (int64_t)raw;
}

static bool enum_value(const struct btf *btf, const struct btf_type *t, const char *text,
		       uint64_t *raw)
{
	for (int i = 0; btf_is_any_enum(t) && i < btf_vlen(t); i++) {
		bool wide = btf_is_enum64(t);
		uint32_t off = wide ? btf_enum64(t)[i].name_off : btf_enum(t)[i].name_off;

		if (strcmp(btf__name_by_offset(btf, off), text))
			continue;
		*raw = wide ? btf_enum64_value(btf_enum64(t) + i) : (uint64_t)btf_enum(t)[i].val;
		return true;
	}
	return false;
}

static bool parse_int(const char *text, const struct int_kind *kind, uint64_t *raw)
{
	int bits = 8 * (int)kind->size;
	char *end;

	if (kind->is_bool) {
		*raw = !strcmp(text, "true") || !strcmp(text, "1");
		return *raw || !strcmp(text, "false") || !strcmp(text, "0");
	}
	/* strtoull would take spaces, and "-1" as a huge positive number. */
	if (!isdigit((unsigned char)text[0]) && !(kind->is_signed && text[0] == '-'))
		return false;
	errno = 0;
	if (kind->is_signed) {
		int64_t v = strtoll(text, &end, 0);
		int64_t max = (int64_t)(UINT64_MAX >> (65 - bits));

		*raw = (uint64_t)v;
		return !errno && *end == '\0' && v <= max && v >= -max - 1;
	}
	*raw = strtoull(text, &end, 0);
	return !errno && *end == '\0' && (bits == 64 || *raw >> bits == 0);
}

static void describe_kind(const struct global *g, const struct int_kind *kind, char *out,
			  size_t size)
{
	int bits = 8 * (int)kind->size;

	if (kind->is_bool)
		snprintf(out, size, "a bool: true, false, 0 or 1");
	else if (kind->is_signed)
		snprintf(out, size, "an integer from %lld to %lld",
			 -(long long)(UINT64_MAX >> (65 - bits)) - 1,
			 (long long)(UINT64_MAX >> (65 - bits)));
	else
		snprintf(out, size, "an integer from 0 to %llu",
			 (unsigned long long)(UINT64_MAX >> (64 - bits)));
	if (btf_is_any_enum(g->type) && strlen(out) < size)
		snprintf(out + strlen(out), size - strlen(out), ", or a name of its enum");
}

struct list_arg {
	const struct btf *btf;
	char *out;
	size_t size;
	size_t len;
};

static int list_one(const struct global *g, void *arg)
{
	struct list_arg *list = arg;
	struct int_kind kind;

	/* A dot is in the names of functions' own statics: not meant to be set. */
	if (strchr(g->name, '.') ||
	    (!global_int_kind(list->btf, g->type, &kind) && !global_is_string(list->btf, g->type)))
		return 0;
	if (list->len + 1 < list->size)
		list->len += (size_t)snprintf(list->out + list->len, list->size - list->len, " %s",
					      g->name);
	return 0;
}

int global_set(struct bpf_object *obj, const char *assignment, char *why, size_t why_size)
{
	const struct btf *btf = bpf_object__btf(obj);
	const char *eq = strchr(assignment, '='), *text = eq ? eq + 1 : "";
	char name[128], allowed[160];
	struct int_kind kind;
	struct global g;
	size_t map_size;
	uint64_t raw;
	char *base;

	if (!eq || eq == assignment || (size_t)(eq - assignment) >= sizeof(name)) {
		snprintf(why, why_size, "--set %s: write it as NAME=VALUE", assignment);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(eq - assignment), assignment);
	if (!global_find(obj, name, &g)) {
		struct list_arg list = {.btf = btf, .out = why, .size = why_size};

		list.len = (size_t)snprintf(
			why, why_size,
			"--set %s: the object has no global of that name; it has:", assignment);
		globals_each(obj, list_one, &list);
		return -ENOENT;
	}
	base = bpf_map__initial_value(g.map, &map_size);
	if (!base || (size_t)g.offset + g.size > map_size) {
		snprintf(why, why_size, "--set %s: section %s has no initial value to change",
			 assignment, g.section);
		return -EINVAL;
	}
	if (global_is_string(btf, g.type)) {
		if (strlen(text) >= g.size) {
			snprintf(why, why_size,
				 "--set %s: %s holds at most %u bytes of text, got %zu", assignment,
				 name, g.size - 1, strlen(text));
			return -ERANGE;
		}
		memset(base + g.offset, 0, g.size);
		memcpy(base + g.offset, text, strlen(text));
		return 0;
	}
	if (!global_int_kind(btf, g.type, &kind)) {
		snprintf(why, why_size, "--set %s: %s is neither an integer nor a text", assignment,
			 name);
		return -EINVAL;
	}
	if (!enum_value(btf, g.type, text, &raw) && !parse_int(text, &kind, &raw)) {
		describe_kind(&g, &kind, allowed, sizeof(allowed));
		snprintf(why, why_size, "--set %s: %s takes %s", assignment, name, allowed);
		return -ERANGE;
	}
	memcpy(base + g.offset, &raw, kind.size);
	return 0;
}

int section_view_open(struct section_view *view, struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = bpf_map__value_size(map);
	void *value;

	value = mmap(NULL, (size + page - 1) / page * page, PROT_READ, MAP_SHARED, bpf_map__fd(map),
		     0);
	*view = (struct section_view){.map = map, .size = size, .mapped = value != MAP_FAILED};
	/* A section with only static variables is not mappable: copy it instead. */
	view->value = view->mapped ? value : calloc(1, size);
	return view->value ? section_view_refresh(view) : -ENOMEM;
}

int section_view_refresh(struct section_view *view)
{
	uint32_t key = 0;

	if (view->mapped)
		return 0;
	return bpf_map_lookup_elem(bpf_map__fd(view->map), &key, view->value) ? -errno : 0;
}

void section_view_close(struct section_view *view)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (view->value && view->mapped)
		munmap(view->value, (view->size + page - 1) / page * page);
	else
		free(view->value);
	*view = (struct section_view){0};
}
