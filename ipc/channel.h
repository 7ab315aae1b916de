/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - the rings and payload arenas between one process and its dataplane.
 *
 * A channel is two halves, one shared memory file each. A half is written by one side only: its
 * header, a ring of 64-byte slots, and an arena of payload bytes. What the reader of a half has
 * consumed stands in the header of the reader's own half, so no line has two writers.
 *
 *	half of A:  header (A's consumed counts, A's sleeping flag) | slots | arena
 *	half of B:  the same the other way round
 *
 * A record is one to four slots. Positions are running 32-bit counts; the slot at position p carries
 * sequence word p + 1 once it is committed, so the flag travels with the data and a hop costs one
 * line. The slots after the first are committed before it; a reader that sees the first sees all.
 *
 * Payloads lie in the arena in the order of their records, each contiguous and 64-byte aligned; one
 * that would cross the end starts at the beginning instead. `payload` in a message is the running
 * byte position. Reading a record's successor frees its payload, so a reader that keeps one copies it.
 *
 * Trust: the reader copies each slot to private memory and checks the copy, never reads twice, and
 * bounds every position against its own counts. A sequence word, count or position that cannot be is
 * -EPROTO: the other side is broken or hostile, and its channel is to be closed (poisoned). Nothing
 * here blocks, allocates or makes a system call.
 *
 * Sleeping: a reader that wants to sleep sets its sleeping flag, fences, and looks once more. A writer
 * publishes, fences, and looks at the flag: channel_wants_wake. One of the two sees the other.
 */
#ifndef ATOLL_IPC_CHANNEL_H
#define ATOLL_IPC_CHANNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
	CHANNEL_MAGIC = 0x41746c43, /* "CltA" */
	CHANNEL_SLOT = 64,
	CHANNEL_RECORD_SLOTS = 4,
	/* Slots that are asked for before they are used. The writer asks later than the reader, for whoever
	 * asks last has the line, and it is the writer that needs it next. */
	CHANNEL_READ_AHEAD = 8,
	CHANNEL_WRITE_AHEAD = 4,
	CHANNEL_HEADER = 4096,
	CHANNEL_SLOTS_MIN = 64,
	CHANNEL_SLOTS_MAX = 16384,
	CHANNEL_SLOTS_DEFAULT = 1024,
	CHANNEL_ARENA_MIN = 65536,
	CHANNEL_ARENA_MAX = 16 << 20,
	CHANNEL_ARENA_DEFAULT = 1 << 20,
	CHANNEL_PAYLOAD_MAX = 8192,
};

struct channel_slot {
	uint8_t body[60];
	uint32_t seq;
};
_Static_assert(sizeof(struct channel_slot) == CHANNEL_SLOT, "a slot is one cache line");

/* Head of a half. Every field is written by the half's owner only. Lines are 128 bytes apart
 * because processors fetch neighbouring lines in pairs. */
struct channel_header {
	uint32_t magic; /* written once, before the other side maps it */
	uint32_t major;
	uint32_t slots;
	uint32_t arena;
	uint64_t incarnation; /* of the dataplane that this half was made under */
	uint8_t pad0[104];
	uint32_t consumed_slots; /* of the other half: positions read and done with */
	uint32_t consumed_bytes;
	uint8_t pad1[120];
	uint32_t sleeping; /* 1: this side waits to be woken */
	uint8_t pad2[124];
};
_Static_assert(offsetof(struct channel_header, consumed_slots) == 128, "own line");
_Static_assert(offsetof(struct channel_header, sleeping) == 256, "own line");
_Static_assert(sizeof(struct channel_header) == 384, "header layout");

/* One side's view of a channel; private memory. */
struct channel {
	/* what we write */
	struct channel_header *own;
	struct channel_slot *tx;
	uint8_t *tx_arena;
	uint32_t tx_mask, tx_arena_mask;
	uint32_t tx_head;	    /* next position to write */
	uint32_t tx_consumed;	    /* last good value of the reader's count */
	uint32_t tx_arena_head;
	uint32_t tx_arena_consumed;
	uint32_t reserved_slots; /* promised to replies and completions that will come */
	uint32_t reserved_bytes;
	/* what we read */
	const struct channel_header *peer;
	const struct channel_slot *rx;
	const uint8_t *rx_arena;
	uint32_t rx_mask, rx_arena_mask;
	uint32_t rx_head;	/* next position to read */
	uint32_t rx_arena_head; /* payload bytes before this are free */
};

/* Bytes of a half's memory file. */
static inline size_t channel_half_size(uint32_t slots, uint32_t arena)
{
	return CHANNEL_HEADER + (size_t)slots * CHANNEL_SLOT + arena;
}

