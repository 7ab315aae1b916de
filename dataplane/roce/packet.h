/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet.h - RoCEv2 packets over IPv4 and IPv6: layouts, parsing with every check, building.
 *
 *   IPv4 20 or IPv6 40 | UDP 8 | BTH 12 | extended header 0..28 | payload | pad 0..3 | ICRC 4
 *
 * There is no GRH: the IP header has its place, and the ICRC covers it as it covers a GRH, with what
 * routers may change taken for ones (annex A17.3.3, A17.4.5.1.3): of IPv6 the traffic class, the flow
 * label and the hop limit. IPv6 extension headers are not expected between IP and UDP.
 *
 * Wire fields are big-endian and have types of their own, so that an unconverted access does not
 * compile. A packet is parsed once into a struct roce_rx; what later code needs is copied there,
 * and the payload is a pointer and a length inside the packet. packet_parse never reads outside the
 * bytes it is given.
 *
 * Building starts from a template per flow that holds everything but the lengths, the opcode and
 * the PSN, with the variant fields already masked: the caller fills in the rest and the payload,
 * and packet_seal computes the ICRC in one pass and then unmasks.
 *
 * Between Atoll nodes the MSN field of an AETH does not count messages: it is the number of verbs
 * up to this PSN that were answered by ROCE_OP_VERB_STATUS (answers.h says why).
 */
#ifndef ATOLL_DATAPLANE_ROCE_PACKET_H
#define ATOLL_DATAPLANE_ROCE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/port.h"
#include "dataplane/roce/roce.h"

/* ------------------------------------------------------------------ big-endian wire fields */
typedef struct {
	uint8_t b[2];
} be16;
typedef struct {
	uint8_t b[3];
} be24;
typedef struct {
	uint8_t b[4];
} be32;
typedef struct {
	uint8_t b[8];
} be64;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PACKET_SWAP(bits, v) __builtin_bswap##bits(v)
#else
#define PACKET_SWAP(bits, v) (v)
#endif

static inline uint16_t be16_get(be16 x)
{
	uint16_t v;

	memcpy(&v, x.b, sizeof(v));
	return PACKET_SWAP(16, v);
}

static inline be16 be16_of(uint16_t v)
{
	be16 x;

	v = PACKET_SWAP(16, v);
	memcpy(x.b, &v, sizeof(v));
	return x;
}

static inline uint32_t be24_get(be24 x)
{
	return (uint32_t)x.b[0] << 16 | (uint32_t)x.b[1] << 8 | x.b[2];
}

