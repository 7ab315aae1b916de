/* SPDX-License-Identifier: Apache-2.0 */
/* Records, slots and positions that cannot be; sources, handles and rights that it has not. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/hostile.h"

/* ---------------------------------------------------------------- raw records */

struct raw raw_ping(void)
{
	struct raw r;

	memset(&r, 0, sizeof(r));
	r.m.magic = PROTO_MESSAGE_MAGIC;
	r.m.major = PROTO_MAJOR;
	r.m.slots = 1;
	r.m.opcode = OP_DP_PING;
	r.m.max_reply = PROTO_PAYLOAD_MAX;
	r.m.req_id = 1;
	return r;
}

static struct channel_slot *slot_at(uint32_t pos)
{
	return &ep->ch.tx[pos & ep->ch.tx_mask];
}

/* A slot as it is, with this sequence word. */
static void slot_put(uint32_t pos, const void *slot, uint32_t seq)
{
	memcpy(slot_at(pos)->body, slot, sizeof(slot_at(pos)->body));
	__atomic_store_n(&slot_at(pos)->seq, seq, __ATOMIC_RELEASE);
	wake();
}

/* Publishes it, and says with what status it was answered. */
void raw_ask(const struct raw *r, unsigned slots)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull, out[CHANNEL_RECORD_SLOTS * 8];
	struct proto_msg m;
	int n = 0;

	channel_push(&ep->ch, r, slots);
	wake();
	while (n == 0 && clock_now_ns() < end)
		n = channel_pop(&ep->ch, out);
	channel_consumed(&ep->ch);
	if (n <= 0) {
		got("no answer", 0);
		return;
	}
	proto_msg_unpack(out, (unsigned)n, &m);
	snprintf(said, sizeof(said), "%s", proto_status_name(m.status));
}

void seq_jump(void)
{
	struct raw r = raw_ping();

	slot_put(ep->ch.tx_head, &r, ep->ch.tx_head + 6);
	see_end();
}

void seq_back(void)
{
	struct raw r = raw_ping();

	slot_put(ep->ch.tx_head, &r, 0xdead0000u);
	see_end();
}

void torn_slot(void)
{
	struct raw r = raw_ping();

	r.m.slots = 3; /* the second is there, the third is not */
	slot_put(ep->ch.tx_head + 1, &r.more[0], ep->ch.tx_head + 2);
	slot_put(ep->ch.tx_head, &r, ep->ch.tx_head + 1);
	see_end();
}

static void slots_wrong(uint8_t n)
{
	struct raw r = raw_ping();

	r.m.slots = n;
	slot_put(ep->ch.tx_head, &r, ep->ch.tx_head + 1);
	see_end();
}

void slots_none(void)
{
	slots_wrong(0);
}

void slots_many(void)
{
	slots_wrong(200);
}

