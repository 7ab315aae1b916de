/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: the QP that carries messages between two nodes. cm.c sets it up; here it sends, receives,
 * beats, and goes down.
 *
 * Sending: messages are packed into buffers, several to a packet when they are small, and a buffer is one
 * SEND. Buffers are counted so that the answer to every request taken from the peer has one.
 * Receiving: the engine hands over whole SENDs, which are copied to a queue and routed after the engine's
 * turn: nothing here calls back into the engine while it runs.
 */
#include <stdlib.h>

#include "dataplane/link.h"

enum { RX_HEAD = 16 };

/* ---------------------------------------------------------------- sending */

static void bufs_reset(struct dp_link *l)
{
	for (uint32_t i = 0; i < LINK_BUFS; i++)
		l->bufs[i].next = i + 1 < LINK_BUFS ? i + 1 : DP_NONE;
	l->free_buf = 0;
	l->nfree = LINK_BUFS;
	l->open_buf = DP_NONE;
}

bool link_can_send(const struct dp_link *l, bool urgent)
{
	return l->nfree > (urgent ? 1 : l->requests_here + LINK_BUFS_SPARE);
}

bool link_may_accept(const struct dp_link *l)
{
	return l->requests_here < LINK_REQUESTS && l->nfree > l->requests_here + LINK_BUFS_SPARE / 2;
}

void link_flush(struct dp *dp, struct dp_link *l)
{
	uint32_t i = l->open_buf;
	struct roce_wr wr;

	if (i == DP_NONE)
		return;
	l->open_buf = DP_NONE;
	wr = (struct roce_wr){.op = ROCE_WR_SEND,
			      .flags = ROCE_WR_CHAIN_END,
			      .local = l->bufs[i].data,
			      .len = l->bufs[i].len,
			      .cookie = i};
	if (l->state != LINK_UP || roce_post(l->q.qp, &wr)) {
		l->bufs[i].next = l->free_buf;
		l->free_buf = i;
		l->nfree++;
		if (l->state == LINK_UP)
			l->doomed = dp->doomed = true;
	}
}

unsigned links_output(struct dp *dp)
{
	if (dp->talks) {
		dp->talks = false;
		for (uint32_t i = 0; i < dp->nlinks; i++)
			if (dp->link_list[i]->open_buf != DP_NONE)
				link_flush(dp, dp->link_list[i]);
	}
	return roce_output(dp->roce, dp->now, DP_PORT_BUDGET);
}

void link_send(struct dp *dp, struct dp_link *l, struct proto_msg *m, const void *payload)
{
	uint32_t size = proto_msg_slots(m) * PROTO_SLOT_SIZE + ((m->length + 7) & ~7u);
	struct link_buf *b;
	uint8_t *to;
	unsigned n;

	if (l->state != LINK_UP)
		return;
	if (l->open_buf != DP_NONE && l->bufs[l->open_buf].len + size > l->mtu)
		link_flush(dp, l);
	if (l->open_buf == DP_NONE) {
		if (l->free_buf == DP_NONE) {
			/* the peer has stopped taking what it must: better no link than a lost answer */
			strcpy(l->cause, "no buffer left for what must be said");
			l->doomed = dp->doomed = true;
			return;
		}
		l->open_buf = l->free_buf;
		l->free_buf = l->bufs[l->open_buf].next;
		l->nfree--;
		l->bufs[l->open_buf].len = 0;
		dp->talks = true;
	}
	b = &l->bufs[l->open_buf];
	to = b->data + b->len;
	m->payload = 0;
	n = proto_msg_pack(m, to);
	for (unsigned i = 0; i < n; i++)
		memset(to + (i + 1) * PROTO_SLOT_SIZE - 4, 0, 4);
	to += n * PROTO_SLOT_SIZE;
	if (m->length) {
		memcpy(to, payload, m->length);
		memset(to + m->length, 0, ((m->length + 7) & ~7u) - m->length);
	}
	b->len += size;
	dp_count(dp, DPC_LINK_TX);
	if (dp_traced(dp))
		trace_record(dp, TRACE_POINT_TO_LINK, (uint32_t)l->peer.node << 24, m->src,
			     b->data + b->len - size, n, payload, m->length);
}

