/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/roce/answers.h"

#include <errno.h>

static inline struct answer *at(const struct responder *rs, uint32_t i)
{
	return &rs->answers[i & rs->answers_mask];
}

static inline bool is_read(const struct answer *a)
{
	return a->kind == ANSWER_READ || a->kind == ANSWER_ATOMIC;
}

void answers_push(struct roce_qp *qp, const struct answer *a)
{
	struct responder *rs = &qp->rs;
	struct answer *last = answers_pending(rs) ? at(rs, rs->answers_tail - 1) : NULL;
	bool due = last && !qp->ack_at;

	if (a->kind == ANSWER_ACK && last && last->kind == ANSWER_ACK) {
		last->psn = a->psn;
		last->msn = a->msn;
	} else {
		*at(rs, rs->answers_tail++) = *a;
		rs->reads += is_read(a);
	}
	if (a->kind == ANSWER_ACK && a->code == ACK_MAY_WAIT && !due) {
		if (!qp->ack_at) {
			qp->ack_at = qp->dev->now + qp->conf.ack_delay_ns;
			timer_set(qp->dev, qp, qp->ack_at);
		}
		return;
	}
	qp->ack_at = 0;
	dev_run(qp->dev, qp);
}

/* Does @queued still answer what @a would? */
static bool covers(const struct answer *queued, const struct answer *a)
{
	switch ((enum answer_kind)queued->kind) {
	case ANSWER_READ:
		return psn_diff(a->psn, queued->psn) >= 0 &&
		       psn_diff(a->psn, queued->last_psn) <= 0;
	case ANSWER_ACK:
		return a->kind == ANSWER_ACK && psn_diff(queued->psn, a->psn) >= 0;
	case ANSWER_ATOMIC:
	case ANSWER_STATUS:
		return queued->kind == a->kind && queued->psn == a->psn;
	case ANSWER_NAK:
	case ANSWER_RNR:
		break;
	}
	return false;
}

void answers_insert(struct roce_qp *qp, const struct answer *a)
{
	struct responder *rs = &qp->rs;
	uint32_t place;

	if (!answers_room(rs)) {
		qp->dev->counters[ROCE_C_NO_BUFFER]++;
		return;
	}
	for (uint32_t i = rs->answers_head; i != rs->answers_tail; i++)
		if (covers(at(rs, i), a))
			return;
	for (place = rs->answers_tail; place != rs->answers_head; place--) {
		if (psn_diff(at(rs, place - 1)->psn, a->psn) <= 0)
			break;
		*at(rs, place) = *at(rs, place - 1);
	}
	*at(rs, place) = *a;
	rs->answers_tail++;
	rs->reads += is_read(a);
	qp->ack_at = 0;
	dev_run(qp->dev, qp);
}

static uint8_t *put_aeth(uint8_t *ext, uint8_t syndrome, uint32_t msn)
{
	struct wire_aeth *h = (struct wire_aeth *)ext;

	h->syndrome = syndrome;
	h->msn = be24_of(msn);
	return ext + sizeof(*h);
}

/* One response of a READ. Return: was it the last? */
static bool put_read(struct roce_qp *qp, struct answer *a, struct pkt *pkt)
{
	uint32_t n = a->left < qp->mtu ? a->left : qp->mtu;
	bool last = a->left <= qp->mtu;
	uint8_t opcode, *body;

	if (a->begun)
		opcode = last ? ROCE_OP_READ_LAST : ROCE_OP_READ_MIDDLE;
	else
		opcode = last ? ROCE_OP_READ_ONLY : ROCE_OP_READ_FIRST;
	if (opcode == ROCE_OP_READ_MIDDLE) {
		body = packet_begin(pkt, &qp->flow, opcode, 0, a->psn, 0, n);
	} else {
		body = packet_begin(pkt, &qp->flow, opcode, 0, a->psn, sizeof(struct wire_aeth), n);
		body = put_aeth(body, AETH_ACK | AETH_NO_CREDITS, a->msn);
	}
	if (n) {
		packet_copy(body, a->data, n);
		a->data += n;
		a->left -= n;
	}
	a->begun = true;
	a->psn = psn_add(a->psn, 1);
	return last;
}

