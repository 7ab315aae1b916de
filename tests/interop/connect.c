/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/interop/connect.h"

#include <err.h>
#include <string.h>

enum {
	RETRY_NS = 200000000,
	TRIES = 20,
	READS = 16,
	SQ_DEPTH = 16,
	TIMEOUT_NS = 67108864, /* 4.096 us * 2^14 */
	TIMEOUT_CODE = 14,
	RETRY_COUNT = 7,
	CM_TIMEOUT_CODE = 18, /* about a second */
};

static void put(struct connect *c)
{
	uint8_t mad[CM_MAD_BYTES];

	if (cm_mad_build(mad, &c->last))
		errx(1, "a message of the CM cannot be built");
	roce_send_datagram(c->peer->dev, ip_addr_v4(c->peer->remote), mad, sizeof(mad));
	c->next_ns = peer_now() + RETRY_NS;
}

static void begin(struct connect *c, enum cm_kind kind)
{
	c->tries = 0;
	c->last = (struct cm_mad){.kind = (uint16_t)kind,
				  .transaction = c->tid,
				  .local_id = c->local_id,
				  .remote_id = c->remote_id};
}

static void make_qp(struct connect *c, struct peer *p)
{
	c->peer = p;
	c->local_id = (uint32_t)peer_now() | 1;
	c->qp = roce_qp_new(p->dev, c);
	if (!c->qp)
		errx(1, "no QP");
}

