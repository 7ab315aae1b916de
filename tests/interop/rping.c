/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rping.c - the other end of rping, as server or as client, over a connection of the RDMA CM.
 *
 * A ping: the client SENDs where its text lies, the server READs it and SENDs; the client SENDs where
 * the answer is to go, the server WRITEs the text there and SENDs again. The client compares the two.
 * What is sent is 16 bytes: address, rkey, length, big-endian; those of the server mean nothing.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/roce/packet.h"
#include "proto/atoll_proto.h"
#include "tests/interop/connect.h"
#include "tests/interop/programs.h"

enum {
	SINK = 1 << 20, /* in the region: where answers go, and where the client's text begins at 0 */
	NOTE = 2 << 20,
	TEXT_MIN = 32,
	TEXT_MAX = 65536,
	SECONDS = 60,
	PATIENCE_NS = 2000000000,
};

struct note {
	be64 address;
	be32 rkey, len;
};
_Static_assert(sizeof(struct note) == 16, "rping's");

struct rping {
	struct connect connect;
	struct peer peer;
	uint32_t size, count, pings, bytes;
	unsigned notes, posted, completed;
	bool reading;
	struct note note;
	const char *wrong;
};

static void complete(struct peer *p, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	struct rping *r = p->arg;

	(void)qp;
	(void)cookie;
	r->completed++;
	if (status != STATUS_OK && r->connect.state == CONNECT_UP)
		r->wrong = "a request failed";
}

static int receive(struct peer *p, struct roce_qp *qp, const void *data, uint32_t len)
{
	struct rping *r = p->arg;

	(void)qp;
	connect_heard(&r->connect);
	if (len != sizeof(r->note)) {
		r->wrong = "a message of another length came";
		return 0;
	}
	memcpy(&r->note, data, sizeof(r->note));
	r->notes++;
	return 0;
}

static void failed(struct peer *p, struct roce_qp *qp, enum roce_error why)
{
	struct rping *r = p->arg;

	(void)qp;
	(void)why;
	if (r->connect.state == CONNECT_UP)
		r->wrong = "the QP failed";
}

static void datagram(struct peer *p, struct ip_addr address, const void *mad, uint32_t len)
{
	struct rping *r = p->arg;

	if (ip_addr_equal(address, ip_addr_v4(p->remote)))
		connect_input(&r->connect, mad, len);
}

static const struct peer_events events = {
	.complete = complete, .receive = receive, .error = failed, .datagram = datagram};

static void post(struct rping *r, enum roce_wr_op op, uint32_t at, uint32_t len)
{
	struct roce_wr wr = {.op = (uint8_t)op,
			     .local = r->peer.region + at,
			     .len = len,
			     .rkey = be32_get(r->note.rkey),
			     .remote = be64_get(r->note.address)};

	if (roce_post(r->connect.qp, &wr))
		r->wrong = "not posted";
	else
		r->posted++;
}

static void post_note(struct rping *r, uint32_t at)
{
	struct note n = {.address = be64_of(PEER_VA + at),
			 .rkey = be32_of(r->peer.rkey),
			 .len = be32_of(r->size)};

	memcpy(r->peer.region + NOTE, &n, sizeof(n));
	post(r, ROCE_WR_SEND, NOTE, sizeof(n));
}

/* What the server does next, when nothing of its own is under way. */
static void serve(struct rping *r)
{
	if (r->reading) { /* the text is here */
		r->reading = false;
		post_note(r, 0);
		return;
	}
	if (!r->notes)
		return;
	r->notes--;
	if (!r->bytes) {
		r->bytes = be32_get(r->note.len);
		if (r->bytes < TEXT_MIN || r->bytes > TEXT_MAX) {
			r->wrong = "a length out of range";
			return;
		}
		post(r, ROCE_WR_READ, 0, r->bytes);
		r->reading = true;
		return;
	}
	/* into the sink, as far as the text goes: the peer's receive comes after it */
	post(r, ROCE_WR_WRITE, 0, (uint32_t)strnlen((char *)r->peer.region, r->bytes - 1) + 1);
	post_note(r, 0);
	r->bytes = 0;
	r->pings++;
}

static void ask(struct rping *r)
{
	char *text = (char *)r->peer.region;

	if (r->notes == 0) {
		if (r->pings == r->count) {
			connect_end(&r->connect);
			return;
		}
		if (r->posted != 2 * r->pings)
			return; /* the go-ahead has not come */
		for (uint32_t i = 0; i < r->size - 1; i++)
			text[i] = (char)('!' + (i * 7 + r->pings) % 90);
		text[r->size - 1] = 0;
		memset(text + SINK, 0, r->size);
		post_note(r, 0);
	} else if (r->notes == 1) {
		if (r->posted == 2 * r->pings + 1)
			post_note(r, SINK);
	} else {
		r->notes = 0;
		r->pings++;
		if (memcmp(text, text + SINK, r->size))
			r->wrong = "the text came back changed";
	}
}

int rping_main(int argc, char **argv)
{
	static struct rping r;
	uint64_t until = peer_now() + SECONDS * 1000000000ull, ended = 0;
	char counters[512];
	bool client, up = false;

	if (argc != 8)
		errx(2, "usage: roce_peer rping PORT ADDRESS REMOTE server|client CMPORT SIZE COUNT");
	client = !strcmp(argv[4], "client");
	r.size = (uint32_t)atoi(argv[6]);
	r.count = (uint32_t)atoi(argv[7]);
	if (r.size < TEXT_MIN || r.size > TEXT_MAX)
		errx(2, "%d to %d bytes", TEXT_MIN, TEXT_MAX);
	peer_open(&r.peer, argv[1], argv[2], argv[3], &events, &r);
	if (client)
		connect_request(&r.connect, &r.peer, (uint16_t)atoi(argv[5]));
	else
		connect_listen(&r.connect, &r.peer, (uint16_t)atoi(argv[5]));
	printf("ready\n");
	while (!r.wrong && r.connect.state != CONNECT_ENDED && r.connect.state != CONNECT_REFUSED) {
		peer_turn(&r.peer);
		connect_tick(&r.connect);
		if (r.connect.state == CONNECT_UP && r.completed == r.posted) {
			up = true;
			if (client)
				ask(&r);
			else
				serve(&r);
		}
		/* a process that ends says so once, and that may be lost */
		if (!client && r.pings == r.count) {
			ended = ended ? ended : r.peer.now + PATIENCE_NS;
			if (r.peer.now > ended)
				break;
		}
		if (r.peer.now > until)
			r.wrong = "time is up";
	}
	/* what says no may wait for the neighbour's address yet */
	for (ended = r.peer.now + PATIENCE_NS / 4; r.connect.state == CONNECT_REFUSED && r.peer.now < ended;)
		peer_turn(&r.peer);
	if (r.connect.state == CONNECT_REFUSED)
		printf("refused: reason %u\n", r.connect.reason);
	peer_counters(&r.peer, counters, sizeof(counters));
	printf("%u pings; %s; %s\n", r.pings, r.wrong ? r.wrong : up ? "ended" : "never connected",
	       counters);
	roce_qp_destroy(r.connect.qp);
	peer_close(&r.peer);
	if (r.connect.state == CONNECT_REFUSED)
		return 3;
	return r.wrong || r.pings != r.count;
}
