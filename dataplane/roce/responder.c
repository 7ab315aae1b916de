/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The responder: executes requests in PSN order, each at most once, and queues their answers
 * (IBTA 9.7.3 to 9.7.5). Duplicates are re-acknowledged, READs executed again after a new check,
 * atomics replayed, failures repeated.
 */
#include "dataplane/roce/answers.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/atoll_proto.h"

int responder_init(struct roce_qp *qp)
{
	struct responder *rs = &qp->rs;
	uint32_t answers = ANSWERS_MIN;

	while (answers < 2u * qp->conf.peer_depth + 16)
		answers *= 2;
	rs->answers_mask = answers - 1;
	rs->epsn = qp->conf.peer_psn;
	rs->answers = calloc(answers, sizeof(*rs->answers));
	rs->saved = calloc(qp->conf.peer_depth ? qp->conf.peer_depth : 1, sizeof(*rs->saved));
	if (qp->conf.atoll)
		rs->failures = calloc(FAILURES, sizeof(*rs->failures));
	if (qp->conf.recv_max)
		rs->recv = malloc(qp->conf.recv_max);
	if (!rs->answers || !rs->saved || (qp->conf.atoll && !rs->failures) ||
	    (qp->conf.recv_max && !rs->recv))
		return -ENOMEM;
	return 0;
}

/* What the MSN field of an answer to the newest request says. */
static inline uint32_t msn_now(const struct roce_qp *qp)
{
	return qp->conf.atoll ? qp->rs.failed & 0xffffff : qp->rs.msn;
}

static void push_simple(struct roce_qp *qp, enum answer_kind kind, uint8_t code, uint32_t psn)
{
	answers_push(qp,
		     &(struct answer){
			     .kind = (uint8_t)kind, .code = code, .psn = psn, .msn = msn_now(qp)});
}

void responder_refuse(struct roce_qp *qp, uint8_t code)
{
	/* Without room the peer is flooding: the NAK then replaces what it is owed. */
	if (!answers_room(&qp->rs)) {
		qp->rs.answers_head = qp->rs.answers_tail;
		qp->rs.reads = 0;
	}
	qp->rs.closing = true;
	push_simple(qp, ANSWER_NAK, code, qp->rs.epsn);
}

static uint8_t nak_code(uint8_t status)
{
	switch (status) {
	case STATUS_ALIGN:
	case STATUS_TOO_BIG:
		return NAK_INVALID;
	case STATUS_FAILED:
		return NAK_OPERATION;
	default:
		return NAK_ACCESS;
	}
}

static void *check_memory(struct roce_qp *qp, const struct roce_rx *rx, uint32_t access,
			  uint8_t *status)
{
	struct roce_dev *dev = qp->dev;
	void *p = NULL;

	*status = STATUS_RANGE;
	if (rx->va + rx->len >= rx->va)
		p = dev->ops->memory(dev->host, qp, rx->rkey, rx->va, rx->len, access, status);
	if (p) {
		*status = STATUS_OK;
		return p;
	}
	dev->counters[ROCE_C_ACCESS_DENIED]++;
	if (*status == STATUS_OK)
		*status = STATUS_RANGE;
	return NULL;
}

/* The check at the beginning of a request: status, or cancelled with its chain. */
static void *begin(struct roce_qp *qp, const struct roce_rx *rx, uint32_t access, uint8_t *status)
{
	if (qp->rs.cancel) {
		*status = STATUS_CANCELLED;
		return NULL;
	}
	if (!rx->len) {
		*status = STATUS_OK; /* nothing is touched: the key is not looked at
					(IBTA 9.7.4.1.4) */
		return NULL;
	}
	if (access == ROCE_REMOTE_ATOMIC && rx->va & 7) {
		*status = STATUS_ALIGN;
		qp->dev->counters[ROCE_C_ACCESS_DENIED]++;
		return NULL;
	}
	return check_memory(qp, rx, access, status);
}

/* The packet, and with it PSNs up to @last, are taken. @end: its message is complete, with @status.
 */
static void accept(struct roce_qp *qp, const struct roce_rx *rx, uint32_t last, bool end,
		   uint8_t status)
{
	struct responder *rs = &qp->rs;

	rs->epsn = psn_add(last, 1);
	rs->nak_sent = false;
	if (rs->forgotten != rs->failed)
		failures_age(rs);
	if (!end)
		return;
	if (status == STATUS_OK) {
		rs->msn = (rs->msn + 1) & 0xffffff;
	} else {
		push_simple(qp, ANSWER_STATUS, status, last);
		failures_add(rs, last, status);
		rs->cancel = true;
	}
	if (rx->se)
		rs->cancel = false;
}

