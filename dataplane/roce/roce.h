/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roce.h - a RoCEv2 device in software: reliable connections, one thread, no I/O of its own.
 *
 * The engine turns work requests into IPv4/UDP/BTH packets and packets into memory accesses,
 * received messages and completions. It takes its clock as an argument, its packets from and to a
 * struct netif, its randomness from a seed, and everything that belongs to the host (who may reach
 * which memory, what to do with a message) from a table of callbacks. So it runs the same in a
 * polled dataplane, in a simulation with a virtual clock, and in a fuzzer.
 *
 * What it keeps (IBTA volume 1, chapter 9): PSN order, at most one execution of each request,
 * replies to duplicates, atomics replayed from saved results up to the negotiated depth (which
 * outstanding READs share), RNR and sequence NAKs, go-back-N retransmission with a bounded retry
 * count. What fails address, P_Key, QPN, opcode, length or ICRC checks is counted by reason and
 * dropped, never answered.
 *
 * Between two Atoll nodes (roce_qp_conf.atoll, agreed in the CM private data) a verb that fails its
 * check is answered by a packet of opcode ROCE_OP_VERB_STATUS that carries a status, and the QP
 * stays up; the requests that follow it up to and including the one with the SE bit (the end of its
 * chain) are answered STATUS_CANCELLED without being executed. A stock peer gets the NAK that the
 * standard asks for, and the QP goes to error.
 *
 * An atomic, and an aligned READ or WRITE of 8 bytes, is single-copy atomic.
 *
 * A READ of more than the window is asked for in segments, each a request of its own on the wire,
 * so that the answers in flight stay bounded; @memory is asked for each segment. The window itself
 * (roce_qp_conf.window bytes, at most ROCE_WINDOW_PACKETS packets) shrinks when round trips grow
 * longer than the shortest seen, when packets are lost, and when the peer reports congestion.
 *
 * QPNs are not reused while the device lives. Memory that a work request names must stay valid
 * until its completion or until roce_qp_destroy returns.
 */
#ifndef ATOLL_DATAPLANE_ROCE_H
#define ATOLL_DATAPLANE_ROCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/netif.h"

enum {
	ROCE_UDP_PORT = 4791,
	ROCE_MTU_MIN = 256,
	ROCE_MTU_MAX = 4096,
	ROCE_SEND_MAX = 65536, /* bytes of one SEND message */
	ROCE_DEPTH_MAX = 128,  /* outstanding READs and atomics of one QP */
	ROCE_SQ_MAX = 1024,
	ROCE_LENGTH_MAX = 1 << 30, /* bytes of one READ or WRITE */
	ROCE_WINDOW_PACKETS = 128, /* of one QP in flight; part of the per-verb status agreement */
	ROCE_WINDOW_DEFAULT = 131072, /* bytes */
};

struct roce_dev;
struct roce_qp;

enum roce_access {
	ROCE_REMOTE_READ = 1 << 0,
	ROCE_REMOTE_WRITE = 1 << 1,
	ROCE_REMOTE_ATOMIC = 1 << 2,
};

enum roce_wr_op {
	ROCE_WR_SEND = 1,
	ROCE_WR_WRITE,
	ROCE_WR_READ,
	ROCE_WR_CAS,
	ROCE_WR_FAA
};

enum roce_wr_flag {
	ROCE_WR_FENCE = 1 << 0,     /* not before all earlier READs and atomics are answered */
	ROCE_WR_CHAIN_END = 1 << 1, /* last of its chain: sets the SE bit */
};

struct roce_wr {
	uint8_t op;    /* enum roce_wr_op */
	uint8_t flags; /* enum roce_wr_flag */
	uint32_t rkey;
	uint64_t remote; /* remote virtual address */
	void *local;     /* source of SEND and WRITE, destination of READ and of old values */
	uint32_t len;    /* bytes; 8 for atomics */
	uint64_t compare, swap; /* CAS: compare and swap; FAA: swap is the addend */
	uint64_t cookie;        /* given back in the completion */
};

enum roce_qp_state {
	ROCE_QP_INIT,  /* made, does not send or receive yet */
	ROCE_QP_READY, /* RTS */
	ROCE_QP_ERROR, /* everything outstanding has been completed with an error */
};

