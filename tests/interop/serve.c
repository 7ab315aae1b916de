/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c - the engine under remote control: a line of text over TCP is a command, a line answers
 *it.
 *
 *	qp				a new QP, in place of the last: "qp QPN PSN VA RKEY SIZE ADDRESS"
 *	ready QPN PSN MTU READS PEERREADS RETRY RNR TIMEOUT_MS	to READY
 *	fill OFFSET LEN SEED, check OFFSET LEN SEED, put OFFSET VALUE, get OFFSET	the region
 *	access MASK			enum roce_access: what remote peers may do
 *	refuse N			the next N SENDs find no room
 *	inbox LEN SEED			is that what the last SEND was?
 *	received			how many SENDs arrived since the QP was made
 *	post OP OFFSET REMOTE RKEY LEN COMPARE SWAP	OP of enum roce_wr_op
 *	wait MS				until all that was posted has completed: "done N STATUS..."
 *	close				destroys the QP
 *	counters			of the device
 *
 * An answer begins with "ok" or is as said above; "error TEXT" is the answer to anything wrong.
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/atoll_proto.h"
#include "tests/interop/pattern.h"
#include "tests/interop/programs.h"

enum {
	SQ_DEPTH = 256,
	LINE = 512,
	ANSWER = 4096,
};

struct serve {
	struct peer peer;
	struct roce_qp *qp;
	uint8_t *inbox;
	uint32_t inbox_len, received, refuse;
	uint32_t posted, completed;
	uint8_t status[SQ_DEPTH];
	enum roce_error why;
	int fd;
	char answer[ANSWER];
};

static void complete(struct peer *p, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	struct serve *s = p->arg;

	(void)qp;
	if (cookie != s->completed)
		errx(1, "completions out of order");
	s->status[s->completed++ % SQ_DEPTH] = status;
}

static int receive(struct peer *p, struct roce_qp *qp, const void *data, uint32_t len)
{
	struct serve *s = p->arg;

	(void)qp;
	if (s->refuse) {
		s->refuse--;
		return -EAGAIN;
	}
	memcpy(s->inbox, data, len);
	s->inbox_len = len;
	s->received++;
	return 0;
}

static void failed(struct peer *p, struct roce_qp *qp, enum roce_error why)
{
	struct serve *s = p->arg;

	(void)qp;
	s->why = why;
}

static const struct peer_events events = {
	.complete = complete, .receive = receive, .error = failed};

__attribute__((format(printf, 2, 3))) static void say(struct serve *s, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->answer, sizeof(s->answer), format, ap);
	va_end(ap);
}

static uint8_t *region_at(struct serve *s, const uint64_t *arg)
{
	if (arg[0] > PEER_REGION || arg[1] > PEER_REGION - arg[0]) {
		say(s, "error outside of the region");
		return NULL;
	}
	return s->peer.region + arg[0];
}

/* ------------------------------------------------------------------ commands */

static void on_qp(struct serve *s, const uint64_t *arg)
{
	(void)arg;
	if (s->qp)
		roce_qp_destroy(s->qp);
	s->posted = s->completed = s->received = s->refuse = 0;
	s->why = ROCE_ERR_NONE;
	s->qp = roce_qp_new(s->peer.dev, NULL);
	if (!s->qp)
		say(s, "error no QP");
	else
		say(s, "qp %u %u %" PRIu64 " %u %u %u", roce_qp_number(s->qp),
		    roce_qp_first_psn(s->qp), (uint64_t)PEER_VA, s->peer.rkey, PEER_REGION,
		    s->peer.address);
}

static void on_ready(struct serve *s, const uint64_t *arg)
{
	struct roce_qp_conf qc = {.peer_address = ip_addr_v4(s->peer.remote),
				  .peer_qpn = (uint32_t)arg[0],
				  .peer_psn = (uint32_t)arg[1],
				  .mtu = (uint32_t)arg[2],
				  .read_depth = (uint16_t)arg[3],
				  .peer_depth = (uint16_t)arg[4],
				  .sq_depth = SQ_DEPTH,
				  .retry_count = (uint8_t)arg[5],
				  .rnr_retry = (uint8_t)arg[6],
				  .timeout_ns = arg[7] * 1000000,
				  .recv_max = PEER_SEND_MAX};
	int rc = s->qp ? roce_qp_ready(s->qp, &qc) : -ENOENT;

	if (rc)
		say(s, "error %s", strerror(-rc));
}

static void on_fill(struct serve *s, const uint64_t *arg)
{
	uint8_t *at = region_at(s, arg);

	if (at)
		pattern_fill(at, arg[1], arg[2]);
}

static void on_check(struct serve *s, const uint64_t *arg)
{
	uint8_t *at = region_at(s, arg);
	int64_t differs = at ? pattern_differs(at, arg[1], arg[2]) : -1;

	if (differs >= 0)
		say(s, "error byte %" PRId64 " of %" PRIu64 " differs", differs, arg[1]);
}

static void on_put(struct serve *s, const uint64_t *arg)
{
	uint8_t *at = region_at(s, (const uint64_t[]){arg[0], 8});

	if (at)
		memcpy(at, &arg[1], 8);
}

static void on_get(struct serve *s, const uint64_t *arg)
{
	uint8_t *at = region_at(s, (const uint64_t[]){arg[0], 8});
	uint64_t v;

	if (at) {
		memcpy(&v, at, 8);
		say(s, "ok %" PRIu64, v);
	}
}

