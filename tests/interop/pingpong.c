/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pingpong.c - the other end of ibv_rc_pingpong, as server or as client.
 *
 * The tool exchanges "LID:QPN:PSN:GID" in hexadecimal over TCP, then SENDs go back and forth. It
 * sends from the buffer into which it receives: so each of our messages comes back as the tool's
 * next one, and we check every byte of it. At multiples of the page size there are zeros, which is
 * what the tool's option -c looks for.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/atoll_proto.h"
#include "tests/interop/pattern.h"
#include "tests/interop/programs.h"

enum {
	PAGE = 4096,
	MESSAGE = sizeof("0000:000000:000000:00000000000000000000000000000000"),
	SECONDS = 60,
};

struct pingpong {
	uint32_t size, count;
	uint32_t sent, completed, received;
	uint8_t *out, *want;
	bool want_known;
	const char *wrong;
};

static void complete(struct peer *p, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	struct pingpong *pp = p->arg;

	(void)qp;
	(void)cookie;
	if (status != STATUS_OK)
		pp->wrong = "a SEND failed";
	pp->completed++;
}

static int receive(struct peer *p, struct roce_qp *qp, const void *data, uint32_t len)
{
	struct pingpong *pp = p->arg;

	(void)qp;
	if (len != pp->size)
		pp->wrong = "a message of another length came";
	else if (pp->want_known && memcmp(data, pp->want, len))
		pp->wrong = "a message came back changed";
	pp->received++;
	return 0;
}

static void failed(struct peer *p, struct roce_qp *qp, enum roce_error why)
{
	static const char *const text[] = {
		[ROCE_ERR_NONE] = "no error",
		[ROCE_ERR_RETRY] = "no answer from the peer",
		[ROCE_ERR_RNR] = "the peer was not ready",
		[ROCE_ERR_REMOTE_ACCESS] = "NAK remote access error",
		[ROCE_ERR_REMOTE_INVALID] = "NAK invalid request",
		[ROCE_ERR_REMOTE_OP] = "NAK remote operational error",
		[ROCE_ERR_LOCAL] = "the peer broke the protocol",
		[ROCE_ERR_CLOSED] = "closed",
	};
	struct pingpong *pp = p->arg;

	(void)qp;
	if (!pp->wrong)
		pp->wrong = text[why];
}

static const struct peer_events events = {
	.complete = complete, .receive = receive, .error = failed};

static void exchange(struct peer *p, struct roce_qp *qp, int fd, bool client,
		     struct roce_qp_conf *qc)
{
	char mine[MESSAGE], theirs[MESSAGE];
	unsigned lid;

	snprintf(mine, sizeof(mine), "%04x:%06x:%06x:00000000000000000000ffff%08x", 0,
		 roce_qp_number(qp), roce_qp_first_psn(qp), p->address);
	if (client)
		tcp_write(fd, mine, sizeof(mine));
	tcp_read(fd, theirs, sizeof(theirs));
	theirs[MESSAGE - 1] = 0;
	if (sscanf(theirs, "%x:%x:%x:", &lid, &qc->peer_qpn, &qc->peer_psn) != 3)
		errx(1, "not the exchange of ibv_rc_pingpong: %s", theirs);
	if (roce_qp_ready(qp, qc))
		errx(1, "numbers out of range: %s", theirs);
	if (client) {
		tcp_write(fd, "done", sizeof("done"));
	} else {
		tcp_write(fd, mine, sizeof(mine));
		tcp_read(fd, theirs, sizeof("done"));
	}
}

static void post(struct pingpong *pp, struct roce_qp *qp)
{
	struct roce_wr wr = {.op = ROCE_WR_SEND, .local = pp->out, .len = pp->size};

	pattern_fill(pp->out, pp->size, pp->sent);
	for (uint32_t i = 0; i < pp->size; i += PAGE)
		pp->out[i] = 0;
	memcpy(pp->want, pp->out, pp->size);
	pp->want_known = true;
	if (roce_post(qp, &wr))
		errx(1, "not posted");
	pp->sent++;
}

int pingpong_main(int argc, char **argv)
{
	struct roce_qp_conf qc = {.read_depth = 1,
				  .peer_depth = 1,
				  .sq_depth = 16,
				  .retry_count = 7,
				  .rnr_retry = 7,
				  .timeout_ns = 67108864, /* the tool's own, 14 */
				  .recv_max = PEER_SEND_MAX};
	struct pingpong pp = {0};
	uint64_t until = peer_now() + SECONDS * 1000000000ull;
	struct roce_qp *qp;
	struct peer p;
	char counters[512];
	bool client;
	int fd, rc;

	if (argc != 9)
		errx(2, "usage: roce_peer pingpong PORT ADDRESS REMOTE server|client TCPPORT SIZE "
			"MTU COUNT");
	client = !strcmp(argv[4], "client");
	pp.size = (uint32_t)atoi(argv[6]);
	pp.count = (uint32_t)atoi(argv[8]);
	pp.out = malloc(PEER_SEND_MAX);
	pp.want = malloc(PEER_SEND_MAX);
	if (!pp.out || !pp.want || pp.size > PEER_SEND_MAX)
		errx(2, "at most %u bytes", PEER_SEND_MAX);
	peer_open(&p, argv[1], argv[2], argv[3], &events, &pp);
	qc.mtu = (uint32_t)atoi(argv[7]);
	qc.peer_address = ip_addr_v4(p.remote);
	if (peer_mtu(&p, qc.mtu) != qc.mtu)
		errx(1, "the port carries no packets of %u bytes", qc.mtu);
	qp = roce_qp_new(p.dev, NULL);
	if (!qp)
		errx(1, "no QP");
	fd = client ? tcp_connect(p.remote, (uint16_t)atoi(argv[5]))
		    : tcp_accept(p.address, (uint16_t)atoi(argv[5]));
	exchange(&p, qp, fd, client, &qc);
	while (!pp.wrong && (pp.completed < pp.count || pp.received < pp.count)) {
		/* the client's first message begins; each side answers what came */
		uint32_t due = client ? pp.received + 1 : pp.received;

		if (pp.sent < pp.count && pp.sent < due && pp.completed == pp.sent)
			post(&pp, qp);
		peer_turn(&p);
		if (p.now > until)
			pp.wrong = "time is up";
	}
	peer_counters(&p, counters, sizeof(counters));
	if (pp.wrong)
		warnx("%s; sent %u, completed %u, received %u of %u; %s", pp.wrong, pp.sent,
		      pp.completed, pp.received, pp.count, counters);
	else
		printf("%u messages of %u bytes, MTU %u: %s\n", pp.received, pp.size, qc.mtu,
		       counters);
	rc = pp.wrong ? 1 : 0;
	close(fd);
	peer_close(&p);
	free(pp.out);
	free(pp.want);
	return rc;
}