/* ---------------------------------------------------------------- receiving */

/* True when the whole buffer made sense. */
static bool link_parse(struct dp *dp, struct dp_link *l, const uint8_t *data, uint32_t len)
{
	uint32_t off = 0;

	while (off < len && l->state == LINK_UP) {
		const uint8_t *payload, *slots = data + off;
		struct proto_msg m;
		unsigned n;

		if (len - off < PROTO_SLOT_SIZE)
			return false;
		n = data[off + 3];
		if (n < 1 || n > PROTO_SLOTS_MAX || len - off < n * PROTO_SLOT_SIZE)
			return false;
		proto_msg_unpack(slots, n, &m);
		off += n * PROTO_SLOT_SIZE;
		if (m.length > PROTO_PAYLOAD_MAX || ((m.length + 7) & ~7u) > len - off)
			return false;
		payload = m.length ? data + off : NULL;
		off += (m.length + 7) & ~7u;
		if (proto_header_check(&m, PROTO_TO_LINK) != STATUS_OK)
			return false;
		dp_count(dp, DPC_LINK_RX);
		if (m.opcode != OP_LINK_HEARTBEAT) { /* in a recorder they would leave nothing else */
			dp->used = true;
			recorder_note(dp, TRACE_POINT_FROM_LINK, (uint32_t)l->peer.node << 24, &m);
		}
		if (dp_traced(dp))
			trace_record(dp, TRACE_POINT_FROM_LINK, (uint32_t)l->peer.node << 24, m.src,
				     slots, n, payload, m.length);
		route_link_message(dp, l, &m, payload);
	}
	return true;
}

struct rx_head {
	uint32_t len;
	uint32_t node;
	uint64_t link; /* dp_link.tid when it arrived */
};
_Static_assert(sizeof(struct rx_head) == RX_HEAD, "queue entries are 8-aligned");

unsigned links_run(struct dp *dp)
{
	uint32_t off = 0, len = dp->rx_len;
	unsigned done = 0;

	for (; off < len; done++) {
		struct rx_head h;
		struct dp_link *l;

		memcpy(&h, dp->rx + off, sizeof(h));
		l = dp->links[h.node];
		if (l->tid == h.link) {
			cm_heard(dp, l);
			if (l->state == LINK_UP && !link_parse(dp, l, dp->rx + off + RX_HEAD, h.len)) {
				dp_count(dp, DPC_LINK_BAD);
				link_down(dp, l, "it sent a malformed message");
			}
		}
		off += RX_HEAD + ((h.len + 7) & ~7u);
	}
	dp->rx_len = 0;
	dp->used |= dp->nmads > 0;
	for (uint32_t i = 0; i < dp->nmads; i++, done++)
		cm_receive(dp, dp->mads[i].address, dp->mads[i].mad, dp->mads[i].len);
	dp->nmads = 0;
	return done;
}

/* ---------------------------------------------------------------- the engine's callbacks */

static void *host_memory(void *host, struct roce_qp *qp, uint32_t rkey, uint64_t va, uint32_t len,
			 uint32_t access, uint8_t *status)
{
	struct dp_qp *q = roce_qp_owner(qp);
	struct dp_responder *o = (struct dp_responder *)q;
	uint32_t index = rkey >> 20, gen = rkey & 0xfffff;
	struct dp *dp = host;
	struct dp_region *r;
	uint8_t want = 0;

	if (q->role != QP_RESPONDER) {
		*status = STATUS_NO_RIGHT;
		return NULL;
	}
	dp->used = true;
	r = region_get(dp, index, gen);
	if (!r) {
		*status = STATUS_BAD_HANDLE;
		return NULL;
	}
	if (access & ROCE_REMOTE_READ)
		want |= RIGHT_READ;
	if (access & ROCE_REMOTE_WRITE)
		want |= RIGHT_WRITE;
	if (access & ROCE_REMOTE_ATOMIC)
		want |= RIGHT_ATOMIC;
	if ((r->exported[o->node] & want) != want) {
		*status = STATUS_NO_RIGHT;
		return NULL;
	}
	if (len > r->size || va > r->size - len) {
		*status = STATUS_RANGE;
		return NULL;
	}
	if ((access & ROCE_REMOTE_ATOMIC) && (va & 7)) {
		*status = STATUS_ALIGN;
		return NULL;
	}
	return r->base + va;
}

