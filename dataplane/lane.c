/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes and chains. A chain is read from the ring verb by verb, checked whole, and submitted whole: the
 * verbs before the first that fails its check are executed, that one gets its status, the rest is
 * CANCELLED. A lane to another node has a QP of its own; a lane to this node is a queue that is worked
 * off in slices between polls. One slot in the client's ring is reserved for each chain's completion.
 */
#include <stdlib.h>

#include "dataplane/dp_impl.h"

enum {
	COOKIE_VERB_BITS = 8,
	VERB_WHOLE = 256, /* bytes: a WRITE up to here is all or nothing (ipc/verbs.h) */
};

void chain_init(struct dp *dp)
{
	for (uint32_t i = 0; i < DP_CHAINS_MAX; i++)
		dp->chains[i].next = i + 1 < DP_CHAINS_MAX ? i + 1 : DP_NONE;
	dp->free_chain = 0;
}

/* ---------------------------------------------------------------- off the ring */

bool chain_take(struct dp *dp, struct dp_endpoint *ep, const void *slots, unsigned n)
{
	struct proto_verb_operands operands;
	struct proto_verb v;
	struct verb *b;
	uint8_t status;

	memcpy(&v, slots, sizeof(v));
	memset(&operands, 0, sizeof(operands));
	if (n == 2)
		memcpy(&operands, (const uint8_t *)slots + CHANNEL_SLOT, sizeof(operands));
	status = v.slots == n && n <= 2 ? proto_verb_check(&v, n == 2 ? &operands : NULL) :
					  STATUS_BAD_MESSAGE;
	if (v.major != PROTO_MAJOR || ep->build_count == PROTO_CHAIN_MAX ||
	    (ep->build_count && (v.cookie != ep->build_cookie || v.lane != ep->build_lane))) {
		dp_count(dp, DPC_BAD_VERB);
		endpoint_poison(dp, ep, "a chain of verbs that does not hang together");
		return false;
	}
	recorder_note(dp, TRACE_POINT_VERB, dp_source(dp, ep->index), &v);
	if (dp_traced(dp))
		trace_record(dp, TRACE_POINT_VERB, dp_source(dp, ep->index), 0, slots, n, NULL, 0);
	if (status != STATUS_OK)
		dp_count(dp, DPC_BAD_VERB);
	ep->build_cookie = v.cookie;
	ep->build_lane = v.lane;
	ep->build_status[ep->build_count] = status;
	b = &ep->build[ep->build_count++];
	*b = (struct verb){
		.op = v.op,
		.flags = v.flags & VERB_FLAG_FENCE,
		.len = v.len,
		.remote = {v.remote_slot, v.remote_gen},
		.remote_offset = v.remote_offset,
		.local = {v.local_slot, v.local_gen},
		.local_offset = v.local_offset,
		.compare = operands.compare,
		.swap = operands.swap,
	};
	if (!(v.flags & VERB_FLAG_CHAIN_END))
		return true;
	ep->build_ready = 1;
	return chain_submit(dp, ep);
}

/* ---------------------------------------------------------------- completion */

/* For usage.c: what was submitted, and what has ended. @l: NULL, the client named none. */
static void lane_note(struct dp *dp, struct dp_endpoint *ep, struct dp_lane *l, const struct dp_chain *c, unsigned good)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < good; i++)
		bytes += ep->build[i].len;
	ep->chains++;
	ep->verbs += c->count;
	ep->bytes += bytes;
	if (!l)
		return;
	l->chains++;
	l->verbs += c->count;
	l->bytes += bytes;
	if (!l->followed) {
		l->followed = (uint32_t)(c - dp->chains) + 1;
		l->followed_ns = dp->now;
	}
}

static void lane_note_end(struct dp *dp, struct dp_lane *l, const struct dp_chain *c)
{
	uint64_t took;

	if (!l || l->ended == l->chains) /* of a lane that had this number before */
		return;
	l->ended++;
	if (l->followed != (uint32_t)(c - dp->chains) + 1)
		return;
	l->followed = 0;
	took = dp->now - l->followed_ns;
	l->latency_ns = l->latency_ns ? l->latency_ns - l->latency_ns / 8 + took / 8 : took;
}

