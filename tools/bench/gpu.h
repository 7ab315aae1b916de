/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu.h - programs beside the gpu benchmark that are asked for a figure at a time: a line in, a line out
 */
#ifndef ATOLL_TOOLS_BENCH_GPU_H
#define ATOLL_TOOLS_BENCH_GPU_H

#include <stdio.h>

#include "tools/bench/nodes.h"

struct work {
	pid_t pid;
	FILE *to, *from;
};

/* @program of the build's tools/bench, pinned; it has said that it is ready. 0 or negative errno. */
int work_start(struct bench *b, struct work *w, const char *program, int core, const char *device,
	       const char *socket);
void work_end(struct work *w);
/* Asks for work, waits, takes the @n numbers of the answer. 0 or negative errno. */
int work_ask(struct work *w, double *out, unsigned n, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* gpu_netreq.c: how near netreq's predictions come; @dir: for recordings. 0 or negative errno. */
int gpu_netreq(struct bench *b, const char *dir);

/* gpu_rpc.c: @n launches, each a SunRPC call on a unix socket in @dir: how many a second. 0 or negative errno. */
int gpu_rpc_rate(struct bench *b, const char *dir, unsigned n, double *rate);

/* ipc.c: one round of the raw round trip of a cache line between the two cores, p50 in ns. */
int ipc_raw(struct bench *b, double *ns);

#endif
