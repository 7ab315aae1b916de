/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_driver.h - the functions of NVIDIA's driver (libcuda.so.1) that device_cuda.c calls, found at run time
 *
 * Declared here from the public documentation of the driver API, so that nothing of CUDA is needed to build. All
 * return a CUresult: the same numbers as cudaError_t where both have one. Handles are pointers, device pointers
 * 64 bits. A name is the one that the library exports, with its version.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_CUDA_DRIVER_H
#define ATOLL_SERVICES_GPU_EXEC_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

/* CUdevice_attribute */
enum cuda_attribute {
	CUDA_MAX_THREADS_PER_BLOCK = 1,
	CUDA_MAX_BLOCK_DIM_X = 2, /* Y, Z follow */
	CUDA_MAX_GRID_DIM_X = 5,  /* Y, Z follow */
	CUDA_SHARED_PER_BLOCK = 8,
	CUDA_TOTAL_CONSTANT = 9,
	CUDA_WARP = 10,
	CUDA_REGISTERS_PER_BLOCK = 12,
	CUDA_CLOCK_KHZ = 13,
	CUDA_MULTIPROCESSORS = 16,
	CUDA_MEMORY_CLOCK_KHZ = 36,
	CUDA_MEMORY_BUS_BITS = 37,
	CUDA_L2_BYTES = 38,
	CUDA_THREADS_PER_MULTIPROCESSOR = 39,
	CUDA_COMPUTE_MAJOR = 75,
	CUDA_COMPUTE_MINOR = 76,
	CUDA_SHARED_PER_MULTIPROCESSOR = 81,
	CUDA_SHARED_OPTIN = 97,
	CUDA_VIRTUAL_MEMORY = 102, /* management of it is supported */
	CUDA_BLOCKS_PER_MULTIPROCESSOR = 106,
};

/* CUfunction_attribute */
enum cuda_function_attribute {
	CUDA_FUNC_MAX_THREADS = 0,
	CUDA_FUNC_SHARED = 1,
	CUDA_FUNC_CONST = 2,
	CUDA_FUNC_LOCAL = 3,
	CUDA_FUNC_REGISTERS = 4,
	CUDA_FUNC_PTX_VERSION = 5,
	CUDA_FUNC_BINARY_VERSION = 6,
	CUDA_FUNC_MAX_DYNAMIC_SHARED = 8,
};

enum {
	CUDA_JIT_ERROR_LOG = 5,	      /* CU_JIT_ERROR_LOG_BUFFER: char * */
	CUDA_JIT_ERROR_LOG_BYTES = 6, /* its size, as a number in a pointer */
	CUDA_NOT_READY = 600,
	CUDA_LOCATION_DEVICE = 1,
	CUDA_PINNED = 1, /* CU_MEM_ALLOCATION_TYPE_PINNED: what cuMemCreate makes */
	CUDA_READ_WRITE = 3,
};

struct cuda_location {
	int type, id;
};

struct cuda_allocation_prop { /* CUmemAllocationProp */
	int type, handle_types;
	struct cuda_location location;
	void *win32;
	uint8_t compression, rdma;
	uint16_t usage;
	uint8_t reserved[4];
};

struct cuda_access { /* CUmemAccessDesc */
	struct cuda_location location;
	int flags;
};

_Static_assert(sizeof(struct cuda_allocation_prop) == 32, "as the driver has it");
_Static_assert(sizeof(struct cuda_access) == 12, "as the driver has it");

