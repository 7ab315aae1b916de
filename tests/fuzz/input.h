/* SPDX-License-Identifier: Apache-2.0 */
/* input.h - the bytes of one run, taken as numbers until none are left. */
#ifndef ATOLL_TESTS_FUZZ_INPUT_H
#define ATOLL_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *data;
	size_t len;
};

/* The next number of @bytes (up to 8), little endian; what the input lacks is 0. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && in->len; i++, in->data++, in->len--)
		v |= (uint64_t)*in->data << 8 * i;
	return v;
}

#endif
