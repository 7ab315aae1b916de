/* SPDX-License-Identifier: Apache-2.0 */
/* What dataplanes ask each other: the link.* requests, and the answers to our own. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/dp_impl.h"

static void link_reply(struct dp *dp, struct dp_link *l, const struct proto_msg *m, uint8_t status,
		       const uint64_t *args, unsigned nargs)
{
	struct proto_msg r;

	if (m->flags & MESSAGE_FLAG_ASYNC)
		return;
	proto_reply_init(&r, m, status);
	r.flags = MESSAGE_FLAG_REPLY;
	r.src = dp_source(dp, 0);
	r.nargs = (uint8_t)nargs;
	if (nargs)
		memcpy(r.arg, args, nargs * sizeof(*args));
	link_send(dp, l, &r, NULL);
	dp->answered = true;
}

static void link_op_lookup(struct dp *dp, struct dp_link *l, const struct proto_msg *m,
		      const char *payload)
{
	struct dp_endpoint *to;
	char name[PROTO_NAME_MAX + 1];
	uint64_t args[3];

	memcpy(name, payload, m->length);
	name[m->length] = 0;
	to = service_find(dp, name);
	if (!to || (dp->conf.lookup_allowed &&
		    !dp->conf.lookup_allowed(dp->conf.arg, (uint32_t)m->arg[0], name))) {
		link_reply(dp, l, m, to ? STATUS_DENIED : STATUS_NOT_FOUND, NULL, 0);
		return;
	}
	args[REPLY_LINK_LOOKUP_ENDPOINT] = to->index;
	args[REPLY_LINK_LOOKUP_GEN] = to->epoch;
	args[REPLY_LINK_LOOKUP_CREDITS] = DP_CREDITS;
	link_reply(dp, l, m, STATUS_OK, args, 3);
}

static void link_op_grant(struct dp *dp, struct dp_link *l, const struct proto_msg *m)
{
	uint64_t key = m->arg[ARG_LINK_GRANT_KEY];
	struct dp_endpoint *to = endpoint_get(dp, (uint32_t)m->arg[ARG_LINK_GRANT_ENDPOINT],
					      (uint32_t)m->arg[ARG_LINK_GRANT_EPOCH]);
	struct dp_handle h = {.object = (uint8_t)m->arg[ARG_LINK_GRANT_OBJECT],
			      .rights = (uint8_t)m->arg[ARG_LINK_GRANT_RIGHTS],
			      .node = (uint8_t)m->arg[ARG_LINK_GRANT_OWNER],
			      .size = m->arg[ARG_LINK_GRANT_SIZE]};
	uint8_t status = STATUS_OK;

	/* a node can give away what is its own; what is a third one's would need that one's word */
	if (!to)
		status = STATUS_PEER_DIED;
	else if (h.node != l->peer.node)
		status = STATUS_NO_RIGHT;
	if (h.object == OBJECT_ENDPOINT) {
		h.index = (uint32_t)key;
		h.id = (uint32_t)(key >> 32);
		if (status == STATUS_OK && !link_service_get(l, h.index, h.id, true))
			status = STATUS_LIMIT;
	} else {
		h.id = (uint32_t)key;
	}
	if (status == STATUS_OK)
		status = ops_grant_local(dp, to, &h, m->arg[ARG_LINK_GRANT_TAG]);
	if (status != STATUS_OK)
		dp_count(dp, DPC_GRANTS_LOST);
	link_reply(dp, l, m, status, NULL, 0);
}