/* X(type of function, member, exported name, whether it must be there) */
#define CUDA_DRIVER(X) \
	X(int (*)(unsigned), init, "cuInit", 1) \
	X(int (*)(int *), device_count, "cuDeviceGetCount", 1) \
	X(int (*)(int *, int), device_get, "cuDeviceGet", 1) \
	X(int (*)(char *, int, int), device_name, "cuDeviceGetName", 1) \
	X(int (*)(void *, int), device_uuid, "cuDeviceGetUuid_v2", 1) \
	X(int (*)(int *, int, int), device_attribute, "cuDeviceGetAttribute", 1) \
	X(int (*)(void **, unsigned, int), ctx_create, "cuCtxCreate_v2", 1) \
	X(int (*)(void *), ctx_destroy, "cuCtxDestroy_v2", 1) \
	X(int (*)(void *), ctx_set, "cuCtxSetCurrent", 1) \
	X(int (*)(void), ctx_sync, "cuCtxSynchronize", 1) \
	X(int (*)(void *), stream_query, "cuStreamQuery", 1) \
	X(int (*)(int, const char **), error_string, "cuGetErrorString", 1) \
	X(int (*)(uint64_t *, size_t), mem_alloc, "cuMemAlloc_v2", 1) \
	X(int (*)(uint64_t), mem_free, "cuMemFree_v2", 1) \
	X(int (*)(uint64_t, const void *, size_t), copy_in, "cuMemcpyHtoD_v2", 1) \
	X(int (*)(void *, uint64_t, size_t), copy_out, "cuMemcpyDtoH_v2", 1) \
	X(int (*)(uint64_t, uint64_t, size_t, void *), copy, "cuMemcpyDtoDAsync_v2", 1) \
	X(int (*)(uint64_t, uint8_t, size_t, void *), fill8, "cuMemsetD8Async", 1) \
	X(int (*)(uint64_t, uint16_t, size_t, void *), fill16, "cuMemsetD16Async", 1) \
	X(int (*)(uint64_t, uint32_t, size_t, void *), fill32, "cuMemsetD32Async", 1) \
	X(int (*)(void **, const void *, unsigned, int *, void **), module_load, "cuModuleLoadDataEx", 1) \
	X(int (*)(void *), module_unload, "cuModuleUnload", 1) \
	X(int (*)(void **, void *, const char *), module_function, "cuModuleGetFunction", 1) \
	X(int (*)(uint64_t *, size_t *, void *, const char *), module_global, "cuModuleGetGlobal_v2", 1) \
	X(int (*)(int *, int, void *), func_attribute, "cuFuncGetAttribute", 1) \
	X(int (*)(void *, int, int), func_set, "cuFuncSetAttribute", 1) \
	X(int (*)(void *, size_t, size_t *, size_t *), func_param, "cuFuncGetParamInfo", 1) \
	X(int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, \
		  void **), launch, "cuLaunchKernel", 1) \
	X(int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **), \
	  launch_cooperative, "cuLaunchCooperativeKernel", 1) \
	X(int (*)(uint64_t *, size_t, size_t, uint64_t, uint64_t), reserve, "cuMemAddressReserve", 0) \
	X(int (*)(uint64_t, size_t), unreserve, "cuMemAddressFree", 0) \
	X(int (*)(size_t *, const struct cuda_allocation_prop *, int), granularity, "cuMemGetAllocationGranularity", 0) \
	X(int (*)(uint64_t *, size_t, const struct cuda_allocation_prop *, uint64_t), create, "cuMemCreate", 0) \
	X(int (*)(uint64_t), release, "cuMemRelease", 0) \
	X(int (*)(uint64_t, size_t, size_t, uint64_t, uint64_t), map, "cuMemMap", 0) \
	X(int (*)(uint64_t, size_t), unmap, "cuMemUnmap", 0) \
	X(int (*)(uint64_t, size_t, const struct cuda_access *, size_t), access, "cuMemSetAccess", 0)

struct cuda_driver {
#define CUDA_MEMBER(type, member, name, must) __typeof__(type) member;
	CUDA_DRIVER(CUDA_MEMBER)
#undef CUDA_MEMBER
};

/**
 * cuda_driver_load - the library that $ATOLL_CUDA_LIBRARY names, else libcuda.so.1; once in a process.
 * @why: on failure, a sentence.
 * Return: NULL if there is none, it lacks a function that is needed, or finds no device.
 */
const struct cuda_driver *cuda_driver_load(char *why, size_t size);

#endif
