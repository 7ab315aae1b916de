/* SPDX-License-Identifier: Apache-2.0 */
/* Setting links up: REQ, REP, RTU, REJ, DREQ, DREP, and the heartbeat that keeps them. */
#include <stdio.h>

#include "dataplane/link.h"
#include "dataplane/roce/cm_mad.h"
#include "dataplane/roce/packet.h"

enum {
	CM_PORT = 4792,		  /* of the RDMA CM's TCP port space: what a link is asked for */
	CM_RETRY_NS = 50000000,	  /* between REQs, and REPs that were not answered */
	ACK_DELAY_NS = 20000,	  /* of messages: nobody waits for it; far below a time-out */
	CM_RETRIES = 4,		  /* then the attempt starts anew, with a new QP */
	CM_REJECTED_NS = 200000000, /* after a REJ: somebody must mend something */
};

uint64_t link_timeout_ns(const struct dp *dp)
{
	/* eight tries last longer than three heartbeats: silence is found by the heartbeat */
	return (uint64_t)dp->conf.heartbeat_ms * 1000000u / 2;
}

static uint32_t own_mtu(const struct dp *dp)
{
	uint32_t overhead = ip_addr_is_v6(dp->conf.address) ? PACKET_DATA_OVERHEAD6
							    : PACKET_DATA_OVERHEAD;
	uint32_t room = netif_mtu(dp->nif) - overhead, mtu = ROCE_MTU_MAX;

	if (dp->conf.mtu && dp->conf.mtu < room)
		room = dp->conf.mtu;
	while (mtu > ROCE_MTU_MIN && mtu > room)
		mtu /= 2;
	return mtu;
}

static uint32_t own_features(const struct dp *dp)
{
	return dp->conf.features ? dp->conf.features : PROTO_FEATURES;
}

static void hello_fill(const struct dp *dp, const struct dp_link *l, void *out)
{
	struct proto_link_hello h = {
		.magic = PROTO_LINK_HELLO_MAGIC,
		.major = PROTO_MAJOR,
		.node = dp->conf.node,
		.features = own_features(dp),
		.incarnation = dp->incarnation,
		.predecessor = l->peer_incarnation,
		.heartbeat_ms = dp->conf.heartbeat_ms,
		.mtu = own_mtu(dp),
	};

	memcpy(h.name, dp->conf.name, strnlen(dp->conf.name, sizeof(h.name)));
	memcpy(out, &h, sizeof(h));
}

/* NULL if the hello is that of the peer that it should be, else what is wrong. */
static const char *hello_check(const struct dp_link *l, const void *data, struct proto_link_hello *h)
{
	memcpy(h, data, sizeof(*h));
	if (h->magic != PROTO_LINK_HELLO_MAGIC)
		return "it is not a dataplane";
	if (h->major != PROTO_MAJOR)
		return "it speaks another version";
	if (proto_link_hello_check(h) != STATUS_OK)
		return "its hello is malformed";
	if (h->node != l->peer.node)
		return "it has another node number than the configuration says";
	if (!(h->features & FEATURE_VERB_STATUS))
		return "it lacks per-verb status";
	return NULL;
}

static int qp_make(struct dp *dp, struct dp_link *l)
{
	l->q.qp = roce_qp_new(dp->roce, &l->q);
	return l->q.qp ? 0 : -ENOMEM;
}

static int qp_start(struct dp *dp, struct dp_link *l, uint32_t qpn, uint32_t psn,
		    const struct proto_link_hello *h)
{
	struct roce_qp_conf qc = {
		.peer_address = l->peer.address,
		.peer_qpn = qpn,
		.peer_psn = roce_qp_first_psn(l->q.qp), /* what we told it to begin with */
		.read_depth = 1,
		.peer_depth = 1,
		.sq_depth = LINK_BUFS,
		.retry_count = 7,
		.rnr_retry = 7,
		.timeout_ns = link_timeout_ns(dp),
		.atoll = true,
		.ack_delay_ns = ACK_DELAY_NS,
		.recv_max = LINK_BUF,
	};

	roce_qp_begin_at(l->q.qp, psn);
	l->mtu = h->mtu < own_mtu(dp) ? h->mtu : own_mtu(dp);
	qc.mtu = l->mtu;
	l->peer_qpn = qpn;
	l->peer_incarnation = h->incarnation;
	l->features = h->features & own_features(dp);
	l->peer_heartbeat_ms = h->heartbeat_ms ? h->heartbeat_ms : dp->conf.heartbeat_ms;
	return roce_qp_ready(l->q.qp, &qc);
}

