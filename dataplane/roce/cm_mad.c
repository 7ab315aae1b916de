/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/roce/cm_mad.h"

#include <errno.h>
#include <string.h>

#include "dataplane/roce/packet.h"

enum {
	MAD_BASE_VERSION = 1,
	MAD_CLASS_CM = 7,
	MAD_CLASS_VERSION = 2,
	MAD_METHOD_SEND = 3,
	TRANSPORT_RC = 0,
	PATH_RATE = 3, /* 10 Gb/s (IBTA table 210): must be a known rate, and is of no effect */
	HOP_LIMIT = 64,
	RDMA_CM_VERSION = 0,
	RDMA_CM_IPV4 = 4,
	RDMA_CM_IPV6 = 6,
};

struct wire_mad {
	uint8_t base_version, mgmt_class, class_version, method;
	be16 status, class_specific;
	be64 transaction;
	be16 attribute, reserved;
	be32 modifier;
};
_Static_assert(sizeof(struct wire_mad) == 24, "IBTA 13.4.2");

struct wire_path {
	be16 local_lid, remote_lid;
	struct ip_addr local, remote; /* GIDs */
	be32 flow_rate; /* flow label 20, reserved 6, packet rate 6 */
	uint8_t traffic_class, hop_limit;
	uint8_t sl_local;    /* SL 4, subnet local 1, reserved 3 */
	uint8_t ack_timeout; /* 5, reserved 3 */
};
_Static_assert(sizeof(struct wire_path) == 44, "IBTA 12.6.5");

struct wire_rdma_cm {
	uint8_t version;
	uint8_t ip_version; /* high four bits */
	be16 src_port;
	uint8_t src[16], dst[16]; /* IPv4: the last four bytes, behind zeros */
};
_Static_assert(sizeof(struct wire_rdma_cm) == 36, "IBTA A11.2");

struct wire_req {
	struct wire_mad mad;
	be32 local_id, reserved0;
	be64 service, ca_guid;
	be32 reserved1, qkey;
	be24 qpn;
	uint8_t responder_resources;
	be24 eec;
	uint8_t initiator_depth;
	be24 remote_eec;
	uint8_t timeout_transport; /* remote CM response timeout 5, transport 2, flow control 1 */
	be24 psn;
	uint8_t timeout_retry; /* local CM response timeout 5, retry count 3 */
	be16 pkey;
	uint8_t mtu_rnr;     /* path MTU 4, RDC 1, RNR retry count 3 */
	uint8_t retries_srq; /* CM retries 4, SRQ 1, extended transport 3 */
	struct wire_path primary, alternate;
	struct wire_rdma_cm rdma_cm;
	uint8_t private_data[CM_REQ_PRIVATE];
};
_Static_assert(sizeof(struct wire_req) == CM_MAD_BYTES, "IBTA 12.6.5");
_Static_assert(offsetof(struct wire_req, primary) == 76, "IBTA 12.6.5");
_Static_assert(offsetof(struct wire_req, rdma_cm) == 164, "IBTA 12.6.5");

struct wire_mra {
	struct wire_mad mad;
	be32 local_id, remote_id;
	uint8_t about;   /* 2, reserved 6 */
	uint8_t timeout; /* 5, reserved 3 */
	uint8_t private_data[CM_MRA_PRIVATE];
};
_Static_assert(sizeof(struct wire_mra) == CM_MAD_BYTES, "IBTA 12.6.6");

struct wire_rej {
	struct wire_mad mad;
	be32 local_id, remote_id;
	uint8_t about;    /* 2, reserved 6 */
	uint8_t info_len; /* 7, reserved 1 */
	be16 reason;
	uint8_t info[CM_REJ_INFO];
	uint8_t private_data[CM_REJ_PRIVATE];
};
_Static_assert(sizeof(struct wire_rej) == CM_MAD_BYTES, "IBTA 12.6.7");

struct wire_rep {
	struct wire_mad mad;
	be32 local_id, remote_id, qkey;
	be24 qpn;
	uint8_t reserved0;
	be24 eec;
	uint8_t reserved1;
	be24 psn;
	uint8_t reserved2;
	uint8_t responder_resources, initiator_depth;
	uint8_t delay_flow; /* target ACK delay 5, failover 2, flow control 1 */
	uint8_t rnr_srq;    /* RNR retry count 3, SRQ 1, reserved 4 */
	be64 ca_guid;
	uint8_t private_data[CM_REP_PRIVATE];
};
_Static_assert(sizeof(struct wire_rep) == CM_MAD_BYTES, "IBTA 12.6.8");

