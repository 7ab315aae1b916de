/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dp_node.h - a dataplane without a network and processes attached to it by hand, for tests of the core.
 *
 * A process is an endpoint over two halves of ordinary memory. The test drives everything: node_run turns
 * the loop and polls each process, the clock is the test's. What a process hears is kept in order, to be
 * looked at. node_settled says whether the core's own invariants hold and nothing is left outstanding.
 */
#ifndef ATOLL_TESTS_UNIT_DP_NODE_H
#define ATOLL_TESTS_UNIT_DP_NODE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/dp.h"
#include "ipc/endpoint_impl.h"

enum {
	NODE_PROCS = 8,
	NODE_HEARD = 4096,
	NODE_SLOTS = 64,
	NODE_ARENA = 65536,
	OP_TEST = 0x2001, /* no schema knows it: the router passes it on */
};

enum heard_kind { HEARD_REQUEST, HEARD_REPLY, HEARD_EVENT, HEARD_COMPLETION };

struct heard {
	enum heard_kind kind;
	uint64_t cookie;
	struct proto_msg m;
	struct verb_completion c;
	uint8_t first[16]; /* of the payload */
};

struct node;

struct proc {
	struct node *node;
	struct atoll_endpoint *ep; /* NULL: not attached */
	uint32_t endpoint, epoch;
	void *own, *peer; /* the dataplane's half, the process's */
	uint32_t slots, arena;
	struct heard heard[NODE_HEARD];
	unsigned nheard, seen;
	bool answers; /* a service that answers at once, with the same arguments and payload */
	bool asleep;  /* node_run leaves it alone */
	uint8_t status;
};

struct node {
	struct dp *dp;
	uint64_t now;
	struct proc proc[NODE_PROCS];
	unsigned unused_endpoints, unused_regions, lines;
	bool ignore_unused;
	uint32_t uid; /* of the next process that attaches, */
	bool trusted; /* whether it is, */
	struct dp_quota quota; /* and what it may have */
	char said[256]; /* last line of the log */
};

static inline void node_log(void *arg, const char *line)
{
	struct node *n = arg;

	n->lines++;
	snprintf(n->said, sizeof(n->said), "%s", line);
}

static inline void node_endpoint_unused(void *arg, uint32_t endpoint, uint32_t epoch, void *cookie)
{
	struct node *n = arg;
	struct proc *p = cookie;

	(void)epoch;
	n->unused_endpoints++;
	if (n->ignore_unused)
		return;
	assert_int_equal(p->endpoint, endpoint);
	/* so that a use after this is seen */
	free(p->own);
	free(p->peer);
	p->own = p->peer = NULL;
}

static inline void node_region_unused(void *arg, uint64_t key, void *base, uint64_t size)
{
	struct node *n = arg;

	(void)key;
	(void)size;
	n->unused_regions++;
	free(base);
}

static inline struct heard *proc_hear(struct proc *p, enum heard_kind kind)
{
	struct heard *h;

	assert_true(p->nheard < NODE_HEARD);
	h = &p->heard[p->nheard++];
	memset(h, 0, sizeof(*h));
	h->kind = kind;
	return h;
}

static inline void heard_message(struct heard *h, const struct proto_msg *m, const void *payload)
{
	h->m = *m;
	if (payload)
		memcpy(h->first, payload,
		       m->length < sizeof(h->first) ? m->length : sizeof(h->first));
}

static inline void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct proc *p = ctx;

	heard_message(proc_hear(p, HEARD_REQUEST), m, payload);
	if (p->answers && !(m->flags & MESSAGE_FLAG_ASYNC)) {
		struct proto_msg r = *m;

		r.status = p->status;
		assert_int_equal(atoll_reply(p->ep, m->req_id, &r, payload), 0);
	}
}

static inline void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct heard *h = proc_hear(ctx, HEARD_REPLY);

	heard_message(h, m, payload);
	h->cookie = cookie;
}

