/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/roce/packet.h"

#include "dataplane/roce/icrc.h"

/* A request of RC that is not supported: it continues no message and begins none. */
#define REFUSED (OPI_REQUEST | OPI_PAYLOAD)

#define ONLY   (OPI_FIRST | OPI_LAST)
#define SENDS  (OPI_REQUEST | OPI_SEND | OPI_PAYLOAD)
#define WRITES (OPI_REQUEST | OPI_WRITE | OPI_PAYLOAD)
#define READS  (OPI_RESPONSE | OPI_READ | OPI_PAYLOAD)

/* Extended headers, and how long they are. */
#define EXT(bytes)     ((uint32_t)(bytes) << OPI_EXT)
#define RETH	       (OPI_RETH | EXT(sizeof(struct wire_reth)))
#define AETH	       (OPI_AETH | EXT(sizeof(struct wire_aeth)))
#define ATOMIC_ETH     (OPI_ATOMIC_ETH | EXT(sizeof(struct wire_atomic)))
#define ATOMIC_ACK_ETH (OPI_AETH | OPI_ATOMIC_ACK_ETH | EXT(sizeof(struct wire_aeth) + sizeof(be64)))
#define DETH	       (OPI_DETH | EXT(sizeof(struct wire_deth)))

const uint32_t packet_opcode_info[256] = {
	[ROCE_OP_SEND_FIRST] = SENDS | OPI_FIRST,
	[ROCE_OP_SEND_MIDDLE] = SENDS,
	[ROCE_OP_SEND_LAST] = SENDS | OPI_LAST,
	[ROCE_OP_SEND_ONLY] = SENDS | ONLY,
	[ROCE_OP_WRITE_FIRST] = WRITES | OPI_FIRST | RETH,
	[ROCE_OP_WRITE_MIDDLE] = WRITES,
	[ROCE_OP_WRITE_LAST] = WRITES | OPI_LAST,
	[ROCE_OP_WRITE_ONLY] = WRITES | ONLY | RETH,
	[ROCE_OP_READ_REQUEST] = OPI_REQUEST | OPI_READ | RETH | ONLY,
	[ROCE_OP_READ_FIRST] = READS | OPI_FIRST | AETH,
	[ROCE_OP_READ_MIDDLE] = READS,
	[ROCE_OP_READ_LAST] = READS | OPI_LAST | AETH,
	[ROCE_OP_READ_ONLY] = READS | ONLY | AETH,
	[ROCE_OP_ACK] = OPI_RESPONSE | AETH,
	[ROCE_OP_ATOMIC_ACK] = OPI_RESPONSE | OPI_ATOMIC | ATOMIC_ACK_ETH,
	[ROCE_OP_CAS] = OPI_REQUEST | OPI_ATOMIC | ATOMIC_ETH | ONLY,
	[ROCE_OP_FAA] = OPI_REQUEST | OPI_ATOMIC | ATOMIC_ETH | ONLY,
	[ROCE_OP_SEND_LAST_IMM] = REFUSED,
	[ROCE_OP_SEND_ONLY_IMM] = REFUSED,
	[ROCE_OP_WRITE_LAST_IMM] = REFUSED,
	[ROCE_OP_WRITE_ONLY_IMM] = REFUSED,
	[ROCE_OP_SEND_LAST_INV] = REFUSED,
	[ROCE_OP_SEND_ONLY_INV] = REFUSED,
	[ROCE_OP_UD_SEND_ONLY] = OPI_UD | DETH | OPI_PAYLOAD,
	[ROCE_OP_CNP] = OPI_CNP | OPI_PAYLOAD,
	[ROCE_OP_VERB_STATUS] = OPI_RESPONSE | OPI_STATUS | AETH,
};