/* Are these sizes allowed? */
bool channel_size_ok(uint32_t slots, uint32_t arena);

/**
 * channel_format - write the header of a new half; the rest of the memory must be zero.
 */
void channel_format(void *half, uint32_t slots, uint32_t arena, uint64_t incarnation);

/**
 * channel_open - make a view over two mapped halves.
 * @own: the half that this side writes, mapped writable; @peer: the other one.
 * @slots, @arena: the sizes that were agreed, which both mappings cover; headers are not believed.
 * Return: 0, -EINVAL (bad sizes), -EPROTO (a header that does not say the same).
 */
int channel_open(struct channel *ch, void *own, const void *peer, uint32_t slots, uint32_t arena);

/* Re-reads how far the reader is. 0, or -EPROTO if it claims what cannot be. */
static inline int channel_refresh(struct channel *ch)
{
	uint32_t c = __atomic_load_n(&ch->peer->consumed_slots, __ATOMIC_ACQUIRE);
	uint32_t b = __atomic_load_n(&ch->peer->consumed_bytes, __ATOMIC_RELAXED);

	if (c - ch->tx_consumed > ch->tx_head - ch->tx_consumed)
		return -EPROTO;
	if (b - ch->tx_arena_consumed > ch->tx_arena_head - ch->tx_arena_consumed)
		return -EPROTO;
	ch->tx_consumed = c;
	ch->tx_arena_consumed = b;
	return 0;
}

/* Slots that may be written now, whatever is reserved. */
static inline uint32_t channel_free_slots(const struct channel *ch)
{
	return ch->tx_mask + 1 - (ch->tx_head - ch->tx_consumed);
}

/* Arena bytes that may be promised: one payload's worth is kept back for what a wrap wastes. */
static inline uint32_t channel_free_bytes(const struct channel *ch)
{
	uint32_t used = ch->tx_arena_head - ch->tx_arena_consumed;
	uint32_t most = ch->tx_arena_mask + 1 - CHANNEL_PAYLOAD_MAX;

	return used < most ? most - used : 0;
}

static inline uint32_t channel_payload_room(uint32_t len)
{
	return (len + 63) & ~63u;
}

/**
 * channel_room - is there room for a record of @slots and @len payload bytes beside what is reserved?
 * Return: 1, 0, or -EPROTO.
 */
static inline int channel_room(struct channel *ch, uint32_t slots, uint32_t len)
{
	uint32_t bytes = channel_payload_room(len);

	if (channel_free_slots(ch) < ch->reserved_slots + slots ||
	    (bytes && channel_free_bytes(ch) < ch->reserved_bytes + bytes)) {
		if (channel_refresh(ch))
			return -EPROTO;
		if (channel_free_slots(ch) < ch->reserved_slots + slots ||
		    (bytes && channel_free_bytes(ch) < ch->reserved_bytes + bytes))
			return 0;
	}
	return 1;
}

/* Promise room for a later record. Only after channel_room said 1. */
static inline void channel_reserve(struct channel *ch, uint32_t slots, uint32_t len)
{
	ch->reserved_slots += slots;
	ch->reserved_bytes += channel_payload_room(len);
}

static inline void channel_unreserve(struct channel *ch, uint32_t slots, uint32_t len)
{
	ch->reserved_slots -= slots;
	ch->reserved_bytes -= channel_payload_room(len);
}

/**
 * channel_payload_alloc - place for @len (1 to CHANNEL_PAYLOAD_MAX) bytes of the next record.
 * Room must have been checked. @pos: what goes into the message's payload field.
 */
static inline void *channel_payload_alloc(struct channel *ch, uint32_t len, uint32_t *pos)
{
	uint32_t size = ch->tx_arena_mask + 1;
	uint32_t off = ch->tx_arena_head & ch->tx_arena_mask;

	if (off + channel_payload_room(len) > size)
		ch->tx_arena_head += size - off;
	*pos = ch->tx_arena_head;
	ch->tx_arena_head += channel_payload_room(len);
	return ch->tx_arena + (*pos & ch->tx_arena_mask);
}

/* Ask for the ownership of a line that will be written soon: the reader had it last. Without that every
 * record waits for its own, one after the other; the same where records are read. */
static inline void channel_slot_want(struct channel_slot *s)
{
#if defined(__x86_64__)
	/* the builtin is a prefetch for reading here, unless all of the program asks for more */
	__asm__ volatile("prefetchw %0" : : "m"(*s));
#else
	__builtin_prefetch(s, 1);
#endif
}

/**
 * channel_push - publish a record of @n slots from private memory. Room must have been checked. The
 * last four bytes of each slot are set here.
 */
