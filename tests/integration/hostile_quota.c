/* SPDX-License-Identifier: Apache-2.0 */
/* Taking all there is, and not giving it back: endpoints, rings, lanes, regions, credits, wakes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/hostile.h"

/* ---------------------------------------------------------------- taking all there is */

int control_ask(int sock, struct proto_ctl_request *q, const int *fds, unsigned nfds)
{
	struct proto_ctl_reply r;
	unsigned got_fds = SOCK_FDS_MAX;
	int back[SOCK_FDS_MAX], rc;

	q->magic = PROTO_CTL_REQUEST_MAGIC;
	q->major = PROTO_MAJOR;
	rc = sock_send(sock, q, sizeof(*q), fds, nfds);
	if (!rc)
		rc = sock_recv_timeout(sock, &r, sizeof(r), back, &got_fds, WAIT_MS);
	for (unsigned i = 0; !rc && i < got_fds; i++)
		close(back[i]);
	snprintf(said, sizeof(said), "%s", rc ? "hung up" : proto_status_name(r.status));
	return rc ? rc : r.status;
}

void all_endpoints(void)
{
	unsigned n = 1;
	int rc = 0;

	for (; !rc && n < MANY; n++)
		attach(64, CHANNEL_ARENA_MIN, &rc);
	got(rc == -ENOSPC ? "LIMIT" : "no limit", n);
}

void all_rings(void)
{
	unsigned n = 1;
	int rc = 0;

	for (; !rc && n < MANY; n++)
		attach(CHANNEL_SLOTS_MAX, CHANNEL_ARENA_MAX, &rc);
	got(rc == -ENOSPC && n < 6 ? "LIMIT" : "no limit", n);
}

void all_connections(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_COUNTERS};
	unsigned n = 1;
	int rc = 0;

	for (; !rc && n < MANY; n++) {
		int fd = sock_connect(ep->path);

		rc = fd < 0 ? fd : control_ask(fd, &q, NULL, 0);
	}
	got(n < MANY ? "hung up" : "no limit", n);
}

void all_lanes(void)
{
	int rc = 0;
	uint32_t lane;
	unsigned n = 0;

	while (!rc && n++ < MANY)
		rc = atoll_lane_open(ep, atoll_node(ep), 16, &lane, WAIT_MS);
	got(rc == -ENOSPC && n == 41 ? "LIMIT" : "another limit: %u", n);
	/* one that is closed can be opened again */
	if (rc == -ENOSPC && (atoll_lane_close(ep, 7, WAIT_MS) || atoll_lane_open(ep, atoll_node(ep), 16, &lane, WAIT_MS)))
		got("none back", 0);
}

void all_lanes_away(void)
{
	int rc = 0;
	uint32_t lane;
	unsigned n = 0;

	while (!rc && n++ < MANY)
		rc = atoll_lane_open(ep, 2, 16, &lane, WAIT_MS);
	got(rc == -ENOSPC && n == 41 ? "LIMIT" : "another limit: %u", n);
}

void all_regions(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_ALLOC, .size = 4096, .numa = 0xffffffff};
	unsigned n = 0;

	while (n++ < MANY && control_ask(ep->sock, &q, NULL, 0) == STATUS_OK)
		;
}

void all_memory(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_ALLOC, .size = 100ull << 30, .numa = 0xffffffff};

	control_ask(ep->sock, &q, NULL, 0);
}

static uint8_t last_status;
static unsigned refused;

static void count_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	(void)ctx;
	(void)cookie;
	(void)payload;
	outstanding--;
	if (m->status != STATUS_OK) {
		refused++;
		last_status = (uint8_t)m->status;
	}
}

struct atoll_handle service(const char *name)
{
	struct atoll_handle h = {0, 0};
	int rc = atoll_lookup(ep, name, &h, NULL, WAIT_MS);

	if (rc)
		give_up(name, strerror(-rc));
	return h;
}

/* Asks for late answers until it is refused. */
static void all_of(const char *name)
{
	static const struct atoll_handlers handlers = {.reply = count_reply};
	struct proto_msg m = {.opcode = OP_ECHO_DELAY, .nargs = 2, .arg = {1, 3000000}};
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull;
	struct atoll_handle h = service(name);

	atoll_set_handlers(ep, &handlers, NULL);
	while (!refused && clock_now_ns() < end) {
		if (!atoll_request(ep, h, &m, NULL, 1))
			outstanding++;
		if (atoll_poll(ep, 64) < 0)
			break;
	}
	snprintf(said, sizeof(said), "%s", refused ? proto_status_name(last_status) : "no limit");
}