int packet_parse(struct roce_rx *rx, const uint8_t *data, uint32_t len)
{
	const struct wire_roce *h = (const struct wire_roce *)data;
	const struct wire_bth *bth = &h->bth;
	uint32_t pad, info, ext_len, headers = PACKET_HEADERS;
	const uint8_t *ext;

	if (len < PACKET_HEADERS + ICRC_BYTES)
		return ROCE_C_BAD_LENGTH;
	if (__builtin_expect(h->ip.version_ihl >> 4 == 6, 0)) {
		const struct wire_roce6 *h6 = (const struct wire_roce6 *)data;

		headers = PACKET_HEADERS6;
		if (len < PACKET_HEADERS6 + ICRC_BYTES)
			return ROCE_C_BAD_LENGTH;
		if (h6->ip.next_header != 17)
			return ROCE_C_BAD_VERSION;
		if (be16_get(h6->ip.payload_len) != len - sizeof(h6->ip) ||
		    be16_get(h6->udp.len) != len - sizeof(h6->ip))
			return ROCE_C_BAD_LENGTH;
		bth = &h6->bth;
		memcpy(rx->src.b, h6->ip.src, sizeof(rx->src.b));
		rx->congested = (be32_get(h6->ip.version_class_flow) >> 20 & 3) == 3;
	} else {
		if (h->ip.version_ihl != 0x45 || h->ip.protocol != 17)
			return ROCE_C_BAD_VERSION;
		if (be16_get(h->ip.total_len) != len || be16_get(h->udp.len) != len - sizeof(h->ip))
			return ROCE_C_BAD_LENGTH;
		rx->src = ip_addr_v4(be32_get(h->ip.src));
		rx->congested = (h->ip.tos & 3) == 3;
	}
	if (bth->flags & 0x0f)
		return ROCE_C_BAD_VERSION;
	if (be16_get(bth->pkey) != PACKET_PKEY && be16_get(bth->pkey) != 0x7fff)
		return ROCE_C_BAD_PKEY;
	info = packet_opcode_info[bth->opcode];
	if (!info)
		return ROCE_C_BAD_OPCODE;
	ext = data + headers;
	ext_len = info >> OPI_EXT;
	pad = (bth->flags >> 4) & 3;
	if (len < headers + ext_len + pad + ICRC_BYTES)
		return ROCE_C_BAD_LENGTH;
	rx->payload = ext + ext_len;
	rx->payload_len = len - headers - ext_len - pad - ICRC_BYTES;
	if (rx->payload_len && !(info & OPI_PAYLOAD))
		return ROCE_C_BAD_LENGTH;
	if ((rx->payload_len + pad) & 3)
		return ROCE_C_BAD_LENGTH;

	rx->info = info;
	rx->opcode = bth->opcode;
	rx->se = bth->flags & 0x80;
	rx->ack_req = bth->ack_req & 0x80;
	rx->qpn = be24_get(bth->qpn);
	rx->psn = be24_get(bth->psn);
	if (info & OPI_RETH) {
		const struct wire_reth *r = (const struct wire_reth *)ext;

		rx->va = be64_get(r->va);
		rx->rkey = be32_get(r->rkey);
		rx->len = be32_get(r->len);
	} else if (info & OPI_AETH) {
		const struct wire_aeth *a = (const struct wire_aeth *)ext;

		rx->syndrome = a->syndrome;
		rx->msn = be24_get(a->msn);
		if (info & OPI_ATOMIC_ACK_ETH) {
			be64 v;

			memcpy(&v, ext + sizeof(*a), sizeof(v));
			rx->swap = be64_get(v);
		}
	} else if (info & OPI_ATOMIC_ETH) {
		const struct wire_atomic *a = (const struct wire_atomic *)ext;

		rx->va = be64_get(a->va);
		rx->rkey = be32_get(a->rkey);
		rx->len = 8;
		rx->swap = be64_get(a->swap);
		rx->compare = be64_get(a->compare);
	} else if (info & OPI_DETH) {
		const struct wire_deth *d = (const struct wire_deth *)ext;

		if (be32_get(d->qkey) != PACKET_QKEY_CM)
			return ROCE_C_BAD_PKEY;
		rx->src_qpn = be24_get(d->src_qpn);
	}
	return 0;
}

static inline void mask_variant(struct wire_roce *h)
{
	h->ip.tos = 0xff;
	h->ip.ttl = 0xff;
	h->ip.checksum = (be16){{0xff, 0xff}};
	h->udp.checksum = (be16){{0xff, 0xff}};
	h->bth.reserved = 0xff;
}

static inline void mask_variant6(struct wire_roce6 *h)
{
	h->ip.version_class_flow = be32_of(0x6fffffff);
	h->ip.hop_limit = 0xff;
	h->udp.checksum = (be16){{0xff, 0xff}};
	h->bth.reserved = 0xff;
}

