/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codec.h - numbers and byte strings into a buffer and out of it, by the same code.
 *
 * A function that names the fields of a record in order, once, both writes and reads it, so the two
 * cannot differ. Errors stick: after the first one everything reads as zero, and `error` tells.
 */
#ifndef ATOLL_FORK_CODEC_H
#define ATOLL_FORK_CODEC_H

#include <stdbool.h>

#include "services/fork-pager/image.h"

struct codec {
	bool reading;
	uint8_t *out; /* writing: grows */
	size_t len, room;
	const uint8_t *in; /* reading */
	size_t at, end;
	uint64_t taken; /* bytes allocated for what was read */
	int error;	/* negative errno */
	const char *why;
};

void codec_fail(struct codec *c, int error, const char *why);
/* A number up to @max (of 8 bytes in memory). */
void codec_u64(struct codec *c, uint64_t *v, uint64_t max);
void codec_u32(struct codec *c, uint32_t *v, uint32_t max);
void codec_u8(struct codec *c, uint8_t *v, uint8_t max);
void codec_i32(struct codec *c, int32_t *v, int32_t min, int32_t max);
void codec_bool(struct codec *c, bool *v);
/* As it stands. */
void codec_raw(struct codec *c, void *p, size_t n);
/* A byte string of up to @max bytes. Reading: allocated, with a zero after it. */
void codec_bytes(struct codec *c, struct image_bytes *b, uint32_t max);
/* The same where most of it is zeros: runs of eight-byte zero words are told by their length. */
void codec_sparse(struct codec *c, struct image_bytes *b, uint32_t max);
/* A count, and on reading room for as many elements of @size bytes, zeroed. */
void codec_array(struct codec *c, void **array, uint32_t *n, uint32_t max, size_t size);

#endif
