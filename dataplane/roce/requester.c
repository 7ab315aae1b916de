/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requester: cuts work requests into packets inside a window, takes their answers in PSN order,
 * goes back to the oldest unanswered PSN when one is missing, and completes in the order posted
 * (IBTA 9.7.2, 9.7.5, 9.7.7 to 9.7.9).
 */
#include "dataplane/roce/qp.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/atoll_proto.h"

enum {
	/* More than the shortest round trip by this: a queue is growing. A loop that takes packets by bursts and
	 * shares its core is late by as much as a few turns, which is no queue. */
	DELAY_TARGET_NS = 40000,
	FORGET_NS = 60000000,
	TRIES_FOR_EVER = 7, /* rnr_retry, IBTA 9.7.5.2.8 */
};

int requester_init(struct roce_qp *qp)
{
	struct requester *rq = &qp->rq;
	uint32_t window = qp->conf.window ? qp->conf.window : ROCE_WINDOW_DEFAULT;
	uint32_t entries = 1, parts;

	while (entries < qp->conf.sq_depth)
		entries *= 2;
	rq->sq = calloc(entries, sizeof(*rq->sq));
	if (!rq->sq)
		return -ENOMEM;
	rq->mask = entries - 1;
	rq->depth = qp->conf.sq_depth;
	rq->una = rq->send_psn = rq->end_psn = qp->begin_psn;
	qp->conf.window = window > WINDOW_MIN ? window : WINDOW_MIN;
	rq->window = qp->conf.window;
	rq->shortest_rtt = UINT64_MAX;
	/* Two READ requests fill the smallest window, or one if no more may be outstanding. */
	parts = qp->conf.read_depth > 1 ? 2 : 1;
	rq->segment = 1;
	while (rq->segment * 2 * parts * qp->mtu <= WINDOW_MIN &&
	       rq->segment * 2 * parts <= ROCE_WINDOW_PACKETS)
		rq->segment *= 2;
	return 0;
}

static inline struct wqe *wqe(const struct requester *rq, uint32_t i)
{
	return &rq->sq[i & rq->mask];
}

int roce_post(struct roce_qp *qp, const struct roce_wr *wr)
{
	struct requester *rq = &qp->rq;
	uint32_t longest = wr->op == ROCE_WR_SEND ? ROCE_SEND_MAX : ROCE_LENGTH_MAX;
	bool atomic = wr->op == ROCE_WR_CAS || wr->op == ROCE_WR_FAA;
	struct wqe *w;

	if (qp->state != ROCE_QP_READY)
		return -ENOTCONN;
	if (wr->op < ROCE_WR_SEND || wr->op > ROCE_WR_FAA || wr->len > longest ||
	    (wr->len && !wr->local) || (atomic && wr->len != 8) ||
	    (is_answered(wr) && !qp->conf.read_depth))
		return -EINVAL;
	if (rq->tail - rq->head >= rq->depth)
		return -EAGAIN;
	w = wqe(rq, rq->tail);
	w->wr = *wr;
	w->status = STATUS_OK;
	w->packets = wr->len ? (wr->len + qp->mtu - 1) >> qp->mtu_shift : 1;
	rq->tail++;
	dev_run(qp->dev, qp);
	return 0;
}

uint32_t roce_sq_room(const struct roce_qp *qp)
{
	return qp->state == ROCE_QP_READY ? qp->rq.depth - (qp->rq.tail - qp->rq.head) : 0;
}

/* Bytes of the first @packets packets of @w. */
static inline uint32_t bytes_of(const struct roce_qp *qp, const struct wqe *w, uint32_t packets)
{
	uint32_t n = packets << qp->mtu_shift;

	return packets >= w->packets ? w->wr.len : n;
}

/* The READ request that holds packet @i of @w ends before this packet. */
static inline uint32_t segment_end(const struct requester *rq, const struct wqe *w, uint32_t i)
{
	uint32_t end = (i | (rq->segment - 1)) + 1;

	if (w->wr.op != ROCE_WR_READ)
		return w->packets;
	return end < w->packets ? end : w->packets;
}

