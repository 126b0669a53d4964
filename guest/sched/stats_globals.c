// SPDX-License-Identifier: GPL-2.0-only
/* .bss through BTF, printed as scx_stats values and metadata. */
#include "stats_globals.h"

#include <inttypes.h>
#include <string.h>

#include "status.h"

#define STATS_STRUCT "BssGlobals"

struct print_arg {
	const struct stats_globals *sg;
	FILE *out;
};

int stats_globals_open(struct stats_globals *sg, struct bpf_object *obj)
{
	struct bpf_map *bss = bpf_object__find_map_by_name(obj, ".bss");

	*sg = (struct stats_globals){.obj = obj};
	return bss ? section_view_open(&sg->view, bss) : 0;
}

static bool is_stat(const struct print_arg *print, const struct global *g, struct int_kind *kind)
{
	return g->map == print->sg->view.map && !strcmp(g->section, ".bss") &&
	       global_int_kind(bpf_object__btf(print->sg->obj), g->type, kind) &&
	       (size_t)g->offset + kind->size <= print->sg->view.size;
}

static int print_value(const struct global *g, void *arg)
{
	struct print_arg *print = arg;
	struct int_kind kind;
	int64_t value;

	if (!is_stat(print, g, &kind))
		return 0;
	value = int_read((const char *)print->sg->view.value + g->offset, &kind);
	if (kind.is_signed)
		fprintf(print->out, ",\"%s\":%" PRId64, g->name, value);
	else
		fprintf(print->out, ",\"%s\":%" PRIu64, g->name, (uint64_t)value);
	return 0;
}

void stats_globals_print(FILE *out, void *arg)
{
	struct stats_globals *sg = arg;
	struct print_arg print = {.sg = sg, .out = out};

	if (sg->view.map)
		section_view_refresh(&sg->view);
	fprintf(out, "{\"at_ns\":%" PRIu64, monotonic_ns());
	if (sg->view.map)
		globals_each(sg->obj, print_value, &print);
	fputc('}', out);
}

static int print_field(const struct global *g, void *arg)
{
	struct print_arg *print = arg;
	struct int_kind kind;

	if (is_stat(print, g, &kind))
		fprintf(print->out, ",\"%s\":{\"datum\":\"%s\"}", g->name,
			kind.is_signed ? "i64" : "u64");
	return 0;
}

void stats_globals_print_meta(FILE *out, void *arg)
{
	struct stats_globals *sg = arg;
	struct print_arg print = {.sg = sg, .out = out};

	fputs("{\"" STATS_STRUCT "\":{\"desc\":\"integer globals of .bss\",\"fields\":{"
	      "\"at_ns\":{\"datum\":\"u64\",\"desc\":\"CLOCK_MONOTONIC of the reading\"}",
	      out);
	if (sg->view.map)
		globals_each(sg->obj, print_field, &print);
	fputs("},\"name\":\"" STATS_STRUCT "\",\"top\":\"true\"}}", out);
}

void stats_globals_close(struct stats_globals *sg)
{
	section_view_close(&sg->view);
}
