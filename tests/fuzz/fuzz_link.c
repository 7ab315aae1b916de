/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of another dataplane that is up and says whatever it likes: lookups, grants, lanes, credits, requests to
 * services, answers to what was and was not asked. The dataplane's invariants must hold, and a client and a
 * service of its own must not notice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dp_impl.h"
#include "ipc/endpoint_impl.h"
#include "tests/fuzz/input.h"

enum { SLOTS = 64, ARENA = 65536, HALF = CHANNEL_HEADER + SLOTS * CHANNEL_SLOT + ARENA, REGION = 8192, STEPS = 64 };

struct proc {
	struct atoll_endpoint *ep;
	uint32_t endpoint, epoch;
	struct atoll_handle service, region;
	unsigned answers;
};

struct node {
	struct dp *dp;
	struct port *port;
	struct proc service, client;
};

static struct node node[2];
static uint64_t now = 1000000000;
static uint8_t memory[2][REGION] __attribute__((aligned(64)));

static void die(const char *why)
{
	fprintf(stderr, "fuzz_link: %s\n", why);
	abort();
}

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct proc *p = ctx;
	struct proto_msg r = *m;

	if (m->flags & MESSAGE_FLAG_ASYNC)
		return;
	r.status = STATUS_OK;
	r.length = m->length > m->max_reply ? m->max_reply : m->length;
	atoll_reply(p->ep, m->req_id, &r, r.length ? payload : NULL);
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct proc *p = ctx;

	(void)payload;
	p->answers++;
	if (cookie == 1 && m->status == STATUS_OK)
		p->service = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
}

static void attach(struct node *n, struct proc *p, uint16_t kind, const char *name, uint8_t *region)
{
	static const struct atoll_handlers handlers = {.request = on_request, .reply = on_reply};
	uint8_t *own = calloc(1, HALF), *peer = calloc(1, HALF);
	struct dp_attach a = {.kind = kind, .name = name, .own = own, .peer = peer, .slots = SLOTS, .arena = ARENA,
			      .wake_fd = -1, .cookie = p};

	channel_format(own, SLOTS, ARENA, 1);
	channel_format(peer, SLOTS, ARENA, 1);
	p->ep = endpoint_new();
	if (!p->ep || dp_endpoint_add(n->dp, &a, &p->endpoint, &p->epoch) ||
	    endpoint_bind(p->ep, peer, own, SLOTS, ARENA) ||
	    dp_region_add(n->dp, p->endpoint, p->epoch, p->endpoint, region, REGION, &p->region))
		die("cannot set up");
	atoll_set_handlers(p->ep, &handlers, p);
}

static void turn(void)
{
	now += 50000;
	for (unsigned i = 0; i < 2; i++) {
		dp_poll(node[i].dp, now);
		if (node[i].service.ep && (atoll_poll(node[i].service.ep, 64) < 0 || atoll_poll(node[i].client.ep, 64) < 0))
			die("a channel is broken");
	}
}

static void ask(struct atoll_handle to, uint16_t opcode, const char *text, uint64_t cookie)
{
	struct proto_msg m = {.opcode = opcode, .length = text ? (uint32_t)strlen(text) : 0};

	if (atoll_request(node[0].client.ep, to, &m, text, cookie))
		die("a request is not taken");
}

static void set_up(void)
{
	static const char *const name[] = {"n1", "n2"};

	for (unsigned i = 0; i < 2; i++) {
		struct dp_peer_conf peer = {.node = (uint8_t)(2 - i), .address = ip_addr_v4(0x0a000002 - i)};
		struct dp_conf conf = {.node = (uint8_t)(1 + i), .address = ip_addr_v4(0x0a000001 + i), .seed = 3 + i,
				       .heartbeat_ms = 1000, .peers = &peer, .npeers = 1};
		struct port_conf pc = {.address = conf.address, .udp_port = 4791};
		char err[128] = "";

		snprintf(conf.name, sizeof(conf.name), "%s", name[i]);
		snprintf(peer.name, sizeof(peer.name), "%s", name[1 - i]);
		if (port_open(&node[i].port, "loop:fuzz", &pc, err, sizeof(err)) ||
		    node[i].port->ops->start(node[i].port))
			die(err);
		node[i].dp = dp_new(&conf, node[i].port, now);
		if (!node[i].dp)
			die("no dataplane");
	}
	attach(&node[0], &node[0].service, CTL_KIND_SERVICE, "word", memory[0]);
	attach(&node[0], &node[0].client, CTL_KIND_CLIENT, "client", memory[1]);
	for (unsigned i = 0; i < 200 && !dp_link_up(node[0].dp, 2); i++)
		turn();
	if (!dp_link_up(node[0].dp, 2))
		die("the link does not come up");
	ask(ATOLL_DATAPLANE, OP_DP_LOOKUP, "word", 1);
	for (unsigned i = 0; i < 4; i++)
		turn();
	if (!node[0].client.service.gen)
		die("the service is not found");
}

