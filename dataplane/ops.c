/* SPDX-License-Identifier: Apache-2.0 */
/* What the dataplane itself answers to its endpoints: the dp.* requests. */
#include <stdlib.h>

#include "dataplane/dp_impl.h"

enum { OPS_LIST_MAX = 4096 }; /* sources that one service may watch or grant to */

static void done(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m, uint8_t status)
{
	reply_now(dp, ep, m, status, NULL, 0, NULL, 0);
}

/* (source, epoch) pairs; true when it is there or was added. */
static bool pairs_add(uint32_t **list, uint32_t *n, uint32_t source, uint32_t epoch)
{
	uint32_t *l = *list;

	for (uint32_t i = 0; i < *n; i++)
		if (l[2 * i] == source) {
			if ((int32_t)(epoch - l[2 * i + 1]) > 0)
				l[2 * i + 1] = epoch;
			return true;
		}
	if (*n == OPS_LIST_MAX)
		return false;
	if ((*n & 15) == 0) { /* grows by sixteen: rare, and on behalf of a service only */
		l = realloc(l, (*n + 16) * 2 * sizeof(*l));
		if (!l)
			return false;
		*list = l;
	}
	l[2 * *n] = source;
	l[2 * *n + 1] = epoch;
	(*n)++;
	return true;
}

/* ---------------------------------------------------------------- names */

/* An own request to another dataplane on behalf of an endpoint. */
static struct dp_pending *ask_node(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m,
				   struct dp_link *l, uint8_t job, uint64_t *token)
{
	struct dp_user *user = dp_user_of(dp, ep);
	struct dp_pending *p;

	if (ep->nasked >= DP_REQUESTS_MAX ||
	    dp_over(dp, user->requests, user->quota.requests, DPC_QUOTA_REQUESTS))
		return NULL;
	p = pending_new(dp, token);
	if (!p)
		return NULL;
	p->user = (uint16_t)(ep->user + 1);
	user->requests++;
	p->from = PARTY_ENDPOINT;
	p->from_index = ep->index;
	p->from_epoch = ep->epoch;
	p->from_id = m->req_id;
	p->opcode = m->opcode;
	p->max_reply = m->max_reply;
	p->trace_id = m->trace_id;
	p->job = job;
	p->to = PARTY_NODE;
	p->to_index = l->peer.node;
	/* a lane is opened or not, or the link goes down: given up, it would stay at the other node */
	if (job == JOB_LOOKUP)
		pending_deadline(dp, p, m->budget_us);
	pending_link_from(dp, p, &ep->from_list);
	pending_link_to(dp, p, &l->to_list);
	channel_reserve(&ep->ch, DP_REPLY_SLOTS, m->max_reply);
	ep->nasked++;
	return p;
}

