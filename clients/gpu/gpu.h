/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu.h - a remote device, as the CUDA libraries above it use it
 *
 * One library (libatoll_gpu) holds the connections of a process; libcudart and libcuda are thin
 * layers over it, so that a program which uses both sees one device with one memory.
 *
 * A connection has a session at a gpu-exec. Calls are appended to a batch; a batch is sent when it is full,
 * when somebody waits for it, when fewer than two are on the way and there is work for the device in it or
 * somebody asks for it, or a tenth of a millisecond later by a thread of the library. Batches are done in order, so a place in the order (a mark) is all that events and
 * stream queries need, and asking whether it was reached costs no message.
 *
 * Device memory is given out here: the addresses are the client's choice, and the service leases bytes.
 *
 * All functions may be called from any thread. Return values are CUDA's error numbers. An error that
 * ends the context, or the loss of the service, is returned by everything from then on.
 */
#ifndef ATOLL_CLIENTS_GPU_H
#define ATOLL_CLIENTS_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/gpu_calls.h"

enum {
	GPU_DEVICES_MAX = 8,
	GPU_KERNEL_PARAMS_MAX = 1024,
};

/* Numbers of cudaError_t that this library gives by itself. */
enum gpu_code {
	GPUE_INVALID_VALUE = 1,
	GPUE_MEMORY = 2,
	GPUE_INITIALIZATION = 3,
	GPUE_CONFIGURATION = 9,
	GPUE_SYMBOL = 13,
	GPUE_UNAVAILABLE = 46, /* cudaErrorDevicesUnavailable: the service is lost, or gives no session */
	GPUE_DEVICE_FUNCTION = 98,
	GPUE_NO_DEVICE = 100,
	GPUE_INVALID_DEVICE = 101,
	GPUE_NO_IMAGE = 209,
	GPUE_HANDLE = 400,
	GPUE_NOT_FOUND = 500,
	GPUE_NOT_READY = 600,
	GPUE_OUT_OF_RESOURCES = 701,
	GPUE_TOO_LARGE = 720, /* cudaErrorCooperativeLaunchTooLarge */
	GPUE_NOT_SUPPORTED = 801,
};

struct gpu;

/* A kernel of a module: its parameters lie where the module says. */
struct gpu_kernel {
	uint32_t handle;
	struct gpu_result_function_get info;
	uint32_t params[GPU_KERNEL_PARAMS_MAX][2]; /* offset, size */
};

struct gpu_geometry {
	uint32_t grid[3], block[3], shared;
	uint32_t stream; /* for traces */
	bool cooperative;
};

/* Devices that $ATOLL_GPU names, less what $CUDA_VISIBLE_DEVICES hides; does not connect. */
unsigned gpu_count(void);
/* The name in $ATOLL_GPU. */
const char *gpu_name(unsigned device);

/* The connection, made at the first call; NULL: @code says why, and a line on stderr has said it once. */
struct gpu *gpu_get(unsigned device, int *code);
/* Whether it is there already, without making it. */
bool gpu_connected(unsigned device);
const struct gpu_result_info *gpu_info(struct gpu *g);
unsigned gpu_index(const struct gpu *g);
/* An attribute by its number in CUDA's headers; 0 for those of features that the device has not. */
int gpu_attribute(const struct gpu_result_info *i, int attribute);

/* The device that has this address allocated, NULL: none has, it is the host's. */
struct gpu *gpu_of_address(uint64_t address, uint64_t *base, uint64_t *size);

/* Takes what has come without waiting. The error that everything returns from now on, 0: none. */
int gpu_poll(struct gpu *g);
/* The first error of a call that nobody waited for, once; not of those that end the context. */
int gpu_late_error(struct gpu *g);

int gpu_malloc(struct gpu *g, uint64_t size, uint64_t *address);
int gpu_free(struct gpu *g, uint64_t address);
/*
 * Memory that the host uses by the same address. What is in it goes to the device before the next thing
 * that is asked of it and comes back when somebody has waited for that. gpu_free frees it.
 */
int gpu_managed_new(struct gpu *g, uint64_t size, uint64_t *address);
bool gpu_is_managed(struct gpu *g, uint64_t address);
/* A variable that a program declared so. */
int gpu_managed_variable(struct gpu *g, uint64_t address, uint64_t size);
int gpu_memory(struct gpu *g, uint64_t *free_bytes, uint64_t *total_bytes);

/*
 * Copies. to_device returns when @from may be changed; to_host when the bytes are there. 1 if the device
 * side is not all of one allocation or of a variable that was asked for.
 */