uint32_t packet_icrc_delta(uint8_t *data, uint32_t len)
{
	const uint8_t *at = data + len - ICRC_BYTES;
	uint32_t want = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
			(uint32_t)at[3] << 24;

	if (__builtin_expect(data[0] >> 4 == 6, 0))
		mask_variant6((struct wire_roce6 *)data);
	else
		mask_variant((struct wire_roce *)data);
	return icrc_compute(data, len - ICRC_BYTES) ^ want;
}

static void flow_init6(struct packet_flow *flow, struct ip_addr src, struct ip_addr dst)
{
	struct wire_roce6 *h = &flow->headers6;

	flow->v6 = true;
	h->ip.next_header = 17;
	memcpy(h->ip.src, src.b, sizeof(h->ip.src));
	memcpy(h->ip.dst, dst.b, sizeof(h->ip.dst));
	h->udp = flow->headers.udp;
	h->bth = flow->headers.bth;
	mask_variant6(h);
}

void packet_flow_init(struct packet_flow *flow, struct ip_addr src, struct ip_addr dst,
		      uint16_t src_port, uint16_t dst_port, uint32_t dst_qpn)
{
	struct wire_roce *h = &flow->headers;
	uint32_t sum = 0;

	memset(flow, 0, sizeof(*flow));
	h->udp.src_port = be16_of(src_port);
	h->udp.dst_port = be16_of(dst_port);
	h->bth.pkey = be16_of(PACKET_PKEY);
	h->bth.qpn = be24_of(dst_qpn);
	if (ip_addr_is_v6(src)) {
		flow_init6(flow, src, dst);
		return;
	}
	h->ip.version_ihl = 0x45;
	h->ip.tos = PACKET_TOS;
	h->ip.fragment = be16_of(0x4000); /* do not fragment; identification 0 */
	h->ip.ttl = PACKET_TTL;
	h->ip.protocol = 17;
	h->ip.src = be32_of(ip_addr_low(src));
	h->ip.dst = be32_of(ip_addr_low(dst));
	for (size_t i = 0; i < sizeof(h->ip); i += 2) {
		const uint8_t *b = (const uint8_t *)&h->ip + i;

		sum += (uint32_t)b[0] << 8 | b[1];
	}
	flow->checksum_part = sum;
	mask_variant(h);
}

void packet_seal(struct pkt *pkt, const struct packet_flow *flow)
{
	struct wire_roce *h = (struct wire_roce *)pkt->data;
	uint32_t body = pkt->len - ICRC_BYTES;
	uint32_t crc = icrc_compute(pkt->data, body);
	uint8_t *at = pkt->data + body;
	uint32_t sum = flow->checksum_part + pkt->len;

	at[0] = (uint8_t)crc;
	at[1] = (uint8_t)(crc >> 8);
	at[2] = (uint8_t)(crc >> 16);
	at[3] = (uint8_t)(crc >> 24);
	if (__builtin_expect(flow->v6, 0)) {
		struct wire_roce6 *h6 = (struct wire_roce6 *)pkt->data;

		h6->ip.version_class_flow = be32_of(6u << 28 | PACKET_TOS << 20);
		h6->ip.hop_limit = PACKET_TTL;
		h6->udp.checksum = (be16){{0, 0}};
		h6->bth.reserved = 0;
		return;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	h->ip.tos = PACKET_TOS;
	h->ip.ttl = PACKET_TTL;
	h->ip.checksum = be16_of((uint16_t)~sum);
	h->udp.checksum = (be16){{0, 0}};
	h->bth.reserved = 0;
}

/* Sixteen bytes in one access of each side; a word that is aligned in memory never straddles two,
 * because the accesses go up in steps of sixteen from a word boundary. */
typedef uint8_t copy16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t copy8 __attribute__((aligned(1), may_alias));

void packet_copy(void *dst, const void *src, size_t len)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	while (len >= 64) {
		copy16 a = *(const copy16 *)s, b = *(const copy16 *)(s + 16);
		copy16 c = *(const copy16 *)(s + 32), e = *(const copy16 *)(s + 48);

		*(copy16 *)d = a;
		*(copy16 *)(d + 16) = b;
		*(copy16 *)(d + 32) = c;
		*(copy16 *)(d + 48) = e;
		d += 64;
		s += 64;
		len -= 64;
	}
	while (len >= 8) {
		*(copy8 *)d = *(const copy8 *)s;
		d += 8;
		s += 8;
		len -= 8;
	}
	while (len--)
		*d++ = *s++;
}
