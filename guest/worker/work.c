// SPDX-License-Identifier: GPL-2.0-only
/* What work types are made of. */
#include "work.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relax.h"

unsigned int work_group_size(const struct spec *spec)
{
	unsigned int size = spec->type->group_size;

	for (unsigned int i = 0; i < MAX_PARAMS; i++)
		if (spec->type->group_params >> i & 1)
			size += (unsigned int)spec->params[i];
	return size;
}

bool spin_units(struct worker *w, uint64_t units)
{
	while (units) {
		uint64_t chunk = units < SPIN_CHUNK ? units : SPIN_CHUNK;

		if (stopped(w))
			return false;
		relax(chunk);
		probe_units(&w->probe, chunk);
		units -= chunk;
	}
	return true;
}

void *work_state(struct worker *w, size_t bytes, char *error, size_t size)
{
	w->state = calloc(1, bytes);
	if (!w->state)
		snprintf(error, size, "%zu bytes of memory: %s", bytes, strerror(errno));
	return w->state;
}

void work_panic(struct worker *w, const char *format, ...)
{
	char *text = w->probe.out->panic;
	va_list args;

	va_start(args, format);
	vsnprintf(text, TELEMETRY_TEXT, format, args);
	va_end(args);
	dprintf(STDERR_FILENO, "%s: worker %u: %s\n", w->spec->type->name, w->index, text);
	if (!w->spec->threads)
		_exit(1);
	pthread_exit(NULL);
}

void idle_poll(void)
{
	poll(NULL, 0, STOP_POLL_MS);
}
