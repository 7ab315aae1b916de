/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - the service that benchmarks ask: echoes, never answers when asked so, and grants its region.
 */
#ifndef ATOLL_TOOLS_BENCH_MEMORY_H
#define ATOLL_TOOLS_BENCH_MEMORY_H

#include "ipc/endpoint.h"
#include "tools/bench/nodes.h"

/* Opcodes of this program's own: no schema names them, the router passes them on. */
enum { OP_MEMORY_OPEN = 0x7001, OP_MEMORY_ECHO, OP_MEMORY_SILENCE };

enum { MEMORY_REGION = 4 << 20 };

struct memory_service {
	struct atoll_endpoint *ep;
	struct atoll_handle region;
};

/* Makes @ep answer; @region is granted, with READ and WRITE, to who asks for it. */
void memory_bind(struct memory_service *s, struct atoll_endpoint *ep, struct atoll_handle region);

/* A process with this service, attached to node b under @name, with a region of MEMORY_REGION bytes. Returns
 * its pid once it is there, or negative errno. */
pid_t memory_start(struct bench *b, const struct nodes *n, const char *name);

#endif