static void chain_finish(struct dp *dp, struct dp_chain *c)
{
	struct dp_endpoint *ep = c->endpoint == DP_NONE ? NULL :
							  endpoint_get(dp, c->endpoint, c->epoch);

	for (unsigned i = 0; i < c->sent; i++)
		region_put(dp, c->region[i]);
	if (ep) {
		struct proto_completion r;

		memset(&r, 0, sizeof(r));
		r.magic = PROTO_COMPLETION_MAGIC;
		r.major = PROTO_MAJOR;
		r.slots = 1;
		r.lane = c->lane;
		r.count = c->count;
		r.cookie = c->cookie;
		memcpy(r.status, c->status, c->count);
		ep->nchains--;
		lane_note_end(dp, c->lane < DP_LANES_MAX ? ep->lanes[c->lane] : NULL, c);
		channel_unreserve(&ep->ch, 1, 0);
		channel_push(&ep->ch, &r, 1);
		ep->dirty = dp->dirty = true;
		dp->delivered |= !ep->nchains;
		endpoint_activate(dp, ep);
		dp_count(dp, DPC_COMPLETIONS);
		recorder_note(dp, TRACE_POINT_COMPLETION, dp_source(dp, ep->index), &r);
		if (dp_traced(dp))
			trace_record(dp, TRACE_POINT_COMPLETION, dp_source(dp, ep->index), 0, &r, 1,
				     NULL, 0);
	}
	for (unsigned i = 0; i < c->count; i++)
		if (c->status[i])
			status_count(dp, c->status[i]);
	dp->users[c->user].chains--;
	c->used = 0;
	c->next = dp->free_chain;
	dp->free_chain = (uint32_t)(c - dp->chains);
	dp->nchains--;
}

void lane_complete(struct dp *dp, struct dp_lane *l, uint64_t cookie, uint8_t status)
{
	uint32_t i = (uint32_t)cookie >> COOKIE_VERB_BITS;
	uint32_t verb = (uint32_t)cookie & ((1 << COOKIE_VERB_BITS) - 1);
	struct dp_chain *c = i < DP_CHAINS_MAX ? &dp->chains[i] : NULL;

	if (!c || !c->used || c->gen != (uint32_t)(cookie >> 32) || verb >= c->sent)
		return;
	if (l->dead_status == STATUS_FENCED && status == STATUS_UNREACHABLE)
		status = STATUS_IN_DOUBT;
	c->status[verb] = status;
	if (++c->done == c->sent)
		chain_finish(dp, c);
}

/* ---------------------------------------------------------------- checks and submission */

static uint8_t region_check(struct dp *dp, struct dp_endpoint *ep, struct atoll_handle h,
			    uint64_t offset, uint32_t len, uint8_t right, struct dp_handle **out)
{
	struct dp_handle *e = handle_get(ep, h.slot, h.gen);

	if (!e || e->object != OBJECT_REGION)
		return STATUS_BAD_HANDLE;
	if (e->node == dp->conf.node && !region_get(dp, e->index, e->id))
		return STATUS_BAD_HANDLE;
	if ((e->rights & right) != right)
		return STATUS_NO_RIGHT;
	if (len > e->size || offset > e->size - len)
		return STATUS_RANGE;
	*out = e;
	return STATUS_OK;
}

static uint8_t verb_check(struct dp *dp, struct dp_endpoint *ep, const struct dp_lane *l,
			  const struct verb *v, struct dp_handle **remote, struct dp_handle **local)
{
	static const uint8_t remote_right[] = {[VERB_READ] = RIGHT_READ,
					       [VERB_WRITE] = RIGHT_WRITE,
					       [VERB_CAS] = RIGHT_ATOMIC,
					       [VERB_FAA] = RIGHT_ATOMIC};
	uint8_t status;

	if (v->op >= VERB_CAS && ((v->remote_offset & 7) || (v->local_offset & 7)))
		return STATUS_ALIGN;
	status = region_check(dp, ep, v->remote, v->remote_offset, v->len, remote_right[v->op], remote);
	if (status != STATUS_OK)
		return status;
	if ((*remote)->node != l->node)
		return STATUS_BAD_HANDLE;
	status = region_check(dp, ep, v->local, v->local_offset, v->len,
			      v->op == VERB_WRITE ? RIGHT_READ : RIGHT_WRITE, local);
	if (status == STATUS_OK && (*local)->node != dp->conf.node)
		status = STATUS_BAD_HANDLE;
	if (status == STATUS_OK && l->node == dp->conf.node && ep->fenced)
		status = STATUS_FENCED;
	return status;
}

