/* SPDX-License-Identifier: Apache-2.0 */
/* extents.h - which ranges of a device's window are allocated: a list sorted by address, none over another */
#ifndef ATOLL_SERVICES_GPU_EXEC_EXTENTS_H
#define ATOLL_SERVICES_GPU_EXEC_EXTENTS_H

#include <stddef.h>
#include <stdint.h>

struct extent {
	uint64_t address, size;
};

/* Index of the first extent that ends above @address. */
size_t extent_after(const struct extent *list, size_t n, uint64_t address);
/* @list is allocated with room for @room. 0; 1: over another; 2: no memory (cudaError_t). */
int extent_add(struct extent **list, size_t *n, size_t *room, uint64_t address, uint64_t size);
/* The extent that begins there; its size, 0: none. */
uint64_t extent_remove(struct extent *list, size_t *n, uint64_t address);

#endif