/* ------------------------------------------------------------------ window */

static void window_shrink(struct roce_qp *qp, uint32_t part)
{
	struct requester *rq = &qp->rq;

	rq->window -= rq->window / part;
	if (rq->window < WINDOW_MIN)
		rq->window = WINDOW_MIN;
}

static void probe_answered(struct roce_qp *qp)
{
	struct requester *rq = &qp->rq;
	uint64_t rtt = qp->dev->now - rq->probe_sent;

	rq->probing = false;
	if (rtt < rq->shortest_rtt) {
		rq->shortest_rtt = rtt;
		rq->shortest_at = qp->dev->now;
	} else if (qp->dev->now - rq->shortest_at > FORGET_NS) {
		/* Paths change: in a minute it has doubled, if nothing as short is seen. */
		rq->shortest_rtt += rq->shortest_rtt >> 10;
		rq->shortest_at = qp->dev->now;
	}
	if (rtt > rq->shortest_rtt + DELAY_TARGET_NS)
		window_shrink(qp, 8);
	else if (rq->window + qp->mtu <= qp->conf.window)
		rq->window += qp->mtu;
}

void requester_congested(struct roce_qp *qp)
{
	window_shrink(qp, 2);
}

/* ------------------------------------------------------------------ progress */

static void go_back(struct roce_qp *qp)
{
	struct requester *rq = &qp->rq;

	rq->next = rq->head;
	rq->send_psn = rq->una;
	rq->reads = 0;
	rq->flight_bytes = 0;
	rq->unasked_bytes = rq->unasked_packets = 0;
	rq->probing = false;
	rq->went_back = true;
	dev_run(qp->dev, qp);
}

/* An answer is missing at una: ask again, once until una moves or time is up. */
static void missing(struct roce_qp *qp)
{
	if (qp->rq.went_back)
		return;
	window_shrink(qp, 2);
	go_back(qp);
}

/* Everything before @psn, which lies in or behind the head @w, is answered. */
static void progress(struct roce_qp *qp, const struct wqe *w, uint32_t psn)
{
	struct requester *rq = &qp->rq;
	int32_t sent = psn_diff(rq->send_psn, rq->una);

	if (sent > 0) {
		uint32_t upto = psn_diff(psn, rq->send_psn) < 0 ? psn : rq->send_psn;

		rq->flight_bytes -= bytes_of(qp, w, psn_since(upto, w->first_psn)) -
				    bytes_of(qp, w, psn_since(rq->una, w->first_psn));
	}
	rq->una = psn;
	if (psn_diff(rq->send_psn, psn) < 0)
		rq->send_psn = psn;
	rq->went_back = false;
	rq->tries = rq->rnr_tries = 0;
	rq->rnr_until = 0;
	rq->deadline = rq->end_psn == psn ? 0 : qp->dev->now + qp->conf.timeout_ns;
	if (rq->deadline && !qp->timer_at)
		timer_set(qp->dev, qp, rq->deadline);
	if (rq->probing && psn_diff(psn, rq->probe_psn) > 0)
		probe_answered(qp);
	if (rq->next != rq->tail)
		dev_run(qp->dev, qp);
}

static void complete_head(struct roce_qp *qp)
{
	struct requester *rq = &qp->rq;
	struct wqe *w = wqe(rq, rq->head);
	uint64_t cookie = w->wr.cookie;
	uint8_t status = w->status;

	if (rq->next == rq->head)
		rq->next++;
	rq->head++;
	qp->dev->ops->complete(qp->dev->host, qp, cookie, status);
}

/* The READ request or atomic of the head that ends before @psn is answered. */
static void progress_answered(struct roce_qp *qp, struct wqe *w, uint32_t psn)
{
	struct requester *rq = &qp->rq;

	if (psn_diff(psn, rq->send_psn) <= 0)
		rq->reads--;
	progress(qp, w, psn);
	if (psn_since(psn, w->first_psn) == w->packets)
		complete_head(qp);
}