static void up(struct dp *dp, struct dp_link *l)
{
	l->state = LINK_UP;
	l->heard_ns = dp->now;
	l->next_ns = dp->now;
	l->beat = 0;
	/* not before: who asked may have been an earlier life, late on its way */
	if (l->fences_of != l->peer_incarnation)
		fences_forget(dp, l->peer.node);
	l->fences_of = l->peer_incarnation;
	dp_count(dp, DPC_LINK_UPS);
	dp_count(dp, DPC_LINKS_UP);
	dp_log(dp, "link to %s is up, %u bytes a packet", l->peer.name, l->mtu);
}

static void mad_send(struct dp *dp, const struct dp_link *l, const struct cm_mad *m)
{
	uint8_t mad[CM_MAD_BYTES];

	if (cm_mad_build(mad, m) == 0)
		roce_send_datagram(dp->roce, l->peer.address, mad, sizeof(mad));
}

static void mad_simple(struct dp *dp, const struct dp_link *l, enum cm_kind type, uint64_t tid)
{
	struct cm_mad m = {.kind = (uint16_t)type,
			   .transaction = tid,
			   .local_id = l->local_comm,
			   .remote_id = l->remote_comm};

	if (type == CM_DREQ)
		m.dreq.remote_qpn = l->peer_qpn;
	mad_send(dp, l, &m);
}

static void send_req(struct dp *dp, struct dp_link *l)
{
	struct cm_mad m = {.kind = CM_REQ, .transaction = l->tid, .local_id = l->local_comm};
	struct cm_req *r = &m.req;

	r->service = cm_service_tcp(CM_PORT);
	r->ca_guid = dp->incarnation;
	r->qpn = roce_qp_number(l->q.qp);
	r->psn = roce_qp_first_psn(l->q.qp);
	r->responder_resources = 1;
	r->initiator_depth = 1;
	r->retry_count = 7;
	r->rnr_retry_count = 7;
	r->cm_retries = CM_RETRIES;
	r->ack_timeout = cm_timeout_encode(link_timeout_ns(dp));
	r->local_timeout = r->remote_timeout = cm_timeout_encode(CM_RETRY_NS);
	r->mtu = own_mtu(dp);
	r->src_address = dp->conf.address;
	r->dst_address = l->peer.address;
	r->src_port = CM_PORT;
	hello_fill(dp, l, m.private_data);
	m.private_len = sizeof(struct proto_link_hello);
	mad_send(dp, l, &m);
}

static void send_rep(struct dp *dp, struct dp_link *l)
{
	struct cm_mad m = {.kind = CM_REP,
			   .transaction = l->tid,
			   .local_id = l->local_comm,
			   .remote_id = l->remote_comm};

	m.rep.qpn = roce_qp_number(l->q.qp);
	m.rep.psn = roce_qp_first_psn(l->q.qp);
	m.rep.responder_resources = 1;
	m.rep.initiator_depth = 1;
	m.rep.rnr_retry_count = 7;
	m.rep.ca_guid = dp->incarnation;
	hello_fill(dp, l, m.private_data);
	m.private_len = sizeof(struct proto_link_hello);
	mad_send(dp, l, &m);
}

static void send_rej(struct dp *dp, struct dp_link *l, const struct cm_mad *req, const char *why)
{
	struct cm_mad m = {.kind = CM_REJ,
			   .transaction = req->transaction,
			   .remote_id = req->local_id};

	dp_count(dp, DPC_CM_REJECTS);
	dp_log(dp, "a link from %s is refused: %s", l->peer.name, why);
	m.rej.reason = CM_REJ_CONSUMER;
	m.rej.about = req->kind == CM_REQ ? CM_ABOUT_REQ : CM_ABOUT_REP;
	snprintf((char *)m.private_data, CM_REJ_PRIVATE, "%s", why);
	m.private_len = CM_REJ_PRIVATE;
	mad_send(dp, l, &m);
}

/* ---------------------------------------------------------------- what arrives */

