// SPDX-License-Identifier: GPL-2.0-only
/* Says as JSON what the guest's kernel says: sysctl, command line, scheduler, who is in a cgroup. */
#include <stdio.h>
#include <string.h>

static const char *text_of(const char *path)
{
	static char text[4096];
	FILE *file = fopen(path, "r");
	size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	text[length] = '\0';
	if (file)
		fclose(file);
	return text;
}

static int lines_of(const char *path)
{
	int count = 0;

	for (const char *at = text_of(path); (at = strchr(at, '\n')); at++)
		count++;
	return count;
}

int main(int argc, char **argv)
{
	int timeslice = -1;

	if (argc != 3)
		return 2;
	sscanf(text_of("/proc/sys/kernel/sched_rr_timeslice_ms"), "%d", &timeslice);
	printf("{\"rr_timeslice_ms\": %d, ", timeslice);
	printf("\"marked\": %d, ", strstr(text_of("/proc/cmdline"), "user_marker=1") != NULL);
	printf("\"ops\": %d, ", !strncmp(text_of("/sys/kernel/sched_ext/root/ops"), argv[1],
					 strlen(argv[1])));
	printf("\"in_cgroup\": %d}\n", lines_of(argv[2]));
	return 0;
}
