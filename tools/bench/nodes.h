/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes.h - two real nodes, a on the first core and b on the second, for benchmarks; and how they are joined.
 */
#ifndef ATOLL_TOOLS_BENCH_NODES_H
#define ATOLL_TOOLS_BENCH_NODES_H

#include "tools/bench/bench.h"

enum { NODES_HEARTBEAT_MS = 50 };

struct nodes {
	char dir[64]; /* everything of theirs; removed by nodes_down */
	char socket[2][96];
	const char *services_a; /* sections for node a's file, or NULL */
	int heartbeat_ms;  /* 0: NODES_HEARTBEAT_MS */
	const char *fault; /* "fault:.../" in front of both ports, or NULL */
	pid_t supervisor[2];
};

/* Makes the directory and sets @b->port; @shm: by the shared-memory link, else kernel UDP. */
int nodes_begin(struct bench *b, struct nodes *n, bool shm);
/* The port of side 0 or 1 as a configuration names it. */
void nodes_port(const struct nodes *n, bool shm, int side, char *out, size_t len);
/* Starts both and waits until they talk. @services: sections for node b's file, or "". */
int nodes_up(struct bench *b, struct nodes *n, bool shm, const char *services);
/* What `svcctl status --json` says of a node, with a zero behind it. 0 or negative errno. */
int nodes_status(struct bench *b, const struct nodes *n, int side, char *text, size_t size);
/* Pid of a process of a node; 0 when there is none. */
pid_t nodes_pid(struct bench *b, const struct nodes *n, int side, const char *process);
/* End both; what they wrote stays. */
void nodes_stop(struct nodes *n);
/* And remove it. */
void nodes_down(struct nodes *n);
/* Is the shared-memory link to be had here? By trying it. */
bool nodes_shm_works(struct bench *b);
/* One run of the raw probe of the link. p50 of a small frame's round trip in ns. 0 or negative errno. */
int nodes_raw(struct bench *b, bool shm, struct latency *out);

/* What the bare shared-memory link does with frames of the sizes that ours have. */
struct nodes_limit {
	double ping_ns; /* round trip of a frame of a message of one slot, p50 */
	double window;	/* round trips a second of READ responses of 64 bytes, 32 under way */
	double bytes;	/* one way, of READ responses of 4096 bytes: of the READ */
};
int nodes_raw_limit(struct bench *b, struct nodes_limit *out);

#endif