enum roce_error {
	ROCE_ERR_NONE,
	ROCE_ERR_RETRY,          /* no answer in retry_count tries: the peer is unreachable */
	ROCE_ERR_RNR,            /* the peer was not ready in rnr_retry tries */
	ROCE_ERR_REMOTE_ACCESS,  /* NAK remote access error (stock peers) */
	ROCE_ERR_REMOTE_INVALID, /* NAK invalid request */
	ROCE_ERR_REMOTE_OP,      /* NAK remote operational error */
	ROCE_ERR_LOCAL,  /* the peer broke the protocol, or (stock peers) its right was refused */
	ROCE_ERR_CLOSED, /* the host destroyed or failed the QP */
};

/**
 * struct roce_host - what the engine asks of its host; all called on the polling thread, from
 * roce_input, roce_output, roce_timers or roce_qp_destroy. They must not destroy the QP that they
 * are called for (mark it, and destroy it after the engine returned).
 *
 * @memory: may this QP access @len bytes at @va under @rkey? Called once for each request, before
 *	any of it is executed (a WRITE's whole length at its first packet). Returns the address, or
 *	NULL and an enum status in *@status. Called again when a duplicate READ is executed again.
 * @complete: a work request ended: in the order posted, each exactly once. @status is an enum
 *	status: STATUS_OK, what the peer answered, STATUS_CANCELLED, or, for a QP that went to
 *	error, STATUS_UNREACHABLE for requests that may have been sent and STATUS_NOT_SENT for
 *	those that were certainly not.
 * @receive: a SEND arrived whole, valid only during the call, not aligned. 0, or -EAGAIN: no room,
 *	the engine answers RNR NAK and the peer will try again. Another negative errno: the SEND
 *	fails at the peer with STATUS_FAILED.
 * @error: the QP went to ROCE_QP_ERROR, after its outstanding requests were completed.
 * @datagram: a UD packet for QP1 (connection management): the MAD, 256 bytes.
 */
struct roce_host {
	void *(*memory)(void *host, struct roce_qp *qp, uint32_t rkey, uint64_t va, uint32_t len,
			uint32_t access, uint8_t *status);
	void (*complete)(void *host, struct roce_qp *qp, uint64_t cookie, uint8_t status);
	int (*receive)(void *host, struct roce_qp *qp, const void *data, uint32_t len);
	void (*error)(void *host, struct roce_qp *qp, enum roce_error why);
	void (*datagram)(void *host, struct ip_addr src_address, uint32_t src_qpn, const void *mad,
			 uint32_t len);
};

struct roce_dev_conf {
	struct ip_addr address; /* all peers' are of its family */
	uint16_t udp_port;
	uint32_t max_qps;
	uint64_t seed; /* QPNs, PSNs and source ports start here: unpredictable if it is */
};

struct roce_qp_conf {
	struct ip_addr peer_address;
	uint32_t peer_qpn;
	uint32_t peer_psn;   /* first PSN that the peer sends */
	uint32_t mtu;        /* path MTU: 256, 512, 1024, 2048 or 4096 bytes of payload */
	uint16_t read_depth; /* READs and atomics that we may have outstanding */
	uint16_t peer_depth; /* ... that the peer may have: how many results we save */
	uint16_t sq_depth;   /* work requests, at most ROCE_SQ_MAX */
	uint8_t retry_count; /* 0 to 7 */
	uint8_t rnr_retry;   /* 0 to 7, 7: for ever */
	uint64_t timeout_ns; /* of one try */
	bool atoll;          /* per-verb status agreed */
	uint32_t ack_delay_ns; /* 0: every message asks for its acknowledgement and gets it at once. Else
				* one packet in 16 asks, and what did not ask is acknowledged
				* with what did, or this long after. On both sides or on none. */
	uint32_t recv_max;   /* largest SEND accepted, bytes; 0: only empty ones */
	uint32_t window;     /* bytes in flight at most; 0: ROCE_WINDOW_DEFAULT */
};

struct roce_qp_stats {
	uint64_t tx_packets, rx_packets, retransmits, timeouts, duplicates, rnr_naks, seq_naks,
		replays;
};

/* Counters by reason of what was dropped, and totals. Order is the order of roce_counter_names. */
enum roce_counter {
	ROCE_C_RX,
	ROCE_C_TX,
	ROCE_C_BAD_ICRC,
	ROCE_C_BAD_LENGTH,
	ROCE_C_BAD_OPCODE,
	ROCE_C_BAD_QPN,
	ROCE_C_BAD_PKEY,
	ROCE_C_BAD_VERSION,
	ROCE_C_BAD_PEER,
	ROCE_C_BAD_PSN,
	ROCE_C_BAD_STATE,
	ROCE_C_DUPLICATE,
	ROCE_C_SEQ_NAK,
	ROCE_C_RNR_NAK,
	ROCE_C_RETRANSMIT,
	ROCE_C_TIMEOUT,
	ROCE_C_REPLAY,
	ROCE_C_REPLAY_MISS,
	ROCE_C_ACCESS_DENIED,
	ROCE_C_CNP,
	ROCE_C_NO_BUFFER,
	ROCE_C_COUNT
};
extern const char *const roce_counter_names[ROCE_C_COUNT];
extern const char *const roce_counter_help[ROCE_C_COUNT]; /* what each counts */