static void host_complete(void *host, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	struct dp_qp *q = roce_qp_owner(qp);
	struct dp *dp = host;
	struct dp_link *l;

	switch ((enum qp_role)q->role) {
	case QP_LANE:
		lane_complete(dp, (struct dp_lane *)q, cookie, status);
		return;
	case QP_LINK:
		l = (struct dp_link *)q;
		if (cookie >= LINK_BUFS)
			return;
		l->bufs[cookie].next = l->free_buf;
		l->free_buf = (uint32_t)cookie;
		l->nfree++;
		if (dp->waiting)
			credit_arrived(dp, l->peer.node, DP_NONE);
		return;
	case QP_RESPONDER:
		return;
	}
}

static int host_receive(void *host, struct roce_qp *qp, const void *data, uint32_t len)
{
	struct dp_qp *q = roce_qp_owner(qp);
	struct dp_link *l = (struct dp_link *)q;
	struct dp *dp = host;
	struct rx_head h;

	if (q->role != QP_LINK)
		return 0;
	if (dp->rx_len + RX_HEAD + len + 8 > DP_RX_QUEUE)
		return -EAGAIN;
	h = (struct rx_head){.len = len, .node = l->peer.node, .link = l->tid};
	memcpy(dp->rx + dp->rx_len, &h, sizeof(h));
	memcpy(dp->rx + dp->rx_len + RX_HEAD, data, len);
	dp->rx_len += RX_HEAD + ((len + 7) & ~7u);
	return 0;
}

static void host_error(void *host, struct roce_qp *qp, enum roce_error why)
{
	static const char *const text[] = {
		[ROCE_ERR_NONE] = "closed",
		[ROCE_ERR_RETRY] = "no answer to any retry",
		[ROCE_ERR_RNR] = "the peer was never ready",
		[ROCE_ERR_REMOTE_ACCESS] = "the peer refused an access",
		[ROCE_ERR_REMOTE_INVALID] = "the peer calls a request invalid",
		[ROCE_ERR_REMOTE_OP] = "the peer failed",
		[ROCE_ERR_LOCAL] = "the peer broke the protocol",
		[ROCE_ERR_CLOSED] = "closed",
	};
	struct dp_qp *q = roce_qp_owner(qp);
	struct dp *dp = host;

	switch ((enum qp_role)q->role) {
	case QP_LANE:
		((struct dp_lane *)q)->doomed = true;
		break;
	case QP_LINK:
		((struct dp_link *)q)->doomed = true;
		strcpy(((struct dp_link *)q)->cause, text[why]);
		break;
	case QP_RESPONDER:
		((struct dp_responder *)q)->doomed = true;
		break;
	}
	dp->doomed = true;
}

static void host_datagram(void *host, struct ip_addr address, uint32_t qpn, const void *mad, uint32_t len)
{
	struct dp *dp = host;

	(void)qpn;
	if (dp->nmads == DP_MADS || len > sizeof(dp->mads[0].mad))
		return; /* its sender tries again */
	dp->mads[dp->nmads].address = address;
	dp->mads[dp->nmads].len = len;
	memcpy(dp->mads[dp->nmads++].mad, mad, len);
}

const struct roce_host dp_roce_host = {
	.memory = host_memory,
	.complete = host_complete,
	.receive = host_receive,
	.error = host_error,
	.datagram = host_datagram,
};

/* ---------------------------------------------------------------- going down */

void responder_free(struct dp *dp, struct dp_responder *r)
{
	dp->links[r->node]->nresponders--;
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	roce_qp_destroy(r->q.qp);
	free(r);
}

void doomed_reap(struct dp *dp)
{
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		struct dp_link *l = dp->link_list[i];

		if (l->doomed)
			link_down(dp, l, l->cause);
		for (struct dp_responder *r = l->responders, *next; r; r = next) {
			next = r->next;
			if (r->doomed)
				responder_free(dp, r);
		}
	}
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		for (unsigned k = 0; ep && k < DP_LANES_MAX; k++)
			if (ep->lanes[k] && ep->lanes[k]->doomed)
				lane_kill(dp, ep->lanes[k], STATUS_NOT_SENT);
	}
}

