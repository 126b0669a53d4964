// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loader's stats server without a scheduler: stats_shim PATH SPEED serves
 * until stdin ends, by a clock that runs SPEED times as fast as the real one
 * and, standing still, tells events apart all the same.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "stats_server.h"

static uint64_t now_ns(uint64_t speed)
{
	static uint64_t events;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec) * speed + events++;
}

static void print_top(FILE *out, void *arg)
{
	/* Big enough that a client which does not read fills the socket's buffer. */
	fprintf(out, "{\"answer\":%d,\"filler\":\"", *(int *)arg);
	for (int i = 0; i < 65536; i++)
		fputc('x', out);
	fputs("\"}", out);
}

static void print_meta(FILE *out, void *arg)
{
	(void)arg;
	fputs("{\"Top\":{}}", out);
}

int main(int argc, char **argv)
{
	static struct stats_server srv;
	int answer = 42, epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct stats_source source = {print_top, print_meta, &answer};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
	uint64_t speed = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	char why[256] = "usage: stats_shim PATH SPEED";

	if (argc != 3 || stats_server_open(&srv, epoll_fd, argv[1], source, why, sizeof(why))) {
		fprintf(stderr, "%s\n", why);
		return 2;
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &ev);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[4];
		int n = epoll_wait(epoll_fd, events, 4, 10);

		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr) {
				stats_server_close(&srv);
				close(epoll_fd);
				return 0;
			}
			stats_server_event(&srv, events[i].data.ptr, now_ns(speed));
		}
		stats_server_expire(&srv, now_ns(speed));
	}
}