/* RTU and DREP */
struct wire_rtu {
	struct wire_mad mad;
	be32 local_id, remote_id;
	uint8_t private_data[CM_RTU_PRIVATE];
};
_Static_assert(sizeof(struct wire_rtu) == CM_MAD_BYTES, "IBTA 12.6.9, 12.6.11");

struct wire_dreq {
	struct wire_mad mad;
	be32 local_id, remote_id;
	be24 remote_qpn;
	uint8_t reserved;
	uint8_t private_data[CM_DREQ_PRIVATE];
};
_Static_assert(sizeof(struct wire_dreq) == CM_MAD_BYTES, "IBTA 12.6.10");

union wire_cm {
	uint8_t bytes[CM_MAD_BYTES];
	struct wire_mad mad;
	struct wire_rtu ids; /* every message but the REQ has both communication IDs here */
	struct wire_req req;
	struct wire_mra mra;
	struct wire_rej rej;
	struct wire_rep rep;
	struct wire_dreq dreq;
};

static uint32_t private_offset(uint16_t kind)
{
	switch ((enum cm_kind)kind) {
	case CM_REQ:
		return offsetof(struct wire_req, private_data);
	case CM_MRA:
		return offsetof(struct wire_mra, private_data);
	case CM_REJ:
		return offsetof(struct wire_rej, private_data);
	case CM_REP:
		return offsetof(struct wire_rep, private_data);
	case CM_RTU:
	case CM_DREP:
		return offsetof(struct wire_rtu, private_data);
	case CM_DREQ:
		return offsetof(struct wire_dreq, private_data);
	}
	return CM_MAD_BYTES;
}

uint32_t cm_mad_private_room(uint16_t kind)
{
	return CM_MAD_BYTES - private_offset(kind);
}

/* Path MTU codes 1 to 5 are 256 to 4096 bytes. */
static uint32_t mtu_bytes(uint8_t code)
{
	return code >= 1 && code <= 5 ? 128u << code : 0;
}

static uint8_t mtu_code(uint32_t bytes)
{
	for (uint8_t code = 1; code <= 5; code++)
		if (mtu_bytes(code) == bytes)
			return code;
	return 0;
}

static void address_put(uint8_t at[16], struct ip_addr address)
{
	memcpy(at, address.b, 16);
	if (ip_addr_is_v4(address))
		memset(at, 0, 12);
}

/* false: not an address of that version. */
static bool address_get(const uint8_t at[16], uint8_t version, struct ip_addr *out)
{
	static const uint8_t zero[12];
	be32 v4;

	memcpy(out->b, at, 16);
	if (version == RDMA_CM_IPV6)
		return !ip_addr_is_v4(*out);
	memcpy(v4.b, at + 12, 4);
	*out = ip_addr_v4(be32_get(v4));
	return version == RDMA_CM_IPV4 && memcmp(at, zero, sizeof(zero)) == 0;
}

/* ------------------------------------------------------------------ parsing */

static int parse_req(struct cm_mad *out, const struct wire_req *w)
{
	struct cm_req *req = &out->req;

	if (((w->timeout_transport >> 1) & 3) != TRANSPORT_RC || w->retries_srq & 7)
		return -ENOTSUP;
	req->mtu = mtu_bytes(w->mtu_rnr >> 4);
	if (!req->mtu || be16_get(w->pkey) != PACKET_PKEY)
		return -EINVAL;
	if (w->rdma_cm.version != RDMA_CM_VERSION ||
	    !address_get(w->rdma_cm.src, w->rdma_cm.ip_version >> 4, &req->src_address) ||
	    !address_get(w->rdma_cm.dst, w->rdma_cm.ip_version >> 4, &req->dst_address))
		return -EINVAL;
	req->service = be64_get(w->service);
	req->ca_guid = be64_get(w->ca_guid);
	req->qpn = be24_get(w->qpn);
	req->psn = be24_get(w->psn);
	req->responder_resources = w->responder_resources;
	req->initiator_depth = w->initiator_depth;
	req->remote_timeout = w->timeout_transport >> 3;
	req->local_timeout = w->timeout_retry >> 3;
	req->retry_count = w->timeout_retry & 7;
	req->rnr_retry_count = w->mtu_rnr & 7;
	req->cm_retries = w->retries_srq >> 4;
	req->srq = w->retries_srq & 8;
	req->ack_timeout = w->primary.ack_timeout >> 3;
	req->src_port = be16_get(w->rdma_cm.src_port);
	return 0;
}

