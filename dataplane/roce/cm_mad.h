/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cm_mad.h - connection management datagrams as bytes (IBTA volume 1, 12.6 and annex A11).
 *
 * A link is made as rdma_connect makes one: REQ, REP and RTU in UD packets to QP1, ended by DREQ
 * and DREP, refused by REJ, held by MRA. This turns those 256 bytes into a struct and back and
 * checks what can be checked without state; which message may come when is the caller's business,
 * as is repeating them. GIDs are IPv6 addresses, or IPv4 ones mapped into IPv6 (::ffff:a.b.c.d); the private data
 * of a REQ begins with the RDMA CM's own header, which names addresses and ports, and belongs to
 * the caller after that.
 */
#ifndef ATOLL_DATAPLANE_ROCE_CM_MAD_H
#define ATOLL_DATAPLANE_ROCE_CM_MAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/ip_addr.h"

enum {
	CM_MAD_BYTES = 256,
	CM_REQ_PRIVATE = 56, /* the caller's, behind the RDMA CM header of 36 bytes */
	CM_MRA_PRIVATE = 222,
	CM_REJ_PRIVATE = 148,
	CM_REJ_INFO = 72,
	CM_REP_PRIVATE = 196,
	CM_RTU_PRIVATE = 224,
	CM_DREQ_PRIVATE = 220,
	CM_DREP_PRIVATE = 224,
	CM_PRIVATE_MAX = 224,
};

/* Attribute identifiers. */
enum cm_kind {
	CM_REQ = 0x0010,
	CM_MRA = 0x0011,
	CM_REJ = 0x0012,
	CM_REP = 0x0013,
	CM_RTU = 0x0014,
	CM_DREQ = 0x0015,
	CM_DREP = 0x0016,
};

/* Which message an MRA or a REJ is about. */
enum cm_about {
	CM_ABOUT_REQ = 0,
	CM_ABOUT_REP = 1,
	CM_ABOUT_OTHER = 2
};

/* Reasons of a REJ (IBTA table 108) that this project gives or tells apart. */
enum cm_reject {
	CM_REJ_NO_QP = 1,
	CM_REJ_NO_RESOURCES = 3,
	CM_REJ_TIMEOUT = 4,
	CM_REJ_UNSUPPORTED = 5,
	CM_REJ_BAD_COMM_ID = 6,
	CM_REJ_BAD_SERVICE = 8,
	CM_REJ_BAD_TRANSPORT = 9,
	CM_REJ_STALE = 10,
	CM_REJ_BAD_MTU = 26,
	CM_REJ_CONSUMER = 28,
};

/* The service that a program listens on with rdma_bind_addr of a TCP port. */
#define CM_SERVICE_TCP 0x0000000001060000u

static inline uint64_t cm_service_tcp(uint16_t port)
{
	return CM_SERVICE_TCP | port;
}

struct cm_req {
	uint64_t service;
	uint64_t ca_guid;
	uint32_t qpn;
	uint32_t psn; /* with which the receiver of this message begins (IBTA 12.7.31) */
	uint8_t responder_resources, initiator_depth; /* READs and atomics */
	uint8_t local_timeout, remote_timeout;        /* CM response: 4.096 us * 2^n, 0 to 31 */
	uint8_t retry_count, rnr_retry_count, cm_retries;
	uint8_t ack_timeout; /* of the path: 4.096 us * 2^n */
	uint32_t mtu;        /* bytes: 256 to 4096 */
	bool srq;
	struct ip_addr src_address, dst_address; /* of one family: primary GIDs and RDMA CM header */
	uint16_t src_port;   /* RDMA CM header */
};

struct cm_rep {
	uint32_t qpn, psn; /* as in the REQ */
	uint8_t responder_resources, initiator_depth;
	uint8_t ack_delay; /* target: 4.096 us * 2^n */
	uint8_t rnr_retry_count;
	bool srq;
	uint64_t ca_guid;
};

struct cm_rej {
	uint8_t about;   /* enum cm_about */
	uint16_t reason; /* enum cm_reject */
	uint8_t info[CM_REJ_INFO];
	uint8_t info_len;
};

struct cm_mra {
	uint8_t about;   /* enum cm_about */
	uint8_t timeout; /* 4.096 us * 2^n more */
};

struct cm_dreq {
	uint32_t remote_qpn;
};

/* Any of the messages. */
struct cm_mad {
	uint16_t kind; /* enum cm_kind */
	uint64_t transaction;
	uint32_t local_id;  /* communication ID of the sender */
	uint32_t remote_id; /* ... of the receiver; 0 in a REQ */
	union {
		struct cm_req req;
		struct cm_mra mra;
		struct cm_rej rej;
		struct cm_rep rep;
		struct cm_dreq dreq;
	};
	uint8_t private_data[CM_PRIVATE_MAX];
	uint32_t private_len; /* as many as the message has room for when parsed */
};

/* Room for private data in a message of @kind, bytes; 0: no such kind. */
uint32_t cm_mad_private_room(uint16_t kind);

/**
 * cm_mad_parse - take a received MAD apart.
 * @mad: CM_MAD_BYTES bytes
 * Return: 0; -EPROTO: not a connection management MAD of a version that is known; -ENOTSUP: another
 * attribute or a transport other than RC; -EINVAL: a field out of range, or a REQ without the RDMA
 * CM header for IPv4.
 */
int cm_mad_parse(struct cm_mad *out, const void *mad, size_t len);

/**
 * cm_mad_build - the bytes of a message.
 * @out: CM_MAD_BYTES bytes
 * Return: 0; -EINVAL: no such kind, a field out of range, or more private data than there is room.
 */
int cm_mad_build(void *out, const struct cm_mad *mad);

/* Exponent n so that 4.096 us * 2^n is at least @ns; at most 31. */
uint8_t cm_timeout_encode(uint64_t ns);
uint64_t cm_timeout_ns(uint8_t exponent);

#endif
