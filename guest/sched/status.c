// SPDX-License-Identifier: GPL-2.0-only
/* Length-prefixed msgpack messages on descriptor 3. */
#include "status.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/msgpack_out.h"

#define STATUS_FD   3
#define MESSAGE_MAX (EXIT_DUMP_MAX + 64 * 1024)
/* A reader that takes nothing for this long is taken for dead. */
#define WRITE_DEADLINE_MS 5000

static int status_fd = -1;

uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void status_init(void)
{
	int flags = fcntl(STATUS_FD, F_GETFL);

	if (flags < 0) {
		/* Take the number, so that no later descriptor is mistaken for it. */
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (fd >= 0 && fd != STATUS_FD) {
			dup3(fd, STATUS_FD, O_CLOEXEC);
			close(fd);
		}
		return;
	}
	fcntl(STATUS_FD, F_SETFL, flags | O_NONBLOCK);
	fcntl(STATUS_FD, F_SETFD, FD_CLOEXEC);
	status_fd = STATUS_FD;
}

static void drop_reader(const char *why)
{
	fprintf(stderr, "scx_load: status messages on descriptor 3 end here: %s\n", why);
	status_fd = -1;
}

static void send_all(const uint8_t *buf, size_t len)
{
	uint64_t deadline = monotonic_ns() + WRITE_DEADLINE_MS * 1000000ull;

	while (len) {
		struct pollfd pfd = {.fd = status_fd, .events = POLLOUT};
		ssize_t n = write(status_fd, buf, len);

		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return drop_reader(strerror(errno));
		} else if (monotonic_ns() > deadline) {
			return drop_reader("the reader took nothing for 5 s");
		} else {
			poll(&pfd, 1, 100);
		}
	}
}

static void begin(struct mp_out *out, size_t cap, uint32_t pairs, const char *event)
{
	*out = (struct mp_out){.buf = malloc(cap), .cap = cap, .len = 4};
	if (!out->buf)
		out->overflow = true;
	mp_map(out, pairs);
	mp_str(out, "event");
	mp_str(out, event);
}

static void finish(struct mp_out *out)
{
	uint32_t body = (uint32_t)out->len - 4;

	if (out->overflow) {
		fprintf(stderr, "scx_load: a status message did not fit and was dropped\n");
	} else if (status_fd >= 0) {
		for (int i = 0; i < 4; i++)
			out->buf[i] = (uint8_t)(body >> (8 * i));
		send_all(out->buf, out->len);
	}
	free(out->buf);
}

void status_loaded(const struct bpf_object *obj)
{
	struct bpf_program *prog;
	struct mp_out out;
	uint32_t count = 0;

	bpf_object__for_each_program(prog, obj)
		count += bpf_program__fd(prog) >= 0;
	begin(&out, 256 + 256 * (size_t)count, 2, "loaded");
	mp_str(&out, "progs");
	mp_array(&out, count);
	bpf_object__for_each_program(prog, obj) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);

		if (bpf_program__fd(prog) < 0)
			continue;
		mp_map(&out, 2);
		mp_str(&out, "name");
		mp_str(&out, bpf_program__name(prog));
		mp_str(&out, "insns_verified");
		if (bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			mp_nil(&out);
		else
			mp_uint(&out, info.verified_insns);
	}
	finish(&out);
}

void status_attached(const char *ops, uint64_t ns)
{
	struct mp_out out;

	begin(&out, 512, 3, "attached");
	mp_str(&out, "ops");
	mp_str(&out, ops);
	mp_str(&out, "ns");
	mp_uint(&out, ns);
	finish(&out);
}

void status_exit(const struct exit_info *info)
{
	struct mp_out out;

	fprintf(stderr, "scx_load: scheduler exited: kind %d (%s), code %lld: %s%s%s\n", info->kind,
		exit_kind_name(info->kind), (long long)info->exit_code, info->reason,
		info->msg[0] ? ": " : "", info->msg);
	begin(&out, MESSAGE_MAX, 7, "exit");
	mp_str(&out, "kind");
	mp_int(&out, info->kind);
	mp_str(&out, "kind_name");
	mp_str(&out, exit_kind_name(info->kind));
	mp_str(&out, "exit_code");
	mp_int(&out, info->exit_code);
	mp_str(&out, "reason");
	mp_str(&out, info->reason);
	mp_str(&out, "msg");
	mp_str(&out, info->msg);
	mp_str(&out, "dump");
	mp_str(&out, info->dump);
	finish(&out);
}

void status_error(const char *stage, int err, const char *message)
{
	struct mp_out out;

	/* Further lines repeat what libbpf has already said there. */
	fprintf(stderr, "scx_load: %s: %.*s\n", stage, (int)strcspn(message, "\n"), message);
	begin(&out, 512 + strlen(message), 4, "error");
	mp_str(&out, "stage");
	mp_str(&out, stage);
	mp_str(&out, "errno");
	mp_int(&out, err);
	mp_str(&out, "message");
	mp_str(&out, message);
	finish(&out);
}
