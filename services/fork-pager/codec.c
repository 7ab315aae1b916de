/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TAKEN_MAX = 64 << 20, /* bytes in memory of one image: what its counts could ask for at most */
};

void codec_fail(struct codec *c, int error, const char *why)
{
	if (c->error)
		return;
	c->error = error;
	c->why = why;
}

static void put(struct codec *c, const void *p, size_t n)
{
	if (c->error || n == 0)
		return;
	if (c->len + n > c->room) {
		size_t room = (c->len + n) * 2;
		uint8_t *more = realloc(c->out, room);

		if (!more) {
			codec_fail(c, -ENOMEM, "no memory");
			return;
		}
		c->out = more;
		c->room = room;
	}
	memcpy(c->out + c->len, p, n);
	c->len += n;
}

static const uint8_t *get(struct codec *c, size_t n)
{
	if (c->error)
		return NULL;
	if (n > c->end - c->at) {
		codec_fail(c, -EBADMSG, "it ends too early");
		return NULL;
	}
	c->at += n;
	return c->in + c->at - n;
}

static void *take(struct codec *c, size_t n)
{
	void *p;

	if (c->error)
		return NULL;
	c->taken += n;
	if (c->taken > TAKEN_MAX) {
		codec_fail(c, -EBADMSG, "its counts ask for too much memory");
		return NULL;
	}
	p = calloc(1, n);
	if (!p)
		codec_fail(c, -ENOMEM, "no memory");
	return p;
}

static void put_number(struct codec *c, uint64_t v)
{
	uint8_t b[10];
	unsigned n = 0;

	do {
		b[n] = (uint8_t)(v & 0x7f);
		v >>= 7;
		if (v)
			b[n] |= 0x80;
		n++;
	} while (v);
	put(c, b, n);
}

static uint64_t get_number(struct codec *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t *b = get(c, 1);

		if (!b)
			return 0;
		if (shift == 63 && *b > 1)
			break;
		v |= (uint64_t)(*b & 0x7f) << shift;
		if (!(*b & 0x80))
			return v;
	}
	codec_fail(c, -EBADMSG, "a number is longer than 64 bits");
	return 0;
}

void codec_u64(struct codec *c, uint64_t *v, uint64_t max)
{
	if (!c->reading) {
		if (*v > max)
			codec_fail(c, -EINVAL, "a field is out of range");
		put_number(c, *v);
		return;
	}
	*v = get_number(c);
	if (*v > max) {
		codec_fail(c, -EBADMSG, "a field is out of range");
		*v = 0;
	}
}

void codec_u32(struct codec *c, uint32_t *v, uint32_t max)
{
	uint64_t w = *v;

	codec_u64(c, &w, max);
	*v = (uint32_t)w;
}

void codec_u8(struct codec *c, uint8_t *v, uint8_t max)
{
	uint64_t w = *v;

	codec_u64(c, &w, max);
	*v = (uint8_t)w;
}

void codec_i32(struct codec *c, int32_t *v, int32_t min, int32_t max)
{
	uint64_t w = (uint64_t)((int64_t)*v - min);

	codec_u64(c, &w, (uint64_t)((int64_t)max - min));
	*v = (int32_t)((int64_t)w + min);
}

void codec_bool(struct codec *c, bool *v)
{
	uint64_t w = *v;

	codec_u64(c, &w, 1);
	*v = w;
}

void codec_raw(struct codec *c, void *p, size_t n)
{
	const uint8_t *from;

	if (!c->reading) {
		put(c, p, n);
		return;
	}
	from = get(c, n);
	if (from)
		memcpy(p, from, n);
	else
		memset(p, 0, n);
}

void codec_bytes(struct codec *c, struct image_bytes *b, uint32_t max)
{
	codec_u32(c, &b->len, max);
	if (!c->reading) {
		put(c, b->data, b->len);
		return;
	}
	if (b->len > c->end - c->at)
		codec_fail(c, -EBADMSG, "it ends too early");
	b->data = take(c, (size_t)b->len + 1);
	if (b->data)
		codec_raw(c, b->data, b->len);
	else
		b->len = 0;
}

/* Pairs (zero words, other words), until the length is reached. */
void codec_sparse(struct codec *c, struct image_bytes *b, uint32_t max)
{
	static const uint8_t zero[8];
	uint32_t at = 0;

	codec_u32(c, &b->len, max);
	if (b->len % 8)
		codec_fail(c, c->reading ? -EBADMSG : -EINVAL, "a field is out of range");
	if (c->reading) {
		b->data = take(c, (size_t)b->len + 1);
		if (!b->data)
			b->len = 0;
	}
	while (at < b->len && !c->error) {
		uint32_t zeros = 0, words = 0;

		if (!c->reading) {
			while (at + zeros * 8 < b->len && !memcmp(b->data + at + zeros * 8, zero, 8))
				zeros++;
			while (at + (zeros + words) * 8 < b->len &&
			       memcmp(b->data + at + (zeros + words) * 8, zero, 8) != 0)
				words++;
		}
		codec_u32(c, &zeros, (b->len - at) / 8);
		at += zeros * 8;
		codec_u32(c, &words, (b->len - at) / 8);
		if (zeros + words == 0)
			codec_fail(c, -EBADMSG, "a run of nothing");
		if (c->error)
			break;
		codec_raw(c, b->data + at, (size_t)words * 8);
		at += words * 8;
	}
}

void codec_array(struct codec *c, void **array, uint32_t *n, uint32_t max, size_t size)
{
	codec_u32(c, n, max);
	if (!c->reading)
		return;
	/* Each element has a byte at least. */
	if (*n > c->end - c->at)
		codec_fail(c, -EBADMSG, "it ends too early");
	*array = *n ? take(c, *n * size) : NULL;
	if (!*array)
		*n = 0;
}
