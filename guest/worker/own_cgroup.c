// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "own_cgroup.h"

#include <mntent.h>
#include <stdio.h>
#include <string.h>

static bool find_mount(char *at, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char text[4096];
	bool found = false;

	if (!mounts)
		return false;
	/* Not getmntent(): workers may be threads, and its memory is one for all. */
	while (!found && getmntent_r(mounts, &entry, text, sizeof(text)))
		if (!strcmp(entry.mnt_type, "cgroup2"))
			found = (size_t)snprintf(at, size, "%s", entry.mnt_dir) < size;
	endmntent(mounts);
	return found;
}

/* The line of the unified hierarchy is that of number 0, without controllers. */
static bool find_place(char *place, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[CGROUP_PATH];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = '\0';
		found = (size_t)snprintf(place, size, "%s", line + 3) < size;
	}
	fclose(file);
	return found;
}

bool own_cgroup(char path[CGROUP_PATH], char *error, size_t size)
{
	char mount[CGROUP_PATH / 2], place[CGROUP_PATH / 2];

	if (!find_mount(mount, sizeof(mount)) || !find_place(place, sizeof(place))) {
		snprintf(error, size, "needs cgroup v2, which is not mounted here");
		return false;
	}
	if (!strcmp(place, "/")) {
		snprintf(error, size, "needs a cgroup of its own, but runs in the root cgroup");
		return false;
	}
	snprintf(path, CGROUP_PATH, "%s%s", mount, place);
	return true;
}