static inline void channel_push(struct channel *ch, const void *slots, unsigned n)
{
	const uint8_t *from = slots;
	uint32_t pos = ch->tx_head;

	channel_slot_want(&ch->tx[(pos + n + CHANNEL_WRITE_AHEAD) & ch->tx_mask]);
	for (unsigned i = n; i-- > 0;) {
		struct channel_slot *s = &ch->tx[(pos + i) & ch->tx_mask];

		memcpy(s->body, from + (size_t)i * CHANNEL_SLOT, sizeof(s->body));
		__atomic_store_n(&s->seq, pos + i + 1, __ATOMIC_RELEASE);
	}
	ch->tx_head = pos + n;
}

/**
 * channel_pop - copy the next record into @out (CHANNEL_RECORD_SLOTS * 64 bytes, private).
 * Return: its slots, 0 when there is none, -EPROTO when what is there cannot be. The record counts as
 * read; channel_consumed tells the writer so.
 */
static inline int channel_pop(struct channel *ch, void *out)
{
	uint8_t *to = out;
	uint32_t pos = ch->rx_head;
	const struct channel_slot *s = &ch->rx[pos & ch->rx_mask];
	uint32_t seq = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);
	unsigned n;

	if (seq != pos + 1) {
		/* not written in this lap: still zero, or one of the lap before */
		if (seq == pos - ch->rx_mask || (seq == 0 && pos <= ch->rx_mask))
			return 0;
		return -EPROTO;
	}
	/* not when there is nothing: the writer would have to fetch the line back */
	__builtin_prefetch(&ch->rx[(pos + CHANNEL_READ_AHEAD) & ch->rx_mask]);
	memcpy(to, s, CHANNEL_SLOT);
	n = to[3];
	if (n == 1) {
		ch->rx_head = pos + 1;
		return 1;
	}
	if (n == 0 || n > CHANNEL_RECORD_SLOTS)
		return -EPROTO;
	for (unsigned i = 1; i < n; i++) {
		s = &ch->rx[(pos + i) & ch->rx_mask];
		if (__atomic_load_n(&s->seq, __ATOMIC_ACQUIRE) != pos + i + 1)
			return -EPROTO;
		memcpy(to + (size_t)i * CHANNEL_SLOT, s, CHANNEL_SLOT);
	}
	ch->rx_head = pos + n;
	return (int)n;
}

/* Is a record waiting (or something malformed)? */
static inline bool channel_pending(const struct channel *ch)
{
	const struct channel_slot *s = &ch->rx[ch->rx_head & ch->rx_mask];
	uint32_t seq = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);

	return seq != ch->rx_head - ch->rx_mask && !(seq == 0 && ch->rx_head <= ch->rx_mask);
}

/**
 * channel_payload - the @len payload bytes at running position @pos of a record just popped.
 * Return: their address in the writer's arena (which may change under the reader: copy, then check),
 * or NULL if the position or length cannot be.
 */
static inline const void *channel_payload(struct channel *ch, uint32_t pos, uint32_t len)
{
	uint32_t size = ch->rx_arena_mask + 1;
	uint32_t off = pos & ch->rx_arena_mask;
	uint32_t room = channel_payload_room(len);

	if (len == 0 || len > CHANNEL_PAYLOAD_MAX || (pos & 63) || off + room > size ||
	    pos - ch->rx_arena_head > size - room)
		return NULL;
	ch->rx_arena_head = pos + room;
	return ch->rx_arena + off;
}

/* Tell the writer that everything popped so far, and its payloads, are done with. */
static inline void channel_consumed(struct channel *ch)
{
	__atomic_store_n(&ch->own->consumed_bytes, ch->rx_arena_head, __ATOMIC_RELAXED);
	__atomic_store_n(&ch->own->consumed_slots, ch->rx_head, __ATOMIC_RELEASE);
}

/* Tell the writer that records were taken, but not yet that their payloads are free. */
static inline void channel_taken(struct channel *ch)
{
	__atomic_store_n(&ch->own->consumed_slots, ch->rx_head, __ATOMIC_RELEASE);
}

/* After publishing: must the reader be woken? Full fence inside. */
static inline bool channel_wants_wake(const struct channel *ch)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ch->peer->sleeping, __ATOMIC_RELAXED) != 0;
}

/* Before sleeping: returns true when it is safe to sleep (nothing came in the meantime). */
static inline bool channel_sleep_begin(struct channel *ch)
{
	__atomic_store_n(&ch->own->sleeping, 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!channel_pending(ch))
		return true;
	__atomic_store_n(&ch->own->sleeping, 0, __ATOMIC_RELAXED);
	return false;
}

static inline void channel_sleep_end(struct channel *ch)
{
	__atomic_store_n(&ch->own->sleeping, 0, __ATOMIC_RELAXED);
}

#endif
