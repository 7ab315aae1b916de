/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cudart.h - inside libcudart: types as its ABI has them, and what its files share
 *
 * Nothing of NVIDIA's headers is used: they need not be there. Sizes are those that programs were compiled
 * with; CUDART_MAJOR is 12 or 13, by which one structure differs.
 *
 * The last error is each thread's own.
 */
#ifndef ATOLL_CLIENTS_GPU_CUDART_H
#define ATOLL_CLIENTS_GPU_CUDART_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/gpu/order.h"

#ifndef CUDART_MAJOR
#define CUDART_MAJOR 13
#endif

#define EXPORT __attribute__((visibility("default")))

typedef int cudaError_t;
typedef void *cudaStream_t, *cudaEvent_t;

struct dim3 {
	unsigned x, y, z;
};

enum { H2H, H2D, D2H, D2D, ANY }; /* cudaMemcpyKind */

enum {
	E_INVALID_VALUE = 1,
	E_DIRECTION = 21,   /* cudaErrorInvalidMemcpyDirection */
	E_CONFIG_MISSING = 52,
};

/* The thread's last error, unless @code is 0 or says that something is not ready. Returns @code. */
cudaError_t rt_set(cudaError_t code);

/* For functions that are not there: NotSupported. With $ATOLL_GPU_VERBOSE a line says which. */
cudaError_t rt_refuse(const char *function);

/* ------------------------------------------------------------------ code that the program brought */

/* A kernel that a program registered, and what became of it on each device. */
struct rt_kernel {
	const void *host;
	char *name;
	struct rt_image *image;
	struct {
		unsigned generation; /* 0: not asked for */
		int refused;	     /* the device cannot run it: it is not asked again */
		struct gpu_kernel *kernel;
	} on[GPU_DEVICES_MAX];
	struct rt_kernel *next;
	int shared_optin; /* cudaFuncAttributeMaxDynamicSharedMemorySize */
};

/* By the address of its host function, or the handle of __cudaGetKernel; NULL. */
struct rt_kernel *rt_kernel_find(const void *host);
/* The kernel on the current device: loads its module when it is wanted for the first time. */
int rt_kernel_get(struct gpu *g, struct rt_kernel *k, const struct gpu_kernel **out);
int rt_variable(struct gpu *g, const void *host, uint64_t *address, uint64_t *size);

/* cudart_memory.c: what the functions of copies and of setting do, now, in any order that streams allow */
int rt_copy_rows(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind);
int rt_fill(void *p, size_t pitch, unsigned value, unsigned element, size_t width, size_t height);

#endif