/* SENDs and WRITEs before @psn are acknowledged; stops at what needs an answer of its own. */
static void advance(struct roce_qp *qp, uint32_t psn)
{
	struct requester *rq = &qp->rq;

	while (qp->state == ROCE_QP_READY && psn_diff(psn, rq->una) > 0) {
		struct wqe *w = wqe(rq, rq->head);
		uint32_t end;

		if (rq->head == rq->started || is_answered(&w->wr))
			return;
		end = psn_add(w->first_psn, w->packets);
		if (psn_diff(psn, end) < 0) {
			progress(qp, w, psn);
			return;
		}
		progress(qp, w, end);
		complete_head(qp);
	}
}

/* The work request that waits for the answer @psn, when everything before it is answered. */
static struct wqe *awaiting(struct roce_qp *qp, uint32_t psn)
{
	struct requester *rq = &qp->rq;

	advance(qp, psn);
	if (qp->state != ROCE_QP_READY)
		return NULL;
	if (rq->una != psn || rq->head == rq->started) {
		missing(qp);
		return NULL;
	}
	return wqe(rq, rq->head);
}

/* ------------------------------------------------------------------ answers */

static void take_read(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct wqe *w;
	uint32_t i, end, offset, n;

	if (!(rx->info & OPI_AETH) && rx->psn != qp->rq.una) {
		missing(qp);
		return;
	}
	w = awaiting(qp, rx->psn);
	if (!w)
		return;
	i = psn_since(rx->psn, w->first_psn);
	end = segment_end(&qp->rq, w, i);
	offset = bytes_of(qp, w, i);
	n = bytes_of(qp, w, i + 1) - offset;
	if (w->wr.op != ROCE_WR_READ || rx->payload_len != n ||
	    (i + 1 == end) != !!(rx->info & OPI_LAST)) {
		qp->dev->counters[ROCE_C_BAD_LENGTH]++;
		return;
	}
	if (n)
		packet_copy((uint8_t *)w->wr.local + offset, rx->payload, n);
	if (i + 1 == end)
		progress_answered(qp, w, psn_add(rx->psn, 1));
	else
		progress(qp, w, psn_add(rx->psn, 1));
}

static void take_atomic(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct wqe *w = awaiting(qp, rx->psn);

	if (!w)
		return;
	if (w->wr.op != ROCE_WR_CAS && w->wr.op != ROCE_WR_FAA) {
		qp->dev->counters[ROCE_C_BAD_OPCODE]++;
		return;
	}
	memcpy(w->wr.local, &rx->swap, 8);
	progress_answered(qp, w, psn_add(rx->psn, 1));
}

/* One verb failed at the peer: answers.h. rx->psn is the last PSN of its request. */
static void take_status(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct requester *rq = &qp->rq;
	uint8_t status = rx->syndrome & (uint8_t)~VERB_STATUS_LATE;
	struct wqe *w;
	uint32_t end, next = psn_add(rx->psn, 1);

	if (status == STATUS_OK) {
		qp->dev->counters[ROCE_C_BAD_OPCODE]++;
		return;
	}
	advance(qp, rx->psn);
	if (qp->state != ROCE_QP_READY)
		return;
	w = wqe(rq, rq->head);
	if (rq->head == rq->started) {
		missing(qp);
		return;
	}
	end = psn_add(w->first_psn, segment_end(rq, w, psn_since(rq->una, w->first_psn)));
	if (end != next) {
		missing(qp);
		return;
	}
	if (w->status == STATUS_OK)
		w->status = status;
	if (!(rx->syndrome & VERB_STATUS_LATE))
		rq->failures = (rq->failures + 1) & 0xffffff;
	if (is_answered(&w->wr)) {
		progress_answered(qp, w, next);
	} else {
		progress(qp, w, next);
		complete_head(qp);
	}
}

