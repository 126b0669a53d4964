// SPDX-License-Identifier: GPL-2.0-only
/*
 * NetTraffic, IrqWake: frames that a worker sends to its own machine.
 *
 * They go through the loopback device: the kernels in use have no other network
 * driver built in. A frame is queued on sending and delivered by the NET_RX
 * softirq, as one that a network card received would be.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "await.h"

#define DEVICE	       "lo"
#define ETHERTYPE      0x88b5 /* IEEE 802: for local experiments */
#define HEADER_BYTES   14     /* the kernel writes it */
#define MAX_FRAME      1514
#define IRQ_WAKE_FRAME 64

struct net_state {
	int fd;
	uint32_t key; /* the first bytes of every frame: whose it is */
	struct sockaddr_ll address;
	char payload[MAX_FRAME];
	bool told;
};

/* Frames of other groups are dropped before they wake anybody. */
static bool filter_by_key(int fd, uint32_t key)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, key, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

static bool bring_up(int fd, int *index)
{
	struct ifreq request = {.ifr_name = DEVICE};

	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return false;
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return false;
	*index = request.ifr_ifindex;
	return true;
}

static bool open_socket(struct worker *w, bool receives, char *error, size_t size)
{
	struct net_state *s = work_state(w, sizeof(*s), error, size);
	uint32_t key_on_wire;

	if (!s)
		return false;
	/* All members of a group are children of one leader, and follow each other. */
	s->key = (uint32_t)getppid() << 10 | w->index / work_group_size(w->spec);
	key_on_wire = htonl(s->key);
	memcpy(s->payload, &key_on_wire, sizeof(key_on_wire));
	s->address =
		(struct sockaddr_ll){.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE)};

	/* Of no protocol until it has its filter: then nobody else's frames are in its queue. */
	s->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0) {
		snprintf(error, size, "needs packet sockets (CONFIG_PACKET, root): %s",
			 strerror(errno));
		return false;
	}
	if (!bring_up(s->fd, &s->address.sll_ifindex)) {
		snprintf(error, size, "needs the network device " DEVICE " (CONFIG_INET): %s",
			 strerror(errno));
		return false;
	}
	if (receives && (!filter_by_key(s->fd, s->key) ||
			 bind(s->fd, (struct sockaddr *)&s->address, sizeof(s->address)) < 0)) {
		snprintf(error, size, "cannot listen on " DEVICE ": %s", strerror(errno));
		return false;
	}
	return true;
}

static bool send_frame(struct worker *w, size_t frame_bytes)
{
	struct net_state *s = w->state;
	size_t bytes = frame_bytes - HEADER_BYTES;

	if (sendto(s->fd, s->payload, bytes, 0, (struct sockaddr *)&s->address,
		   sizeof(s->address)) == (ssize_t)bytes)
		return true;
	if (!s->told)
		dprintf(STDERR_FILENO, "worker %u: %s: cannot send: %s\n", w->index,
			w->spec->type->name, strerror(errno));
	s->told = true;
	return false;
}

enum {
	INTERVAL_US,
	FRAME_BYTES,
};

static bool prepare_traffic(struct worker *w, char *error, size_t size)
{
	return open_socket(w, true, error, size);
}

static bool traffic(struct worker *w)
{
	struct net_state *s = w->state;
	char frame[MAX_FRAME];
	bool sent = send_frame(w, param(w, FRAME_BYTES)), woken;
	uint64_t elapsed;

	/* What has arrived is work done, also when it was sent a round earlier. */
	while (recv(s->fd, frame, sizeof(frame), 0) >= 0)
		probe_units(&w->probe, 1);
	woken = sleep_for(w, param(w, INTERVAL_US) * NSEC_PER_USEC, &elapsed);
	probe_checkpoint(&w->probe);
	return sent && woken;
}

enum {
	SENDER,
	RECEIVER,
};

static bool prepare_irq(struct worker *w, char *error, size_t size)
{
	return open_socket(w, w->position == RECEIVER, error, size);
}

/* The word counts the frames received: the sender sends the next one only then. */
static bool irq_send(struct worker *w)
{
	uint32_t *word = &w->group->words[0];
	uint32_t before = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	if (!spin_units(w, SPIN_CHUNK))
		return false;
	if (!send_frame(w, IRQ_WAKE_FRAME)) {
		idle_poll();
		probe_unblocked(&w->probe, now_ns());
		return false;
	}
	/* A lost frame costs one time-out, not the run. */
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == before)
		futex_wait(word, before, STOP_POLL_MS * NSEC_PER_MSEC);
	probe_unblocked(&w->probe, now_ns());
	return true;
}

static bool irq_receive(struct worker *w)
{
	struct net_state *s = w->state;
	struct pollfd pfd = {.fd = s->fd, .events = POLLIN};
	uint64_t blocked_at = 0;
	char frame[IRQ_WAKE_FRAME];

	while (recv(s->fd, frame, sizeof(frame), 0) < 0) {
		if (stopped(w))
			return false;
		if (!blocked_at)
			blocked_at = now_ns();
		poll(&pfd, 1, STOP_POLL_MS);
		probe_unblocked(&w->probe, now_ns());
	}
	sample_wait(w, blocked_at);
	probe_units(&w->probe, 1);
	__atomic_fetch_add(&w->group->words[0], 1, __ATOMIC_RELEASE);
	futex_wake(&w->group->words[0], 1);
	return true;
}

static bool irq_wake(struct worker *w)
{
	return w->position == SENDER ? irq_send(w) : irq_receive(w);
}

const struct work_type work_net_traffic = {
	.name = "NetTraffic",
	.group_size = 1,
	.params = {[INTERVAL_US] = {"interval_us", 1000, 1, 60000000},
		   [FRAME_BYTES] = {"frame_bytes", 256, 60, MAX_FRAME}},
	.prepare = prepare_traffic,
	.iterate = traffic,
};

const struct work_type work_irq_wake = {
	.name = "IrqWake",
	.group_size = 2,
	.fills = FILLS(WAKE),
	.prepare = prepare_irq,
	.iterate = irq_wake,
};