static bool start_qp(struct connect *c, uint32_t qpn, uint32_t psn, uint32_t mtu)
{
	struct roce_qp_conf qc = {.peer_address = ip_addr_v4(c->peer->remote),
				  .peer_qpn = qpn,
				  .peer_psn = roce_qp_first_psn(c->qp),
				  .mtu = mtu,
				  .read_depth = (uint16_t)c->reads,
				  .peer_depth = (uint16_t)c->peer_reads,
				  .sq_depth = SQ_DEPTH,
				  .retry_count = RETRY_COUNT,
				  .rnr_retry = 7,
				  .timeout_ns = TIMEOUT_NS,
				  .recv_max = PEER_SEND_MAX};

	c->remote_qpn = qpn;
	roce_qp_begin_at(c->qp, psn);
	return !roce_qp_ready(c->qp, &qc);
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static void refuse(struct connect *c, const struct cm_mad *m, uint16_t reason)
{
	struct connect once = *c;

	begin(&once, CM_REJ);
	once.last.transaction = m->transaction;
	once.last.remote_id = m->local_id;
	once.last.rej.about = m->kind == CM_REP ? CM_ABOUT_REP : CM_ABOUT_REQ;
	once.last.rej.reason = reason;
	put(&once);
	c->reason = reason;
	c->state = CONNECT_REFUSED;
}

void connect_listen(struct connect *c, struct peer *p, uint16_t port)
{
	memset(c, 0, sizeof(*c));
	make_qp(c, p);
	c->port = port;
	c->state = CONNECT_LISTENING;
}

void connect_request(struct connect *c, struct peer *p, uint16_t port)
{
	struct cm_req *r = &c->last.req;

	memset(c, 0, sizeof(*c));
	make_qp(c, p);
	c->reads = c->peer_reads = READS;
	c->tid = peer_now() << 16 | 1;
	begin(c, CM_REQ);
	*r = (struct cm_req){.service = cm_service_tcp(port),
			     .ca_guid = p->address,
			     .qpn = roce_qp_number(c->qp),
			     .psn = roce_qp_first_psn(c->qp),
			     .responder_resources = READS,
			     .initiator_depth = READS,
			     .local_timeout = CM_TIMEOUT_CODE,
			     .remote_timeout = CM_TIMEOUT_CODE,
			     .retry_count = RETRY_COUNT,
			     .rnr_retry_count = 7,
			     .cm_retries = 15,
			     .ack_timeout = TIMEOUT_CODE,
			     .mtu = peer_mtu(p, 1024),
			     .src_address = ip_addr_v4(p->address),
			     .dst_address = ip_addr_v4(p->remote),
			     .src_port = port};
	c->state = CONNECT_REQ_SENT;
	put(c);
}

void connect_end(struct connect *c)
{
	if (c->state != CONNECT_UP && c->state != CONNECT_REP_SENT)
		return;
	begin(c, CM_DREQ);
	c->last.dreq.remote_qpn = c->remote_qpn;
	c->state = CONNECT_DREQ_SENT;
	put(c);
}

void connect_heard(struct connect *c)
{
	if (c->state == CONNECT_REP_SENT)
		c->state = CONNECT_UP;
}

/* ------------------------------------------------------------------ what arrives */

static void on_req(struct connect *c, const struct cm_mad *m)
{
	if (c->state == CONNECT_REP_SENT && m->local_id == c->remote_id) {
		put(c); /* it asks again: the REP was lost */
		return;
	}
	if (c->state != CONNECT_LISTENING)
		return;
	if (m->req.service != cm_service_tcp(c->port) || !ip_addr_equal(m->req.dst_address, ip_addr_v4(c->peer->address))) {
		refuse(c, m, CM_REJ_BAD_SERVICE);
		return;
	}
	c->tid = m->transaction;
	c->remote_id = m->local_id;
	c->reads = least(m->req.responder_resources, READS);
	c->peer_reads = least(m->req.initiator_depth, READS);
	if (peer_mtu(c->peer, m->req.mtu) != m->req.mtu ||
	    !start_qp(c, m->req.qpn, m->req.psn, m->req.mtu)) {
		refuse(c, m, CM_REJ_BAD_MTU);
		return;
	}
	begin(c, CM_REP);
	c->last.rep = (struct cm_rep){.qpn = roce_qp_number(c->qp),
				      .psn = roce_qp_first_psn(c->qp),
				      .responder_resources = (uint8_t)c->peer_reads,
				      .initiator_depth = (uint8_t)c->reads,
				      .ack_delay = TIMEOUT_CODE,
				      .rnr_retry_count = 7,
				      .ca_guid = c->peer->address};
	c->state = CONNECT_REP_SENT;
	put(c);
}

static void on_rep(struct connect *c, const struct cm_mad *m)
{
	if (m->remote_id != c->local_id)
		return;
	if (c->state == CONNECT_REQ_SENT) {
		uint32_t mtu = c->last.req.mtu;

		c->remote_id = m->local_id;
		c->reads = least(m->rep.responder_resources, READS);
		c->peer_reads = least(m->rep.initiator_depth, READS);
		if (!start_qp(c, m->rep.qpn, m->rep.psn, mtu)) {
			refuse(c, m, CM_REJ_CONSUMER);
			return;
		}
		c->state = CONNECT_UP;
	}
	if (c->state != CONNECT_UP)
		return;
	begin(c, CM_RTU); /* also when it says it again: the RTU was lost */
	put(c);
}

void connect_input(struct connect *c, const void *mad, uint32_t len)
{
	struct connect once;
	struct cm_mad m;
	int rc = cm_mad_parse(&m, mad, len);

	if (rc) {
		warnx("a message of the CM is not understood: %s", strerror(-rc));
		return;
	}
	switch (m.kind) {
	case CM_REQ:
		on_req(c, &m);
		break;
	case CM_REP:
		on_rep(c, &m);
		break;
	case CM_RTU:
		if (m.remote_id == c->local_id)
			connect_heard(c);
		break;
	case CM_REJ:
		if (m.remote_id == c->local_id &&
		    (c->state == CONNECT_REQ_SENT || c->state == CONNECT_REP_SENT)) {
			c->reason = m.rej.reason;
			c->state = CONNECT_REFUSED;
		}
		break;
	case CM_DREQ:
		if (m.remote_id != c->local_id || m.dreq.remote_qpn != roce_qp_number(c->qp))
			break;
		once = *c;
		begin(&once, CM_DREP);
		once.last.transaction = m.transaction;
		put(&once);
		c->state = CONNECT_ENDED;
		break;
	case CM_DREP:
		if (m.remote_id == c->local_id && c->state == CONNECT_DREQ_SENT)
			c->state = CONNECT_ENDED;
		break;
	}
}

void connect_tick(struct connect *c)
{
	if ((c->state != CONNECT_REQ_SENT && c->state != CONNECT_REP_SENT &&
	     c->state != CONNECT_DREQ_SENT) ||
	    peer_now() < c->next_ns)
		return;
	if (++c->tries < TRIES) {
		put(c);
		return;
	}
	c->reason = CM_REJ_TIMEOUT;
	c->state = CONNECT_REFUSED;
}
