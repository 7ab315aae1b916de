/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qp.h - inside of the engine: a queue pair's two halves and the device that holds it.
 *
 * The requester turns work requests into request packets and takes their answers; the responder
 * executes the peer's requests and queues answers. They share nothing but the QP's flow and state.
 * The device finds QPs by number, gives them turns to send, and fires their timers. Nothing outside
 * dataplane/roce includes this.
 */
#ifndef ATOLL_DATAPLANE_ROCE_QP_H
#define ATOLL_DATAPLANE_ROCE_QP_H

#include "dataplane/roce/packet.h"
#include "dataplane/roce/roce.h"

enum {
	WINDOW_MIN = 32768,        /* bytes; delay and loss do not shrink the window further */
	ANSWERS_MIN = 256,         /* answers waiting to be sent */
	FAILURES = 256,            /* failed verbs remembered: twice ROCE_WINDOW_PACKETS */
	RNR_TIMER_CODE = 6,        /* 0.08 ms, IBTA table 45 */
	OUTPUT_BATCH = 32,         /* packets handed to the interface in one call */
	OUTPUT_BATCH_BYTES = 8192, /* ... or as soon as they are this many bytes */
	TURN_BYTES = 4096,         /* of one QP before the next has its turn */
	TURN_PACKETS = 16,
	BULK_AFTER = 8, /* turns of QPs fresh in the queue between turns of those long in it */
	CNP_INTERVAL_NS = 50000,
	ACK_EVERY = 16, /* with delayed acknowledgements: packets sent before one asks */
};

struct wqe {
	struct roce_wr wr;
	uint32_t first_psn, packets; /* PSNs that it takes: given when it is first sent */
	uint8_t status;              /* its first failure */
};

/*
 * Counters of work requests run freely and index with @mask:
 *
 *	head <= next <= started <= tail
 *
 * head is the oldest not completed, next the one being sent (again), started the first that has no
 * PSN yet. PSNs: una is the oldest not answered and lies in head; send_psn is the next to send and
 * lies in next; end_psn follows the highest ever sent. Going back is next = head, send_psn = una.
 */
struct requester {
	struct wqe *sq;
	uint32_t mask, depth;
	uint32_t head, next, started, tail;
	uint32_t una, send_psn, end_psn;
	uint32_t reads;                          /* READ requests and atomics in [una, send_psn) */
	uint32_t flight_bytes;                   /* of payload or answers in [una, send_psn) */
	uint32_t window;                         /* bytes that may be in flight now */
	uint32_t unasked_bytes, unasked_packets; /* sent since the last request for an ACK */
	uint32_t segment;                        /* packets of one READ request, a power of two */
	uint32_t failures;                       /* VERB_STATUS answers taken, modulo 2^24 */
	uint8_t tries, rnr_tries;
	bool went_back; /* since una last moved */
	bool probing;
	uint32_t probe_psn;
	uint64_t probe_sent, shortest_rtt, shortest_at;
	uint64_t deadline;  /* of the answer to una; 0: none awaited */
	uint64_t rnr_until; /* 0: not waiting */
};

/* Of an ACK: is it awaited, or may it come with a later one? */
enum ack {
	ACK_ASKED,
	ACK_MAY_WAIT,
};

enum answer_kind {
	ANSWER_ACK,
	ANSWER_NAK,
	ANSWER_RNR,
	ANSWER_READ,
	ANSWER_ATOMIC,
	ANSWER_STATUS,
};

struct answer {
	uint8_t kind;      /* enum answer_kind */
	uint8_t code;      /* NAK: code; STATUS: enum status and VERB_STATUS_LATE; ACK: enum ack */
	bool begun;        /* READ: the first response has gone out */
	uint32_t psn;      /* of the next packet */
	uint32_t last_psn; /* READ: of the last response */
	uint32_t msn;
	uint32_t left; /* READ: bytes */
	union {
		const uint8_t *data; /* READ */
		uint64_t value;      /* ATOMIC: the original value */
	};
};

struct saved_atomic {
	uint32_t psn;
	bool valid;
	uint64_t value;
};

struct failure {
	uint32_t psn; /* last of the request */
	uint8_t status;
};

enum message_kind {
	MESSAGE_NONE,
	MESSAGE_SEND,
	MESSAGE_WRITE
};

struct responder {
	uint32_t epsn;   /* expected */
	uint32_t msn;    /* messages completed; failures, if the peer is Atoll */
	bool nak_sent;   /* since epsn last moved */
	bool cancel;     /* a verb of this chain failed: cancel up to its end */
	bool closing;    /* a fatal NAK is queued */
	uint8_t message; /* enum message_kind: in the middle of one */
	uint8_t status;  /* ... and what has become of it */
	uint8_t *write_at;
	uint32_t write_left;
	uint8_t *recv;
	uint32_t recv_len;