struct roce_dev *roce_dev_new(const struct roce_dev_conf *conf, struct netif *nif,
			      const struct roce_host *ops, void *host);
void roce_dev_delete(struct roce_dev *dev); /* destroys what QPs are left */

/* A QP in INIT with a QPN and a first PSN of its own, to be told to the peer. NULL: no room.
 * @owner: the host's own, read back by roce_qp_owner. Allocates: not on the fast path. */
struct roce_qp *roce_qp_new(struct roce_dev *dev, void *owner);
uint32_t roce_qp_number(const struct roce_qp *qp);
uint32_t roce_qp_first_psn(const struct roce_qp *qp);
/* In INIT: begin to send with @psn, which the peer chose, instead of with the QP's own first PSN. In the
 * CM's messages each side says with which PSN the other begins: then one's own is peer_psn. */
void roce_qp_begin_at(struct roce_qp *qp, uint32_t psn);
void *roce_qp_owner(const struct roce_qp *qp);
enum roce_qp_state roce_qp_state(const struct roce_qp *qp);
/* INIT -> READY. 0 or -EINVAL (a field out of range), -ENOMEM. */
int roce_qp_ready(struct roce_qp *qp, const struct roce_qp_conf *conf);
/* To ERROR: completes everything outstanding, then no packet of this QP is accepted or sent. */
void roce_qp_fail(struct roce_qp *qp, enum roce_error why);
/* Fails it if need be and frees it: no callback for it comes after. */
void roce_qp_destroy(struct roce_qp *qp);
const struct roce_qp_stats *roce_qp_stats(const struct roce_qp *qp);
/* The shortest round trip that was seen lately, nanoseconds; 0: none yet. */
uint64_t roce_qp_rtt_ns(const struct roce_qp *qp);
/* Memory that @memory gave out goes away: READs being answered from [@base, @base + @len) end with
 * STATUS_BAD_HANDLE, WRITEs of which a part has been received into it with STATUS_IN_DOUBT (stock
 * peers: NAK and error). After it returns no packet touches that memory, unless @memory gives it out
 * again. */
void roce_memory_revoke(struct roce_dev *dev, const void *base, size_t len);

/* Queue a work request. 0, -EAGAIN (send queue full), -EINVAL, -ENOTCONN (not READY). Packets go
 * out in roce_output. */
int roce_post(struct roce_qp *qp, const struct roce_wr *wr);
/* Work requests that could be posted now. */
uint32_t roce_sq_room(const struct roce_qp *qp);
/* Queue a UD packet to QP1 of @address: @len (at most 256) bytes of MAD. 0 or -ENOBUFS. */
int roce_send_datagram(struct roce_dev *dev, struct ip_addr address, const void *mad, uint32_t len);

/* One turn of the loop. input: receive and process up to @budget packets, returns how many. output:
 * build and send up to @budget packets, round robin over QPs with something to send (long READ
 * responses and WRITEs are cut into slices here), returns how many. timers: fire what is due. */
unsigned roce_input(struct roce_dev *dev, uint64_t now_ns, unsigned budget);
unsigned roce_output(struct roce_dev *dev, uint64_t now_ns, unsigned budget);
void roce_timers(struct roce_dev *dev, uint64_t now_ns);
/* When the next timer is due, or UINT64_MAX. */
uint64_t roce_next_timer(const struct roce_dev *dev);
/* Anything queued to send right now? */
bool roce_output_pending(const struct roce_dev *dev);
const uint64_t *roce_counters(const struct roce_dev *dev); /* ROCE_C_COUNT values */

#ifdef ATOLL_PLANTED_BUGS
/* Bugs that a test build can switch on, to show that the simulation sees them. */
enum roce_planted_bug {
	ROCE_PLANT_NO_REPLAY = 1 << 0, /* duplicates of atomics are executed again */
	ROCE_PLANT_NO_ICRC = 1 << 1,   /* the ICRC is not checked */
	ROCE_PLANT_LATE_QP =
		1 << 2, /* a new QP takes the QPN and the PSN of the last one destroyed */
};
extern unsigned roce_planted;
#endif

#endif
