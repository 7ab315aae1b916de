/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipc_pair.h - two halves of a channel in ordinary memory, for tests of ipc: one side is what is tested, the
 * other is played by the test, which can also write nonsense.
 */
#ifndef ATOLL_TESTS_UNIT_IPC_PAIR_H
#define ATOLL_TESTS_UNIT_IPC_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/channel.h"
#include "proto/proto.h"

enum { PAIR_SLOTS = CHANNEL_SLOTS_MIN, PAIR_ARENA = CHANNEL_ARENA_MIN };

struct pair {
	void *half[2];
	struct channel a, b; /* a writes half[0], b half[1] */
};

static inline void pair_make(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		p->half[i] = calloc(1, channel_half_size(PAIR_SLOTS, PAIR_ARENA));
		assert_non_null(p->half[i]);
		channel_format(p->half[i], PAIR_SLOTS, PAIR_ARENA, 7);
	}
	assert_int_equal(channel_open(&p->a, p->half[0], p->half[1], PAIR_SLOTS, PAIR_ARENA), 0);
	assert_int_equal(channel_open(&p->b, p->half[1], p->half[0], PAIR_SLOTS, PAIR_ARENA), 0);
}

static inline void pair_free(struct pair *p)
{
	free(p->half[0]);
	free(p->half[1]);
}

/* What the test writes as the other side's message. */
static inline void pair_send(struct channel *ch, struct proto_msg *m, const void *payload)
{
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	unsigned n;

	assert_int_equal(channel_room(ch, proto_msg_slots(m), m->length), 1);
	m->payload = 0;
	if (m->length)
		memcpy(channel_payload_alloc(ch, m->length, &m->payload), payload, m->length);
	n = proto_msg_pack(m, slots);
	channel_push(ch, slots, n);
}

/* What it reads; the payload is copied to @data. False when there is none. */
static inline bool pair_recv(struct channel *ch, struct proto_msg *m, void *data)
{
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	const void *payload;
	int n = channel_pop(ch, slots);

	assert_true(n >= 0);
	if (!n)
		return false;
	proto_msg_unpack(slots, (unsigned)n, m);
	if (m->length) {
		payload = channel_payload(ch, m->payload, m->length);
		assert_non_null(payload);
		if (data)
			memcpy(data, payload, m->length);
	}
	channel_consumed(ch);
	return true;
}

#endif
