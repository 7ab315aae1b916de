/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.h - what a responder owes its peer: answers waiting to be sent, in PSN order, and the
 * memory of how verbs ended, for duplicates.
 *
 * Per-verb status between Atoll nodes. A request that fails its check takes its PSNs like any other
 * and is answered by one VERB_STATUS packet:
 *
 *	BTH opcode ROCE_OP_VERB_STATUS, PSN the last PSN of the request
 *	AETH syndrome byte: enum status, and VERB_STATUS_LATE; MSN field: failures before this one
 *
 * A multi-packet SEND or WRITE that fails at its first packet is taken in to its end and discarded;
 * the status answers its last packet. The requests after it, to the one with the SE bit, fail with
 * STATUS_CANCELLED in the same way. Three things could go wrong, and do not:
 *
 *  - The VERB_STATUS is lost and an ACK of a later PSN is taken for success. Therefore the MSN
 *    field of every AETH on such a QP is the number of failures answered up to that packet's PSN.
 *    The requester counts the VERB_STATUS packets it took; where the two differ it takes nothing
 *    from the packet, goes back to its oldest unanswered PSN and asks again. Answers to duplicates
 *    carry the number as it was at *their* PSN, and a duplicate is acknowledged no further than to
 *    itself if a failure follows it: so going back makes progress failure by failure.
 *  - The request is repeated and now succeeds (the region is back, the right was granted).
 *    Therefore the last FAILURES failures are remembered by PSN and a duplicate of one is answered
 *    by the same status, never executed. The peer has at most ROCE_WINDOW_PACKETS packets in
 *    flight, half of FAILURES; a duplicate older than what is remembered is dropped. A request that
 *    was never received is not a duplicate: it executes, or is cancelled if its chain has failed
 *    before it.
 *  - A READ succeeds, its response is lost, and when the duplicate is executed again the check
 *    fails (or roce_memory_revoke ends it half-way). Later answers are already on their way with
 *    counts that cannot include it. Its status is marked VERB_STATUS_LATE: neither side counts it.
 *
 * The SE bit means the end of a chain, on the last packet of the chain's last message.
 */
#ifndef ATOLL_DATAPLANE_ROCE_ANSWERS_H
#define ATOLL_DATAPLANE_ROCE_ANSWERS_H

#include "dataplane/roce/qp.h"

static inline bool answers_room(const struct responder *rs)
{
	return rs->answers_tail - rs->answers_head <= rs->answers_mask;
}

static inline bool answers_pending(const struct responder *rs)
{
	return rs->answers_tail != rs->answers_head;
}

/* Is the next answer a plain acknowledgement? */
static inline bool answers_only_ack(const struct responder *rs)
{
	return answers_pending(rs) &&
	       rs->answers[rs->answers_head & rs->answers_mask].kind == ANSWER_ACK;
}

/* Queue an answer to a new request: its PSN is higher than all queued. The caller has checked
 * answers_room. ACKs next to each other become one. */
void answers_push(struct roce_qp *qp, const struct answer *a);

/* Queue an answer to a duplicate, where its PSN belongs. Nothing is queued when the answer to that
 * PSN is still waiting to be sent, or when there is no room. */
void answers_insert(struct roce_qp *qp, const struct answer *a);

/* Build and send one packet. Bytes sent, 0: nothing to send, -ENOBUFS. May fail the QP (after a
 * fatal NAK). */
int answers_output(struct roce_qp *qp);

/* Remember that the request that ends with @psn failed. */
void failures_add(struct responder *rs, uint32_t psn, uint8_t status);

/* The failure at exactly @psn, or NULL; *@before: failures before it. */
const struct failure *failures_find(const struct responder *rs, uint32_t psn, uint32_t *before);

/* Failures at or before @psn. false: no longer known. */
bool failures_until(const struct responder *rs, uint32_t psn, uint32_t *count);

/* The expected PSN moved: forget what is so far behind that its PSN would soon look new. */
static inline void failures_age(struct responder *rs)
{
	while (rs->forgotten != rs->failed &&
	       psn_diff(rs->epsn, rs->failures[rs->forgotten % FAILURES].psn) > 1 << 22)
		rs->forgotten++;
}

#endif
