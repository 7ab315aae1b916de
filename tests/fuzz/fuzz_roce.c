/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_roce - a hostile peer on a connected QP.
 *
 * The input is a first byte of configuration and then steps (enum step): raw packets, packets with
 * good headers and ICRC round a body of the fuzzer's choice, work requests, time, changes of what
 * the host allows, connection management datagrams. seeds_roce.py writes inputs of this form.
 *
 * What must hold: nothing outside the memory that the host gave out and the work requests named is
 * touched (their blocks are separate and freed on completion, so the sanitizer sees it), each work
 * request completes once and in order, every packet that goes out is well-formed with a good ICRC,
 * and all packet buffers come back.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/roce/cm_mad.h"
#include "dataplane/roce/qp.h"
#define WIRE_BUFFERS 160
#include "tests/unit/roce_pair.h"

enum step {
	STEP_RAW,    /* len 2, bytes */
	STEP_PACKET, /* opcode 1, flags 1, PSN offset 1, body length 2, bytes */
	STEP_POST,   /* op 1, flags 1, length 2 */
	STEP_TIME,   /* microseconds 1 */
	STEP_HOST,   /* what it allows 1 */
	STEP_MAD,    /* kind 1, bytes 232 or what is left */
	STEP_COUNT,
};

enum {
	REGION = 3000,
	WINDOW = 1024
};

struct input {
	const uint8_t *at;
	size_t left;
};

struct rig {
	struct pair *pair;
	struct pair_host *host;
	uint8_t *locals[WINDOW];
	uint64_t posted, completed;
	unsigned budget; /* packets that go out in one turn */
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;

	for (; bytes && in->left; bytes--, in->left--)
		v = v << 8 | *in->at++;
	return v;
}

static void on_complete(struct pair_host *h, uint64_t cookie, uint8_t status)
{
	struct rig *r = h->test;

	(void)status;
	if (cookie != r->completed++)
		abort();
	free(r->locals[cookie % WINDOW]);
}

static void check_output(struct rig *r)
{
	struct wire_port *out = &r->pair->wire->end[1];

	for (unsigned i = 0; i < out->queued; i++) {
		struct roce_rx rx;

		if (packet_parse(&rx, out->queue[i].bytes, out->queue[i].len) ||
		    !packet_icrc_ok(out->queue[i].bytes, out->queue[i].len))
			abort();
		free(out->queue[i].bytes);
	}
	out->queued = 0;
}

static void turn(struct rig *r)
{
	struct roce_dev *dev = r->host->dev;
	uint64_t now = r->pair->wire->now;

	roce_timers(dev, now);
	roce_input(dev, now, 64);
	roce_output(dev, now, r->budget);
	netif_tick(r->host->nif, now);
	check_output(r);
}

static void step_raw(struct rig *r, struct input *in)
{
	uint32_t len = (uint32_t)take(in, 2) % WIRE_ROOM;

	len = len < in->left ? len : (uint32_t)in->left;
	wire_put(r->pair->wire, 0, in->at, len, r->pair->wire->now);
	in->at += len;
	in->left -= len;
}

static void step_packet(struct rig *r, struct input *in)
{
	struct roce_qp *qp = r->host->qp;
	uint8_t opcode = (uint8_t)take(in, 1), flags = (uint8_t)take(in, 1);
	int8_t offset = (int8_t)take(in, 1);
	uint32_t len = (uint32_t)take(in, 2) % (WIRE_ROOM - 64), psn, copied;
	uint32_t given = len;
	bool request = packet_opcode_info[opcode] & OPI_REQUEST;
	struct packet_flow flow;
	uint8_t bytes[WIRE_ROOM];
	struct pkt pkt = {.data = bytes, .room = sizeof(bytes)};

	if (flags & 2) /* a whole packet of payload behind the bytes given */
		len += qp->mtu;
	psn = psn_add(request ? qp->rs.epsn : qp->rq.una, (uint32_t)(int32_t)offset);
	packet_flow_init(&flow, r->pair->host[1].address, r->host->address, 0xc000, ROCE_UDP_PORT,
			 roce_qp_number(qp));
	if (len > WIRE_ROOM - 64)
		return;
	memset(packet_begin(&pkt, &flow, opcode, flags & 0x81u, psn, 0, len), 0x77, len);
	copied = given < in->left ? given : (uint32_t)in->left;
	memcpy(bytes + PACKET_HEADERS, in->at, copied);
	in->at += copied;
	in->left -= copied;
	packet_seal(&pkt, &flow);
	if (flags & 4)
		bytes[1] = 3; /* congestion experienced */
	wire_put(r->pair->wire, 0, bytes, pkt.len, r->pair->wire->now);
}

