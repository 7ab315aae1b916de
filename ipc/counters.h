/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters.h - a page of named numbers with one writer and any number of readers.
 *
 * The page is a memory file: a header, one line of text for each counter (name, unit, what it counts),
 * and the values, 8 bytes each, written with plain aligned stores. Readers map it read-only and
 * see each value whole, though not all of one moment.
 */
#ifndef ATOLL_IPC_COUNTERS_H
#define ATOLL_IPC_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

enum {
	COUNTERS_MAGIC = 0x41746e43,
	COUNTERS_MAX = 256,
};

enum counter_kind {
	COUNTER_SUM,   /* only rises while the writer lives */
	COUNTER_LEVEL, /* what there is now */
};

struct counter_info {
	char name[40];
	char unit[16];
	char help[71];
	uint8_t kind; /* enum counter_kind */
};

struct counters_page {
	uint32_t magic;
	uint32_t major;
	uint32_t count;
	uint32_t pid;
	uint64_t started_ns; /* monotonic */
	uint64_t reserved[5];
	struct counter_info info[COUNTERS_MAX];
	uint64_t value[COUNTERS_MAX];
};
_Static_assert(offsetof(struct counters_page, info) == 64, "layout");
_Static_assert(offsetof(struct counters_page, value) == 64 + 128 * COUNTERS_MAX, "layout");

/**
 * counters_format - set up a zeroed page of sizeof(struct counters_page) bytes.
 * @info: @count descriptions, at most COUNTERS_MAX.
 */
void counters_format(struct counters_page *page, const struct counter_info *info, uint32_t count);

/* Is this a page that counters_format made (as far as one can see)? Counts are bounded by the check. */
int counters_check(const struct counters_page *page, size_t size);

static inline uint64_t counters_read(const struct counters_page *page, uint32_t i)
{
	return __atomic_load_n(&page->value[i], __ATOMIC_RELAXED);
}

/* Of a level. */
static inline void counter_set(uint64_t *value, uint64_t n)
{
	__atomic_store_n(value, n, __ATOMIC_RELAXED);
}

static inline void counter_add(uint64_t *value, uint64_t n)
{
	__atomic_store_n(value, *value + n, __ATOMIC_RELAXED);
}

#endif
