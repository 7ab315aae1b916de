/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern.h - contents that both ends of an interoperability test can make from a number.
 */
#ifndef ATOLL_TESTS_INTEROP_PATTERN_H
#define ATOLL_TESTS_INTEROP_PATTERN_H

#include <stdint.h>

/* Byte @i of the contents @seed; every byte depends on both. */
static inline uint8_t pattern_byte(uint64_t seed, uint64_t i)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + i / 8 * 0xbf58476d1ce4e5b9u;

	x = (x ^ x >> 29) * 0x94d049bb133111ebu;
	return (uint8_t)(x >> (i & 7) * 8);
}

static inline void pattern_fill(uint8_t *at, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i++)
		at[i] = pattern_byte(seed, i);
}

/* First byte that is not as it should be, or -1. */
static inline int64_t pattern_differs(const uint8_t *at, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i++)
		if (at[i] != pattern_byte(seed, i))
			return (int64_t)i;
	return -1;
}

#endif