static void parse_rep(struct cm_rep *rep, const struct wire_rep *w)
{
	rep->qpn = be24_get(w->qpn);
	rep->psn = be24_get(w->psn);
	rep->responder_resources = w->responder_resources;
	rep->initiator_depth = w->initiator_depth;
	rep->ack_delay = w->delay_flow >> 3;
	rep->rnr_retry_count = w->rnr_srq >> 5;
	rep->srq = w->rnr_srq & 0x10;
	rep->ca_guid = be64_get(w->ca_guid);
}

static int parse_rej(struct cm_rej *rej, const struct wire_rej *w)
{
	rej->about = w->about >> 6;
	rej->reason = be16_get(w->reason);
	rej->info_len = w->info_len >> 1;
	if (rej->info_len > CM_REJ_INFO)
		return -EINVAL;
	memcpy(rej->info, w->info, rej->info_len);
	return 0;
}

int cm_mad_parse(struct cm_mad *out, const void *mad, size_t len)
{
	const union wire_cm *w = mad;
	uint32_t at;
	int err = 0;

	if (len != CM_MAD_BYTES || w->mad.base_version != MAD_BASE_VERSION ||
	    w->mad.mgmt_class != MAD_CLASS_CM || w->mad.class_version != MAD_CLASS_VERSION ||
	    w->mad.method != MAD_METHOD_SEND)
		return -EPROTO;
	memset(out, 0, sizeof(*out));
	out->kind = be16_get(w->mad.attribute);
	out->transaction = be64_get(w->mad.transaction);
	out->local_id = be32_get(w->ids.local_id);
	out->remote_id = out->kind == CM_REQ ? 0 : be32_get(w->ids.remote_id);
	switch ((enum cm_kind)out->kind) {
	case CM_REQ:
		err = parse_req(out, &w->req);
		break;
	case CM_MRA:
		out->mra.about = w->mra.about >> 6;
		out->mra.timeout = w->mra.timeout >> 3;
		break;
	case CM_REJ:
		err = parse_rej(&out->rej, &w->rej);
		break;
	case CM_REP:
		parse_rep(&out->rep, &w->rep);
		break;
	case CM_DREQ:
		out->dreq.remote_qpn = be24_get(w->dreq.remote_qpn);
		break;
	case CM_RTU:
	case CM_DREP:
		break;
	default:
		return -ENOTSUP;
	}
	at = private_offset(out->kind);
	out->private_len = CM_MAD_BYTES - at;
	memcpy(out->private_data, w->bytes + at, out->private_len);
	return err;
}

/* ------------------------------------------------------------------ building */

static int build_req(struct wire_req *w, const struct cm_req *req)
{
	uint8_t mtu = mtu_code(req->mtu);
	uint8_t version = ip_addr_is_v6(req->src_address) ? RDMA_CM_IPV6 : RDMA_CM_IPV4;

	if (!mtu || req->qpn > 0xffffff || req->psn > 0xffffff || req->retry_count > 7 ||
	    req->rnr_retry_count > 7 || req->cm_retries > 15 || req->local_timeout > 31 ||
	    req->remote_timeout > 31 || req->ack_timeout > 31)
		return -EINVAL;
	w->service = be64_of(req->service);
	w->ca_guid = be64_of(req->ca_guid);
	w->qpn = be24_of(req->qpn);
	w->psn = be24_of(req->psn);
	w->responder_resources = req->responder_resources;
	w->initiator_depth = req->initiator_depth;
	w->timeout_transport = (uint8_t)(req->remote_timeout << 3 | TRANSPORT_RC << 1);
	w->timeout_retry = (uint8_t)(req->local_timeout << 3 | req->retry_count);
	w->pkey = be16_of(PACKET_PKEY);
	w->mtu_rnr = (uint8_t)(mtu << 4 | req->rnr_retry_count);
	w->retries_srq = (uint8_t)(req->cm_retries << 4 | req->srq << 3);
	w->primary.local_lid = w->primary.remote_lid = be16_of(0xffff); /* none on Ethernet */
	w->primary.local = req->src_address;
	w->primary.remote = req->dst_address;
	w->primary.flow_rate = be32_of(PATH_RATE);
	w->primary.hop_limit = HOP_LIMIT;
	w->primary.ack_timeout = (uint8_t)(req->ack_timeout << 3);
	w->rdma_cm = (struct wire_rdma_cm){.version = RDMA_CM_VERSION,
					   .ip_version = (uint8_t)(version << 4),
					   .src_port = be16_of(req->src_port)};
	address_put(w->rdma_cm.src, req->src_address);
	address_put(w->rdma_cm.dst, req->dst_address);
	return 0;
}

