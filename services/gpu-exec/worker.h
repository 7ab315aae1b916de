/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h - the process of one session, and how the service talks to it
 *
 * The service (one process, on the ring) has a worker for each session, which nursery.h starts. The worker has the device: a
 * crash, a fault that stays or a kernel without end is its own affair, and killing it frees all that the
 * session had. It never touches a ring; of shared memory it has the session's bounce region and a page
 * of counters that only it writes.
 *
 * Between them is a socket that keeps records whole: batches go down, one answer for each comes back, in
 * order. Neither side waits for the other with a full socket: the service queues.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_WORKER_H
#define ATOLL_SERVICES_GPU_EXEC_WORKER_H

#include <stdatomic.h>
#include <stdint.h>

#include "proto/gpu_calls.h"
#include "services/gpu-exec/device.h"

enum { WORKER_PAYLOAD_MAX = 8192 };

enum worker_kind {
	WORKER_BATCH = 1, /* down: calls */
	WORKER_LIMIT = 2, /* down: a[0] bytes may be allocated */
	WORKER_READY = 3, /* up: a[0] negative errno or 0, a[1] its process; a sentence */
	WORKER_ANSWER = 4, /* up: a[0] error, a[1] enum gpu_state, a[2] result of the last call */
};

struct worker_head {
	uint32_t kind, length; /* bytes that follow */
	uint64_t token;	       /* of a batch and its answer: the request's */
	uint64_t seq;
	uint64_t a[3];
};

/* A page that the worker writes and the service reads. */
struct worker_page {
	_Atomic uint64_t answers; /* written to the socket so far */
	_Atomic uint64_t used, calls, launches, bytes_in, bytes_out, error;
	_Atomic uint64_t busy_ns; /* of the device, for kernels and copies */
};

struct worker_conf {
	const struct gpu_device_ops *ops;
	struct gpu_device_conf device;
	int socket;
	void *bounce;
	uint64_t bounce_size;
	unsigned share; /* percent of the time that its device may be busy; 0 or 100: all of it */
	struct worker_page *page;
};

/* The worker's main; does not return. */
void worker_run(const struct worker_conf *conf) __attribute__((noreturn));

#endif