static void lane_busy(struct dp *dp, struct dp_lane *l)
{
	if (l->busy)
		return;
	l->busy = true;
	l->busy_next = NULL;
	if (dp->busy_tail)
		dp->busy_tail->busy_next = l;
	else
		dp->busy_head = l;
	dp->busy_tail = l;
}

static void submit_local(struct dp *dp, struct dp_lane *l, struct dp_chain *c, const struct verb *verbs,
			 struct dp_handle **remote)
{
	uint32_t i = (uint32_t)(c - dp->chains);

	memcpy(c->verb, verbs, c->sent * sizeof(c->verb[0]));
	for (unsigned k = 0; k < c->sent; k++) {
		c->remote_region[k] = remote[k]->index;
		c->remote_gen[k] = remote[k]->id;
	}
	c->next = DP_NONE;
	c->progress = 0;
	if (l->head == DP_NONE)
		l->head = i;
	else
		dp->chains[l->tail].next = i;
	l->tail = i;
	lane_busy(dp, l);
}

static void submit_remote(struct dp *dp, struct dp_lane *l, struct dp_chain *c, const struct verb *verbs,
			  struct dp_handle **remote)
{
	uint64_t cookie = (uint64_t)c->gen << 32 | (uint64_t)(c - dp->chains) << COOKIE_VERB_BITS;
	static const uint8_t op[] = {[VERB_READ] = ROCE_WR_READ,
				     [VERB_WRITE] = ROCE_WR_WRITE,
				     [VERB_CAS] = ROCE_WR_CAS,
				     [VERB_FAA] = ROCE_WR_FAA};

	for (unsigned i = 0; i < c->sent; i++) {
		const struct verb *v = &verbs[i];
		struct roce_wr wr = {
			.op = op[v->op],
			.flags = (uint8_t)((v->flags & VERB_FENCE ? ROCE_WR_FENCE : 0) |
					   (i + 1 == c->sent ? ROCE_WR_CHAIN_END : 0)),
			.rkey = remote[i]->id,
			.remote = v->remote_offset,
			.local = dp->regions[c->region[i]].base + v->local_offset,
			.len = v->len,
			.compare = v->compare,
			.swap = v->swap,
			.cookie = cookie | i,
		};

		/* room was checked and the QP is ready: a refusal is a fault of ours, answered as such */
		if (roce_post(l->q.qp, &wr)) {
			for (; i < c->sent; i++)
				c->status[i] = STATUS_NOT_SENT, c->done++;
			break;
		}
	}
	if (c->done == c->sent)
		chain_finish(dp, c);
}

bool chain_submit(struct dp *dp, struct dp_endpoint *ep)
{
	struct dp_handle *remote[PROTO_CHAIN_MAX], *local[PROTO_CHAIN_MAX];
	struct dp_lane *l = ep->build_lane < DP_LANES_MAX ? ep->lanes[ep->build_lane] : NULL;
	struct dp_user *user = dp_user_of(dp, ep);
	unsigned n = ep->build_count, formed = 0, good = 0;
	uint8_t status = STATUS_OK;
	struct dp_chain *c;
	uint32_t gen;

	if (!l)
		status = STATUS_BAD_HANDLE;
	else if (l->state == LANE_DEAD)
		status = l->dead_status;
	else if (l->state != LANE_OPEN)
		status = STATUS_NOT_SENT;
	while (formed < n && ep->build_status[formed] == STATUS_OK)
		formed++;
	if (status == STATUS_OK && formed && verbs_chain_check(ep->build, formed))
		status = STATUS_BAD_MESSAGE; /* an order that hardware would not keep */
	for (; status == STATUS_OK && good < n; good++) {
		status = ep->build_status[good];
		if (status == STATUS_OK)
			status = verb_check(dp, ep, l, &ep->build[good], &remote[good], &local[good]);
		if (status != STATUS_OK)
			break;
	}
	if (dp->free_chain == DP_NONE || ep->nchains >= DP_CHAINS_OF_ONE ||
	    (good && l->q.qp && roce_sq_room(l->q.qp) < good) ||
	    dp_over(dp, user->chains, user->quota.chains, DPC_QUOTA_CHAINS))
		return false;
	c = &dp->chains[dp->free_chain];
	dp->free_chain = c->next;
	dp->nchains++;
	gen = c->gen + 1;
	c->gen = gen;
	c->used = 1;
	c->endpoint = ep->index;
	c->epoch = ep->epoch;
	c->lane = ep->build_lane;
	c->user = ep->user;
	user->chains++;
	c->cookie = ep->build_cookie;
	c->count = (uint8_t)n;
	c->sent = (uint8_t)good;
	c->done = 0;
	memset(c->status, STATUS_CANCELLED, sizeof(c->status));
	if (status != STATUS_OK)
		c->status[good] = status;
	for (unsigned i = 0; i < good; i++) {
		c->region[i] = local[i]->index;
		dp->regions[local[i]->index].refs++;
	}
	ep->build_count = 0;
	ep->build_ready = 0;
	channel_reserve(&ep->ch, 1, 0);
	ep->nchains++;
	counter_add(&dp->counters[DPC_VERBS], n);
	dp_count(dp, DPC_CHAINS);
	lane_note(dp, ep, l, c, good);
	if (good == 0)
		chain_finish(dp, c);
	else if (l->q.qp)
		submit_remote(dp, l, c, ep->build, remote);
	else
		submit_local(dp, l, c, ep->build, remote);
	return true;
}

