/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nursery.h - the process that starts the workers of sessions
 *
 * It is started before the service has a ring and has none itself. It may make processes and
 * executable memory, which the process on the ring has given up; the two talk by a socket. A worker
 * gets its own socket, its page of counters and its bounce region as descriptors, and nothing else
 * of the service's. The nursery ends, and its workers with it, when the service does.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_NURSERY_H
#define ATOLL_SERVICES_GPU_EXEC_NURSERY_H

#include <stdint.h>

#include "services/gpu-exec/worker.h"

struct nursery_birth {
	char device[16];
	uint32_t cores, capability, share;
	uint64_t limit, window_base, window_size, bounce_size, kernel_ns;
};

/* 0: *@out is the service's end of the socket; negative errno. One thread, before anything is
 * attached. */
int nursery_start(int *out);

/* A worker for session @number. The descriptors stay the caller's. 0, -EAGAIN, -EPIPE. */
int nursery_birth(int nursery, uint32_t number, const struct nursery_birth *b, int socket, int page,
		  int bounce);
/* Kill it; that it is gone is told in any case. */
int nursery_kill(int nursery, uint32_t number);
/* Whose process is gone, its memory free: 1 and a number; 0: nobody's; -EPIPE: the nursery itself
 * is. */
int nursery_gone(int nursery, uint32_t *number);

#endif
