/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ring - a producer on a ring that writes whatever it likes, between turns of the loop.
 *
 * The input is a program: steps that write bytes, sequence words, counts and payloads into the hostile
 * process's half, or records of it that are nearly right, and turns of the loop in between. It has a
 * region, a granted region, a lane and handles, so that its records can mean something. An honest client
 * and a service talk on throughout and must not notice; the core's invariants must hold; and at the end
 * nothing may be left over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dp.h"
#include "ipc/endpoint_impl.h"
#include "tests/fuzz/input.h"

enum {
	SLOTS = 64,
	ARENA = 65536,
	HALF = CHANNEL_HEADER + SLOTS * CHANNEL_SLOT + ARENA,
	REGION = 8192,
	NODE = 3,
	OP_WORD = 0x2001,
	STEPS = 256,
};

static void die(const char *why)
{
	fprintf(stderr, "fuzz_ring: %s\n", why);
	abort();
}

struct proc {
	struct atoll_endpoint *ep;
	uint32_t endpoint, epoch;
	uint8_t *own, *peer;
	struct atoll_handle service, granted, region;
	uint32_t lane;
	unsigned answers, sent;
	bool closed; /* by the core */
	bool is_service;
	uint64_t grant; /* token of the request that is answered after the grant */
};

struct world {
	struct dp *dp;
	uint64_t now;
	struct proc service, honest, hostile;
	uint8_t region[3][REGION] __attribute__((aligned(64)));
};

static void on_unused(void *arg, uint32_t endpoint, uint32_t epoch, void *cookie)
{
	struct proc *p = cookie;

	(void)arg;
	if (p->endpoint != endpoint || p->epoch != epoch || p->closed)
		die("an endpoint was closed that is not it");
	p->closed = true;
	free(p->own);
	free(p->peer);
	p->own = p->peer = NULL;
}

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct proc *p = ctx;
	struct proto_msg r = *m, g;

	if (m->flags & MESSAGE_FLAG_ASYNC)
		return;
	if (m->arg[0] == 77 && !p->grant) {
		proto_request_init(&g, OP_DP_GRANT);
		g.arg[0] = p->region.slot;
		g.arg[1] = p->region.gen;
		g.arg[2] = RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC;
		g.arg[3] = m->req_id;
		g.nargs = 5;
		if (!atoll_request(p->ep, ATOLL_DATAPLANE, &g, NULL, 1)) {
			p->grant = m->req_id;
			return;
		}
	}
	r.length = m->length > m->max_reply ? m->max_reply : m->length;
	atoll_reply(p->ep, m->req_id, &r, r.length ? payload : NULL);
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct proc *p = ctx;

	(void)payload;
	if (p->is_service) {
		struct proto_msg r = {.opcode = OP_WORD};

		atoll_reply(p->ep, p->grant, &r, NULL);
		p->grant = 0;
		return;
	}
	p->answers++;
	if (cookie == 1 && m->status == STATUS_OK)
		p->service = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
	else if (cookie == 2 && m->status == STATUS_OK)
		p->lane = (uint32_t)m->arg[0];
	else if (cookie >= 100 && m->status != STATUS_OK && m->status != STATUS_AGAIN)
		die("a request of the honest client failed");
	else if (cookie >= 100 && m->status == STATUS_OK && m->arg[0] != cookie)
		die("the honest client got an answer that is not its");
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct proc *p = ctx;

	if (m->opcode == OP_DP_GRANTED)
		p->granted = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
}

static void attach(struct world *w, struct proc *p, uint16_t kind, const char *name, uint8_t *region)
{
	static const struct atoll_handlers handlers = {
		.request = on_request, .reply = on_reply, .event = on_event};
	struct dp_attach a = {.kind = kind,
			      .name = name,
			      .slots = SLOTS,
			      .arena = ARENA,
			      .wake_fd = -1,
			      .cookie = p};

	p->own = calloc(1, HALF);
	p->peer = calloc(1, HALF);
	channel_format(p->own, SLOTS, ARENA, 1);
	channel_format(p->peer, SLOTS, ARENA, 1);
	a.own = p->own;
	a.peer = p->peer;
	p->is_service = kind == CTL_KIND_SERVICE;
	p->ep = endpoint_new();
	if (!p->ep || dp_endpoint_add(w->dp, &a, &p->endpoint, &p->epoch) ||
	    endpoint_bind(p->ep, p->peer, p->own, SLOTS, ARENA) ||
	    dp_region_add(w->dp, p->endpoint, p->epoch, p->endpoint, region, REGION, &p->region))
		die("cannot set up");
	atoll_set_handlers(p->ep, &handlers, p);
}

static void turn(struct world *w, bool hostile_reads)
{
	w->now += 50000;
	dp_poll(w->dp, w->now);
	if (atoll_poll(w->service.ep, 64) < 0 || atoll_poll(w->honest.ep, 64) < 0)
		die("an honest channel is broken");
	if (hostile_reads && w->hostile.ep && !w->hostile.closed)
		atoll_poll(w->hostile.ep, 64);
	if (w->service.closed || w->honest.closed)
		die("an honest process was closed");
}