static inline void on_event(void *ctx, const struct proto_msg *m)
{
	heard_message(proc_hear(ctx, HEARD_EVENT), m, NULL);
}

static inline void on_completion(void *ctx, const struct verb_completion *c)
{
	struct heard *h = proc_hear(ctx, HEARD_COMPLETION);

	h->cookie = c->cookie;
	h->c = *c;
}

static inline struct node *node_new(void)
{
	struct node *n = calloc(1, sizeof(*n));
	struct dp_conf conf = {.node = 7,
			       .name = "n7",
			       .heartbeat_ms = 10,
			       .seed = 1234,
			       .arg = n,
			       .log = node_log,
			       .endpoint_unused = node_endpoint_unused,
			       .region_unused = node_region_unused};

	assert_non_null(n);
	n->now = 1000000000;
	n->dp = dp_new(&conf, NULL, n->now);
	assert_non_null(n->dp);
	return n;
}

static inline struct proc *proc_new_sized(struct node *n, unsigned i, uint16_t kind, const char *name,
					  uint32_t slots, uint32_t arena)
{
	static const struct atoll_handlers handlers = {on_request, on_reply, on_event, on_completion};
	size_t size = channel_half_size(slots, arena);
	struct proc *p = &n->proc[i];
	struct dp_attach a = {.kind = kind,
			      .name = name,
			      .uid = n->uid,
			      .trusted = n->trusted,
			      .quota = n->quota,
			      .slots = slots,
			      .arena = arena,
			      .wake_fd = -1,
			      .cookie = p};

	assert_null(p->ep);
	memset(p, 0, sizeof(*p));
	p->node = n;
	p->slots = slots;
	p->arena = arena;
	p->own = aligned_alloc(64, size);
	p->peer = aligned_alloc(64, size);
	assert_true(p->own && p->peer);
	memset(p->own, 0, size);
	memset(p->peer, 0, size);
	channel_format(p->own, slots, arena, 1);
	channel_format(p->peer, slots, arena, 1);
	a.own = p->own;
	a.peer = p->peer;
	assert_int_equal(dp_endpoint_add(n->dp, &a, &p->endpoint, &p->epoch), 0);
	p->ep = endpoint_new();
	assert_non_null(p->ep);
	assert_int_equal(endpoint_bind(p->ep, p->peer, p->own, slots, arena), 0);
	p->ep->source = 7u << 24 | p->endpoint;
	p->ep->epoch = p->epoch;
	atoll_set_handlers(p->ep, &handlers, p);
	return p;
}

static inline struct proc *proc_new(struct node *n, unsigned i, uint16_t kind, const char *name)
{
	return proc_new_sized(n, i, kind, name, NODE_SLOTS, NODE_ARENA);
}

/* It is gone, in whatever state. The halves are freed by the core's callback. */
static inline void proc_end(struct proc *p, uint32_t why)
{
	free(p->ep);
	p->ep = NULL;
	if (p->own) /* else the core has closed it already */
		assert_int_equal(dp_endpoint_close(p->node->dp, p->endpoint, p->epoch, why), 0);
}

static inline void node_turn(struct node *n)
{
	n->now += 1000;
	dp_poll(n->dp, n->now);
	for (unsigned i = 0; i < NODE_PROCS; i++)
		if (n->proc[i].ep && n->proc[i].own && !n->proc[i].asleep)
			atoll_poll(n->proc[i].ep, 64);
}

/* Until nothing moves any more. */
static inline void node_run(struct node *n)
{
	for (unsigned i = 0; i < 40; i++)
		node_turn(n);
}

static inline void node_check(struct node *n)
{
	const char *why = dp_check(n->dp);

	if (why)
		fail_msg("%s", why);
}

static inline void node_settled(struct node *n)
{
	node_check(n);
	assert_true(dp_quiet(n->dp));
}

static inline void node_end(struct node *n)
{
	for (unsigned i = 0; i < NODE_PROCS; i++)
		if (n->proc[i].ep)
			proc_end(&n->proc[i], GONE_CLOSED);
	node_settled(n);
	dp_delete(n->dp);
	free(n);
}

