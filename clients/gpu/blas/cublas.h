/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cublas.h - inside libcublas: what it uses of libcudart
 */
#ifndef ATOLL_CLIENTS_GPU_BLAS_CUBLAS_H
#define ATOLL_CLIENTS_GPU_BLAS_CUBLAS_H

#include <stddef.h>

#ifndef CUDART_MAJOR
#define CUDART_MAJOR 13
#endif

#define EXPORT __attribute__((visibility("default")))

/* Declares and defines an exported function; all give a cublasStatus_t. */
#define BLAS(signature)                                                                                                \
	EXPORT int signature;                                                                                          \
	EXPORT int signature

struct dim3 {
	unsigned x, y, z;
};

int cudaMalloc(void **p, size_t size);
int cudaFree(void *p);
int cudaMemcpy(void *to, const void *from, size_t size, int kind);
int cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind);
int cudaStreamSynchronize(void *stream);
int cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *stream);
void **__cudaRegisterFatBinary(void *fatbin);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit, void *tid,
			    void *bid, void *block, void *grid, int *warp);

/* For functions that are not there: 15. With $ATOLL_GPU_VERBOSE a line says which. */
int blas_refuse(const char *function);

#endif