int gpu_copy_to_device(struct gpu *g, uint64_t to, const void *from, uint64_t size);
int gpu_copy_to_host(struct gpu *g, void *to, uint64_t from, uint64_t size);
int gpu_copy_on_device(struct gpu *g, uint64_t to, uint64_t from, uint64_t size);
int gpu_copy_rows_on_device(struct gpu *g, uint64_t to, uint64_t to_pitch, uint64_t from,
			    uint64_t from_pitch, uint64_t width, uint64_t height);
/* Rows of @width elements. */
int gpu_fill(struct gpu *g, uint64_t to, uint64_t pitch, uint32_t value, uint32_t element,
	     uint64_t width, uint64_t height);
/* Is all of it memory of this device? */
bool gpu_owns(struct gpu *g, uint64_t address, uint64_t size);

/*
 * Pinned memory of this host: copies between it and @g need no copy in between, if it is 64 KiB or more. It
 * ends with gpu_reset. 1: @p is not from gpu_host_alloc of this device. No copy may be under way.
 */
int gpu_host_alloc(struct gpu *g, uint64_t size, void **p);
int gpu_host_free(struct gpu *g, void *p);

/* @size 0: the image says itself how large it is (fat binary, ELF, text ended by 0). */
int gpu_module_load(struct gpu *g, const void *image, uint64_t size, uint32_t *module);
int gpu_module_unload(struct gpu *g, uint32_t module);
/* The sentence of the last error that had one: what compilers of modules say. */
void gpu_last_text(struct gpu *g, char *text, size_t size);
int gpu_kernel_get(struct gpu *g, uint32_t module, const char *name, struct gpu_kernel *kernel);
int gpu_variable_get(struct gpu *g, uint32_t module, const char *name, uint64_t *address, uint64_t *size);

/* What makes a launch fail at once is told here. @params: laid out as the kernel has them. */
int gpu_launch(struct gpu *g, const struct gpu_kernel *k, const struct gpu_geometry *geometry,
	       const void *params, uint32_t params_size);
/* The same from pointers to each parameter. */
int gpu_launch_args(struct gpu *g, const struct gpu_kernel *k, const struct gpu_geometry *geometry,
		    void **args);

/* Blocks of @threads with @shared bytes of dynamic memory that a multiprocessor can have at once. */
unsigned gpu_occupancy(const struct gpu_result_info *i, const struct gpu_kernel *k, unsigned threads, uint64_t shared);
/* The dynamic memory that each of so many blocks can have; 1: so many there cannot be. */
int gpu_occupancy_shared(const struct gpu_result_info *i, const struct gpu_kernel *k, unsigned blocks,
			 unsigned threads, uint64_t *shared);

/* What a texture or surface reads: as object_make of gpu_calls.toml; flags by gpu_object.h. */
struct gpu_image {
	uint64_t base, pitch, slice;
	uint32_t width, height, depth, layers, flags;
	float border[4];
};

/* @object: what kernels are given. 1: not all of it is the device's memory. */
int gpu_object_make(struct gpu *g, const struct gpu_image *image, uint32_t *object);
int gpu_object_end(struct gpu *g, uint32_t object); /* 400: there is none */

/* The place behind all that was asked so far. */
uint64_t gpu_mark(struct gpu *g);
bool gpu_reached(struct gpu *g, uint64_t mark); /* costs no message */
/* Waits for it, sends what is to be sent, and prints what kernels printed. */
int gpu_wait(struct gpu *g, uint64_t mark);
int gpu_sync(struct gpu *g);

/* Events: numbers that are made here. Recording gives the mark. */
int gpu_event_new(struct gpu *g, uint32_t *event);
int gpu_event_record(struct gpu *g, uint32_t event, uint64_t *mark);
int gpu_event_elapsed(struct gpu *g, uint32_t from, uint32_t to, int64_t *ns);

/* Ends the session and frees all it had; the next gpu_get begins another. */
void gpu_reset(struct gpu *g);

/* Name ("cudaErrorInvalidValue") and sentence of an error; NULL: there is no such number. */
const char *gpu_error_name(int code);
const char *gpu_error_text(int code);

/* Messages since the start that the process waited for, and calls: for tests of what costs a round trip. */
void gpu_counts(struct gpu *g, uint64_t *round_trips, uint64_t *batches, uint64_t *calls);

/* Where only a part of a program is recorded ($ATOLL_GPU_TRACE_RANGE): it begins, or has ended. */
void gpu_record(bool on);

#endif