static const uint32_t rnr_timer_us[32] = {
	655360, 10,    20,    30,    40,    60,     80,     120,    160,    240,    320,
	480,    640,   960,   1280,  1920,  2560,   3840,   5120,   7680,   10240,  15360,
	20480,  30720, 40960, 61440, 81920, 122880, 163840, 245760, 327680, 491520,
};

static void take_rnr(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct requester *rq = &qp->rq;

	if (rq->rnr_until)
		return;
	if (qp->conf.rnr_retry != TRIES_FOR_EVER && rq->rnr_tries++ >= qp->conf.rnr_retry) {
		roce_qp_fail(qp, ROCE_ERR_RNR);
		return;
	}
	go_back(qp);
	rq->rnr_until = qp->dev->now + rnr_timer_us[rx->syndrome & AETH_VALUE] * 1000ull;
	rq->deadline = 0;
	timer_set(qp->dev, qp, rq->rnr_until);
}

static void take_nak(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct requester *rq = &qp->rq;
	uint8_t code = rx->syndrome & AETH_VALUE;
	enum roce_error why;

	if (code == NAK_SEQUENCE) {
		qp->stats.seq_naks++;
		missing(qp);
		return;
	}
	if (code == NAK_INVALID)
		why = ROCE_ERR_REMOTE_INVALID;
	else
		why = code == NAK_ACCESS ? ROCE_ERR_REMOTE_ACCESS : ROCE_ERR_REMOTE_OP;
	if (rq->una == rx->psn && rq->head != rq->started)
		wqe(rq, rq->head)->status = STATUS_REMOTE_ERROR;
	roce_qp_fail(qp, why);
}

static void take_ack(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct requester *rq = &qp->rq;
	uint8_t kind = rx->syndrome & AETH_KIND;
	uint32_t upto = kind == AETH_ACK ? psn_add(rx->psn, 1) : rx->psn;

	advance(qp, upto);
	if (qp->state != ROCE_QP_READY)
		return;
	if (kind == AETH_ACK) {
		if (psn_diff(upto, rq->una) > 0)
			missing(qp);
	} else if (kind == AETH_NAK) {
		take_nak(qp, rx);
	} else if (kind == AETH_RNR) {
		if (rq->una == rx->psn)
			take_rnr(qp, rx);
		else
			missing(qp);
	}
}

void requester_input(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct requester *rq = &qp->rq;

	if (psn_diff(rx->psn, rq->una) < 0) {
		qp->dev->counters[ROCE_C_DUPLICATE]++;
		return;
	}
	if (psn_diff(rx->psn, rq->end_psn) >= 0) {
		qp->dev->counters[ROCE_C_BAD_PSN]++;
		return;
	}
	if (qp->conf.atoll && rx->info & OPI_AETH && rx->msn != rq->failures) {
		missing(qp); /* a VERB_STATUS before this answer */
		return;
	}
	if (rx->info & OPI_READ)
		take_read(qp, rx);
	else if (rx->info & OPI_ATOMIC)
		take_atomic(qp, rx);
	else if (rx->info & OPI_STATUS)
		take_status(qp, rx);
	else
		take_ack(qp, rx);
}

/* ------------------------------------------------------------------ sending */

/* May a request of @packets PSNs and @bytes go out? One always may when nothing is in flight. */
static bool window_open(const struct roce_qp *qp, uint32_t packets, uint32_t bytes)
{
	const struct requester *rq = &qp->rq;
	uint32_t flying = psn_since(rq->send_psn, rq->una);

	return !flying ||
	       (flying + packets <= ROCE_WINDOW_PACKETS && rq->flight_bytes + bytes <= rq->window);
}

/* Ask for an ACK at the end of a message, or of every few where they may wait, and before the window
 * closes for want of one. What is sent again asks for itself. */
