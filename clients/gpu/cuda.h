/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda.h - inside libcuda: the driver's functions over the same devices
 *
 * A device has one session and so one context, which all contexts that a program makes of it share: they
 * differ in name, and when the last is destroyed the device is reset. Each thread has a stack of them.
 */
#ifndef ATOLL_CLIENTS_GPU_CUDA_H
#define ATOLL_CLIENTS_GPU_CUDA_H

#include "clients/gpu/order.h"

/* Declares and defines an exported function; all give a CUresult. */
#define API(signature)                                                                             \
	__attribute__((visibility("default"))) int signature;                                      \
	__attribute__((visibility("default"))) int signature
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t device_pointer;

/* For functions that are not there. With $ATOLL_GPU_VERBOSE a line says which. */
int drv_refuse(const char *function);

/* The device of the thread's context; 3: cuInit is missing, 201: there is no context. */
int drv_gpu(struct gpu **g);

/* An exported function that does something, by its full name; NULL. Made from functions.toml. */
void *drv_function(const char *name);

#endif
