/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scx_stats protocol on a Unix stream socket: one JSON request per line,
 * one JSON reply per line, {"errno":N,"args":{"resp":…}}. Driven by the owner's
 * epoll: nothing here blocks. A client costs at most a request and a reply of
 * memory; one that does not read its reply in time is dropped, and of idle
 * ones the longest idle makes room for a new one.
 */
#ifndef KTSTR_STATS_SERVER_H
#define KTSTR_STATS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define STATS_REQUEST_MAX	(16 * 1024)
#define STATS_CLIENTS_MAX	16
#define STATS_REPLY_DEADLINE_NS 5000000000ull

/* Print the value of "resp" for a target "top" and for stats_meta. */
struct stats_source {
	void (*print_top)(FILE *out, void *arg);
	void (*print_meta)(FILE *out, void *arg);
	void *arg;
};

struct stats_client {
	int fd;		    /* -1: free */
	bool closing;	    /* close once the reply is out */
	uint64_t active_ns; /* last progress in either direction */
	size_t in_len, out_len, out_done;
	char *out;
	char in[STATS_REQUEST_MAX];
};

struct stats_server {
	int epoll_fd, listen_fd;
	struct stats_source source;
	char path[108];
	struct stats_client clients[STATS_CLIENTS_MAX];
};

/* Creates the folders and the socket; a negative errno and a sentence in `why` on failure. */
int stats_server_open(struct stats_server *srv, int epoll_fd, const char *path,
		      struct stats_source source, char *why, size_t why_size);
/* Handle one epoll event whose data.ptr is the server (listener) or one of its clients. */
void stats_server_event(struct stats_server *srv, void *ptr, uint64_t now_ns);
/* Drop clients that are past their deadline; call it now and then. */
void stats_server_expire(struct stats_server *srv, uint64_t now_ns);
void stats_server_close(struct stats_server *srv);

#endif