/* A number that means something here, or any. */
static uint64_t word(struct input *in)
{
	const struct dp *dp = node[0].dp;

	switch (take(in, 1) % 12) {
	case 0:
		return node[0].client.endpoint;
	case 1:
		return node[0].client.epoch;
	case 2:
		return node[0].service.endpoint;
	case 3:
		return node[0].service.epoch;
	case 4:
		return 2u << 24 | (uint32_t)take(in, 1);
	case 5:
		return 1u << 24 | node[0].client.endpoint;
	case 6: /* the token of the oldest request to it */
		return dp->links[2]->to_list.next == DP_NONE ?
			       0 :
			       (uint64_t)dp->pending[dp->links[2]->to_list.next].gen << 32 | dp->links[2]->to_list.next;
	case 7:
		return take(in, 8);
	case 8:
		return UINT64_MAX - take(in, 1);
	default:
		return take(in, 1);
	}
}

static void say(struct input *in)
{
	static const uint16_t ops[] = {OP_LINK_LOOKUP, OP_LINK_GRANT, OP_LINK_CREDIT, OP_LINK_LANE_OPEN,
				       OP_LINK_LANE_CLOSE, OP_LINK_PEER_GONE, OP_LINK_CANCEL, OP_LINK_PING,
				       OP_LINK_FENCED, OP_LINK_HEARTBEAT, 0x2001, OP_DP_GRANT};
	static uint8_t payload[PROTO_PAYLOAD_MAX];
	struct dp_link *l = node[0].dp->links[2];
	uint8_t what = (uint8_t)take(in, 1), slots[PROTO_SLOTS_MAX * PROTO_SLOT_SIZE];
	struct proto_msg m, copy;
	unsigned n;

	proto_request_init(&m, ops[what % (sizeof(ops) / sizeof(*ops))]);
	if (what & 0x80)
		m.flags = what & 0x40 ? MESSAGE_FLAG_REPLY : MESSAGE_FLAG_ASYNC;
	m.src = take(in, 1) & 1 ? (uint32_t)word(in) : 2u << 24 | 1;
	m.src_epoch = (uint32_t)word(in);
	m.req_id = word(in);
	m.dst_slot = (uint32_t)word(in);
	m.dst_gen = (uint32_t)word(in);
	m.status = m.flags & MESSAGE_FLAG_REPLY ? (uint16_t)take(in, 1) : 0;
	m.max_reply = m.flags & MESSAGE_FLAG_REPLY ? 0 : (uint16_t)take(in, 2);
	m.budget_us = what & 0x20 ? (uint32_t)take(in, 2) : 0;
	m.nargs = (uint8_t)(take(in, 1) % 9);
	for (unsigned i = 0; i < m.nargs; i++)
		m.arg[i] = word(in);
	m.length = (uint32_t)take(in, 1) * 33 % (PROTO_PAYLOAD_MAX + 1);
	if (m.opcode == OP_LINK_LOOKUP && !(what & 0x10)) {
		memcpy(payload, "word", 4);
		m.length = 4;
	} else {
		for (unsigned i = 0; i < m.length && i < 8; i++)
			payload[i] = (uint8_t)take(in, 1);
	}
	/* as it would come off the wire */
	n = proto_msg_pack(&m, slots);
	proto_msg_unpack(slots, n, &copy);
	if (l->state == LINK_UP && proto_header_check(&copy, PROTO_TO_LINK) == STATUS_OK)
		route_link_message(node[0].dp, l, &copy, copy.length ? payload : NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	const char *why;
	unsigned before;

	if (!node[0].dp)
		set_up();
	for (unsigned steps = 0; in.len && steps < STEPS; steps++) {
		uint8_t what = (uint8_t)take(&in, 1);

		if (what & 7)
			say(&in);
		if (what & 8)
			turn();
		if (what & 16) /* so that there is something to be answered */
			ask(ATOLL_DATAPLANE, OP_DP_LOOKUP, "n2/nothing", 5);
		if ((what & 0xe0) == 0xe0)
			turn();
		atoll_poll(node[0].client.ep, 64);
	}
	for (unsigned i = 0; i < 8; i++)
		turn();
	before = node[0].client.answers;
	ask(node[0].client.service, 0x2001, NULL, 9);
	for (unsigned i = 0; i < 8 && node[0].client.answers == before; i++)
		turn();
	if (node[0].client.answers == before)
		die("the client is not answered");
	why = size % 8 ? NULL : dp_check(node[0].dp); /* it counts everything again: slow */
	if (why)
		die(why);
	/* what it holds is given back by its end: the next input begins with a fresh one now and then */
	if (node[0].client.ep && size % 16 == 0) {
		link_down(node[0].dp, node[0].dp->links[2], "the test ends it");
		for (unsigned i = 0; i < 400 && !dp_link_up(node[0].dp, 2); i++)
			turn();
		if (!dp_link_up(node[0].dp, 2))
			die("the link does not come back");
	}
	return 0;
}
