// SPDX-License-Identifier: GPL-2.0-only
/*
 * Speaks as the runner of the kernel's sched_ext self-tests does; its tests do
 * on purpose what such tests do by accident.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PASS, SKIP, FAIL };

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static int good(void)
{
	/* The first goes through a buffer where output is no terminal. */
	printf("first, on standard output\n");
	fprintf(stderr, "second, on standard error\n");
	return PASS;
}

static int failing(void)
{
	/* The mark of a test is in the kernel log once its first line was read. */
	sleep(1);
	write_to("/dev/kmsg", "said by the failing test");
	fprintf(stderr, "ERR: failing.c:7\nExpected 1 == 2 (1 == 2)\n");
	printf("no end of this line ");
	return FAIL;
}

static int skipping(void)
{
	printf("this machine has no third CPU\n");
	return SKIP;
}

static int hanging(void)
{
	printf("waits for what never comes\n");
	for (;;)
		pause();
}

static int panicking(void)
{
	sleep(1);
	write_to("/proc/sysrq-trigger", "c");
	return FAIL;
}

static int dying(void)
{
	abort();
}

static int last(void)
{
	return PASS;
}

static const struct {
	const char *name;
	int (*run)(void);
} tests[] = {
	{"plain_good", good},	    {"plain_failing", failing},	  {"plain_skipping", skipping},
	{"hang_good", good},	    {"hang_here", hanging},	  {"hang_last", last},
	{"panic_good", good},	    {"panic_here", panicking},	  {"panic_last", last},
	{"die_here", dying},	    {"die_last", last},
};

int main(int argc, char **argv)
{
	static const char *const words[] = {"ok", "ok", "not ok"};
	int counts[3] = {0}, number = 0;
	const char *part = "";

	if (argc > 1 && !strcmp(argv[1], "-l")) {
		for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
			puts(tests[i].name);
		return 0;
	}
	if (argc > 2 && !strcmp(argv[1], "-t"))
		part = argv[2];
	else if (argc > 1)
		return 1;
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
		int status;

		if (!strstr(tests[i].name, part))
			continue;
		printf("===== START =====\nTEST: %s\nDESCRIPTION: d\nOUTPUT:\n", tests[i].name);
		status = tests[i].run();
		counts[status]++;
		printf("%s %d %s # %s\n=====  END  =====\n", words[status], ++number, tests[i].name,
		       status == SKIP ? "SKIP " : "");
	}
	printf("\n\nRESULTS:\n\nPASSED:  %d\nSKIPPED: %d\nFAILED:  %d\n", counts[PASS],
	       counts[SKIP], counts[FAIL]);
	return 0;
}