static bool ask_ack(struct roce_qp *qp, bool last, uint32_t bytes)
{
	struct requester *rq = &qp->rq;

	rq->unasked_bytes += bytes;
	rq->unasked_packets++;
	if (last && (!qp->conf.ack_delay_ns || rq->unasked_packets >= ACK_EVERY ||
		     psn_diff(rq->send_psn, rq->end_psn) < 0)) {
		/* ask */
	} else if (rq->unasked_packets < ROCE_WINDOW_PACKETS / 2 &&
		   rq->unasked_bytes + qp->mtu <= rq->window / 2) {
		return false;
	}
	rq->unasked_bytes = rq->unasked_packets = 0;
	return true;
}

static void build_data(struct roce_qp *qp, struct pkt *pkt, const struct wqe *w, uint32_t i,
		       uint32_t offset, uint32_t n)
{
	const struct roce_wr *wr = &w->wr;
	bool first = i == 0, last = i + 1 == w->packets;
	uint32_t ext = 0, flags = 0;
	uint8_t opcode, *body;

	if (wr->op == ROCE_WR_SEND) {
		opcode = first ? (last ? ROCE_OP_SEND_ONLY : ROCE_OP_SEND_FIRST)
			       : (last ? ROCE_OP_SEND_LAST : ROCE_OP_SEND_MIDDLE);
	} else {
		opcode = first ? (last ? ROCE_OP_WRITE_ONLY : ROCE_OP_WRITE_FIRST)
			       : (last ? ROCE_OP_WRITE_LAST : ROCE_OP_WRITE_MIDDLE);
		ext = first ? sizeof(struct wire_reth) : 0;
	}
	if (last && wr->flags & ROCE_WR_CHAIN_END)
		flags |= PACKET_SE;
	if (ask_ack(qp, last, n))
		flags |= PACKET_ACK_REQ;
	body = packet_begin(pkt, &qp->flow, opcode, flags, qp->rq.send_psn, ext, n);
	if (ext) {
		struct wire_reth *reth = (struct wire_reth *)body;

		reth->va = be64_of(wr->remote);
		reth->rkey = be32_of(wr->rkey);
		reth->len = be32_of(wr->len);
	}
	if (n)
		packet_copy(body + ext, (const uint8_t *)wr->local + offset, n);
}

static void build_read(struct roce_qp *qp, struct pkt *pkt, const struct wqe *w, uint32_t end,
		       uint32_t offset, uint32_t n)
{
	bool chain_end = qp->conf.atoll && end == w->packets && w->wr.flags & ROCE_WR_CHAIN_END;
	uint8_t *body =
		packet_begin(pkt, &qp->flow, ROCE_OP_READ_REQUEST, chain_end ? PACKET_SE : 0,
			     qp->rq.send_psn, sizeof(struct wire_reth), 0);
	struct wire_reth *reth = (struct wire_reth *)body;

	reth->va = be64_of(w->wr.remote + offset);
	reth->rkey = be32_of(w->wr.rkey);
	reth->len = be32_of(n);
}

static void build_atomic(struct roce_qp *qp, struct pkt *pkt, const struct wqe *w)
{
	bool chain_end = qp->conf.atoll && w->wr.flags & ROCE_WR_CHAIN_END;
	uint8_t opcode = w->wr.op == ROCE_WR_CAS ? ROCE_OP_CAS : ROCE_OP_FAA;
	uint8_t *body = packet_begin(pkt, &qp->flow, opcode, chain_end ? PACKET_SE : 0,
				     qp->rq.send_psn, sizeof(struct wire_atomic), 0);
	struct wire_atomic *h = (struct wire_atomic *)body;

	h->va = be64_of(w->wr.remote);
	h->rkey = be32_of(w->wr.rkey);
	h->swap = be64_of(w->wr.swap);
	h->compare = be64_of(w->wr.op == ROCE_WR_CAS ? w->wr.compare : 0);
}