int answers_output(struct roce_qp *qp)
{
	struct responder *rs = &qp->rs;
	struct answer *a;
	struct pkt *pkt;
	uint8_t opcode = ROCE_OP_ACK, syndrome = AETH_ACK | AETH_NO_CREDITS, *body;
	bool done = true, fatal = false;
	uint32_t bytes;

	while (answers_pending(rs)) {
		a = at(rs, rs->answers_head);
		/* What was missing or refused came after all: the NAK has lost its sense. */
		if ((a->kind != ANSWER_RNR && (a->kind != ANSWER_NAK || a->code != NAK_SEQUENCE)) ||
		    a->psn == rs->epsn)
			break;
		rs->answers_head++;
	}
	if (!answers_pending(rs) || qp->ack_at)
		return 0;
	pkt = dev_packet(qp->dev);
	if (!pkt)
		return -ENOBUFS;

	switch ((enum answer_kind)a->kind) {
	case ANSWER_READ:
		done = put_read(qp, a, pkt);
		break;
	case ANSWER_ATOMIC: {
		be64 value = be64_of(a->value);

		body = packet_begin(pkt, &qp->flow, ROCE_OP_ATOMIC_ACK, 0, a->psn,
				    sizeof(struct wire_aeth) + sizeof(value), 0);
		body = put_aeth(body, syndrome, a->msn);
		memcpy(body, &value, sizeof(value));
		break;
	}
	case ANSWER_NAK:
		syndrome = AETH_NAK | a->code;
		fatal = a->code != NAK_SEQUENCE;
		goto plain;
	case ANSWER_RNR:
		syndrome = AETH_RNR | RNR_TIMER_CODE;
		goto plain;
	case ANSWER_STATUS:
		opcode = ROCE_OP_VERB_STATUS;
		syndrome = a->code;
		goto plain;
	case ANSWER_ACK:
	plain:
		body = packet_begin(pkt, &qp->flow, opcode, 0, a->psn, sizeof(struct wire_aeth), 0);
		put_aeth(body, syndrome, a->msn);
		break;
	}
	packet_seal(pkt, &qp->flow);
	bytes = pkt->len;
	dev_send(qp->dev, qp, pkt);
	if (done) {
		rs->reads -= is_read(a);
		rs->answers_head++;
	}
	if (fatal)
		roce_qp_fail(qp, ROCE_ERR_LOCAL);
	return (int)bytes;
}

void failures_add(struct responder *rs, uint32_t psn, uint8_t status)
{
	if (rs->failed - rs->forgotten == FAILURES)
		rs->forgotten++;
	rs->failures[rs->failed++ % FAILURES] = (struct failure){.psn = psn, .status = status};
}

const struct failure *failures_find(const struct responder *rs, uint32_t psn, uint32_t *before)
{
	for (uint32_t i = rs->failed; i != rs->forgotten; i--) {
		const struct failure *f = &rs->failures[(i - 1) % FAILURES];

		if (f->psn == psn) {
			*before = (i - 1) & 0xffffff;
			return f;
		}
		if (psn_diff(f->psn, psn) < 0)
			break;
	}
	return NULL;
}

bool failures_until(const struct responder *rs, uint32_t psn, uint32_t *count)
{
	uint32_t i;

	for (i = rs->failed; i != rs->forgotten; i--)
		if (psn_diff(rs->failures[(i - 1) % FAILURES].psn, psn) <= 0)
			break;
	*count = i & 0xffffff;
	/* What left a full ring may have been after @psn; what was aged out was not. */
	return i != rs->forgotten || rs->failed - rs->forgotten < FAILURES;
}
