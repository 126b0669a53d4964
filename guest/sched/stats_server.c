// SPDX-License-Identifier: GPL-2.0-only
/* scx_stats over a Unix stream socket, non-blocking throughout. */
#include "stats_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "json_in.h"

static int make_folders(const char *path)
{
	char part[108];

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return 0;
}

static int watch(const struct stats_server *srv, int op, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = {.events = events, .data.ptr = ptr};

	return epoll_ctl(srv->epoll_fd, op, fd, &ev) ? -errno : 0;
}

int stats_server_open(struct stats_server *srv, int epoll_fd, const char *path,
		      struct stats_source source, char *why, size_t why_size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	int err = 0;

	memset(srv, 0, sizeof(*srv));
	srv->epoll_fd = epoll_fd;
	srv->listen_fd = -1;
	srv->source = source;
	for (int i = 0; i < STATS_CLIENTS_MAX; i++)
		srv->clients[i].fd = -1;
	if (strlen(path) >= sizeof(addr.sun_path)) {
		snprintf(why, why_size, "stats socket %s: longer than %zu bytes", path,
			 sizeof(addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	err = make_folders(path);
	/* A socket left by a loader that was killed; anything else is not ours to remove. */
	if (!err && !lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
	if (!err)
		srv->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!err &&
	    (srv->listen_fd < 0 || bind(srv->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	     listen(srv->listen_fd, SOMAXCONN)))
		err = -errno;
	if (!err) {
		strcpy(srv->path, path);
		err = watch(srv, EPOLL_CTL_ADD, srv->listen_fd, EPOLLIN, srv);
	}
	if (err) {
		snprintf(why, why_size, "stats socket %s: %s", path, strerror(-err));
		stats_server_close(srv);
	}
	return err;
}

static void client_drop(struct stats_client *client)
{
	close(client->fd);
	free(client->out);
	client->fd = -1;
	client->out = NULL;
}

static void client_accept(struct stats_server *srv, uint64_t now_ns)
{
	int fd = accept4(srv->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct stats_client *slot = &srv->clients[0];

	if (fd < 0)
		return;
	for (int i = 0; i < STATS_CLIENTS_MAX && slot->fd >= 0; i++) {
		struct stats_client *c = &srv->clients[i];

		if (c->fd < 0 || c->active_ns < slot->active_ns)
			slot = c;
	}
	if (slot->fd >= 0)
		client_drop(slot);
	slot->fd = fd;
	slot->closing = false;
	slot->active_ns = now_ns;
	slot->in_len = slot->out_len = slot->out_done = 0;
	if (watch(srv, EPOLL_CTL_ADD, fd, EPOLLIN, slot))
		client_drop(slot);
}

static void reply(struct stats_server *srv, struct stats_client *c, const char *line, size_t len)
{
	struct stats_request req;
	FILE *out = open_memstream(&c->out, &c->out_len);

	if (!out)
		return client_drop(c);
	c->out_done = 0;
	if (!line)
		fprintf(out, "{\"errno\":%d,\"args\":{\"resp\":\"request over %d bytes\"}}\n",
			E2BIG, STATS_REQUEST_MAX);
	else if (!stats_request_parse(line, len, &req))
		fprintf(out,
			"{\"errno\":%d,\"args\":{\"resp\":\"not a request: send "
			"{\\\"req\\\":\\\"stats\\\"} on one line\"}}\n",
			EINVAL);
	else if (!strcmp(req.req, "stats_meta") ||
		 (!strcmp(req.req, "stats") && (!req.target[0] || !strcmp(req.target, "top")))) {
		fputs("{\"errno\":0,\"args\":{\"resp\":", out);
		if (!strcmp(req.req, "stats"))
			srv->source.print_top(out, srv->source.arg);
		else
			srv->source.print_meta(out, srv->source.arg);
		fputs("}}\n", out);
	} else
		fprintf(out,
			"{\"errno\":%d,\"args\":{\"resp\":\"unknown %s: there are stats (target "
			"top) and stats_meta\"}}\n",
			EINVAL, strcmp(req.req, "stats") ? "request" : "target");
	if (fclose(out))
		client_drop(c);
}

/* False when nothing more can be done for this client now. */
static bool client_flush(struct stats_server *srv, struct stats_client *c, uint64_t now_ns)
{
	while (c->out && c->out_done < c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			watch(srv, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
			return false;
		}
		if (n <= 0) {
			client_drop(c);
			return false;
		}
		c->out_done += (size_t)n;
		c->active_ns = now_ns;
	}
	if (c->out) {
		free(c->out);
		c->out = NULL;
		watch(srv, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
	}
	if (c->closing) {
		client_drop(c);
		return false;
	}
	return true;
}

/* Answer the complete lines at hand, one reply in flight at a time. */
static void client_serve(struct stats_server *srv, struct stats_client *c, uint64_t now_ns)
{
	while (c->fd >= 0 && client_flush(srv, c, now_ns)) {
		char *eol = memchr(c->in, '\n', c->in_len);
		size_t used;

		if (eol) {
			used = (size_t)(eol - c->in) + 1;
			reply(srv, c, c->in, used - 1);
			c->in_len -= used;
			memmove(c->in, c->in + used, c->in_len);
		} else if (c->in_len == sizeof(c->in)) {
			c->closing = true;
			c->in_len = 0;
			reply(srv, c, NULL, 0);
		} else {
			return;
		}
	}
}

static void client_event(struct stats_server *srv, struct stats_client *c, uint64_t now_ns)
{
	ssize_t n;

	if (c->fd < 0)
		return;
	if (!c->out) {
		n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return client_drop(c);
		if (n > 0) {
			c->in_len += (size_t)n;
			c->active_ns = now_ns;
		}
	}
	client_serve(srv, c, now_ns);
}

void stats_server_event(struct stats_server *srv, void *ptr, uint64_t now_ns)
{
	if (ptr == srv)
		client_accept(srv, now_ns);
	else
		client_event(srv, ptr, now_ns);
}

void stats_server_expire(struct stats_server *srv, uint64_t now_ns)
{
	for (int i = 0; i < STATS_CLIENTS_MAX; i++) {
		struct stats_client *c = &srv->clients[i];

		if (c->fd >= 0 && c->out && now_ns - c->active_ns > STATS_REPLY_DEADLINE_NS)
			client_drop(c);
	}
}

void stats_server_close(struct stats_server *srv)
{
	for (int i = 0; i < STATS_CLIENTS_MAX; i++)
		if (srv->clients[i].fd >= 0)
			client_drop(&srv->clients[i]);
	if (srv->listen_fd >= 0)
		close(srv->listen_fd);
	if (srv->path[0])
		unlink(srv->path);
	srv->listen_fd = -1;
	srv->path[0] = '\0';
}
