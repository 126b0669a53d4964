// SPDX-License-Identifier: GPL-2.0-only
/*
 * PID 1 of the guest: mounts what the agent needs, loads the drivers that came along,
 * starts it, reaps orphans, and tells the host through the kernel log when the agent ends without its consent.
 *
 * It is C because Python's standard library has no mount(2), and PID 1 because the
 * kernel shields PID 1 from signals and panics when it ends: the agent must be an
 * ordinary process whose death is an event, not a panic.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* By this path the interpreter finds its library: it looks upwards from its own place. */
#define PYTHON "/ktstr/python/bin/python3"

/* Drivers that this kernel has as modules; their names sort in the order of loading. */
#define MODULES "/ktstr/modules"

/* Three per work of a scenario, of which there can be 4096; the kernel's default is 1024. */
#define MAX_FILES 65536

static const struct {
	const char *type, *target, *options;
} mounts[] = {
	{"proc", "/proc", NULL},
	{"sysfs", "/sys", NULL},
	{"devtmpfs", "/dev", NULL},
	{"devpts", "/dev/pts", "mode=620,ptmxmode=666"},
	{"tmpfs", "/tmp", "mode=1777"},
	{"tmpfs", "/run", "mode=755"},
	{"cgroup2", "/sys/fs/cgroup", NULL},
	{"bpf", "/sys/fs/bpf", NULL},
	{"debugfs", "/sys/kernel/debug", NULL},
	{"tracefs", "/sys/kernel/tracing", NULL},
};

static void say(const char *text)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "<3>ktstr-init: %s\n", text);
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, line, (size_t)n) < 0)
			perror("kmsg");
		close(fd);
	}
}

static void mount_all(void)
{
	char text[128];

	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		mkdir(mounts[i].target, 0755);
		if (mount(mounts[i].type, mounts[i].target, mounts[i].type, 0, mounts[i].options)) {
			snprintf(text, sizeof(text), "mount %s on %s: %s", mounts[i].type,
				 mounts[i].target, strerror(errno));
			say(text);
		}
	}
}

static int is_module(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void load_modules(void)
{
	struct dirent **found;
	char path[320], text[400];
	int fd, count = scandir(MODULES, &found, is_module, alphasort);

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), MODULES "/%s", found[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		/* What is there already is as good as loaded. */
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)) {
			snprintf(text, sizeof(text), "module %s: %s", found[i]->d_name,
				 strerror(errno));
			say(text);
		}
		if (fd >= 0)
			close(fd);
		/* Its memory is the guest's, and no one reads it again. */
		unlink(path);
		free(found[i]);
	}
	if (count >= 0)
		free(found);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	for (int target = 0; target < 3; target++)
		if (fd != target)
			dup2(fd, target);
	if (fd > 2)
		close(fd);
}

static pid_t start_agent(void)
{
	static char *const argv[] = {PYTHON, "-I", "-S", "-B", "/ktstr/agent.pyc", NULL};
	static char started[64];
	static char *const envp[] = {"PATH=/ktstr/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/tmp",
				     "LANG=C.UTF-8", started, NULL};
	const struct rlimit files = {.rlim_cur = MAX_FILES, .rlim_max = MAX_FILES};
	struct timespec now;
	pid_t pid = fork();

	if (pid < 0)
		say("cannot fork the agent");
	if (pid == 0) {
		if (setrlimit(RLIMIT_NOFILE, &files))
			say("cannot raise the limit of open files");
		/* The agent tells the host what its own start cost. */
		clock_gettime(CLOCK_MONOTONIC, &now);
		snprintf(started, sizeof(started), "KTSTR_STARTED=%lld.%09ld",
			 (long long)now.tv_sec, now.tv_nsec);
		setsid();
		execve(PYTHON, argv, envp);
		say("cannot start " PYTHON);
		_exit(127);
	}
	return pid;
}

int main(void)
{
	char text[128];
	int status = 0;
	pid_t agent, ended;

	mount_all();
	load_modules();
	open_console();
	agent = start_agent();
	do {
		ended = wait(&status);
	} while (ended != agent && !(ended < 0 && errno == ECHILD));

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "agent killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, sizeof(text), "agent exited with status %d", WEXITSTATUS(status));
	say(text);
	reboot(RB_POWER_OFF);
	return 0;
}
