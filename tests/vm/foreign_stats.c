// SPDX-License-Identifier: GPL-2.0-only
// A scheduler of somebody else: loads the fixture object with the loader and serves statistics of
// its own at the usual place, well the first and the last times and badly in between.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char META[] =
	"{\"errno\":0,\"args\":{\"resp\":{"
	"\"Top\":{\"desc\":\"all\",\"top\":\"true\",\"fields\":{"
	"\"busy\":{\"datum\":\"float\",\"desc\":\"share of time the machine was busy\"},"
	"\"never\":{\"datum\":\"u64\",\"desc\":\"described, not sent\"},"
	"\"layers\":{\"desc\":\"by name\",\"dict\":{\"datum\":{\"struct\":\"Layer\"},\"key\":"
	"\"string\"}}}},"
	"\"Layer\":{\"desc\":\"one layer\",\"fields\":{"
	"\"util\":{\"datum\":\"float\",\"desc\":\"its utilisation\"}}}}}}\n";

static pid_t child;

static void finish(int signal_number)
{
	(void)signal_number;
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	_exit(0);
}

static void say(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t sent = write(fd, text, left);

		if (sent <= 0)
			return;
		text += sent;
		left -= sent;
	}
}

static void too_much(int fd)
{
	static char text[1 << 16];

	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 32; i++)
		say(fd, text);
}

/* Whether the connection goes on. */
static int answer(int fd, const char *request)
{
	static int asked;
	char text[256];

	if (strstr(request, "stats_meta")) {
		say(fd, META);
		return 1;
	}
	switch (asked++) {
	case 1:
		say(fd, "garbage \x01\xff\n");
		return 1;
	case 2:
		say(fd, "{\"errno\":22,\"args\":{\"resp\":\"no target of that name\"}}\n");
		return 1;
	case 3:
		too_much(fd);
		return 1;
	case 4:
		return 1;
	case 5:
		return 0;
	case 6:
		say(fd, "{\"errno\":0,\"args\":{}}\n");
		return 1;
	}
	snprintf(text, sizeof(text),
		 "{\"errno\":0,\"args\":{\"resp\":{\"busy\":%d.5,\"layers\":{\"batch.x\":{\"util\":"
		 "%d.25}}}}}\n",
		 asked, asked);
	say(fd, text);
	return 1;
}

static void serve(int fd)
{
	char line[4096];
	FILE *in = fdopen(fd, "r");

	while (in && fgets(line, sizeof(line), in))
		if (!answer(fd, line))
			break;
	fclose(in);
}

int main(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/var/run/scx/root/stats"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	mkdir("/var", 0755);
	mkdir("/var/run", 0755);
	mkdir("/var/run/scx", 0755);
	mkdir("/var/run/scx/root", 0755);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4)) {
		perror(address.sun_path);
		return 1;
	}
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/ktstr/bin/scx_load", "scx_load", "--stats-socket", "/var/run/scx/loader",
		      "/ktstr/sched/scx_ktstr.bpf.o", (char *)NULL);
		_exit(127);
	}
	signal(SIGTERM, finish);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer >= 0)
			serve(peer);
	}
}