static bool lengths_good(const struct roce_qp *qp, const struct roce_rx *rx)
{
	if (!(rx->info & OPI_LAST))
		return rx->payload_len == qp->mtu;
	return rx->payload_len <= qp->mtu && (rx->payload_len || rx->info & OPI_FIRST);
}

/* A message failed at a stock peer's QP: true, and the NAK is on its way. */
static bool refused(struct roce_qp *qp, uint8_t status)
{
	if (qp->conf.atoll || status == STATUS_OK)
		return false;
	responder_refuse(qp, nak_code(status));
	return true;
}

/* A packet of a SEND or a WRITE was taken. */
static void acknowledge(struct roce_qp *qp, const struct roce_rx *rx, bool last)
{
	if (rx->ack_req)
		push_simple(qp, ANSWER_ACK, ACK_ASKED, rx->psn);
	else if (last && qp->conf.ack_delay_ns)
		push_simple(qp, ANSWER_ACK, ACK_MAY_WAIT, rx->psn);
}

static void serve_send(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct responder *rs = &qp->rs;
	bool last = rx->info & OPI_LAST;
	const void *data = rx->payload;

	if (rx->info & OPI_FIRST) {
		rs->status = rs->cancel ? STATUS_CANCELLED : STATUS_OK;
		rs->recv_len = 0;
	}
	if (rs->status == STATUS_OK && rx->payload_len > qp->conf.recv_max - rs->recv_len)
		rs->status = STATUS_TOO_BIG;
	if (refused(qp, rs->status))
		return;
	if (rs->status == STATUS_OK &&
	    (rx->info & (OPI_FIRST | OPI_LAST)) != (OPI_FIRST | OPI_LAST)) {
		memcpy(rs->recv + rs->recv_len, rx->payload, rx->payload_len);
		data = rs->recv;
	}
	if (rs->status == STATUS_OK && last) {
		int err = qp->dev->ops->receive(qp->dev->host, qp, data,
						rs->recv_len + rx->payload_len);

		if (qp->state != ROCE_QP_READY)
			return;
		if (err == -EAGAIN) {
			qp->dev->counters[ROCE_C_RNR_NAK]++;
			qp->stats.rnr_naks++;
			rs->nak_sent = true; /* what follows it comes again by itself */
			push_simple(qp, ANSWER_RNR, 0, rx->psn);
			return;
		}
		if (err)
			rs->status = STATUS_FAILED;
		if (refused(qp, rs->status))
			return;
	}
	rs->recv_len += rs->status == STATUS_OK ? rx->payload_len : 0;
	rs->message = last ? MESSAGE_NONE : MESSAGE_SEND;
	accept(qp, rx, rx->psn, last, rs->status);
	if (!last || rs->status == STATUS_OK)
		acknowledge(qp, rx, last);
}

static void store(uint8_t *at, const uint8_t *data, uint32_t len)
{
	uint64_t word;

	if (len == 8 && !((uintptr_t)at & 7)) {
		memcpy(&word, data, 8);
		__atomic_store_n((uint64_t *)at, word, __ATOMIC_RELAXED);
	} else {
		packet_copy(at, data, len);
	}
}

static void serve_write(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct responder *rs = &qp->rs;
	bool last = rx->info & OPI_LAST;

	if (rx->info & OPI_FIRST) {
		if (rx->len > ROCE_LENGTH_MAX) {
			responder_refuse(qp, NAK_INVALID);
			return;
		}
		rs->write_left = rx->len;
		rs->write_at = begin(qp, rx, ROCE_REMOTE_WRITE, &rs->status);
		if (refused(qp, rs->status))
			return;
	}
	if (last ? rx->payload_len != rs->write_left : rx->payload_len >= rs->write_left) {
		responder_refuse(qp, NAK_INVALID);
		return;
	}
	if (rs->status == STATUS_OK && rx->payload_len) {
		store(rs->write_at, rx->payload, rx->payload_len);
		rs->write_at += rx->payload_len;
	}
	rs->write_left -= rx->payload_len;
	rs->message = last ? MESSAGE_NONE : MESSAGE_WRITE;
	accept(qp, rx, rx->psn, last, rs->status);
	if (!last || rs->status == STATUS_OK)
		acknowledge(qp, rx, last);
}

static uint32_t read_last_psn(const struct roce_qp *qp, const struct roce_rx *rx)
{
	return rx->len ? psn_add(rx->psn, (rx->len - 1) >> qp->mtu_shift) : rx->psn;
}

