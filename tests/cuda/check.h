// SPDX-License-Identifier: Apache-2.0
/* check.h - for programs here: CUDA ends main with 1 where a call fails, CHECK counts what is not so in `failures`. */
#pragma once

#include <cuda_runtime.h>

#include <cstdio>

#define CUDA(call) \
	do { \
		cudaError_t rc = (call); \
		if (rc) { \
			printf("line %d: %s: %s\n", __LINE__, #call, cudaGetErrorString(rc)); \
			return 1; \
		} \
	} while (0)
#define CHECK(what) \
	do { \
		if (!(what)) { \
			printf("line %d: %s\n", __LINE__, #what); \
			failures++; \
		} \
	} while (0)
