/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_null.h - what else is to be known of the null device, by those who verify what it was asked
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_DEVICE_NULL_H
#define ATOLL_SERVICES_GPU_EXEC_DEVICE_NULL_H

#include <stdint.h>
#include <string.h>

#include "services/gpu-exec/device.h"

/* The hash of all parameters up to one more block of them: begin with 0. Their order counts. */
static inline uint64_t gpu_null_hash(uint64_t hash, const void *params, uint32_t size)
{
	const uint8_t *p = params;
	uint64_t word;

	for (; size >= 8; size -= 8, p += 8) {
		memcpy(&word, p, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	if (size) {
		word = 0;
		memcpy(&word, p, size);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	return (hash + 1) * 0xbf58476d1ce4e5b9u;
}

/* As a launch of the cpu device fails before anything runs; 0: it would run. */
int gpu_cpu_launch_check(struct gpu_device *d, struct gpu_function *function, const struct gpu_launch *launch,
			 char text[GPU_TEXT_MAX]);

#endif