/* The packet that takes PSNs from send_psn to before @psn is built: book it. */
static void sent(struct roce_qp *qp, const struct wqe *w, uint32_t psn, uint32_t bytes)
{
	struct requester *rq = &qp->rq;

	if (psn_diff(rq->send_psn, rq->end_psn) < 0) {
		qp->dev->counters[ROCE_C_RETRANSMIT]++;
		qp->stats.retransmits++;
	} else if (!rq->probing && (is_answered(&w->wr) || !rq->unasked_packets)) {
		rq->probing = true;
		rq->probe_psn = rq->send_psn;
		rq->probe_sent = qp->dev->now;
	}
	rq->flight_bytes += bytes;
	rq->send_psn = psn;
	if (psn_diff(psn, rq->end_psn) > 0)
		rq->end_psn = psn;
	if (psn_since(psn, w->first_psn) == w->packets)
		rq->next++;
	if (!rq->deadline) {
		rq->deadline = qp->dev->now + qp->conf.timeout_ns;
		timer_set(qp->dev, qp, rq->deadline);
	}
}

int requester_output(struct roce_qp *qp)
{
	struct requester *rq = &qp->rq;
	struct wqe *w = wqe(rq, rq->next);
	uint32_t i, end, offset, n;
	bool answered;
	struct pkt *pkt;
	int bytes;

	if (rq->next == rq->tail || rq->rnr_until)
		return 0;
	if (rq->next == rq->started)
		w->first_psn = rq->send_psn;
	i = psn_since(rq->send_psn, w->first_psn);
	answered = is_answered(&w->wr);
	end = w->wr.op == ROCE_WR_READ ? segment_end(rq, w, i) : i + 1;
	offset = bytes_of(qp, w, i);
	n = bytes_of(qp, w, end) - offset;
	if (i == 0 && w->wr.flags & ROCE_WR_FENCE && rq->reads)
		return 0;
	if ((answered && rq->reads >= qp->conf.read_depth) || !window_open(qp, end - i, n))
		return 0;
	pkt = dev_packet(qp->dev);
	if (!pkt)
		return -ENOBUFS;
	if (rq->next == rq->started)
		rq->started++;
	if (w->wr.op == ROCE_WR_READ)
		build_read(qp, pkt, w, end, offset, n);
	else if (answered)
		build_atomic(qp, pkt, w);
	else
		build_data(qp, pkt, w, i, offset, n);
	packet_seal(pkt, &qp->flow);
	bytes = (int)pkt->len;
	rq->reads += answered;
	sent(qp, w, psn_add(rq->send_psn, end - i), n);
	dev_send(qp->dev, qp, pkt);
	return bytes;
}

/* ------------------------------------------------------------------ time and end */

uint64_t requester_deadline(const struct roce_qp *qp)
{
	return qp->rq.rnr_until ? qp->rq.rnr_until : qp->rq.deadline;
}

void requester_timer(struct roce_qp *qp, uint64_t now)
{
	struct requester *rq = &qp->rq;

	if (rq->rnr_until) {
		rq->rnr_until = 0;
		dev_run(qp->dev, qp);
		return;
	}
	qp->dev->counters[ROCE_C_TIMEOUT]++;
	qp->stats.timeouts++;
	if (rq->tries++ >= qp->conf.retry_count) {
		roce_qp_fail(qp, ROCE_ERR_RETRY);
		return;
	}
	window_shrink(qp, 2);
	go_back(qp);
	rq->deadline = now + qp->conf.timeout_ns;
	timer_set(qp->dev, qp, rq->deadline);
}

void requester_flush(struct roce_qp *qp)
{
	struct requester *rq = &qp->rq;

	rq->deadline = rq->rnr_until = 0;
	while (rq->head != rq->tail) {
		struct wqe *w = wqe(rq, rq->head);
		uint64_t cookie = w->wr.cookie;
		uint8_t status = w->status;

		if (status == STATUS_OK)
			status = (int32_t)(rq->head - rq->started) < 0 ? STATUS_UNREACHABLE
								       : STATUS_NOT_SENT;
		rq->head++;
		qp->dev->ops->complete(qp->dev->host, qp, cookie, status);
	}
}