static inline be24 be24_of(uint32_t v)
{
	return (be24){{(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}};
}

static inline uint32_t be32_get(be32 x)
{
	uint32_t v;

	memcpy(&v, x.b, sizeof(v));
	return PACKET_SWAP(32, v);
}

static inline be32 be32_of(uint32_t v)
{
	be32 x;

	v = PACKET_SWAP(32, v);
	memcpy(x.b, &v, sizeof(v));
	return x;
}

static inline uint64_t be64_get(be64 x)
{
	uint64_t v;

	memcpy(&v, x.b, sizeof(v));
	return PACKET_SWAP(64, v);
}

static inline be64 be64_of(uint64_t v)
{
	be64 x;

	v = PACKET_SWAP(64, v);
	memcpy(x.b, &v, sizeof(v));
	return x;
}

/* ------------------------------------------------------------------ layouts */
struct wire_ipv4 {
	uint8_t version_ihl, tos;
	be16 total_len, id, fragment;
	uint8_t ttl, protocol;
	be16 checksum;
	be32 src, dst;
};
_Static_assert(sizeof(struct wire_ipv4) == 20, "IPv4 header without options");

struct wire_ipv6 {
	be32 version_class_flow; /* 4, 8 and 20 bits */
	be16 payload_len;        /* behind this header */
	uint8_t next_header, hop_limit;
	uint8_t src[16], dst[16];
};
_Static_assert(sizeof(struct wire_ipv6) == 40, "RFC 8200 3");

struct wire_udp {
	be16 src_port, dst_port, len, checksum;
};
_Static_assert(sizeof(struct wire_udp) == 8, "UDP header");

struct wire_bth {
	uint8_t opcode;
	uint8_t flags; /* SE 1, migration 1, pad 2, version 4 */
	be16 pkey;
	uint8_t reserved; /* FECN, BECN */
	be24 qpn;
	uint8_t ack_req; /* bit 7 */
	be24 psn;
};
_Static_assert(sizeof(struct wire_bth) == 12, "IBTA 9.2");

struct wire_reth {
	be64 va;
	be32 rkey, len;
};
_Static_assert(sizeof(struct wire_reth) == 16, "IBTA 9.3.3");

struct wire_atomic {
	be64 va;
	be32 rkey;
	be64 swap, compare;
};
_Static_assert(sizeof(struct wire_atomic) == 28, "IBTA 9.3.4");

struct wire_aeth {
	uint8_t syndrome;
	be24 msn;
};
_Static_assert(sizeof(struct wire_aeth) == 4, "IBTA 9.3.5");

struct wire_deth {
	be32 qkey;
	uint8_t reserved;
	be24 src_qpn;
};
_Static_assert(sizeof(struct wire_deth) == 8, "IBTA 9.3.2");

struct wire_roce {
	struct wire_ipv4 ip;
	struct wire_udp udp;
	struct wire_bth bth;
};
_Static_assert(sizeof(struct wire_roce) == 40, "no padding");
_Static_assert(offsetof(struct wire_roce, bth) == 28, "no padding");

struct wire_roce6 {
	struct wire_ipv6 ip;
	struct wire_udp udp;
	struct wire_bth bth;
};
_Static_assert(sizeof(struct wire_roce6) == 60, "no padding");

enum {
	PACKET_HEADERS = sizeof(struct wire_roce), /* over IPv4 */
	PACKET_HEADERS6 = sizeof(struct wire_roce6),
	PACKET_OVERHEAD_MAX = PACKET_HEADERS + 28 + 3 + 4, /* AtomicETH, pad, ICRC */
	PACKET_DATA_OVERHEAD = PACKET_HEADERS + 16 + 4,    /* WRITE first: RETH and ICRC */
	PACKET_DATA_OVERHEAD6 = PACKET_HEADERS6 + 16 + 4,
	PACKET_TTL = 64,
	PACKET_TOS = 2, /* ECN-capable transport: switches may mark instead of drop */
	PACKET_PKEY = 0xffff,
	PACKET_QPN_CM = 1,
	PACKET_QPN_MAX = 0xfffffe, /* 0xffffff is multicast */
	PACKET_MAD_BYTES = 256,
};
#define PACKET_QKEY_CM 0x80010000u

/* ------------------------------------------------------------------ opcodes (IBTA table 38) */
enum roce_opcode {
	ROCE_OP_SEND_FIRST = 0x00,
	ROCE_OP_SEND_MIDDLE = 0x01,
	ROCE_OP_SEND_LAST = 0x02,
	ROCE_OP_SEND_LAST_IMM = 0x03,
	ROCE_OP_SEND_ONLY = 0x04,
	ROCE_OP_SEND_ONLY_IMM = 0x05,
	ROCE_OP_WRITE_FIRST = 0x06,
	ROCE_OP_WRITE_MIDDLE = 0x07,
	ROCE_OP_WRITE_LAST = 0x08,
	ROCE_OP_WRITE_LAST_IMM = 0x09,
	ROCE_OP_WRITE_ONLY = 0x0a,
	ROCE_OP_WRITE_ONLY_IMM = 0x0b,
	ROCE_OP_READ_REQUEST = 0x0c,
	ROCE_OP_READ_FIRST = 0x0d,
	ROCE_OP_READ_MIDDLE = 0x0e,
	ROCE_OP_READ_LAST = 0x0f,
	ROCE_OP_READ_ONLY = 0x10,
	ROCE_OP_ACK = 0x11,
	ROCE_OP_ATOMIC_ACK = 0x12,
	ROCE_OP_CAS = 0x13,
	ROCE_OP_FAA = 0x14,
	ROCE_OP_SEND_LAST_INV = 0x16,
	ROCE_OP_SEND_ONLY_INV = 0x17,
	ROCE_OP_UD_SEND_ONLY = 0x64,
	ROCE_OP_CNP = 0x81,
	ROCE_OP_VERB_STATUS = 0xc1, /* manufacturer's: answers.h */
};

/* What the engine wants to know of an opcode. 0: not handled. */
enum roce_op_info {
	OPI_REQUEST = 1 << 0,
	OPI_RESPONSE = 1 << 1,
	OPI_FIRST = 1 << 2, /* begins a message of requests or a READ's responses */
	OPI_LAST = 1 << 3,  /* ends it; both: "only" */
	OPI_SEND = 1 << 4,
	OPI_WRITE = 1 << 5,
	OPI_READ = 1 << 6,
	OPI_ATOMIC = 1 << 7,
	OPI_RETH = 1 << 8,
	OPI_AETH = 1 << 9,
	OPI_ATOMIC_ETH = 1 << 10,
	OPI_ATOMIC_ACK_ETH = 1 << 11,
	OPI_DETH = 1 << 12,
	OPI_PAYLOAD = 1 << 13,
	OPI_UD = 1 << 14,
	OPI_CNP = 1 << 15,
	OPI_STATUS = 1 << 16,
	OPI_EXT = 24, /* from this bit on: bytes of extended headers */
};
extern const uint32_t packet_opcode_info[256];

/* AETH syndrome (IBTA 9.7.5.2.4): bits 6-5 say which, bits 4-0 the credits, timer or code. */
enum roce_syndrome {
	AETH_ACK = 0x00,
	AETH_RNR = 0x20,
	AETH_NAK = 0x60,
	AETH_KIND = 0x60,
	AETH_VALUE = 0x1f,
	AETH_NO_CREDITS = 0x1f, /* end-to-end credits are not used */
	NAK_SEQUENCE = 0,
	NAK_INVALID = 1,
	NAK_ACCESS = 2,
	NAK_OPERATION = 3,
};

/* VERB_STATUS uses the AETH's syndrome byte for an enum status, and this bit: the failure is not
 * counted in the MSN field, because later answers may have gone out before it was known. */
enum {
	VERB_STATUS_LATE = 0x80
};

/* ------------------------------------------------------------------ parsing */
struct roce_rx {
	uint32_t info; /* enum roce_op_info of the opcode */
	uint32_t qpn, psn;
	uint8_t opcode;
	bool se, ack_req, congested; /* ECN: congestion experienced */
	uint8_t syndrome;
	uint32_t msn;
	uint32_t rkey, len; /* RETH, AtomicETH */
	uint64_t va;
	uint64_t swap, compare; /* AtomicETH; swap also the original value of an AtomicAckETH */
	uint32_t src_qpn;       /* DETH */
	const uint8_t *payload;
	uint32_t payload_len;
	struct ip_addr src;
};

/**
 * packet_parse - check the form of a packet and take it apart. The ICRC is not checked.
 * @data: the IP header
 * @len: bytes; must agree with the IP and UDP lengths
 * Return: 0, or the enum roce_counter that says what is wrong (none of which is 0).
 */
int packet_parse(struct roce_rx *rx, const uint8_t *data, uint32_t len);

/**
 * packet_icrc_delta - the ICRC of a packet, exclusive or what it should be: 0 if it fits. Masks the
 * variant fields in @data and leaves them so. Only after packet_parse found the lengths good.
 */
uint32_t packet_icrc_delta(uint8_t *data, uint32_t len);

static inline bool packet_icrc_ok(uint8_t *data, uint32_t len)
{
	return !packet_icrc_delta(data, len);
}

/* ------------------------------------------------------------------ building */

/* Headers of one flow, masked for the ICRC. */
struct packet_flow {
	struct wire_roce headers;
	uint32_t checksum_part; /* IPv4 checksum over what does not change, not folded */
	bool v6;
	struct wire_roce6 headers6; /* instead of headers */
};

/* @src and @dst: of one family. */
void packet_flow_init(struct packet_flow *flow, struct ip_addr src, struct ip_addr dst,
		      uint16_t src_port, uint16_t dst_port, uint32_t dst_qpn);

enum packet_flag {
	PACKET_SE = 0x80,
	PACKET_ACK_REQ = 0x01
};

/**
 * packet_begin - put the headers into an empty packet.
 * @flags: enum packet_flag
 * @ext: bytes of extended header that follow
 * @payload: bytes of payload that follow
 * Return: where the extended header begins; the payload lies behind it. The caller fills both and
 * calls packet_seal. The packet's length is set. The caller has checked @pkt->room once.
 */
static inline uint8_t *packet_begin(struct pkt *pkt, const struct packet_flow *flow, uint8_t opcode,
				    uint32_t flags, uint32_t psn, uint32_t ext, uint32_t payload)
{
	struct wire_roce *h = (struct wire_roce *)pkt->data;
	struct wire_bth *bth = &h->bth;
	uint32_t pad = -payload & 3;
	uint32_t len = PACKET_HEADERS + ext + payload + pad + 4;
	uint8_t *body = pkt->data + PACKET_HEADERS;

	if (__builtin_expect(flow->v6, 0)) {
		struct wire_roce6 *h6 = (struct wire_roce6 *)pkt->data;
		be16 behind = be16_of((uint16_t)(len - sizeof(struct wire_ipv4)));

		*h6 = flow->headers6;
		h6->ip.payload_len = h6->udp.len = behind;
		bth = &h6->bth;
		body = pkt->data + PACKET_HEADERS6;
		len += PACKET_HEADERS6 - PACKET_HEADERS;
	} else {
		*h = flow->headers;
		h->ip.total_len = be16_of((uint16_t)len);
		h->udp.len = be16_of((uint16_t)(len - sizeof(struct wire_ipv4)));
	}
	bth->opcode = opcode;
	bth->flags = (uint8_t)((flags & PACKET_SE) | 0x40 | pad << 4);
	bth->ack_req = (uint8_t)((flags & PACKET_ACK_REQ) << 7);
	bth->psn = be24_of(psn);
	if (pad)
		memset(body + ext + payload, 0, pad);
	pkt->len = len;
	return body;
}

/* Compute the ICRC, unmask the variant fields, fill in the IPv4 checksum. The UDP checksum is 0: none,
 * over IPv6 as well (RFC 6936; the ICRC covers more). */
void packet_seal(struct pkt *pkt, const struct packet_flow *flow);

/**
 * packet_copy - memcpy that reads (and writes) every naturally aligned 8-byte word of memory that
 * others work on in one access, where the other side of the copy allows it.
 */
void packet_copy(void *dst, const void *src, size_t len);

/* ------------------------------------------------------------------ PSN arithmetic, modulo 2^24 */
static inline uint32_t psn_add(uint32_t psn, uint32_t n)
{
	return (psn + n) & 0xffffff;
}

/* a - b where a is not before b */
static inline uint32_t psn_since(uint32_t a, uint32_t b)
{
	return (a - b) & 0xffffff;
}

/* a - b, -2^23 to 2^23 - 1 */
static inline int32_t psn_diff(uint32_t a, uint32_t b)
{
	return (int32_t)((a - b) << 8) >> 8;
}

#endif
