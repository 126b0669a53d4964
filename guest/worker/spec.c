// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "spec.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placement.h"
#include "work.h"

static bool fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, ERROR_TEXT_SIZE, format, args);
	va_end(args);
	return false;
}

/* Plain decimal digits, the whole string: no sign, no blank, no overflow. */
static bool parse_u64(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0;
}

struct number_key {
	const char *name;
	size_t offset;
	uint64_t min;
	uint64_t max;
};

static const struct number_key number_keys[] = {
	{"workers", offsetof(struct spec, workers), 1, MAX_WORKERS},
	{"step", offsetof(struct spec, step), 0, UINT32_MAX},
	{"group_idx", offsetof(struct spec, group_idx), 0, UINT32_MAX},
	{"work_idx", offsetof(struct spec, work_idx), 0, UINT32_MAX},
	{"slot", offsetof(struct spec, slot), 0, UINT32_MAX},
	{"seed", offsetof(struct spec, seed), 0, UINT64_MAX},
	{"rt_prio", offsetof(struct spec, rt_prio), 0, 99},
	{"gap_check", offsetof(struct spec, gap_check), 0, UINT32_MAX},
	{"start_timeout_ms", offsetof(struct spec, start_timeout_ms), 1, 3600000},
};

static bool parse_number(const char *where, const char *name, const char *value, uint64_t min,
			 uint64_t max, uint64_t *out, char *error)
{
	if (!parse_u64(value, out) || *out < min || *out > max)
		return fail(error, "%s: %s must be an integer from %llu to %llu, found \"%s\"",
			    where, name, (unsigned long long)min, (unsigned long long)max, value);
	return true;
}

static bool parse_nice(struct spec *spec, const char *value, char *error)
{
	uint64_t magnitude;
	bool negative = *value == '-';

	if (!parse_u64(value + negative, &magnitude) || magnitude > (negative ? 20 : 19))
		return fail(error, "%s: nice must be an integer from -20 to 19, found \"%s\"",
			    spec->type->name, value);
	spec->nice = negative ? -(int)magnitude : (int)magnitude;
	spec->has_nice = true;
	return true;
}

/* A key that is neither a number nor the type; 0: not one of these, 1: taken, -1: wrong. */
static int parse_other_key(struct spec *spec, const char *key, const char *value, char *error)
{
	uint64_t fd;

	if (!strcmp(key, "cgroup")) {
		spec->cgroup = value;
	} else if (!strcmp(key, "nice")) {
		return parse_nice(spec, value, error) ? 1 : -1;
	} else if (!strcmp(key, "affinity")) {
		spec->affinity = value;
		if (!parse_cpu_list(value, spec->cpu_mask)) {
			fail(error, "%s: affinity must be a CPU list like 0-1,3, found \"%s\"",
			     spec->type->name, value);
			return -1;
		}
	} else if (!strcmp(key, "policy")) {
		spec->policy_name = value;
		spec->policy = policy_by_name(value);
		if (spec->policy < 0) {
			fail(error,
			     "%s: policy must be normal, batch, idle, fifo, rr or ext, found \"%s\"",
			     spec->type->name, value);
			return -1;
		}
	} else if (!strcmp(key, "cgroup_fd")) {
		if (!parse_number(spec->type->name, key, value, 0, INT32_MAX, &fd, error))
			return -1;
		spec->cgroup_fd = (int)fd;
	} else {
		return 0;
	}
	return 1;
}

static bool unknown_key(const struct spec *spec, const char *key, char *error)
{
	size_t used = (size_t)snprintf(
		error, ERROR_TEXT_SIZE,
		"%s: unknown key \"%s\"; its parameters are: ", spec->type->name, key);
	const char *sep = "";

	for (int i = 0; i < MAX_PARAMS && spec->type->params[i].name; i++) {
		if (used < ERROR_TEXT_SIZE)
			used += (size_t)snprintf(error + used, ERROR_TEXT_SIZE - used, "%s%s", sep,
						 spec->type->params[i].name);
		sep = ", ";
	}
	if (!*sep && used < ERROR_TEXT_SIZE)
		snprintf(error + used, ERROR_TEXT_SIZE - used, "none");
	return false;
}

static bool parse_pair(struct spec *spec, const char *key, const char *value, char *error)
{
	const char *where = spec->type->name;
	int other;

	for (size_t i = 0; i < sizeof(number_keys) / sizeof(number_keys[0]); i++) {
		const struct number_key *k = &number_keys[i];

		if (strcmp(k->name, key))
			continue;
		spec->has_seed |= !strcmp(key, "seed");
		spec->has_slot |= !strcmp(key, "slot");
		return parse_number(where, key, value, k->min, k->max,
				    (uint64_t *)((char *)spec + k->offset), error);
	}
	for (int i = 0; i < MAX_PARAMS && spec->type->params[i].name; i++) {
		const struct work_param *p = &spec->type->params[i];

		if (!strcmp(p->name, key))
			return parse_number(where, key, value, p->min, p->max, &spec->params[i],
					    error);
	}
	other = parse_other_key(spec, key, value, error);
	return other ? other > 0 : unknown_key(spec, key, error);
}

static bool find_type(struct spec *spec, int argc, char **argv, char *error)
{
	const char *name = NULL, *suggestion;
	size_t used;

	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "type=", 5))
			name = argv[i] + 5;
	if (!name)
		return fail(error, "the key type=NAME is missing");
	spec->type = work_find(name);
	if (spec->type)
		return true;
	suggestion = work_suggest(name);
	if (suggestion)
		return fail(error, "unknown work type \"%s\"; did you mean %s?", name, suggestion);
	fail(error, "unknown work type \"%.64s\"; there are:", name);
	used = strlen(error);
	for (size_t i = 0; work_at(i) && used < ERROR_TEXT_SIZE; i++)
		used += (size_t)snprintf(error + used, ERROR_TEXT_SIZE - used, " %s",
					 work_at(i)->name);
	return false;
}

static bool check_whole(const struct spec *spec, char *error)
{
	const struct work_type *type = spec->type;

	if (spec->workers == 0)
		return fail(error, "%s: the key workers=COUNT is missing", type->name);
	if (spec->workers % work_group_size(spec))
		return fail(error, "%s: workers must be a multiple of %u, found %llu", type->name,
			    work_group_size(spec), (unsigned long long)spec->workers);
	if ((spec->policy == SCHED_FIFO || spec->policy == SCHED_RR) && spec->rt_prio == 0)
		return fail(error, "%s: policy %s needs rt_prio from 1 to 99, found %s", type->name,
			    spec->policy_name, "0");
	return true;
}

bool spec_parse(struct spec *spec, int argc, char **argv, char *error)
{
	*spec = (struct spec){
		.cgroup = "",
		.policy = SCHED_OTHER,
		.policy_name = "normal",
		.cgroup_fd = -1,
		.gap_check = CHECK_UNITS,
		.start_timeout_ms = 30000,
	};
	if (!find_type(spec, argc, argv, error))
		return false;
	for (int i = 0; i < MAX_PARAMS && spec->type->params[i].name; i++)
		spec->params[i] = spec->type->params[i].fallback;

	for (int i = 0; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals)
			return fail(error, "%s: expected KEY=VALUE, found \"%s\"", spec->type->name,
				    argv[i]);
		*equals = '\0';
		if (strcmp(argv[i], "type") && !parse_pair(spec, argv[i], equals + 1, error))
			return false;
	}
	return check_whole(spec, error);
}
