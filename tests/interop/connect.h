/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect.h - one connection set up by the RDMA CM's messages, as either side, for programs of this
 * directory. The messages are those of dataplane/roce/cm_mad.h; each is repeated until it is answered.
 */
#ifndef ATOLL_TESTS_INTEROP_CONNECT_H
#define ATOLL_TESTS_INTEROP_CONNECT_H

#include "dataplane/roce/cm_mad.h"
#include "tests/interop/peer.h"

enum connect_state {
	CONNECT_IDLE,
	CONNECT_LISTENING,
	CONNECT_REQ_SENT,
	CONNECT_REP_SENT,
	CONNECT_UP,
	CONNECT_DREQ_SENT,
	CONNECT_ENDED,
	CONNECT_REFUSED, /* @reason says why; or nobody answered: CM_REJ_TIMEOUT */
};

struct connect {
	enum connect_state state;
	struct peer *peer;
	struct roce_qp *qp;
	uint64_t service, tid, next_ns;
	uint32_t local_id, remote_id, remote_qpn;
	uint16_t port;
	uint16_t reason; /* enum cm_reject */
	unsigned tries, reads, peer_reads;
	struct cm_mad last; /* what is repeated */
};

void connect_listen(struct connect *c, struct peer *p, uint16_t port);
void connect_request(struct connect *c, struct peer *p, uint16_t port);
/* Also after the other side ended it. */
void connect_end(struct connect *c);
/* Something came on the QP: the RTU may have been lost. */
void connect_heard(struct connect *c);
void connect_input(struct connect *c, const void *mad, uint32_t len);
void connect_tick(struct connect *c);

#endif