static void serve_read(struct roce_qp *qp, const struct roce_rx *rx)
{
	uint32_t last = read_last_psn(qp, rx);
	uint8_t status;
	const uint8_t *data;

	if (rx->len > ROCE_LENGTH_MAX) {
		responder_refuse(qp, NAK_INVALID);
		return;
	}
	data = begin(qp, rx, ROCE_REMOTE_READ, &status);
	if (refused(qp, status))
		return;
	accept(qp, rx, last, true, status);
	if (status == STATUS_OK)
		answers_push(qp, &(struct answer){.kind = ANSWER_READ,
						  .psn = rx->psn,
						  .last_psn = last,
						  .msn = msn_now(qp),
						  .left = rx->len,
						  .data = data});
}

static uint64_t execute_atomic(uint64_t *word, const struct roce_rx *rx)
{
	uint64_t old = rx->compare;

	if (rx->opcode == ROCE_OP_FAA)
		return __atomic_fetch_add(word, rx->swap, __ATOMIC_SEQ_CST);
	__atomic_compare_exchange_n(word, &old, rx->swap, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	return old;
}

static void serve_atomic(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct responder *rs = &qp->rs;
	uint8_t status;
	uint64_t *word = begin(qp, rx, ROCE_REMOTE_ATOMIC, &status);
	uint64_t old;

	if (word && (uintptr_t)word & 7)
		status = STATUS_ALIGN;
	if (refused(qp, status))
		return;
	if (status != STATUS_OK) {
		accept(qp, rx, rx->psn, true, status);
		return;
	}
	old = execute_atomic(word, rx);
	rs->saved[rs->saved_next] =
		(struct saved_atomic){.psn = rx->psn, .valid = true, .value = old};
	if (++rs->saved_next == qp->conf.peer_depth)
		rs->saved_next = 0;
	accept(qp, rx, rx->psn, true, STATUS_OK);
	answers_push(qp, &(struct answer){.kind = ANSWER_ATOMIC,
					  .psn = rx->psn,
					  .msn = msn_now(qp),
					  .value = old});
}

/* ------------------------------------------------------------------ duplicates */

static const struct saved_atomic *saved_find(const struct roce_qp *qp, uint32_t psn)
{
	for (uint32_t i = 0; i < qp->conf.peer_depth; i++)
		if (qp->rs.saved[i].valid && qp->rs.saved[i].psn == psn)
			return &qp->rs.saved[i];
	return NULL;
}

static void duplicate_read(struct roce_qp *qp, const struct roce_rx *rx, uint32_t last,
			   uint32_t msn)
{
	struct answer a = {
		.kind = ANSWER_READ, .psn = rx->psn, .last_psn = last, .msn = msn, .left = rx->len};
	uint8_t status = STATUS_OK;

	if (rx->len) {
		a.data = check_memory(qp, rx, ROCE_REMOTE_READ, &status);
		if (refused(qp, status))
			return;
	}
	if (status != STATUS_OK) {
		a = (struct answer){.kind = ANSWER_STATUS,
				    .code = status | VERB_STATUS_LATE,
				    .psn = last,
				    .msn = msn};
	}
	answers_insert(qp, &a);
}

static void duplicate_atomic(struct roce_qp *qp, const struct roce_rx *rx, uint32_t msn)
{
	struct answer a = {.kind = ANSWER_ATOMIC, .psn = rx->psn, .msn = msn};
	const struct saved_atomic *saved = saved_find(qp, rx->psn);

	if (PLANTED(ROCE_PLANT_NO_REPLAY)) {
		uint8_t status;
		uint64_t *word = begin(qp, rx, ROCE_REMOTE_ATOMIC, &status);

		if (word && !((uintptr_t)word & 7)) {
			a.value = execute_atomic(word, rx);
			answers_insert(qp, &a);
		}
		return;
	}
	if (!saved) {
		qp->dev->counters[ROCE_C_REPLAY_MISS]++;
		return;
	}
	qp->dev->counters[ROCE_C_REPLAY]++;
	qp->stats.replays++;
	a.value = saved->value;
	answers_insert(qp, &a);
}

static void duplicate(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct responder *rs = &qp->rs;
	uint32_t last = rx->psn, until = rs->failed, msn = msn_now(qp), before;
	const struct failure *f = NULL;

	qp->dev->counters[ROCE_C_DUPLICATE]++;
	qp->stats.duplicates++;
	if (rx->info & OPI_READ) {
		last = read_last_psn(qp, rx);
		/* A repeated READ lies inside what was asked for before. */
		if (rx->len > ROCE_LENGTH_MAX || psn_diff(last, rx->psn) < 0 ||
		    psn_diff(last, rs->epsn) >= 0)
			return;
	}
	if (rs->failed) {
		f = failures_find(rs, last, &before);
		if (!f && !failures_until(rs, last, &until)) {
			qp->dev->counters[ROCE_C_REPLAY_MISS]++;
			return;
		}
		msn = f ? before : until;
	}
	if (f)
		answers_insert(qp, &(struct answer){.kind = ANSWER_STATUS,
						    .code = f->status,
						    .psn = last,
						    .msn = msn});
	else if (rx->info & OPI_READ)
		duplicate_read(qp, rx, last, msn);
	else if (rx->info & OPI_ATOMIC)
		duplicate_atomic(qp, rx, msn);
	else if (until != (rs->failed & 0xffffff))
		answers_insert(qp,
			       &(struct answer){.kind = ANSWER_ACK, .psn = rx->psn, .msn = msn});
	else
		answers_insert(qp, &(struct answer){.kind = ANSWER_ACK,
						    .psn = psn_add(rs->epsn, 0xffffff),
						    .msn = msn});
}

/* ------------------------------------------------------------------ */

/* May a packet of this kind come now? Messages are not interleaved. */
static bool sequence_good(const struct responder *rs, const struct roce_rx *rx)
{
	switch ((enum message_kind)rs->message) {
	case MESSAGE_NONE:
		return rx->info & OPI_FIRST;
	case MESSAGE_SEND:
		return rx->info & OPI_SEND && !(rx->info & OPI_FIRST);
	case MESSAGE_WRITE:
		return rx->info & OPI_WRITE && !(rx->info & OPI_FIRST);
	}
	return false;
}

void responder_input(struct roce_qp *qp, const struct roce_rx *rx)
{
	struct responder *rs = &qp->rs;
	int32_t ahead = psn_diff(rx->psn, rs->epsn);

	if (rs->closing) {
		qp->dev->counters[ROCE_C_BAD_STATE]++;
		return;
	}
	if (ahead < 0) {
		duplicate(qp, rx);
		return;
	}
	if (!answers_room(rs)) {
		qp->dev->counters[ROCE_C_NO_BUFFER]++;
		return;
	}
	if (ahead > 0) {
		if (rs->nak_sent)
			return;
		rs->nak_sent = true;
		qp->dev->counters[ROCE_C_SEQ_NAK]++;
		qp->stats.seq_naks++;
		push_simple(qp, ANSWER_NAK, NAK_SEQUENCE, rs->epsn);
		return;
	}
	if (!sequence_good(rs, rx) ||
	    (rx->info & (OPI_SEND | OPI_WRITE) && !lengths_good(qp, rx))) {
		responder_refuse(qp, NAK_INVALID);
		return;
	}
	if (rx->info & OPI_SEND) {
		serve_send(qp, rx);
	} else if (rx->info & OPI_WRITE) {
		serve_write(qp, rx);
	} else if (rs->reads >= qp->conf.peer_depth) {
		/* More than was agreed: it comes again when there is room. */
		qp->dev->counters[ROCE_C_NO_BUFFER]++;
	} else if (rx->info & OPI_READ) {
		serve_read(qp, rx);
	} else {
		serve_atomic(qp, rx);
	}
}

void responder_revoke(struct roce_qp *qp, const uint8_t *base, size_t len)
{
	struct responder *rs = &qp->rs;
	bool refuse = false;

	for (uint32_t i = rs->answers_head; i != rs->answers_tail; i++) {
		struct answer *a = &rs->answers[i & rs->answers_mask];

		if (a->kind != ANSWER_READ || !a->left || a->data >= base + len ||
		    a->data + a->left <= base)
			continue;
		rs->reads--;
		refuse = true;
		*a = (struct answer){.kind = ANSWER_STATUS,
				     .code = STATUS_BAD_HANDLE | VERB_STATUS_LATE,
				     .psn = a->last_psn,
				     .msn = a->msn};
	}
	if (rs->message == MESSAGE_WRITE && rs->status == STATUS_OK && rs->write_at < base + len &&
	    rs->write_at + rs->write_left > base) {
		rs->status = STATUS_IN_DOUBT; /* the first part of it has been written */
		refuse = true;
	}
	if (!refuse || qp->conf.atoll || rs->closing)
		return;
	rs->answers_head = rs->answers_tail;
	rs->reads = 0;
	responder_refuse(qp, NAK_ACCESS);
}
