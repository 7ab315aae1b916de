/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that keeps requests outstanding while processes around it are killed. Every request must end
 * with a status, once; when its node's dataplane is gone it joins the next one. Ends on SIGTERM, after its
 * last requests have ended, and prints how all of them ended: "sent N ended N", then a line a status.
 *
 * usage: kill_client NODE/ECHO   (the control socket is in $ATOLL_SOCKET)
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ipc/endpoint.h"
#include "ipc/idle.h"

enum { WINDOW = 32, JOIN_MS = 20000, END_MS = 20000 };

struct client {
	struct atoll_endpoint *ep;
	struct atoll_handle echo;
	bool known, asked;
	uint64_t next, sent, ended, wrong, status[STATUS_COUNT];
	uint64_t ask_ns;
	uint8_t open[1 << 16]; /* by id: 1 outstanding */
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct client *c = ctx;
	uint64_t id = cookie & 0xffff;

	if (cookie == 0) {
		c->asked = false;
		c->known = m->status == STATUS_OK;
		c->echo = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
		c->ask_ns = clock_now_ns() + 2000000;
		return;
	}
	if (!c->open[id])
		c->wrong++; /* it has ended before */
	c->open[id] = 0;
	c->ended++;
	c->status[m->status < STATUS_COUNT ? m->status : STATUS_FAILED]++;
	if (m->status == STATUS_OK &&
	    (m->arg[0] != cookie || (m->length && memcmp(payload, &cookie, sizeof(cookie)))))
		c->wrong++;
	if (m->status != STATUS_OK && m->status != STATUS_AGAIN)
		c->known = false;
}

static void fill(struct client *c)
{
	struct proto_msg m;

	while (c->known && !stop && c->sent - c->ended < WINDOW) {
		uint64_t id = (c->next + 1) & 0xffff ? c->next + 1 : c->next + 2;
		bool delay = id & 1;

		if (c->open[id & 0xffff])
			return;
		proto_request_init(&m, delay ? OP_ECHO_DELAY : OP_ECHO_ECHO);
		m.arg[0] = id;
		m.nargs = 1;
		m.trace_id = (uint32_t)id;
		if (delay) {
			m.arg[1] = id * 7919 % 20000;
			m.nargs = 2;
		} else {
			m.length = sizeof(id);
			m.max_reply = sizeof(id);
		}
		if (atoll_request(c->ep, c->echo, &m, &id, id))
			return;
		c->next = id;
		c->open[id & 0xffff] = 1;
		c->sent++;
	}
}

static void ask(struct client *c, const char *name)
{
	struct proto_msg m;

	if (c->known || c->asked || clock_now_ns() < c->ask_ns)
		return;
	proto_request_init(&m, OP_DP_LOOKUP);
	m.length = (uint32_t)strlen(name);
	if (!atoll_request(c->ep, ATOLL_DATAPLANE, &m, name, 0))
		c->asked = true;
}

int main(int argc, char **argv)
{
	static struct client c;
	static const struct atoll_handlers handlers = {.reply = on_reply};
	struct atoll_endpoint_conf conf = {.name = "kill-client", .kind = CTL_KIND_CLIENT};
	uint64_t end = UINT64_MAX;
	char err[256] = "";
	int rc;

	if (argc != 2)
		return 2;
	signal(SIGTERM, on_signal);
	rc = atoll_attach(&c.ep, &conf, err, sizeof(err));
	if (rc) {
		fprintf(stderr, "%s\n", err);
		return 1;
	}
	atoll_set_handlers(c.ep, &handlers, &c);
	printf("attached\n");
	fflush(stdout);
	while (!stop || c.sent != c.ended) {
		if (stop && end == UINT64_MAX)
			end = clock_now_ns() + END_MS * 1000000ull;
		if (clock_now_ns() > end)
			break;
		ask(&c, argv[1]);
		fill(&c);
		rc = atoll_poll(c.ep, 64);
		if (rc == -ENOTCONN) {
			c.known = c.asked = false;
			rc = atoll_reattach(c.ep, JOIN_MS, err, sizeof(err));
			if (rc) {
				fprintf(stderr, "not joined again: %s\n", err);
				break;
			}
		} else if (rc < 0) {
			fprintf(stderr, "the channel is broken: %s\n", strerror(-rc));
			c.wrong++;
			break;
		} else if (rc == 0) {
			atoll_idle(c.ep, 1000000);
		}
	}
	atoll_detach(c.ep); /* ends what is left, through the handler */
	printf("sent %llu ended %llu wrong %llu\n", (unsigned long long)c.sent,
	       (unsigned long long)c.ended, (unsigned long long)c.wrong);
	for (unsigned s = 0; s < STATUS_COUNT; s++)
		if (c.status[s])
			printf("%s %llu\n", proto_status_name(s), (unsigned long long)c.status[s]);
	return c.sent != c.ended || c.wrong ? 1 : 0;
}