void all_requests(void)
{
	all_of("echo");
}

void all_credits(void)
{
	all_of("b/echo");
}

void all_handles(void)
{
	struct atoll_handle h;
	unsigned n = 0;
	int rc = 0;

	while (!rc && n++ < MANY)
		rc = atoll_lookup(ep, "echo", &h, NULL, WAIT_MS);
	got(rc == -ENOSPC ? "LIMIT" : "no limit", n);
}

static unsigned completed;

static void count_completion(void *ctx, const struct verb_completion *c)
{
	(void)ctx;
	completed += c->status[0] == STATUS_OK;
}

/* More than it may have under way wait in its ring, and end in the end. */
void all_chains(void)
{
	static const struct atoll_handlers handlers = {.completion = count_completion};
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull;
	struct verb v = {.op = VERB_WRITE, .len = 1 << 16, .remote_offset = 1 << 16};
	uint32_t lane = lane_to(atoll_node(ep));
	struct atoll_region r;
	unsigned posted = 0;

	memory(&r, 1 << 20);
	v.local = v.remote = r.handle;
	atoll_set_handlers(ep, &handlers, NULL);
	for (; posted < 500; posted++)
		if (atoll_post(ep, lane, &v, 1, posted))
			break;
	while (completed < posted && clock_now_ns() < end && atoll_poll(ep, 64) >= 0)
		;
	got(completed == 500 ? "all ended" : "lost: %u", completed);
}

/* ---------------------------------------------------------------- not reading, not sleeping */

void never_reads(void)
{
	struct raw r = raw_ping();
	uint64_t last = clock_now_ns();

	/* until nothing has been taken for a while: both rings are full then, however slow the machine */
	for (uint32_t i = 0; i <= 4 * ep->ch.tx_mask && clock_now_ns() - last < 300000000;)
		if (channel_room(&ep->ch, 1, 0) > 0) {
			channel_push(&ep->ch, &r, 1);
			last = clock_now_ns();
			i++;
		} else {
			wake(), sched_yield();
		}
	got(channel_room(&ep->ch, 1, 0) == 0 ? "waits" : "goes on", 0);
}

void wake_storm(void)
{
	uint64_t end = clock_now_ns() + 300000000;
	struct raw r = raw_ping();

	while (clock_now_ns() < end)
		wake();
	raw_ask(&r, 1);
}

/* Both events are made to block, and filled up as far as they go. */
void blocking_wakes(void)
{
	struct raw r = raw_ping();
	uint64_t most = 0xfffffffffffffffeull;
	char fill[4096] = {0};

	fcntl(ep->event_fd, F_SETFL, O_NONBLOCK);
	if (write(ep->event_fd, &most, sizeof(most)) > 0 || write(ep->event_fd, fill, sizeof(fill)) > 0)
		fcntl(ep->event_fd, F_SETFL, 0);
	fcntl(ep->event_fd, F_SETFL, 0);
	fcntl(ep->wake_fd, F_SETFL, 0);
	/* it sleeps, and everybody who sends to it must wake it */
	for (unsigned i = 0; i < 20000 && strcmp(said, "no answer"); i++) {
		ep->ch.own->sleeping = 1;
		raw_ask(&r, 1);
	}
}

void closes_all(void)
{
	struct raw r = raw_ping();
	int sock = ep->sock;

	close(ep->wake_fd);
	close(ep->event_fd);
	ep->ch.own->sleeping = 1;
	shutdown(sock, SHUT_WR);
	for (unsigned i = 0; i < 100; i++)
		channel_push(&ep->ch, &r, 1);
	/* a hang-up is what ends it */
	see_end();
}

void attach_storm(void)
{
	uint64_t end = clock_now_ns() + 300000000;
	unsigned n = 0;

	for (; clock_now_ns() < end; n++) {
		int rc;
		struct atoll_endpoint *e = attach(64, CHANNEL_ARENA_MIN, &rc);

		if (e)
			atoll_detach(e);
	}
	got(n ? "done" : "none", 0);
}

/* Harms nobody, but takes a core: what the one that behaves keeps beside it is the measure for all others. */
void computes(void)
{
	uint64_t end = clock_now_ns() + 1000000000;

	while (clock_now_ns() < end)
		;
	got("done", 0);
}
