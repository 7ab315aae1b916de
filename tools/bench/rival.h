/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rival.h - other people's programs as a pair: a server on the second core, a client on the first.
 *
 * Both get SIGTERM, then SIGKILL, by their number when the client is through or its time is up; nothing of them
 * is left. They use loopback addresses, shared memory or a socket in a directory of ours, and nothing else.
 */
#ifndef ATOLL_TOOLS_BENCH_RIVAL_H
#define ATOLL_TOOLS_BENCH_RIVAL_H

#include "tools/bench/bench.h"

enum { RIVAL_PORT = 21950, /* below those that the kernel gives to clients */ RIVAL_TEXT_MAX = 16384 };

struct rival_pair {
	const char *const *env; /* NAME=VALUE, NULL-ended; may be NULL */
	const char *server;	/* command line, words apart by single blanks; NULL: it runs already */
	const char *client;
	uint16_t port;	      /* the server is ready when it listens there; 0: not by this */
	const char *path;     /* or when this is there */
	unsigned patience_ms; /* of the client */
};

/* Is the program installed? */
bool rival_there(const char *program);
/* Start the server and wait until it is ready: its pid or negative errno. */
pid_t rival_start(struct bench *b, const struct rival_pair *p);
/* Run the client to its end; what it wrote on stdout in @text. 0; -ETIMEDOUT; -ECHILD: it failed. */
int rival_ask(struct bench *b, const struct rival_pair *p, char text[RIVAL_TEXT_MAX]);
void rival_end(pid_t pid);
/* All three. */
int rival_run(struct bench *b, const struct rival_pair *p, char text[RIVAL_TEXT_MAX]);

#endif
