// SPDX-License-Identifier: GPL-2.0-only
/*
 * SmtSiblingSpin: pairs that spin with the pause hint. On two threads of one
 * core they share its pipeline; the affinity of the workers puts them there.
 */
#include "work.h"

static bool iterate(struct worker *w)
{
	uint64_t began = now_ns();

	if (!spin_units(w, SPIN_CHUNK))
		return false;
	probe_sample(&w->probe, RESERVOIR_COST, now_ns() - began);
	return true;
}

const struct work_type work_smt_sibling_spin = {
	.name = "SmtSiblingSpin",
	.group_size = 2,
	.fills = FILLS(COST),
	.iterate = iterate,
};