static void ask(struct proc *p, struct atoll_handle to, uint16_t opcode, const uint64_t *args, unsigned n,
		const char *text, uint64_t cookie)
{
	struct proto_msg m = {.opcode = opcode, .nargs = (uint8_t)n};

	memcpy(m.arg, args, n * sizeof(*args));
	m.length = text ? (uint32_t)strlen(text) : 0;
	if (atoll_request(p->ep, to, &m, text, cookie))
		die("a request is not taken");
}

/* What both clients are given. */
static void introduce(struct world *w, struct proc *p)
{
	const uint64_t lane[] = {NODE, 16}, grant[] = {77};

	ask(p, ATOLL_DATAPLANE, OP_DP_LOOKUP, grant, 0, "word", 1);
	for (unsigned i = 0; i < 4; i++)
		turn(w, true);
	ask(p, ATOLL_DATAPLANE, OP_DP_LANE_OPEN, lane, 2, NULL, 2);
	ask(p, p->service, OP_WORD, grant, 1, NULL, 3);
	for (unsigned i = 0; i < 8; i++)
		turn(w, true);
	if (p->answers != 3 || !p->granted.gen)
		die("not everything was granted");
}

/* A handle that it has, or one that it has made up. */
static struct atoll_handle some_handle(const struct proc *p, struct input *in)
{
	switch (take(in, 1) % 6) {
	case 0:
		return p->service;
	case 1:
		return p->granted;
	case 2:
		return p->region;
	case 3:
		return (struct atoll_handle){(uint32_t)take(in, 4), (uint32_t)take(in, 4)};
	case 4:
		return (struct atoll_handle){p->granted.slot, p->granted.gen + (uint32_t)take(in, 1)};
	default:
		return ATOLL_DATAPLANE;
	}
}

static void push(struct proc *p, const void *slots, unsigned n)
{
	/* without a look at the room: a hostile one does not look */
	channel_push(&p->ep->ch, slots, n);
}

static void push_message(struct proc *p, struct input *in)
{
	static const uint16_t ops[] = {OP_DP_PING,	OP_DP_LOOKUP,	  OP_DP_GRANT, OP_DP_RELEASE,
				       OP_DP_REVOKE,	OP_DP_LANE_OPEN,  OP_DP_LANE_CLOSE,
				       OP_DP_FENCE,	OP_DP_WATCH,	  OP_DP_CANCEL, OP_WORD,
				       OP_ECHO_ECHO,	OP_LINK_LANE_OPEN};
	uint8_t what = (uint8_t)take(in, 1);
	struct {
		struct proto_message m;
		struct proto_message_args more[3];
	} r;
	struct atoll_handle h = some_handle(p, in), arg = some_handle(p, in);
	uint32_t at;

	memset(&r, 0, sizeof(r));
	r.m.magic = PROTO_MESSAGE_MAGIC;
	r.m.major = PROTO_MAJOR;
	r.m.slots = what & 0x10 ? 2 : what & 0x20 ? 4 : 1;
	r.m.opcode = ops[(what & 15) % (sizeof(ops) / sizeof(*ops))];
	r.m.flags = what & 0x40 ? MESSAGE_FLAG_ASYNC : what & 0x80 ? MESSAGE_FLAG_REPLY : 0;
	r.m.max_reply = (uint16_t)(take(in, 1) * 64);
	r.m.req_id = take(in, 1);
	r.m.dst_slot = h.slot;
	r.m.dst_gen = h.gen;
	r.m.budget_us = (uint32_t)take(in, 1);
	r.m.arg0 = arg.slot;
	r.more[0].arg[0] = arg.gen;
	r.more[0].arg[1] = take(in, 1);
	r.more[0].arg[2] = take(in, 8); /* a token */
	r.m.length = (uint32_t)(take(in, 1) * 40);
	if (r.m.length > PROTO_PAYLOAD_MAX)
		r.m.length = PROTO_PAYLOAD_MAX;
	if (r.m.opcode == OP_DP_LOOKUP) {
		memcpy(channel_payload_alloc(&p->ep->ch, 7, &at), "n3/word", 7);
		r.m.length = 7;
		r.m.payload = at;
	} else if (r.m.length) {
		channel_payload_alloc(&p->ep->ch, r.m.length, &r.m.payload);
	}
	/* spoil some of it */
	for (unsigned n = (unsigned)take(in, 1) % 4; n; n--)
		((uint8_t *)&r)[take(in, 1)] ^= (uint8_t)take(in, 1);
	push(p, &r, what & 0x10 ? 2 : what & 0x20 ? 4 : 1);
}

