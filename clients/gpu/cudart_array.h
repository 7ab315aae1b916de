/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cudart_array.h - arrays: memory of a device in rows, which a program knows by a handle only
 *
 * An array's rows lie at a pitch that nobody else sees. Layers and faces of a cube lie one after the other as slices do.
 */
#ifndef ATOLL_CLIENTS_GPU_CUDART_ARRAY_H
#define ATOLL_CLIENTS_GPU_CUDART_ARRAY_H

#include "clients/gpu/cudart.h"

enum { ARRAY_LAYERED = 1, ARRAY_SURFACE = 2, ARRAY_CUBE = 4, ARRAY_GATHER = 8 };

/* cudaChannelFormatDesc: bits of x, y, z, w, and what they are. */
struct channel_desc {
	int bits[4];
	int kind; /* 0 signed, 1 unsigned, 2 float */
};

struct extent {
	size_t width, height, depth;
};

struct array {
	uint32_t magic;
	struct gpu *g;
	unsigned generation; /* of the device's session: with that the memory is gone */
	struct channel_desc desc;
	struct extent extent; /* as asked for: elements; depth or layers */
	unsigned flags, element; /* bytes */
	uint64_t address, pitch, slice;
};

/* The array of that handle, if it is one and its device lives; else 400. */
int array_get(void *handle, struct array **out);
/* Bytes of an element; 0: no such format is there. */
unsigned channel_bytes(const struct channel_desc *d);
unsigned channel_count(const struct channel_desc *d);

#endif
