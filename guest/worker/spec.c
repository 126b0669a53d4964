// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "spec.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "affinity.h"
#include "mempolicy.h"
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
	{"dl_runtime_us", offsetof(struct spec, dl_runtime_us), 1, 60000000},
	{"dl_deadline_us", offsetof(struct spec, dl_deadline_us), 1, 60000000},
	{"dl_period_us", offsetof(struct spec, dl_period_us), 1, 60000000},
	{"epoch_slot", offsetof(struct spec, epoch_slot), 0, UINT32_MAX},
	{"phases", offsetof(struct spec, phases), 0, MAX_PHASES},
	{"gap_check", offsetof(struct spec, gap_check), 0, UINT32_MAX},
	{"start_timeout_ms", offsetof(struct spec, start_timeout_ms), 1, 3600000},
	{"jitter_us", offsetof(struct spec, jitter_us), 0, 1000000},
};

static bool parse_number(const char *where, const char *name, const char *value, uint64_t min,
			 uint64_t max, uint64_t *out, char *error)
{
	if (!parse_u64(value, out) || *out < min || *out > max)
		return fail(error, "%s: %s must be an integer from %llu to %llu, found \"%s\"",
			    where, name, (unsigned long long)min, (unsigned long long)max, value);
	return true;
}

static bool parse_nice(struct spec *spec, const char *value)
{
	uint64_t magnitude;
	bool negative = *value == '-';

	if (!parse_u64(value + negative, &magnitude) || magnitude > (negative ? 20 : 19))
		return false;
	spec->nice = negative ? -(int)magnitude : (int)magnitude;
	spec->has_nice = true;
	return true;
}

static bool parse_policy(struct spec *spec, const char *value)
{
	spec->policy_name = value;
	spec->policy = policy_by_name(value);
	return spec->policy >= 0;
}

static bool parse_cgroup(struct spec *spec, const char *value)
{
	spec->cgroup = value;
	return true;
}

static bool parse_cgroup_fd(struct spec *spec, const char *value)
{
	uint64_t fd;

	if (!parse_u64(value, &fd) || fd > INT32_MAX)
		return false;
	spec->cgroup_fd = (int)fd;
	return true;
}

static bool parse_cgroup_at(struct spec *spec, const char *value)
{
	spec->cgroup_fd = open(value, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return spec->cgroup_fd >= 0;
}

static bool parse_clone(struct spec *spec, const char *value)
{
	spec->threads = !strcmp(value, "thread");
	return spec->threads || !strcmp(value, "fork");
}

static bool parse_comm(struct spec *spec, const char *value)
{
	spec->comm = value;
	return *value && strlen(value) <= COMM_LENGTH;
}

static bool parse_program(struct spec *spec, const char *value)
{
	spec->program = value;
	return *value == '/';
}

static bool parse_args(struct spec *spec, const char *value)
{
	spec->args = value;
	return true;
}

static const struct text_key {
	const char *name;
	bool (*parse)(struct spec *spec, const char *value);
	const char *allowed;
} text_keys[] = {
	{"cgroup", parse_cgroup, "a name"},
	{"cgroup_fd", parse_cgroup_fd, "the number of an open file"},
	{"cgroup_at", parse_cgroup_at, "the path of a cgroup's folder"},
	{"clone", parse_clone, "fork or thread"},
	{"comm", parse_comm, "a text of 1 to 15 bytes"},
	{"nice", parse_nice, "an integer from -20 to 19"},
	{"policy", parse_policy, POLICY_ALLOWED},
	{"affinity", parse_affinity, AFFINITY_ALLOWED},
	{"mempolicy", parse_mem_policy, MEM_POLICY_ALLOWED},
	{"mem_nodes", parse_mem_nodes, "a list of nodes like 0-1,3"},
	{"mem_flags", parse_mem_flags, MEM_FLAGS_ALLOWED},
	{"program", parse_program, "an absolute path"},
	{"args", parse_args, "words"},
};

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
	for (size_t i = 0; i < sizeof(text_keys) / sizeof(text_keys[0]); i++) {
		const struct text_key *k = &text_keys[i];

		if (!strcmp(k->name, key))
			return k->parse(spec, value) ||
			       fail(error, "%s: %s must be %s, found \"%s\"", where, key,
				    k->allowed, value);
	}
	return unknown_key(spec, key, error);
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
	const char *mistake;

	if (spec->workers == 0)
		return fail(error, "%s: the key workers=COUNT is missing", type->name);
	if (spec->workers % work_group_size(spec))
		return fail(error, "%s: workers must be a multiple of %u, found %llu", type->name,
			    work_group_size(spec), (unsigned long long)spec->workers);
	if ((spec->policy == SCHED_FIFO || spec->policy == SCHED_RR) && spec->rt_prio == 0)
		return fail(error, "%s: policy %s needs rt_prio from 1 to 99, found %s", type->name,
			    spec->policy_name, "0");
	if (spec->policy == SCHED_DEADLINE &&
	    (!spec->dl_runtime_us || spec->dl_runtime_us > spec->dl_deadline_us ||
	     spec->dl_deadline_us > spec->dl_period_us))
		return fail(error,
			    "%s: policy deadline needs dl_runtime_us <= dl_deadline_us <= "
			    "dl_period_us, found %llu, %llu, %llu",
			    type->name, (unsigned long long)spec->dl_runtime_us,
			    (unsigned long long)spec->dl_deadline_us,
			    (unsigned long long)spec->dl_period_us);
	if ((type == work_find("Custom")) != (spec->program != NULL))
		return fail(error, "%s: program goes with Custom, and Custom with program",
			    type->name);
	if (spec->program && spec->threads)
		return fail(error, "%s: a program of its own cannot be a thread", type->name);
	if (type->process_wide && spec->threads)
		return fail(error, "%s: clone must be fork: what it does befalls the whole process",
			    type->name);
	if (type->makes_tasks && spec->policy == SCHED_DEADLINE)
		return fail(error,
			    "%s: policy must not be deadline: it makes tasks, which the kernel "
			    "lets no task of that policy do",
			    type->name);
	if (spec->phases && !spec->has_slot)
		return fail(error, "%s: phases needs slot and epoch_slot", type->name);
	mistake = mem_policy_mistake(spec);
	return !mistake || fail(error, "%s: %s", type->name, mistake);
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
