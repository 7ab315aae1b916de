/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_impl.h - inside the process of a session: its handles and its loop
 *
 * Handles are numbers that the client chose. A table of each kind grows with the largest that was made, up
 * to a bound.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_WORKER_IMPL_H
#define ATOLL_SERVICES_GPU_EXEC_WORKER_IMPL_H

#include "services/gpu-exec/worker.h"

enum {
	WORKER_HANDLES_MAX = 1 << 20, /* of one kind */
	WORKER_PARAMS_MAX = 1024,     /* parameters of a kernel */
	WORKER_PRINTED_MAX = 1 << 20, /* bytes that kernels printed and nobody took; what is more is lost */
};

struct worker_function {
	struct gpu_function *function; /* NULL: no such handle */
	uint32_t module;
};

struct gpu_worker {
	struct worker_conf conf;
	const struct gpu_device_ops *ops;
	struct gpu_device *dev;
	struct gpu_module **modules;
	struct worker_function *functions;
	uint64_t *events; /* ns; 0: not recorded */
	uint32_t modules_room, functions_room, events_room;
	uint8_t *image;
	uint64_t image_size;
	char *printed;
	size_t printed_size;
	uint64_t printed_lost; /* bytes */
	char text[GPU_TEXT_MAX]; /* explains the error of the call at hand */
};

/* Room for handle @handle in a table of elements of @each bytes: 0, 1 or 2 (cudaError_t). */
int worker_room(void **table, uint32_t *room, size_t each, uint32_t handle);

/* Kernels print: for gpu_device_conf. */
void worker_print(void *user, const char *text, uint64_t size);

#endif
