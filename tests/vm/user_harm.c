// SPDX-License-Identifier: GPL-2.0-only
/* Does harm behind the agent's back: "kill FOLDER" a process of a cgroup, "remove FOLDER" one. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[512];
	FILE *file;
	int pid = 0;

	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "remove"))
		return rmdir(argv[2]) ? 3 : 0;
	snprintf(path, sizeof(path), "%s/cgroup.procs", argv[2]);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%d", &pid) != 1 || kill(pid, SIGKILL))
		return 4;
	/* The op that waits for this program still runs while the victim dies. */
	usleep(300 * 1000);
	return 0;
}