static void link_op_lane_open(struct dp *dp, struct dp_link *l, const struct proto_msg *m)
{
	uint32_t source = (uint32_t)m->arg[ARG_LINK_LANE_OPEN_SOURCE];
	uint32_t epoch = (uint32_t)m->arg[ARG_LINK_LANE_OPEN_EPOCH];
	uint32_t depth = (uint32_t)m->arg[ARG_LINK_LANE_OPEN_DEPTH];
	uint32_t mtu = (uint32_t)m->arg[ARG_LINK_LANE_OPEN_MTU];
	struct roce_qp_conf qc;
	struct dp_responder *r;
	uint64_t args[4];

	if (source >> 24 != l->peer.node) {
		dp_count(dp, DPC_FORGED_SOURCE);
		link_reply(dp, l, m, STATUS_BAD_MESSAGE, NULL, 0);
		return;
	}
	if (fence_hit(dp, source, epoch)) {
		link_reply(dp, l, m, STATUS_FENCED, NULL, 0);
		return;
	}
	/* no ghosts: what an earlier life of this client still had on the way dies here */
	for (struct dp_responder *o = l->responders, *next; o; o = next) {
		next = o->next;
		if (o->source == source && o->epoch != epoch)
			responder_free(dp, o);
	}
	if (mtu > l->mtu)
		mtu = l->mtu;
	if (depth > ROCE_DEPTH_MAX)
		depth = ROCE_DEPTH_MAX;
	/* its node charges them to users; this keeps it from taking what other nodes' clients need */
	if (dp_over(dp, l->nresponders, LINK_RESPONDERS, DPC_QUOTA_LANES)) {
		link_reply(dp, l, m, STATUS_LIMIT, NULL, 0);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (r) {
		r->q.role = QP_RESPONDER;
		r->q.qp = roce_qp_new(dp->roce, &r->q);
	}
	if (!r || !r->q.qp) {
		free(r);
		link_reply(dp, l, m, STATUS_LIMIT, NULL, 0);
		return;
	}
	qc = (struct roce_qp_conf){
		.peer_address = l->peer.address,
		.peer_qpn = (uint32_t)m->arg[ARG_LINK_LANE_OPEN_QPN],
		.peer_psn = (uint32_t)m->arg[ARG_LINK_LANE_OPEN_PSN],
		.mtu = mtu,
		.read_depth = 1,
		.peer_depth = (uint16_t)depth,
		.sq_depth = 1,
		.retry_count = 7,
		.rnr_retry = 7,
		.timeout_ns = link_timeout_ns(dp),
		.atoll = true,
	};
	if (roce_qp_ready(r->q.qp, &qc)) {
		roce_qp_destroy(r->q.qp);
		free(r);
		link_reply(dp, l, m, STATUS_LIMIT, NULL, 0);
		return;
	}
	r->node = l->peer.node;
	r->source = source;
	r->epoch = epoch;
	r->next = l->responders;
	r->prev = &l->responders;
	if (r->next)
		r->next->prev = &r->next;
	l->responders = r;
	l->nresponders++;
	args[REPLY_LINK_LANE_OPEN_QPN] = roce_qp_number(r->q.qp);
	args[REPLY_LINK_LANE_OPEN_PSN] = roce_qp_first_psn(r->q.qp);
	args[REPLY_LINK_LANE_OPEN_DEPTH] = depth;
	args[REPLY_LINK_LANE_OPEN_MTU] = mtu;
	link_reply(dp, l, m, STATUS_OK, args, 4);
}

static void link_op_lane_close(struct dp *dp, struct dp_link *l, const struct proto_msg *m)
{
	for (struct dp_responder *r = l->responders; r; r = r->next)
		if (roce_qp_number(r->q.qp) == m->arg[ARG_LINK_LANE_CLOSE_QPN] &&
		    r->source == m->arg[ARG_LINK_LANE_CLOSE_SOURCE]) {
			responder_free(dp, r);
			link_reply(dp, l, m, STATUS_OK, NULL, 0);
			return;
		}
	link_reply(dp, l, m, STATUS_NOT_FOUND, NULL, 0);
}

static void link_op_peer_gone(struct dp *dp, struct dp_link *l, const struct proto_msg *m)
{
	uint32_t source = (uint32_t)m->arg[0], epoch = (uint32_t)m->arg[1];

	if (source >> 24 != l->peer.node)
		return;
	for (struct dp_responder *r = l->responders, *next; r; r = next) {
		next = r->next;
		if (r->source == source && (int32_t)(r->epoch - epoch) <= 0)
			responder_free(dp, r);
	}
	source_gone(dp, source, epoch, (uint32_t)m->arg[2]);
}

static void link_op_fenced(struct dp *dp, struct dp_link *l, const struct proto_msg *m)
{
	uint32_t source = (uint32_t)m->arg[0];
	struct dp_endpoint *ep = endpoint_get(dp, source & 0xffffff, (uint32_t)m->arg[1]);

	if (!ep || source >> 24 != dp->conf.node)
		return;
	for (unsigned i = 0; i < DP_LANES_MAX; i++)
		if (ep->lanes[i] && ep->lanes[i]->node == l->peer.node)
			lane_kill(dp, ep->lanes[i], STATUS_FENCED);
}

void linkops_request(struct dp *dp, struct dp_link *l, const struct proto_msg *m, const void *payload)
{
	struct dp_pending *p;

	if (proto_operation_check(m, PROTO_TO_LINK) != STATUS_OK ||
	    (m->length && proto_payload_check(m, payload) != STATUS_OK)) {
		dp_count(dp, DPC_LINK_BAD);
		link_reply(dp, l, m, STATUS_BAD_MESSAGE, NULL, 0);
		return;
	}
	switch (m->opcode) {
	case OP_LINK_HEARTBEAT:
		return;
	case OP_LINK_PING:
		link_reply(dp, l, m, STATUS_OK, m->arg, 1);
		return;
	case OP_LINK_LOOKUP:
		link_op_lookup(dp, l, m, payload);
		return;
	case OP_LINK_GRANT:
		link_op_grant(dp, l, m);
		return;
	case OP_LINK_CREDIT:
		credit_arrived(dp, l->peer.node, (uint32_t)m->arg[0]);
		return;
	case OP_LINK_LANE_OPEN:
		link_op_lane_open(dp, l, m);
		return;
	case OP_LINK_LANE_CLOSE:
		link_op_lane_close(dp, l, m);
		return;
	case OP_LINK_PEER_GONE:
		link_op_peer_gone(dp, l, m);
		return;
	case OP_LINK_FENCED:
		link_op_fenced(dp, l, m);
		return;
	case OP_LINK_CANCEL:
		for (uint32_t i = l->from_list.next; i != DP_NONE; i = dp->pending[i].by_from.next) {
			p = &dp->pending[i];
			if (p->from_id == m->arg[0]) {
				pending_drop(dp, p);
				return;
			}
		}
		return;
	default:
		link_reply(dp, l, m, STATUS_UNSUPPORTED, NULL, 0);
	}
}

/* ---------------------------------------------------------------- answers to our own */

int dp_ping(struct dp *dp, uint8_t node)
{
	struct dp_link *l = link_get(dp, node);
	struct dp_pending *p;
	struct proto_msg m;
	uint64_t token;

	if (!l)
		return -ENOTCONN;
	if (dp->ping_out || !link_can_send(l, false))
		return -EBUSY;
	p = pending_new(dp, &token);
	if (!p)
		return -EBUSY;
	p->from = PARTY_SELF;
	p->job = JOB_PING;
	p->to = PARTY_NODE;
	p->to_index = node;
	pending_link_to(dp, p, &l->to_list);
	proto_request_init(&m, OP_LINK_PING);
	m.src = dp_source(dp, 0);
	m.req_id = token;
	m.nargs = 1;
	link_send(dp, l, &m, NULL);
	dp->ping_out = true;
	links_output(dp);
	return 0;
}

bool dp_ping_done(const struct dp *dp)
{
	return !dp->ping_out;
}

static void lookup_answered(struct dp *dp, struct dp_link *l, struct dp_pending *p,
			    const struct proto_msg *m)
{
	struct dp_endpoint *ep = endpoint_get(dp, p->from_index, p->from_epoch);
	struct dp_handle h = {.object = OBJECT_ENDPOINT,
			      .rights = RIGHT_SEND | RIGHT_GRANT,
			      .node = l->peer.node,
			      .index = (uint32_t)m->arg[REPLY_LINK_LOOKUP_ENDPOINT],
			      .id = (uint32_t)m->arg[REPLY_LINK_LOOKUP_GEN]};
	struct link_service *s;
	struct atoll_handle out;
	struct proto_msg r;

	s = link_service_get(l, h.index, h.id, true);
	if (!ep || !s || handle_new(ep, &h, &out)) {
		pending_fail(dp, p, STATUS_LIMIT);
		return;
	}
	s->credits = (uint32_t)m->arg[REPLY_LINK_LOOKUP_CREDITS];
	memset(&r, 0, sizeof(r));
	r.src = dp_source(dp, 0);
	r.arg[REPLY_DP_LOOKUP_SLOT] = out.slot;
	r.arg[REPLY_DP_LOOKUP_GEN] = out.gen;
	r.arg[REPLY_DP_LOOKUP_NODE] = l->peer.node;
	r.nargs = 3;
	pending_answer(dp, p, &r, NULL);
}

static void lane_answered(struct dp *dp, struct dp_link *l, struct dp_pending *p,
			  const struct proto_msg *m)
{
	struct dp_endpoint *ep = endpoint_get(dp, p->from_index, p->from_epoch);
	struct dp_lane *lane = ep ? ep->lanes[p->to_handle] : NULL;
	struct proto_msg r;

	if (!lane || lane->state != LANE_OPENING || lane->node != l->peer.node) {
		if (m->status == STATUS_OK) /* nobody wants it any more */
			lane_close_remote(dp, l->peer.node, p->from_index,
					  (uint32_t)m->arg[REPLY_LINK_LANE_OPEN_QPN]);
		pending_fail(dp, p, STATUS_UNREACHABLE);
		return;
	}
	if (m->status != STATUS_OK ||
	    lane_ready(dp, lane, l, (uint32_t)m->arg[REPLY_LINK_LANE_OPEN_QPN],
		       (uint32_t)m->arg[REPLY_LINK_LANE_OPEN_PSN],
		       (uint32_t)m->arg[REPLY_LINK_LANE_OPEN_DEPTH],
		       (uint32_t)m->arg[REPLY_LINK_LANE_OPEN_MTU])) {
		lane_free(dp, ep, lane);
		pending_fail(dp, p, m->status != STATUS_OK ? (uint8_t)m->status : STATUS_LIMIT);
		return;
	}
	memset(&r, 0, sizeof(r));
	r.src = dp_source(dp, 0);
	r.arg[REPLY_DP_LANE_OPEN_LANE] = lane->number;
	r.arg[REPLY_DP_LANE_OPEN_DEPTH] = lane->depth;
	r.arg[REPLY_DP_LANE_OPEN_MTU] = m->arg[REPLY_LINK_LANE_OPEN_MTU];
	r.nargs = 3;
	pending_answer(dp, p, &r, NULL);
}

void linkops_answer(struct dp *dp, struct dp_link *l, struct dp_pending *p, struct proto_msg *m)
{
	if (m->status >= STATUS_COUNT ||
	    (m->status == STATUS_OK && proto_operation_check(m, PROTO_TO_LINK) != STATUS_OK)) {
		dp_count(dp, DPC_LINK_BAD);
		m->status = STATUS_UNSUPPORTED;
	}
	switch (p->job) {
	case JOB_LANE_OPEN:
		lane_answered(dp, l, p, m);
		return;
	case JOB_LOOKUP:
		if (m->status == STATUS_OK) {
			lookup_answered(dp, l, p, m);
			return;
		}
		break;
	default:
		break;
	}
	if (m->status == STATUS_OK) {
		struct proto_msg r;

		memset(&r, 0, sizeof(r));
		r.src = dp_source(dp, 0);
		pending_answer(dp, p, &r, NULL);
	} else {
		pending_fail(dp, p, (uint8_t)m->status);
	}
}