/* Of an attempt of the peer's, or of a life of its, that is over: it was long on its way. */
static bool late(const struct dp_link *l, const struct cm_mad *m, uint64_t incarnation)
{
	if (l->state != LINK_UP)
		return false;
	if (incarnation == l->peer_incarnation)
		return (int64_t)(m->transaction - l->tid) < 0;
	return (int32_t)((uint32_t)(incarnation >> 32) - (uint32_t)(l->peer_incarnation >> 32)) < 0;
}

static void on_req(struct dp *dp, struct dp_link *l, const struct cm_mad *m)
{
	struct proto_link_hello h;
	const char *why = hello_check(l, m->private_data, &h);

	if (!why && m->req.service != cm_service_tcp(CM_PORT))
		why = "nothing listens there";

	if (l->q.qp && (l->state == LINK_REP_SENT || l->state == LINK_UP) &&
	    l->tid == m->transaction && l->remote_comm == m->local_id &&
	    l->peer_incarnation == h.incarnation) {
		send_rep(dp, l); /* it asks again: our REP was lost */
		return;
	}
	if (!why && late(l, m, h.incarnation))
		return;
	if (!why && l->active)
		why = "the node with the smaller number asks";
	if (why) {
		send_rej(dp, l, m, why);
		return;
	}
	/* no ghosts: everything of an earlier link dies before this one is accepted */
	link_down(dp, l, h.incarnation == l->peer_incarnation ? "it asks for a new one" :
								"it was started again");
	l->local_comm = (uint32_t)dp_random(dp) | 1;
	l->remote_comm = m->local_id;
	l->tid = m->transaction;
	if (qp_make(dp, l))
		return;
	if (qp_start(dp, l, m->req.qpn, m->req.psn, &h)) {
		send_rej(dp, l, m, "its queue pair's numbers are out of range");
		link_down(dp, l, "bad numbers");
		return;
	}
	l->state = LINK_REP_SENT;
	l->retries = 0;
	l->next_ns = dp->now + CM_RETRY_NS;
	send_rep(dp, l);
}

static void on_rep(struct dp *dp, struct dp_link *l, const struct cm_mad *m)
{
	struct proto_link_hello h;
	const char *why;

	if (m->remote_id != l->local_comm || m->transaction != l->tid)
		return; /* of an attempt that was given up */
	if (l->state == LINK_UP) {
		mad_simple(dp, l, CM_RTU, l->tid); /* our RTU was lost */
		return;
	}
	if (l->state != LINK_REQ_SENT)
		return;
	why = hello_check(l, m->private_data, &h);
	l->remote_comm = m->local_id;
	if (!why && qp_start(dp, l, m->rep.qpn, m->rep.psn, &h))
		why = "its queue pair's numbers are out of range";
	if (why) {
		send_rej(dp, l, m, why);
		link_down(dp, l, why);
		l->next_ns = dp->now + CM_REJECTED_NS;
		return;
	}
	mad_simple(dp, l, CM_RTU, l->tid);
	up(dp, l);
}