static inline uint64_t node_count(struct node *n, const char *name)
{
	int i = dp_counter_find(name);

	assert_true(i >= 0);
	return dp_counters(n->dp)[i];
}

/* The next thing that it heard and that has not been looked at. */
static inline const struct heard *proc_next(struct proc *p)
{
	assert_true(p->seen < p->nheard);
	return &p->heard[p->seen++];
}

static inline const struct heard *proc_expect(struct proc *p, enum heard_kind kind)
{
	const struct heard *h = proc_next(p);

	assert_int_equal(h->kind, kind);
	return h;
}

static inline const struct proto_msg *proc_expect_reply(struct proc *p, uint64_t cookie, uint16_t status)
{
	const struct heard *h = proc_expect(p, HEARD_REPLY);

	assert_int_equal(h->cookie, cookie);
	if (h->m.status != status)
		fail_msg("%s instead of %s", proto_status_name(h->m.status),
			 proto_status_name(status));
	return &h->m;
}

static inline void proc_silent(const struct proc *p)
{
	assert_int_equal(p->seen, p->nheard);
}

/* An own request to the dataplane: its answer. */
static inline const struct proto_msg *proc_ask(struct proc *p, uint16_t opcode, const uint64_t *args,
					       unsigned nargs, const char *text, uint16_t status)
{
	struct proto_msg m = {.opcode = opcode, .nargs = (uint8_t)nargs};

	if (nargs)
		memcpy(m.arg, args, nargs * sizeof(*args));
	m.length = text ? (uint32_t)strlen(text) : 0;
	assert_int_equal(atoll_request(p->ep, ATOLL_DATAPLANE, &m, text, 99), 0);
	node_run(p->node);
	return proc_expect_reply(p, 99, status);
}

static inline struct atoll_handle proc_lookup(struct proc *p, const char *name)
{
	const struct proto_msg *r = proc_ask(p, OP_DP_LOOKUP, NULL, 0, name, STATUS_OK);

	assert_int_equal(r->arg[2], 7);
	return (struct atoll_handle){(uint32_t)r->arg[0], (uint32_t)r->arg[1]};
}

static inline int proc_send(struct proc *p, struct atoll_handle to, uint64_t cookie, uint32_t length,
			    uint16_t max_reply, uint32_t budget_us)
{
	static uint8_t payload[PROTO_PAYLOAD_MAX];
	struct proto_msg m = {.opcode = OP_TEST,
			      .length = length,
			      .max_reply = max_reply,
			      .budget_us = budget_us,
			      .arg = {cookie},
			      .nargs = 1};

	for (unsigned i = 0; i < length && i < sizeof(payload); i++)
		payload[i] = (uint8_t)(cookie + i);
	return atoll_request(p->ep, to, &m, payload, cookie);
}

/* Zeroed memory of the process, published. Freed by the core's callback. */
static inline struct atoll_handle proc_region(struct proc *p, uint64_t key, uint64_t size, uint8_t **base)
{
	struct atoll_handle h;

	*base = aligned_alloc(64, size);
	assert_non_null(*base);
	memset(*base, 0, size);
	assert_int_equal(dp_region_add(p->node->dp, p->endpoint, p->epoch, key, *base, size, &h), 0);
	return h;
}

/* A lane to the own node. */
static inline uint32_t proc_lane(struct proc *p)
{
	const uint64_t args[2] = {7, 16};
	const struct proto_msg *r = proc_ask(p, OP_DP_LANE_OPEN, args, 2, NULL, STATUS_OK);
	uint32_t number = (uint32_t)r->arg[0];

	p->ep->lanes[number] = (struct ep_lane){
		.node = 7, .depth = 16, .number = number, .used = true, .open = true};
	return number;
}

/* A raw record, past all checks of the library. */
static inline void proc_raw(struct proc *p, const void *slots, unsigned n)
{
	channel_push(&p->ep->ch, slots, n);
}

#endif