/* Watchers of any client of that node. */
static void node_gone(struct dp *dp, uint8_t node)
{
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		for (uint32_t k = 0; ep && k < ep->nwatched; k++) {
			uint32_t *w = ep->watched + 2 * (size_t)k;

			if (w[0] >> 24 != node)
				continue;
			endpoint_peer_gone(dp, ep, w[0], w[1], GONE_NODE);
			ep->nwatched--;
			memcpy(w, ep->watched + 2 * (size_t)ep->nwatched, 2 * sizeof(*w));
			k--;
		}
	}
}

void link_down(struct dp *dp, struct dp_link *l, const char *why)
{
	bool was_up = l->state == LINK_UP;

	if (was_up) {
		dp_count(dp, DPC_LINK_DOWNS);
		dp->counters[DPC_LINKS_UP]--;
		dp_log(dp, "link to %s is down: %s", l->peer.name, why);
	}
	l->state = LINK_DOWN;
	l->tid = 0; /* what it had queued for routing is void */
	if (l->q.qp)
		roce_qp_destroy(l->q.qp);
	l->q.qp = NULL;
	l->doomed = false; /* which the engine said of the queue pair that is gone now */
	while (l->responders)
		responder_free(dp, l->responders);
	lanes_of_node_down(dp, l->peer.node, STATUS_NOT_SENT);
	pendings_of_gone(dp, &l->from_list, &l->to_list, STATUS_UNREACHABLE);
	l->nservices = 0;
	bufs_reset(l);
	if (was_up)
		node_gone(dp, l->peer.node);
	l->next_ns = dp->now;
}

/* ---------------------------------------------------------------- services of the peer */

struct dp_link *link_get(struct dp *dp, uint32_t node)
{
	struct dp_link *l = node < 256 ? dp->links[node] : NULL;

	return l && l->state == LINK_UP ? l : NULL;
}

struct link_service *link_service_get(struct dp_link *l, uint32_t endpoint, uint32_t epoch, bool make)
{
	const uint32_t max = sizeof(l->services) / sizeof(l->services[0]);
	uint32_t i;

	for (i = 0; i < l->nservices; i++)
		if (l->services[i].endpoint == endpoint) {
			if (l->services[i].epoch == epoch)
				return &l->services[i];
			break; /* an earlier life at the same number */
		}
	if (!make)
		return NULL;
	if (i == l->nservices) {
		if (i == max) /* the oldest name that nobody waits for makes room */
			for (i = 0; i < max && l->services[i].used; i++)
				;
		else
			l->nservices++;
	}
	if (i == max)
		return NULL;
	l->services[i] = (struct link_service){
		.endpoint = endpoint, .epoch = epoch, .credits = DP_CREDITS};
	return &l->services[i];
}

/* ---------------------------------------------------------------- start and end */

int links_init(struct dp *dp)
{
	dp->rx = malloc(DP_RX_QUEUE);
	if (!dp->rx)
		return -ENOMEM;
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		struct dp_link *l = dp->link_list[i];

		list_init(&l->from_list);
		list_init(&l->to_list);
		l->q.role = QP_LINK;
		l->bufs = calloc(LINK_BUFS, sizeof(*l->bufs));
		if (!l->bufs)
			return -ENOMEM;
		bufs_reset(l);
		l->active = dp->conf.node < l->peer.node;
		l->next_ns = dp->now;
	}
	return 0;
}

void links_free(struct dp *dp)
{
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		struct dp_link *l = dp->link_list[i];

		if (l->bufs) {
			cm_goodbye(dp, l);
			link_down(dp, l, "this node stops");
		}
	}
	if (dp->roce) /* let the goodbyes out */
		roce_output(dp->roce, dp->now, DP_PORT_BUDGET);
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		free(dp->link_list[i]->bufs);
		free(dp->link_list[i]);
	}
	dp->nlinks = 0;
	free(dp->rx);
}
