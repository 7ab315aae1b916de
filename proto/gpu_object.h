/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_object.h - the flags of object_make: lowest bit and width of each part
 *
 * Written by the client's library, read by the service.
 */
#ifndef ATOLL_PROTO_GPU_OBJECT_H
#define ATOLL_PROTO_GPU_OBJECT_H

enum {
	GPU_OBJECT_CHANNELS = 0, /* 4 bits: 1, 2 or 4 */
	GPU_OBJECT_BYTES = 4,	 /* 4: of a channel */
	GPU_OBJECT_KIND = 8,	 /* 4: 0 signed, 1 unsigned, 2 float */
	GPU_OBJECT_WRAP = 12,	 /* 3 times 2: cudaTextureAddressMode of x, y, z */
	GPU_OBJECT_LINEAR = 20,	 /* the rest 1 each */
	GPU_OBJECT_NORMALIZED = 21,
	GPU_OBJECT_READ_FLOAT = 22,
	GPU_OBJECT_SURFACE = 23,
	GPU_OBJECT_CUBE = 24,
};

#endif