static void step_post(struct rig *r, struct input *in)
{
	uint8_t op = (uint8_t)(ROCE_WR_SEND + take(in, 1) % 5), flags = (uint8_t)take(in, 1) & 3;
	uint32_t len = (uint32_t)take(in, 2);
	uint8_t **local = &r->locals[r->posted % WINDOW];

	if (op == ROCE_WR_CAS || op == ROCE_WR_FAA)
		len = 8;
	if (!roce_sq_room(r->host->qp))
		return;
	*local = calloc(1, len ? len : 1);
	if (pair_post(r->host, op, 0, *local, len, r->posted, flags))
		abort();
	r->posted++;
}

static void step_host(struct rig *r, struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);

	r->budget = what & 32 ? what >> 6 : 64;
	r->host->refuse = what & 1 ? STATUS_FENCED : STATUS_OK;
	r->host->busy = what & 2;
	r->pair->wire->end[0].accept = what & 4 ? 0 : UINT32_MAX;
	if (what & 8) {
		/* The region goes away for good: a later access would be seen. */
		roce_memory_revoke(r->host->dev, r->host->memory, r->host->memory_len);
		free(r->host->memory);
		r->host->memory = calloc(1, REGION);
	}
	if (what & 16)
		roce_qp_fail(r->host->qp, ROCE_ERR_CLOSED);
}

static void step_mad(struct rig *r, struct input *in)
{
	uint8_t mad[CM_MAD_BYTES] = {1, 7, 2, 3};
	struct cm_mad out;
	size_t n = in->left < sizeof(mad) - 24 ? in->left : sizeof(mad) - 24;

	(void)r;
	mad[17] = (uint8_t)take(in, 1);
	n = n < in->left ? n : in->left;
	memcpy(mad + 24, in->at, n);
	in->at += n;
	in->left -= n;
	if (!cm_mad_parse(&out, mad, sizeof(mad)) && cm_mad_build(mad, &out))
		abort(); /* what is good to read is good to write */
}

static const uint32_t mtus[] = {256, 1024, 4096, 512};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct roce_qp_conf conf = pair_conf();
	struct rig r = {.pair = pair_new(7, REGION), .budget = 64};
	uint8_t first = (uint8_t)take(&in, 1);
	unsigned steps = 0;

	r.host = &r.pair->host[0];
	r.host->test = &r;
	r.host->on_complete = on_complete;
	conf.atoll = first & 1;
	conf.mtu = mtus[first >> 1 & 3];
	conf.peer_depth = (uint16_t)(first >> 3 & 7);
	conf.read_depth = 4;
	conf.recv_max = first & 0x40 ? 5000 : 0;
	if (pair_connect(r.pair, &conf))
		abort();
	while (in.left && steps++ < 300) {
		switch ((enum step)(take(&in, 1) % STEP_COUNT)) {
		case STEP_RAW:
			step_raw(&r, &in);
			break;
		case STEP_PACKET:
			step_packet(&r, &in);
			break;
		case STEP_POST:
			step_post(&r, &in);
			break;
		case STEP_TIME:
			r.pair->wire->now += take(&in, 1) * 20000;
			break;
		case STEP_HOST:
			step_host(&r, &in);
			break;
		case STEP_MAD:
			step_mad(&r, &in);
			break;
		case STEP_COUNT:
			break;
		}
		turn(&r);
	}
	roce_qp_fail(r.host->qp, ROCE_ERR_CLOSED);
	if (r.completed != r.posted)
		abort();
	if (!pair_delete(r.pair))
		abort();
	return 0;
}