void bad_magic(void)
{
	struct raw r = raw_ping();

	r.m.magic = 0x1234;
	channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

void bad_length(void)
{
	struct raw r = raw_ping();

	r.m.length = 0x7fffffff;
	channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

static void payload_outside(uint32_t pos, uint32_t len)
{
	struct raw r = raw_ping();

	r.m.length = len;
	r.m.payload = pos;
	channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

void payload_far(void)
{
	payload_outside(0xfffff000, 64);
}

void wrapped_tail(void)
{
	payload_outside(ep->ch.tx_arena_mask + 1 - 64, 4096);
}

void payload_crooked(void)
{
	payload_outside(33, 64);
}

void consumed_ahead(void)
{
	struct raw r = raw_ping();

	__atomic_store_n(&ep->ch.own->consumed_slots, 1u << 30, __ATOMIC_RELEASE);
	/* looked at when room is short */
	for (uint32_t i = 0; i <= ep->ch.tx_mask; i++)
		channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

void consumed_bytes(void)
{
	struct raw r = raw_ping();

	__atomic_store_n(&ep->ch.own->consumed_bytes, 64u << 20, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i <= ep->ch.tx_mask; i++)
		channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

void rewrite_published(void)
{
	struct raw r = raw_ping(), other = raw_ping();
	uint64_t end = clock_now_ns() + 200000000;

	other.m.length = 0xffffffff;
	other.m.slots = 4;
	other.m.magic = 0;
	while (clock_now_ns() < end) {
		uint32_t pos = ep->ch.tx_head;

		channel_push(&ep->ch, &r, 1);
		for (unsigned i = 0; i < 200; i++)
			memcpy(slot_at(pos)->body, i & 1 ? &r : &other, sizeof(slot_at(pos)->body));
		wake();
		while (ep->ch.peer->consumed_slots != ep->ch.tx_head && clock_now_ns() < end)
			memcpy(slot_at(pos)->body, clock_now_ns() & 1 ? &r : &other, sizeof(slot_at(pos)->body));
		ep->ch.own->consumed_slots = ep->ch.tx_head;
		ep->ch.rx_head = ep->ch.tx_head;
	}
	/* closed for what was read, or its answers; anything but a fallen dataplane */
	got("done", 0);
}

void forged_source(void)
{
	struct raw r = raw_ping();

	r.m.src = 1u << 24 | 1;
	r.m.src_epoch = 7;
	raw_ask(&r, 1);
}

void forged_reply(void)
{
	struct raw r = raw_ping();
	struct raw after = raw_ping();

	r.m.opcode = OP_ECHO_ECHO;
	r.m.flags = MESSAGE_FLAG_REPLY;
	r.m.max_reply = 0;
	for (unsigned i = 0; i < 200; i++) {
		r.m.req_id = (uint64_t)i * 0x9e3779b97f4a7c15ull;
		channel_push(&ep->ch, &r, 1);
	}
	raw_ask(&after, 1);
}

void forged_handle(void)
{
	struct raw r = raw_ping();

	r.m.opcode = OP_ECHO_ECHO;
	r.m.dst_slot = 1;
	r.m.dst_gen = 12345;
	raw_ask(&r, 1);
}

static void asks(uint16_t opcode, unsigned slots, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct raw r = raw_ping();

	r.m.opcode = opcode;
	r.m.slots = (uint8_t)slots;
	r.m.arg0 = a;
	r.more[0].arg[0] = b;
	r.more[0].arg[1] = c;
	r.more[0].arg[2] = d;
	raw_ask(&r, slots);
}

void link_operation(void)
{
	asks(OP_LINK_PEER_GONE, 2, 1u << 24 | 1, 1, 1, 0);
}

void fence_others(void)
{
	asks(OP_DP_FENCE, 2, 1u << 24 | 1, 1, 0, 0);
}

void watch_others(void)
{
	asks(OP_DP_WATCH, 2, 1u << 24 | 1, 1, 0, 0);
}

void grant_others(void)
{
	asks(OP_DP_GRANT, 2, 3, 3, RIGHT_READ, 5);
}

void revoke_others(void)
{
	asks(OP_DP_REVOKE, 2, 3, 3, 0, 0);
}

void bad_opcode(void)
{
	asks(0x0fff, 1, 0, 0, 0, 0);
}

/* ---------------------------------------------------------------- verbs */

static void verb_raw(uint64_t cookie, uint32_t lane, uint32_t region, uint64_t offset, uint8_t flags)
{
	struct proto_verb v = {.magic = PROTO_VERB_MAGIC,
			       .major = PROTO_MAJOR,
			       .slots = 1,
			       .op = VERB_OP_READ,
			       .flags = flags,
			       .lane = (uint16_t)lane,
			       .len = 64,
			       .cookie = cookie,
			       .remote_slot = region,
			       .remote_gen = region ? ep->regions[0].handle.gen : 9,
			       .remote_offset = offset,
			       .local_slot = ep->regions[0].handle.slot,
			       .local_gen = ep->regions[0].handle.gen};

	channel_push(&ep->ch, &v, 1);
}

static void completion(void)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull, out[CHANNEL_RECORD_SLOTS * 8];
	struct proto_completion c;
	int n = 0;

	wake();
	while (n == 0 && clock_now_ns() < end)
		n = channel_pop(&ep->ch, out);
	memcpy(&c, out, sizeof(c));
	if (n == 1 && c.magic == PROTO_COMPLETION_MAGIC)
		snprintf(said, sizeof(said), "%s", proto_status_name(c.status[0]));
	else
		got("no completion", 0);
}

void memory(struct atoll_region *r, uint64_t size)
{
	char err[256] = "";

	if (atoll_region_alloc(ep, size, 0, r, err, sizeof(err)))
		give_up("region", err);
}

uint32_t lane_to(uint32_t node)
{
	uint32_t lane;
	int rc = atoll_lane_open(ep, node, 16, &lane, WAIT_MS);

	if (rc)
		give_up("lane", strerror(-rc));
	return lane;
}

void no_lane(void)
{
	verb_raw(1, 60000, 0, 0, VERB_FLAG_CHAIN_END);
	completion();
}

void past_the_end(void)
{
	struct atoll_region r;
	uint32_t lane;

	memory(&r, 4096);
	lane = lane_to(atoll_node(ep));
	verb_raw(1, ep->lanes[lane].number, r.handle.slot, UINT64_MAX - 32, VERB_FLAG_CHAIN_END);
	completion();
}

void no_region(void)
{
	struct atoll_region r;
	uint32_t lane;

	memory(&r, 4096);
	lane = lane_to(atoll_node(ep));
	verb_raw(1, ep->lanes[lane].number, 0, 0, VERB_FLAG_CHAIN_END);
	completion();
}

void mixed_chain(void)
{
	verb_raw(1, 0, 0, 0, 0);
	verb_raw(2, 0, 0, 0, VERB_FLAG_CHAIN_END);
	wake();
	see_end();
}

/* Pages are taken away while they are read and written. */
void punch_holes(void)
{
	uint64_t end = clock_now_ns() + 300000000;
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR,
				      .op = CTL_OP_REGION_ALLOC, .size = 1 << 20, .numa = 0xffffffff};
	struct proto_ctl_reply r;
	struct verb v = {.op = VERB_WRITE, .len = 1 << 18};
	uint32_t lane = lane_to(atoll_node(ep)), n = 0;
	unsigned fds = 1;
	int fd, flags;

	if (sock_send(ep->sock, &q, sizeof(q), NULL, 0) ||
	    sock_recv_timeout(ep->sock, &r, sizeof(r), &fd, &fds, WAIT_MS) || r.status || fds != 1)
		give_up("region", r.text);
	v.local = v.remote = (struct atoll_handle){r.slot, r.gen};
	v.remote_offset = 1 << 19;
	flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	while (clock_now_ns() < end) {
		if (!atoll_post(ep, lane, &v, 1, 1))
			n++;
		if (fallocate(fd, flags, 0, 1 << 20))
			give_up("hole", strerror(errno));
		if (atoll_poll(ep, 64) < 0)
			break;
	}
	got(n > 10 ? "done" : "too few", 0);
}