	struct answer *answers; /* by PSN, oldest first; counters run freely */
	uint32_t answers_mask, answers_head, answers_tail;
	uint32_t reads; /* READ and ATOMIC among them */

	struct saved_atomic *saved; /* ring of peer_depth */
	uint32_t saved_next;

	struct failure *failures; /* ring of FAILURES, by PSN; counters run freely */
	uint32_t failed;          /* how many ever; the newest is failed - 1 */
	uint32_t forgotten;       /* the oldest remembered */
};

enum run_list {
	RUN_NONE,
	RUN_FRESH,
	RUN_BULK,
	RUN_LISTS
};

struct roce_qp {
	struct roce_dev *dev;
	struct packet_flow flow;
	uint32_t qpn;
	uint32_t mtu, mtu_shift;
	uint8_t state;   /* enum roce_qp_state */
	uint8_t running; /* enum run_list */
	bool answers_turn;
	uint64_t ack_at;   /* when it goes out at the latest; 0: none waits */
	struct requester rq;
	struct responder rs;
	struct roce_qp *run_next, *run_prev;
	struct roce_qp *hash_next;
	struct roce_qp *all_next, *all_prev;
	uint32_t timer_at; /* place in the device's heap, counted from 1; 0: none */
	uint64_t timer_key;
	uint64_t cnp_sent;
	struct roce_qp_conf conf;
	struct roce_qp_stats stats;
	uint32_t first_psn, begin_psn; /* the QP's own; what it begins with */
	void *owner;
};

struct run_queue {
	struct roce_qp *first, *last;
};

struct roce_dev {
	struct netif *nif;
	const struct roce_host *ops;
	void *host;
	uint64_t now;
	uint64_t counters[ROCE_C_COUNT];

	struct roce_qp **table;
	uint32_t table_mask;
	struct run_queue run[RUN_LISTS];
	unsigned fresh_turns;

	struct roce_qp **timers; /* heap by timer_key, from 1 */
	uint32_t timer_count;

	struct pkt *spare[OUTPUT_BATCH];
	struct pkt *batch[OUTPUT_BATCH];
	unsigned spare_count, batch_count;
	uint32_t batch_bytes, packet_max;
	uint32_t data_overhead; /* of a WRITE's first packet, ICRC included */
	bool hides_identification; /* the port does, of the packets that it receives */

	struct roce_dev_conf conf;
	uint64_t random;
	struct roce_qp *all;
	uint32_t qps, next_qpn, qpns_left, datagram_psn;
#ifdef ATOLL_PLANTED_BUGS
	uint32_t late_qpn, late_psn;
#endif
};

#ifdef ATOLL_PLANTED_BUGS
#define PLANTED(bug) (roce_planted & (bug))
#else
#define PLANTED(bug) 0
#endif

static inline bool is_answered(const struct roce_wr *wr)
{
	return wr->op >= ROCE_WR_READ; /* READ, CAS, FAA: by more than an ACK */
}

/* ------------------------------------------------------------------ dev.c */

/* Give the QP turns to send until it has nothing. */
void dev_run(struct roce_dev *dev, struct roce_qp *qp);
/* An empty packet with room for mtu and headers, or NULL. Ends in dev_send. */
struct pkt *dev_packet(struct roce_dev *dev);
void dev_send(struct roce_dev *dev, struct roce_qp *qp, struct pkt *pkt);

/* ------------------------------------------------------------------ timers.c: a heap, lazily kept
 */

/* The QP's earliest deadline may now be as early as @when. Later is no reason to call. */
void timer_set(struct roce_dev *dev, struct roce_qp *qp, uint64_t when);
void timer_remove(struct roce_dev *dev, struct roce_qp *qp);
/* Next QP whose deadline (@deadline of it: 0 is none) is not after @now, taken out; or NULL. */
struct roce_qp *timer_take(struct roce_dev *dev, uint64_t now,
			   uint64_t (*deadline)(const struct roce_qp *));

/* ------------------------------------------------------------------ requester.c */
int requester_init(struct roce_qp *qp);
void requester_input(struct roce_qp *qp, const struct roce_rx *rx);
void requester_congested(struct roce_qp *qp);
/* Send one packet. Bytes sent, 0: nothing to send now, -ENOBUFS. */
int requester_output(struct roce_qp *qp);
uint64_t requester_deadline(const struct roce_qp *qp);
void requester_timer(struct roce_qp *qp, uint64_t now);
/* Complete everything; the QP is in ERROR. */
void requester_flush(struct roce_qp *qp);

/* ------------------------------------------------------------------ responder.c */
int responder_init(struct roce_qp *qp);
void responder_input(struct roce_qp *qp, const struct roce_rx *rx);
void responder_revoke(struct roce_qp *qp, const uint8_t *base, size_t len);
/* Queue a fatal NAK: the QP fails when it has gone out. */
void responder_refuse(struct roce_qp *qp, uint8_t code);

#endif
