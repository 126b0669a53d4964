// SPDX-License-Identifier: GPL-2.0-only
// An init that obeys lines from the port ktstr.ctl and answers on ktstr.bulk:
//   echo TEXT   cat PATH   list PATH   page   check   panic   reboot   poweroff
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

static int bulk;
static char *page;

static void say(const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t done = write(bulk, text, left);

		if (done <= 0)
			exit(1);
		text += done;
		left -= (size_t)done;
	}
}

static int slurp(const char *path, char *into, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, into, size - 1);

	if (fd >= 0)
		close(fd);
	into[got > 0 ? got : 0] = 0;
	into[strcspn(into, "\n")] = 0;
	return got < 0 ? -1 : 0;
}

static int open_port(const char *wanted)
{
	char path[300], name[64];
	struct dirent *entry;
	DIR *dir = opendir("/sys/class/virtio-ports");

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		if (slurp(path, name, sizeof(name)) || strcmp(name, wanted))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		closedir(dir);
		return open(path, O_RDWR);
	}
	return -1;
}

static void list(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir))) {
		say(entry->d_name);
		say(" ");
	}
	if (dir)
		closedir(dir);
	say("\n");
}

// A page of our own, filled with a text, and its guest-physical address.
static void show_page(void)
{
	char answer[64];
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	strcpy(page, "written by the guest");
	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE * 8)) != 8)
		entry = 0;
	close(fd);
	snprintf(answer, sizeof(answer), "%#llx\n",
		 (unsigned long long)(entry & ((1ULL << 55) - 1)) * PAGE);
	say(answer);
}

static void obey(char *line)
{
	char answer[PAGE];

	if (!strncmp(line, "echo ", 5)) {
		say(line + 5);
		say("\n");
	} else if (!strncmp(line, "cat ", 4)) {
		slurp(line + 4, answer, sizeof(answer));
		say(answer);
		say("\n");
	} else if (!strncmp(line, "list ", 5)) {
		list(line + 5);
	} else if (!strcmp(line, "page")) {
		show_page();
	} else if (!strcmp(line, "check")) {
		say(page);
		say("\n");
	} else if (!strcmp(line, "panic")) {
		int fd = open("/proc/sysrq-trigger", O_WRONLY);

		if (write(fd, "c", 1) != 1)
			say("sysrq refused\n");
	} else if (!strcmp(line, "reboot")) {
		reboot(RB_AUTOBOOT);
	} else if (!strcmp(line, "poweroff")) {
		reboot(RB_POWER_OFF);
	} else {
		say("unknown\n");
	}
}

int main(void)
{
	char line[512];
	size_t have = 0;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	bulk = open_port("ktstr.bulk");
	int ctl = open_port("ktstr.ctl");

	if (bulk < 0 || ctl < 0)
		return 1;
	say("hello\n");
	for (;;) {
		if (read(ctl, line + have, 1) != 1) {
			usleep(1000);
		} else if (line[have] == '\n') {
			line[have] = 0;
			have = 0;
			obey(line);
		} else if (have < sizeof(line) - 2) {
			have++;
		}
	}
}