static void op_lookup(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m,
		      const char *payload)
{
	struct dp_handle h = {.object = OBJECT_ENDPOINT, .rights = RIGHT_SEND | RIGHT_GRANT};
	struct dp_endpoint *to;
	struct atoll_handle out;
	struct dp_link *l = NULL;
	char name[128], *service, *slash;
	uint64_t args[3], token;
	unsigned long number;
	struct proto_msg ask;

	memcpy(name, payload, m->length);
	name[m->length] = 0;
	slash = strchr(name, '/');
	service = slash ? slash + 1 : name;
	if (slash) {
		*slash = 0;
		/* a name never begins so */
		number = name[0] == '#' ? strtoul(name + 1, NULL, 10) : 0;
		if (strcmp(name, dp->conf.name) && number != dp->conf.node) {
			for (uint32_t i = 0; i < dp->nlinks && !l; i++)
				if (!strcmp(dp->link_list[i]->peer.name, name) ||
				    (number && dp->link_list[i]->peer.node == number))
					l = dp->link_list[i];
			if (!l || !service[0] || strlen(service) > PROTO_NAME_MAX) {
				done(dp, ep, m, STATUS_NOT_FOUND);
				return;
			}
		}
	}
	if (l) {
		if (l->state != LINK_UP) {
			done(dp, ep, m, STATUS_NOT_SENT);
			return;
		}
		if (!link_can_send(l, false) ||
		    !ask_node(dp, ep, m, l, JOB_LOOKUP, &token)) {
			done(dp, ep, m, STATUS_LIMIT);
			return;
		}
		proto_request_init(&ask, OP_LINK_LOOKUP);
		ask.req_id = token;
		ask.arg[0] = ep->uid;
		ask.nargs = 1;
		ask.length = (uint32_t)strlen(service);
		link_send(dp, l, &ask, service);
		return;
	}
	to = service_find(dp, service);
	if (!to || (dp->conf.lookup_allowed &&
		    !dp->conf.lookup_allowed(dp->conf.arg, ep->uid, service))) {
		done(dp, ep, m, to ? STATUS_DENIED : STATUS_NOT_FOUND);
		return;
	}
	h.node = dp->conf.node;
	h.index = to->index;
	h.id = to->epoch;
	if (handle_new(ep, &h, &out)) {
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	args[0] = out.slot;
	args[1] = out.gen;
	args[2] = dp->conf.node;
	reply_now(dp, ep, m, STATUS_OK, args, 3, NULL, 0);
}

/* ---------------------------------------------------------------- grants */

uint8_t ops_grant_local(struct dp *dp, struct dp_endpoint *to, const struct dp_handle *h,
			uint64_t tag)
{
	struct atoll_handle out;
	uint64_t args[7];

	if (!endpoint_room(dp, to, 2 + DP_DRAIN_SLOTS, 0))
		return STATUS_AGAIN;
	if (handle_new(to, h, &out))
		return STATUS_LIMIT;
	args[0] = out.slot;
	args[1] = out.gen;
	args[2] = h->rights;
	args[3] = h->object;
	args[4] = h->size;
	args[5] = tag;
	args[6] = h->node;
	endpoint_event(dp, to, OP_DP_GRANTED, args, 7);
	dp_count(dp, DPC_GRANTS);
	return STATUS_OK;
}

static void op_grant(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m)
{
	struct dp_handle *h = handle_get(ep, (uint32_t)m->arg[ARG_DP_GRANT_SLOT],
					 (uint32_t)m->arg[ARG_DP_GRANT_GEN]);
	struct dp_pending *p = pending_find(dp, m->arg[ARG_DP_GRANT_TOKEN]);
	uint8_t rights = (uint8_t)m->arg[ARG_DP_GRANT_RIGHTS];
	uint32_t source, epoch;
	struct dp_region *r = NULL;
	struct dp_endpoint *to;
	struct dp_handle pass;
	struct proto_msg g;
	struct dp_link *l;

	if (!h) {
		done(dp, ep, m, STATUS_BAD_HANDLE);
		return;
	}
	if (!(h->rights & RIGHT_GRANT) || (rights & ~h->rights)) {
		done(dp, ep, m, STATUS_NO_RIGHT);
		return;
	}
	if (!p || p->to != PARTY_ENDPOINT || p->to_index != ep->index || p->to_epoch != ep->epoch) {
		done(dp, ep, m, STATUS_NOT_FOUND);
		return;
	}
	pass = *h;
	pass.rights = rights;
	if (h->object == OBJECT_REGION && h->node == dp->conf.node) {
		r = region_get(dp, h->index, h->id);
		if (!r) {
			done(dp, ep, m, STATUS_BAD_HANDLE);
			return;
		}
	}
	source = p->from == PARTY_NODE ? p->to_handle : dp_source(dp, p->from_index);
	epoch = p->from_epoch;
	if (r && !pairs_add(&ep->granted, &ep->ngranted, source, epoch)) {
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	if (p->from == PARTY_ENDPOINT) {
		to = endpoint_get(dp, p->from_index, p->from_epoch);
		done(dp, ep, m,
		     to ? ops_grant_local(dp, to, &pass, m->arg[ARG_DP_GRANT_TAG]) :
			  STATUS_PEER_DIED);
		return;
	}
	l = link_get(dp, p->from_index);
	if (!l) {
		done(dp, ep, m, STATUS_PEER_DIED);
		return;
	}
	if (!link_can_send(l, true)) {
		done(dp, ep, m, STATUS_AGAIN);
		return;
	}
	proto_request_init(&g, OP_LINK_GRANT);
	g.arg[ARG_LINK_GRANT_ENDPOINT] = source & 0xffffff;
	g.arg[ARG_LINK_GRANT_EPOCH] = epoch;
	g.arg[ARG_LINK_GRANT_OBJECT] = h->object;
	g.arg[ARG_LINK_GRANT_RIGHTS] = rights;
	g.arg[ARG_LINK_GRANT_KEY] = h->object == OBJECT_ENDPOINT ?
					    (uint64_t)h->id << 32 | h->index :
				    r ? region_rkey(h->index, h->id) :
					    h->id;
	g.arg[ARG_LINK_GRANT_SIZE] = h->size;
	g.arg[ARG_LINK_GRANT_TAG] = m->arg[ARG_DP_GRANT_TAG];
	g.arg[ARG_LINK_GRANT_OWNER] = h->node;
	g.nargs = 8;
	if (!(l->features & FEATURE_GRANT_ANSWER)) {
		g.flags = MESSAGE_FLAG_ASYNC;
	} else if (!ask_node(dp, ep, m, l, JOB_GRANT, &g.req_id)) {
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	if (r)
		r->exported[l->peer.node] |= rights;
	link_send(dp, l, &g, NULL);
	dp_count(dp, DPC_GRANTS);
	/* else when that node has answered: its client may have gone, or not read what it was given */
	if (g.flags & MESSAGE_FLAG_ASYNC)
		done(dp, ep, m, STATUS_OK);
}

/* ---------------------------------------------------------------- lanes */

static void op_lane_open(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m)
{
	uint8_t node = (uint8_t)m->arg[ARG_DP_LANE_OPEN_NODE];
	uint32_t depth = (uint32_t)m->arg[ARG_DP_LANE_OPEN_DEPTH];
	struct dp_link *l = NULL;
	struct dp_pending *p;
	struct dp_lane *lane;
	struct proto_msg ask;
	uint64_t args[3], token;

	if (dp_over(dp, dp_user_of(dp, ep)->lanes, dp_user_of(dp, ep)->quota.lanes, DPC_QUOTA_LANES)) {
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	if (depth > dp->conf.verb_depth)
		depth = dp->conf.verb_depth;
	if (node != dp->conf.node) {
		l = dp->links[node];
		if (!l) {
			done(dp, ep, m, STATUS_NOT_FOUND);
			return;
		}
		if (l->state != LINK_UP || !link_can_send(l, false)) {
			done(dp, ep, m, l->state == LINK_UP ? STATUS_AGAIN : STATUS_NOT_SENT);
			return;
		}
	}
	lane = lane_new(dp, ep, node, depth);
	if (!lane) {
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	if (!l) {
		args[REPLY_DP_LANE_OPEN_LANE] = lane->number;
		args[REPLY_DP_LANE_OPEN_DEPTH] = depth;
		args[REPLY_DP_LANE_OPEN_MTU] = 0;
		reply_now(dp, ep, m, STATUS_OK, args, 3, NULL, 0);
		return;
	}
	p = ask_node(dp, ep, m, l, JOB_LANE_OPEN, &token);
	if (!p) {
		lane_free(dp, ep, lane);
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	p->to_handle = lane->number;
	proto_request_init(&ask, OP_LINK_LANE_OPEN);
	ask.req_id = token;
	ask.arg[ARG_LINK_LANE_OPEN_SOURCE] = dp_source(dp, ep->index);
	ask.arg[ARG_LINK_LANE_OPEN_EPOCH] = ep->epoch;
	ask.arg[ARG_LINK_LANE_OPEN_QPN] = roce_qp_number(lane->q.qp);
	ask.arg[ARG_LINK_LANE_OPEN_PSN] = roce_qp_first_psn(lane->q.qp);
	ask.arg[ARG_LINK_LANE_OPEN_DEPTH] = depth;
	ask.arg[ARG_LINK_LANE_OPEN_MTU] = l->mtu;
	ask.nargs = 6;
	link_send(dp, l, &ask, NULL);
}

static void op_lane_close(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m)
{
	uint32_t n = (uint32_t)m->arg[0];
	struct dp_lane *lane = n < DP_LANES_MAX ? ep->lanes[n] : NULL;
	struct dp_link *l;
	struct proto_msg ask;
	uint64_t token;

	if (!lane || lane->state == LANE_OPENING) {
		done(dp, ep, m, STATUS_NOT_FOUND);
		return;
	}
	l = lane->node == dp->conf.node || lane->state != LANE_OPEN ? NULL : link_get(dp, lane->node);
	if (l && link_can_send(l, false) && ask_node(dp, ep, m, l, JOB_LANE_CLOSE, &token)) {
		proto_request_init(&ask, OP_LINK_LANE_CLOSE);
		ask.req_id = token;
		ask.arg[ARG_LINK_LANE_CLOSE_QPN] = lane->peer_qpn;
		ask.arg[ARG_LINK_LANE_CLOSE_SOURCE] = dp_source(dp, ep->index);
		ask.nargs = 2;
		link_send(dp, l, &ask, NULL);
		lane_free(dp, ep, lane);
		return;
	}
	lane_free(dp, ep, lane);
	done(dp, ep, m, STATUS_OK);
}

/* ---------------------------------------------------------------- fences and watches */

static bool was_granted(const struct dp_endpoint *ep, uint32_t source, uint32_t epoch)
{
	for (uint32_t i = 0; i < ep->ngranted; i++)
		if (ep->granted[2 * i] == source && (int32_t)(epoch - ep->granted[2 * i + 1]) <= 0)
			return true;
	return false;
}

static void op_watch(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m)
{
	uint32_t source = (uint32_t)m->arg[0], epoch = (uint32_t)m->arg[1];
	uint32_t node = source >> 24, index = source & 0xffffff;
	bool there;

	if (ep->kind != CTL_KIND_SERVICE) {
		done(dp, ep, m, STATUS_NO_RIGHT);
		return;
	}
	there = node == dp->conf.node ? endpoint_get(dp, index, epoch) != NULL :
					link_get(dp, node) != NULL;
	if (there && !pairs_add(&ep->watched, &ep->nwatched, source, epoch)) {
		done(dp, ep, m, STATUS_LIMIT);
		return;
	}
	done(dp, ep, m, STATUS_OK);
	if (!there) /* it went before we could look */
		endpoint_peer_gone(dp, ep, source, epoch, GONE_DIED);
}

void ops_request(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m,
		 const void *payload)
{
	struct dp_handle *h;
	struct dp_pending *p;
	uint32_t gen;

	switch (m->opcode) {
	case OP_DP_PING:
		reply_now(dp, ep, m, STATUS_OK, m->arg, 1, payload, m->length);
		return;
	case OP_DP_LOOKUP:
		op_lookup(dp, ep, m, payload);
		return;
	case OP_DP_GRANT:
		op_grant(dp, ep, m);
		return;
	case OP_DP_RELEASE:
		h = handle_get(ep, (uint32_t)m->arg[0], (uint32_t)m->arg[1]);
		if (!h || (h->object == OBJECT_REGION && h->node == dp->conf.node &&
			   dp->regions[h->index].used && dp->regions[h->index].gen == h->id &&
			   dp->regions[h->index].own_slot == m->arg[0] &&
			   dp->regions[h->index].endpoint == ep->index)) {
			/* an own region goes through the control socket */
			done(dp, ep, m, h ? STATUS_NO_RIGHT : STATUS_BAD_HANDLE);
			return;
		}
		handle_free(ep, (uint32_t)m->arg[0]);
		done(dp, ep, m, STATUS_OK);
		return;
	case OP_DP_REVOKE:
		done(dp, ep, m,
		     region_revoke(dp, ep,
				   (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]},
				   &gen));
		return;
	case OP_DP_LANE_OPEN:
		op_lane_open(dp, ep, m);
		return;
	case OP_DP_LANE_CLOSE:
		op_lane_close(dp, ep, m);
		return;
	case OP_DP_FENCE:
		if (ep->kind != CTL_KIND_SERVICE ||
		    !was_granted(ep, (uint32_t)m->arg[0], (uint32_t)m->arg[1])) {
			done(dp, ep, m, STATUS_NO_RIGHT);
			return;
		}
		done(dp, ep, m, fence_source(dp, (uint32_t)m->arg[0], (uint32_t)m->arg[1]));
		return;
	case OP_DP_WATCH:
		op_watch(dp, ep, m);
		return;
	case OP_DP_CANCEL:
		/* by the origin's own id; the list is short, and cancelling is rare */
		for (uint32_t i = ep->from_list.next; i != DP_NONE; i = dp->pending[i].by_from.next) {
			p = &dp->pending[i];
			if (p->from_id == m->arg[0]) {
				if (p->job == JOB_FORWARD)
					pending_cancel(dp, p, STATUS_CANCELLED);
				return;
			}
		}
		return;
	default:
		done(dp, ep, m, STATUS_UNSUPPORTED);
	}
}
