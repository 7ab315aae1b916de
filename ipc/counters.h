/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters.h - a page of named numbers with one writer and any number of readers.
 *
 * The page is a memory file: a header, one line of text for each counter (name, unit, what it counts),
 * and the values, 8 bytes each, written with plain aligned stores. Readers map it read-only and
 * see each value whole, though not all of one moment.
 *
 * Behind them lie slots, for what comes and goes: one an endpoint and one a lane. A slot is written whole from time to
 * time; its version is odd meanwhile.
 */
#ifndef ATOLL_IPC_COUNTERS_H
#define ATOLL_IPC_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	COUNTERS_MAGIC = 0x41746e43,
	COUNTERS_MAX = 256,
	COUNTERS_SLOTS = 192,
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

enum counters_slot_kind { SLOT_FREE, SLOT_ENDPOINT, SLOT_LANE };

/* Sums but for those that say that they are what there is now. */
enum counters_slot_value {
	SLOT_MESSAGES,	  /* of an endpoint: taken from its ring */
	SLOT_DELIVERED,	  /* of an endpoint: slots of records put on its ring, completions too */
	SLOT_CHAINS,	  /* of verbs */
	SLOT_VERBS,
	SLOT_BYTES,	  /* that they were to move */
	SLOT_OPEN,	  /* now: requests of an endpoint, chains of a lane that have not ended */
	SLOT_RETRANSMITS, /* of a lane */
	SLOT_LATENCY_NS,  /* now: of a lane's chains, a moving mean of samples */
	SLOT_VALUES,
};

struct counters_slot {
	uint32_t version; /* odd: is being written */
	uint16_t kind;	  /* enum counters_slot_kind */
	uint16_t lane;	  /* its number */
	uint32_t endpoint;
	uint32_t pid;
	uint16_t node; /* the other end of a lane */
	uint16_t depth;
	uint32_t pad;
	char name[40]; /* of the endpoint; empty: a client without one */
	uint64_t value[SLOT_VALUES];
};
_Static_assert(sizeof(struct counters_slot) == 128, "layout");

struct counters_page {
	uint32_t magic;
	uint32_t major;
	uint32_t count;
	uint32_t pid;
	uint64_t started_ns; /* monotonic */
	uint64_t reserved[5];
	struct counter_info info[COUNTERS_MAX];
	uint64_t value[COUNTERS_MAX];
	struct counters_slot slot[COUNTERS_SLOTS];
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

/* A copy of slot @i of one moment. False: it is free, or was being written each time. */
bool counters_slot_read(const struct counters_page *page, uint32_t i, struct counters_slot *out);
/* Write it. @s: its version does not count. */
void counters_slot_write(struct counters_slot *slot, const struct counters_slot *s);

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