static void on_rej(struct dp *dp, struct dp_link *l, const struct cm_mad *m)
{
	char why[64];

	if (m->remote_id != l->local_comm ||
	    (l->state != LINK_REQ_SENT && l->state != LINK_REP_SENT))
		return;
	memcpy(why, m->private_data, sizeof(why) - 1);
	why[sizeof(why) - 1] = 0;
	for (char *p = why; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	dp_count(dp, DPC_CM_REJECTS);
	if (strcmp(why, l->cause)) /* say it once */
		dp_log(dp, "%s refuses a link: %s", l->peer.name, why[0] ? why : "no reason given");
	link_down(dp, l, why);
	strcpy(l->cause, why);
	l->next_ns = dp->now + CM_REJECTED_NS;
}

void cm_receive(struct dp *dp, struct ip_addr address, const void *mad, uint32_t len)
{
	struct dp_link *l = NULL;
	struct cm_mad m;

	for (uint32_t i = 0; i < dp->nlinks && !l; i++)
		if (ip_addr_equal(dp->link_list[i]->peer.address, address))
			l = dp->link_list[i];
	if (!l || cm_mad_parse(&m, mad, len)) {
		dp_count(dp, DPC_CM_REJECTS);
		return;
	}
	switch (m.kind) {
	case CM_REQ:
		on_req(dp, l, &m);
		break;
	case CM_REP:
		on_rep(dp, l, &m);
		break;
	case CM_RTU:
		if (l->state == LINK_REP_SENT && m.remote_id == l->local_comm)
			up(dp, l);
		break;
	case CM_REJ:
		on_rej(dp, l, &m);
		break;
	case CM_DREQ:
		if (m.remote_id == l->local_comm && l->state != LINK_DOWN) {
			mad_simple(dp, l, CM_DREP, m.transaction);
			link_down(dp, l, "the other node stops");
			l->next_ns = dp->now + CM_RETRY_NS;
		}
		break;
	default:
		break; /* MRA, DREP: nothing to do */
	}
}

void cm_heard(struct dp *dp, struct dp_link *l)
{
	if (l->state == LINK_REP_SENT)
		up(dp, l); /* its RTU was lost, its first message was not */
	l->heard_ns = dp->now;
}

void cm_goodbye(struct dp *dp, struct dp_link *l)
{
	if (l->state == LINK_UP && dp->roce)
		mad_simple(dp, l, CM_DREQ, l->tid);
}

/* ---------------------------------------------------------------- timers */

/* Silence that ends a link: a quarter short of three heartbeats, so that whoever waits is told within three. */
static uint64_t patience(const struct dp_link *l)
{
	return (uint64_t)l->peer_heartbeat_ms * (1000000u * DP_HEARTBEATS_MISSED - 250000u);
}

static void beat(struct dp *dp, struct dp_link *l)
{
	uint64_t most = patience(l);
	struct proto_msg m;

	if (dp->now - l->heard_ns > most) {
		link_down(dp, l, "it was silent for three heartbeats");
		return;
	}
	if (dp->now < l->next_ns)
		return;
	l->next_ns = dp->now + (uint64_t)dp->conf.heartbeat_ms * 1000000u;
	proto_request_init(&m, OP_LINK_HEARTBEAT);
	m.src = dp_source(dp, 0);
	m.arg[0] = ++l->beat;
	m.nargs = 1;
	link_send(dp, l, &m, NULL);
	dp_count(dp, DPC_HEARTBEATS);
}

static void attempt(struct dp *dp, struct dp_link *l)
{
	if (l->state == LINK_REQ_SENT && ++l->retries < CM_RETRIES) {
		send_req(dp, l);
		l->next_ns = dp->now + CM_RETRY_NS;
		return;
	}
	link_down(dp, l, "no answer");
	l->local_comm = (uint32_t)dp_random(dp) | 1;
	l->remote_comm = 0;
	l->tid = dp->next_tid += 2;
	l->retries = 0;
	l->next_ns = dp->now + CM_RETRY_NS;
	if (qp_make(dp, l))
		return;
	l->state = LINK_REQ_SENT;
	send_req(dp, l);
}

void links_tick(struct dp *dp)
{
	/* if this loop was not run for a while, that is not the peers' silence */
	uint64_t gap = dp->now - dp->ticked_ns;
	uint64_t late = dp->now > dp->sleep_until ? dp->now - dp->sleep_until : 0;
	uint64_t slack = (uint64_t)dp->conf.heartbeat_ms * 500000u;

	dp->ticked_ns = dp->now;
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		struct dp_link *l = dp->link_list[i];

		if (gap > slack && late)
			l->heard_ns += late < gap ? late : gap;
		if (l->heard_ns > dp->now)
			l->heard_ns = dp->now;
		switch ((enum link_state)l->state) {
		case LINK_UP:
			beat(dp, l);
			break;
		case LINK_DOWN:
		case LINK_REQ_SENT:
			if (l->active && dp->now >= l->next_ns)
				attempt(dp, l);
			break;
		case LINK_REP_SENT:
			if (dp->now < l->next_ns)
				break;
			if (++l->retries >= CM_RETRIES) {
				link_down(dp, l, "no RTU");
				break;
			}
			l->next_ns = dp->now + CM_RETRY_NS;
			send_rep(dp, l);
			break;
		}
	}
}

uint64_t links_next_timer(const struct dp *dp)
{
	uint64_t t = UINT64_MAX;

	for (uint32_t i = 0; i < dp->nlinks; i++) {
		const struct dp_link *l = dp->link_list[i];
		uint64_t silent = l->heard_ns + patience(l);

		if (l->state == LINK_UP && silent < t)
			t = silent;
		if ((l->active || l->state != LINK_DOWN) && l->next_ns < t)
			t = l->next_ns;
	}
	return t;
}