static void on_access(struct serve *s, const uint64_t *arg)
{
	s->peer.access = (uint32_t)arg[0];
}

static void on_refuse(struct serve *s, const uint64_t *arg)
{
	s->refuse = (uint32_t)arg[0];
}

static void on_inbox(struct serve *s, const uint64_t *arg)
{
	if (s->inbox_len != arg[0] || pattern_differs(s->inbox, s->inbox_len, arg[1]) >= 0)
		say(s, "error the last SEND was another one, of %u bytes", s->inbox_len);
}

static void on_received(struct serve *s, const uint64_t *arg)
{
	(void)arg;
	say(s, "ok %u", s->received);
}

static void on_post(struct serve *s, const uint64_t *arg)
{
	struct roce_wr wr = {.op = (uint8_t)arg[0],
			     .remote = arg[2],
			     .rkey = (uint32_t)arg[3],
			     .len = (uint32_t)arg[4],
			     .compare = arg[5],
			     .swap = arg[6],
			     .cookie = s->posted};
	int rc = -ENOENT;

	wr.local = region_at(s, (const uint64_t[]){arg[1], arg[4]});
	if (!wr.local)
		return;
	if (s->qp)
		rc = roce_post(s->qp, &wr);
	if (rc)
		say(s, "error %s", strerror(-rc));
	else
		s->posted++;
}

static void on_wait(struct serve *s, const uint64_t *arg)
{
	uint64_t until = peer_now() + arg[0] * 1000000;
	uint32_t i = s->completed > SQ_DEPTH ? s->completed - SQ_DEPTH : 0;
	size_t at;

	while (s->completed != s->posted && peer_now() < until)
		peer_turn(&s->peer);
	if (s->completed != s->posted) {
		say(s, "error time is up: %u of %u completed", s->completed, s->posted);
		return;
	}
	i = s->completed > SQ_DEPTH ? s->completed - SQ_DEPTH : 0;
	say(s, "done %d", (int)s->why);
	for (at = strlen(s->answer); i != s->completed && at + 8 < ANSWER; i++)
		at += (size_t)snprintf(s->answer + at, ANSWER - at, " %u", s->status[i % SQ_DEPTH]);
}

static void on_close(struct serve *s, const uint64_t *arg)
{
	(void)arg;
	if (s->qp)
		roce_qp_destroy(s->qp);
	s->qp = NULL;
}

static void on_counters(struct serve *s, const uint64_t *arg)
{
	(void)arg;
	memcpy(s->answer, "ok ", 3);
	peer_counters(&s->peer, s->answer + 3, ANSWER - 3);
}

static const struct {
	const char *name;
	void (*run)(struct serve *s, const uint64_t *arg);
	unsigned args;
} commands[] = {
	{"qp", on_qp, 0},         {"ready", on_ready, 8},
	{"fill", on_fill, 3},     {"check", on_check, 3},
	{"put", on_put, 2},       {"get", on_get, 1},
	{"access", on_access, 1}, {"refuse", on_refuse, 1},
	{"inbox", on_inbox, 2},   {"received", on_received, 0},
	{"post", on_post, 7},     {"wait", on_wait, 1},
	{"close", on_close, 0},   {"counters", on_counters, 0},
};

static void command(struct serve *s, char *line)
{
	uint64_t arg[8];
	unsigned n = 0;
	char *save, *name = strtok_r(line, " ", &save), *word;

	say(s, "ok");
	while (n < 8 && (word = strtok_r(NULL, " ", &save)))
		arg[n++] = strtoull(word, NULL, 0);
	for (unsigned i = 0; name && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(name, commands[i].name))
			continue;
		if (n != commands[i].args)
			say(s, "error %s takes %u numbers", name, commands[i].args);
		else
			commands[i].run(s, arg);
		return;
	}
	say(s, "error no such command");
}

int serve_main(int argc, char **argv)
{
	static struct serve s;
	char line[LINE];
	size_t have = 0;

	if (argc != 5)
		errx(2, "usage: roce_peer serve PORT ADDRESS REMOTE TCPPORT");
	peer_open(&s.peer, argv[1], argv[2], argv[3], &events, &s);
	s.inbox = malloc(PEER_SEND_MAX);
	if (!s.inbox)
		errx(1, "out of memory");
	s.fd = tcp_accept(0, (uint16_t)atoi(argv[4]));
	for (;;) {
		ssize_t n = recv(s.fd, line + have, sizeof(line) - 1 - have, MSG_DONTWAIT);
		char *end;

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
		have += n > 0 ? (size_t)n : 0;
		line[have] = 0;
		while ((end = strchr(line, '\n'))) {
			*end = 0;
			command(&s, line);
			strncat(s.answer, "\n", sizeof(s.answer) - strlen(s.answer) - 1);
			tcp_write(s.fd, s.answer, strlen(s.answer));
			have -= (size_t)(end + 1 - line);
			memmove(line, end + 1, have + 1);
		}
		if (have == sizeof(line) - 1)
			errx(1, "a line of more than %d bytes", LINE);
		peer_turn(&s.peer);
	}
	close(s.fd);
	peer_close(&s.peer);
	free(s.inbox);
	return 0;
}