static int build_rep(struct wire_rep *w, const struct cm_rep *rep)
{
	if (rep->qpn > 0xffffff || rep->psn > 0xffffff || rep->ack_delay > 31 ||
	    rep->rnr_retry_count > 7)
		return -EINVAL;
	w->qpn = be24_of(rep->qpn);
	w->psn = be24_of(rep->psn);
	w->responder_resources = rep->responder_resources;
	w->initiator_depth = rep->initiator_depth;
	w->delay_flow = (uint8_t)(rep->ack_delay << 3);
	w->rnr_srq = (uint8_t)(rep->rnr_retry_count << 5 | rep->srq << 4);
	w->ca_guid = be64_of(rep->ca_guid);
	return 0;
}

static int build_rej(struct wire_rej *w, const struct cm_rej *rej)
{
	if (rej->about > 3 || rej->info_len > CM_REJ_INFO)
		return -EINVAL;
	w->about = (uint8_t)(rej->about << 6);
	w->info_len = (uint8_t)(rej->info_len << 1);
	w->reason = be16_of(rej->reason);
	memcpy(w->info, rej->info, rej->info_len);
	return 0;
}

int cm_mad_build(void *out, const struct cm_mad *mad)
{
	union wire_cm *w = out;
	uint32_t at = private_offset(mad->kind);
	int err = 0;

	if (at == CM_MAD_BYTES || mad->private_len > CM_MAD_BYTES - at)
		return -EINVAL;
	memset(w, 0, sizeof(*w));
	w->mad.base_version = MAD_BASE_VERSION;
	w->mad.mgmt_class = MAD_CLASS_CM;
	w->mad.class_version = MAD_CLASS_VERSION;
	w->mad.method = MAD_METHOD_SEND;
	w->mad.transaction = be64_of(mad->transaction);
	w->mad.attribute = be16_of(mad->kind);
	w->ids.local_id = be32_of(mad->local_id);
	if (mad->kind != CM_REQ)
		w->ids.remote_id = be32_of(mad->remote_id);
	switch ((enum cm_kind)mad->kind) {
	case CM_REQ:
		err = build_req(&w->req, &mad->req);
		break;
	case CM_MRA:
		if (mad->mra.about > 3 || mad->mra.timeout > 31)
			return -EINVAL;
		w->mra.about = (uint8_t)(mad->mra.about << 6);
		w->mra.timeout = (uint8_t)(mad->mra.timeout << 3);
		break;
	case CM_REJ:
		err = build_rej(&w->rej, &mad->rej);
		break;
	case CM_REP:
		err = build_rep(&w->rep, &mad->rep);
		break;
	case CM_DREQ:
		if (mad->dreq.remote_qpn > 0xffffff)
			return -EINVAL;
		w->dreq.remote_qpn = be24_of(mad->dreq.remote_qpn);
		break;
	case CM_RTU:
	case CM_DREP:
		break;
	}
	memcpy(w->bytes + at, mad->private_data, mad->private_len);
	return err;
}

uint64_t cm_timeout_ns(uint8_t exponent)
{
	return 4096ull << (exponent & 31);
}

uint8_t cm_timeout_encode(uint64_t ns)
{
	uint8_t n = 0;

	while (n < 31 && cm_timeout_ns(n) < ns)
		n++;
	return n;
}