static void push_verb(struct proc *p, struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);
	struct {
		struct proto_verb v;
		struct proto_verb_operands o;
	} r;
	struct atoll_handle remote = some_handle(p, in), local = some_handle(p, in);

	memset(&r, 0, sizeof(r));
	r.v = (struct proto_verb){.magic = PROTO_VERB_MAGIC,
				  .major = PROTO_MAJOR,
				  .op = (uint8_t)(1 + (what & 3)),
				  .flags = what >> 2 & 3,
				  .lane = (uint16_t)(what & 0x80 ? take(in, 2) : p->lane),
				  .len = (uint32_t)take(in, 2),
				  .cookie = what & 0x40 ? take(in, 1) : 0,
				  .remote_slot = remote.slot,
				  .remote_gen = remote.gen,
				  .remote_offset = what & 0x10 ? take(in, 8) : take(in, 1) * 8,
				  .local_slot = local.slot,
				  .local_gen = local.gen,
				  .local_offset = what & 0x20 ? take(in, 8) : take(in, 1) * 8};
	r.v.slots = r.v.op >= VERB_OP_CAS ? 2 : 1;
	if (r.v.op >= VERB_OP_CAS && !(r.v.len & 1))
		r.v.len = 8;
	r.o.swap = take(in, 1);
	for (unsigned n = (unsigned)take(in, 1) % 3; n; n--)
		((uint8_t *)&r)[take(in, 1) % sizeof(r)] ^= (uint8_t)take(in, 1);
	push(p, &r, r.v.op >= VERB_OP_CAS ? 2 : 1);
}

static void hostile_step(struct proc *p, struct input *in)
{
	uint32_t at;

	switch (take(in, 1) % 8) {
	case 0:
	case 1:
		push_message(p, in);
		break;
	case 2:
	case 3:
		push_verb(p, in);
		break;
	case 4: /* a sequence word */
		at = (uint32_t)take(in, 1) % SLOTS;
		((struct channel_slot *)(void *)(p->peer + CHANNEL_HEADER))[at].seq =
			take(in, 1) & 1 ? (uint32_t)take(in, 4) :
					  p->ep->ch.tx_head + (uint32_t)take(in, 1) - 64;
		break;
	case 5: /* a count */
		if (take(in, 1) & 1)
			p->ep->ch.own->consumed_slots += (uint32_t)(int8_t)take(in, 1);
		else
			p->ep->ch.own->consumed_bytes += 64 * (uint32_t)(int8_t)take(in, 1);
		break;
	case 6: /* anything anywhere */
		at = (uint32_t)take(in, 4) % HALF;
		for (unsigned n = (unsigned)take(in, 1) % 64; n && at < HALF; n--)
			p->peer[at++] = (uint8_t)take(in, 1);
		break;
	default: /* it says that it sleeps, or that it has read everything */
		p->ep->ch.own->sleeping = (uint32_t)take(in, 1);
		channel_consumed(&p->ep->ch);
		break;
	}
}

static void check(struct world *w)
{
	const char *why = dp_check(w->dp);

	if (why)
		die(why);
}

/* It asks and is answered, whatever else goes on. */
static void honest_works(struct world *w, uint64_t cookie)
{
	unsigned before = w->honest.answers;

	ask(&w->honest, w->honest.service, OP_WORD, &cookie, 1, NULL, cookie);
	for (unsigned i = 0; i < 10 && w->honest.answers == before; i++)
		turn(w, true);
	if (w->honest.answers == before)
		die("the honest client is not answered");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The dataplane and the honest two live on from input to input, since the tables of a new one take
 * longer to make than an input to run. */
static struct world *world_new(void)
{
	struct world *w = aligned_alloc(64, (sizeof(*w) + 63) & ~63ul);
	struct dp_conf conf = {.node = NODE,
			       .name = "n3",
			       .heartbeat_ms = 10,
			       .seed = 5,
			       .arg = w,
			       .endpoint_unused = on_unused};

	memset(w, 0, sizeof(*w));
	w->now = 1000000000;
	w->dp = dp_new(&conf, NULL, w->now);
	if (!w->dp)
		die("cannot set up");
	attach(w, &w->service, CTL_KIND_SERVICE, "word", w->region[0]);
	attach(w, &w->honest, CTL_KIND_CLIENT, "honest", w->region[1]);
	introduce(w, &w->honest);
	return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *w;
	struct input in = {data, size};
	unsigned steps = 0;

	if (!w)
		w = world_new();
	memset(&w->hostile, 0, sizeof(w->hostile));
	attach(w, &w->hostile, CTL_KIND_CLIENT, "hostile", w->region[2]);
	introduce(w, &w->hostile);
	for (uint64_t cookie = 100; in.len && !w->hostile.closed && steps < STEPS; steps++) {
		uint8_t what = (uint8_t)take(&in, 1);

		if (what & 1)
			hostile_step(&w->hostile, &in);
		if (what & 2)
			turn(w, what & 4);
		if ((what & 0x38) == 0x38)
			honest_works(w, cookie++);
	}
	honest_works(w, 1000);
	if (size % 8 == 0)
		check(w);
	if (!w->hostile.closed)
		dp_endpoint_close(w->dp, w->hostile.endpoint, w->hostile.epoch, GONE_DIED);
	for (unsigned i = 0; i < 4; i++)
		turn(w, false);
	honest_works(w, 1001);
	if (!dp_quiet(w->dp))
		die("something of the hostile process is left over");
	if (size % 8 == 0)
		check(w);
	free(w->hostile.ep);
	w->hostile.ep = NULL;
	return 0;
}