/* ---------------------------------------------------------------- lanes to this node */

/* Works on verb `done` of @c for at most *@budget bytes. True when it ended. */
static bool verb_local(struct dp *dp, struct dp_chain *c, uint32_t *budget)
{
	const struct verb *v = &c->verb[c->done];
	struct dp_region *r = region_get(dp, c->remote_region[c->done], c->remote_gen[c->done]);
	uint8_t *local = dp->regions[c->region[c->done]].base + v->local_offset;
	uint64_t left = v->len - c->progress;
	uint32_t n = left < *budget || v->len <= VERB_WHOLE ? (uint32_t)left : *budget;
	uint8_t *remote;
	uint64_t old;

	if (!r) { /* revoked meanwhile; a half-copied verb is neither executed nor not */
		c->status[c->done] = c->progress ? STATUS_IN_DOUBT : STATUS_BAD_HANDLE;
		return true;
	}
	remote = r->base + v->remote_offset;
	switch (v->op) {
	case VERB_READ:
		if (v->len == 8 && !(((uintptr_t)remote | (uintptr_t)local) & 7))
			*(uint64_t *)local = __atomic_load_n((uint64_t *)remote, __ATOMIC_ACQUIRE);
		else
			memmove(local + c->progress, remote + c->progress, n);
		break;
	case VERB_WRITE:
		if (v->len == 8 && !(((uintptr_t)remote | (uintptr_t)local) & 7))
			__atomic_store_n((uint64_t *)remote, *(uint64_t *)local, __ATOMIC_RELEASE);
		else
			memmove(remote + c->progress, local + c->progress, n);
		break;
	case VERB_CAS:
		old = v->compare;
		__atomic_compare_exchange_n((uint64_t *)remote, &old, v->swap, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
		memcpy(local, &old, sizeof(old));
		break;
	default:
		old = __atomic_fetch_add((uint64_t *)remote, v->swap, __ATOMIC_ACQ_REL);
		memcpy(local, &old, sizeof(old));
		break;
	}
	*budget -= n < *budget ? n : *budget;
	c->progress += n;
	if (c->progress < v->len)
		return false;
	c->status[c->done] = STATUS_OK;
	return true;
}

unsigned lanes_local_run(struct dp *dp)
{
	unsigned done = 0;
	struct dp_lane *last = dp->busy_tail, *l;

	do {
		uint32_t budget = DP_SLICE;

		l = dp->busy_head;
		dp->busy_head = l->busy_next;
		if (!dp->busy_head)
			dp->busy_tail = NULL;
		l->busy = false;
		while (l->head != DP_NONE && budget) {
			struct dp_chain *c = &dp->chains[l->head];
			bool failed;

			if (!verb_local(dp, c, &budget))
				break;
			failed = c->status[c->done] != STATUS_OK;
			c->done++;
			c->progress = 0;
			done++;
			if (c->done < c->sent && !failed)
				continue;
			l->head = c->next;
			chain_finish(dp, c);
		}
		if (l->head != DP_NONE)
			lane_busy(dp, l);
	} while (l != last && dp->busy_head);
	return done;
}

/* ---------------------------------------------------------------- coming and going */

struct dp_lane *lane_new(struct dp *dp, struct dp_endpoint *ep, uint8_t node, uint32_t depth)
{
	struct dp_lane *l;
	uint16_t n;

	/* a dead lane's number is free again once its client has asked for a new one */
	for (n = 0; n < DP_LANES_MAX && ep->lanes[n]; n++)
		;
	if (n == DP_LANES_MAX)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->q.role = QP_LANE;
	l->node = node;
	l->number = n;
	l->depth = depth;
	l->endpoint = ep->index;
	l->head = l->tail = DP_NONE;
	l->state = LANE_OPEN;
	l->dead_status = STATUS_NOT_SENT;
	if (node != dp->conf.node) {
		l->state = LANE_OPENING;
		l->q.qp = roce_qp_new(dp->roce, &l->q);
		if (!l->q.qp) {
			free(l);
			return NULL;
		}
	}
	ep->lanes[n] = l;
	dp_user_of(dp, ep)->lanes++;
	dp_count(dp, DPC_LANES);
	return l;
}

int lane_ready(struct dp *dp, struct dp_lane *l, struct dp_link *k, uint32_t qpn, uint32_t psn,
	       uint32_t depth, uint32_t mtu)
{
	struct roce_qp_conf qc = {
		.peer_address = k->peer.address,
		.peer_qpn = qpn,
		.peer_psn = psn,
		.mtu = mtu,
		.read_depth = (uint16_t)depth,
		.peer_depth = 1,
		.sq_depth = ROCE_SQ_MAX,
		.retry_count = 7,
		.rnr_retry = 7,
		.timeout_ns = link_timeout_ns(dp),
		.atoll = true,
	};
	int rc = roce_qp_ready(l->q.qp, &qc);

	if (rc)
		return rc;
	l->peer_qpn = qpn;
	l->depth = depth;
	l->state = LANE_OPEN;
	return 0;
}

/* Queued chains of a local lane end: none of their remaining verbs executes. */
static void local_fail(struct dp *dp, struct dp_lane *l, uint8_t status)
{
	struct dp_lane **p, *prev = NULL;

	while (l->head != DP_NONE) {
		struct dp_chain *c = &dp->chains[l->head];

		/* a half-copied verb is neither executed nor not */
		c->status[c->done] = c->progress ? STATUS_IN_DOUBT : status;
		l->head = c->next;
		chain_finish(dp, c);
	}
	if (!l->busy)
		return;
	for (p = &dp->busy_head; *p != l; p = &(*p)->busy_next)
		prev = *p;
	*p = l->busy_next;
	if (dp->busy_tail == l)
		dp->busy_tail = prev;
	l->busy = false;
}

/* The other side must not execute what is still on the way: links keep order, so this comes before any
 * lane that is opened after it. */
void lane_close_remote(struct dp *dp, uint8_t node, uint32_t endpoint, uint32_t qpn)
{
	struct dp_link *k = link_get(dp, node);
	struct proto_msg m;

	if (!k)
		return;
	proto_request_init(&m, OP_LINK_LANE_CLOSE);
	m.flags = MESSAGE_FLAG_ASYNC;
	m.src = dp_source(dp, 0);
	m.arg[ARG_LINK_LANE_CLOSE_QPN] = qpn;
	m.arg[ARG_LINK_LANE_CLOSE_SOURCE] = dp_source(dp, endpoint);
	m.nargs = 2;
	link_send(dp, k, &m, NULL);
}

void lane_kill(struct dp *dp, struct dp_lane *l, uint8_t dead_status)
{
	if (l->state == LANE_DEAD)
		return;
	if (l->state == LANE_OPEN && l->q.qp)
		lane_close_remote(dp, l->node, l->endpoint, l->peer_qpn);
	l->state = LANE_DEAD;
	l->dead_status = dead_status;
	if (l->q.qp) {
		roce_qp_destroy(l->q.qp);
		l->q.qp = NULL;
	} else {
		local_fail(dp, l, dead_status);
	}
}

void lane_free(struct dp *dp, struct dp_endpoint *ep, struct dp_lane *l)
{
	lane_kill(dp, l, STATUS_NOT_SENT);
	ep->lanes[l->number] = NULL;
	dp_user_of(dp, ep)->lanes--;
	dp->counters[DPC_LANES]--;
	free(l);
}

void lanes_of_node_down(struct dp *dp, uint8_t node, uint8_t dead_status)
{
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		for (unsigned k = 0; ep && k < DP_LANES_MAX; k++)
			if (ep->lanes[k] && ep->lanes[k]->node == node)
				lane_kill(dp, ep->lanes[k], dead_status);
	}
}
