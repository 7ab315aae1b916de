/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that means harm. It attaches like any other and tries one way of doing it; then it says on stdout
 * what it got. test_hostile.py runs every way beside a client that behaves, and compares with what is listed here.
 *
 * usage: hostile list        a line a way: NAME, what it must get, the counter that must rise ("-": none)
 *        hostile WAY         (the control socket is in $ATOLL_SOCKET; a second node is b)
 *        hostile good        the client that behaves: for each line on stdin says how many were answered so far,
 *                            how many wrongly, and the longest time without an answer, ms
 */
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

#include "ipc/endpoint_impl.h"
#include "ipc/sock.h"
#include "proto/proto.h"

enum { WAIT_MS = 5000, MANY = 4096 };

static struct atoll_endpoint *ep;
static char said[256]; /* what it got */

static void got(const char *text, unsigned n)
{
	snprintf(said, sizeof(said), text, n);
}

static void give_up(const char *what, const char *why)
{
	printf("cannot try: %s: %s\n", what, why);
	exit(1);
}

static struct atoll_endpoint *attach(uint32_t slots, uint32_t arena, int *rc)
{
	struct atoll_endpoint_conf conf = {.name = "hostile", .kind = CTL_KIND_CLIENT, .slots = slots, .arena = arena};
	struct atoll_endpoint *e = NULL;
	char err[256] = "";

	*rc = atoll_attach(&e, &conf, err, sizeof(err));
	return *rc ? NULL : e;
}

/* How its channel ended, or not. */
static void see_end(void)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull;

	atoll_flush(ep);
	while (clock_now_ns() < end && !ep->lost) {
		struct timespec nap = {.tv_nsec = 1000000};

		endpoint_check_lost(ep, clock_now_ns());
		nanosleep(&nap, NULL);
	}
	got(ep->lost ? "closed" : "still there", 0);
}

static void wake(void)
{
	uint64_t one = 1;

	if (write(ep->wake_fd, &one, sizeof(one)) < 0)
		give_up("wake", strerror(errno));
}

/* ---------------------------------------------------------------- raw records */

struct raw {
	struct proto_message m;
	struct proto_message_args more[3];
};

static struct raw raw_ping(void)
{
	struct raw r;

	memset(&r, 0, sizeof(r));
	r.m.magic = PROTO_MESSAGE_MAGIC;
	r.m.major = PROTO_MAJOR;
	r.m.slots = 1;
	r.m.opcode = OP_DP_PING;
	r.m.max_reply = PROTO_PAYLOAD_MAX;
	r.m.req_id = 1;
	return r;
}

static struct channel_slot *slot_at(uint32_t pos)
{
	return &ep->ch.tx[pos & ep->ch.tx_mask];
}

/* A slot as it is, with this sequence word. */
static void slot_put(uint32_t pos, const void *slot, uint32_t seq)
{
	memcpy(slot_at(pos)->body, slot, sizeof(slot_at(pos)->body));
	__atomic_store_n(&slot_at(pos)->seq, seq, __ATOMIC_RELEASE);
	wake();
}

/* Publishes it, and says with what status it was answered. */
static void raw_ask(const struct raw *r, unsigned slots)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull, out[CHANNEL_RECORD_SLOTS * 8];
	struct proto_msg m;
	int n = 0;

	channel_push(&ep->ch, r, slots);
	wake();
	while (n == 0 && clock_now_ns() < end)
		n = channel_pop(&ep->ch, out);
	channel_consumed(&ep->ch);
	if (n <= 0) {
		got("no answer", 0);
		return;
	}
	proto_msg_unpack(out, (unsigned)n, &m);
	snprintf(said, sizeof(said), "%s", proto_status_name(m.status));
}

static void seq_jump(void)
{
	struct raw r = raw_ping();

	slot_put(ep->ch.tx_head, &r, ep->ch.tx_head + 6);
	see_end();
}

static void seq_back(void)
{
	struct raw r = raw_ping();

	slot_put(ep->ch.tx_head, &r, 0xdead0000u);
	see_end();
}

static void torn_slot(void)
{
	struct raw r = raw_ping();

	r.m.slots = 3; /* the second is there, the third is not */
	slot_put(ep->ch.tx_head + 1, &r.more[0], ep->ch.tx_head + 2);
	slot_put(ep->ch.tx_head, &r, ep->ch.tx_head + 1);
	see_end();
}

static void slots_wrong(uint8_t n)
{
	struct raw r = raw_ping();

	r.m.slots = n;
	slot_put(ep->ch.tx_head, &r, ep->ch.tx_head + 1);
	see_end();
}

static void slots_none(void)
{
	slots_wrong(0);
}

static void slots_many(void)
{
	slots_wrong(200);
}

static void bad_magic(void)
{
	struct raw r = raw_ping();

	r.m.magic = 0x1234;
	channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

static void bad_length(void)
{
	struct raw r = raw_ping();

	r.m.length = 0x7fffffff;
	channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

static void payload_outside(uint32_t pos, uint32_t len)
{
	struct raw r = raw_ping();

	r.m.length = len;
	r.m.payload = pos;
	channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

static void payload_far(void)
{
	payload_outside(0xfffff000, 64);
}

static void wrapped_tail(void)
{
	payload_outside(ep->ch.tx_arena_mask + 1 - 64, 4096);
}

static void payload_crooked(void)
{
	payload_outside(33, 64);
}

static void consumed_ahead(void)
{
	struct raw r = raw_ping();

	__atomic_store_n(&ep->ch.own->consumed_slots, 1u << 30, __ATOMIC_RELEASE);
	/* looked at when room is short */
	for (uint32_t i = 0; i <= ep->ch.tx_mask; i++)
		channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

static void consumed_bytes(void)
{
	struct raw r = raw_ping();

	__atomic_store_n(&ep->ch.own->consumed_bytes, 64u << 20, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i <= ep->ch.tx_mask; i++)
		channel_push(&ep->ch, &r, 1);
	wake();
	see_end();
}

static void rewrite_published(void)
{
	struct raw r = raw_ping(), other = raw_ping();
	uint64_t end = clock_now_ns() + 200000000;

	other.m.length = 0xffffffff;
	other.m.slots = 4;
	other.m.magic = 0;
	while (clock_now_ns() < end) {
		uint32_t pos = ep->ch.tx_head;

		channel_push(&ep->ch, &r, 1);
		for (unsigned i = 0; i < 200; i++)
			memcpy(slot_at(pos)->body, i & 1 ? &r : &other, sizeof(slot_at(pos)->body));
		wake();
		while (ep->ch.peer->consumed_slots != ep->ch.tx_head && clock_now_ns() < end)
			memcpy(slot_at(pos)->body, clock_now_ns() & 1 ? &r : &other, sizeof(slot_at(pos)->body));
		ep->ch.own->consumed_slots = ep->ch.tx_head;
		ep->ch.rx_head = ep->ch.tx_head;
	}
	/* closed for what was read, or its answers; anything but a fallen dataplane */
	got("done", 0);
}

static void forged_source(void)
{
	struct raw r = raw_ping();

	r.m.src = 1u << 24 | 1;
	r.m.src_epoch = 7;
	raw_ask(&r, 1);
}

static void forged_reply(void)
{
	struct raw r = raw_ping();
	struct raw after = raw_ping();

	r.m.opcode = OP_ECHO_ECHO;
	r.m.flags = MESSAGE_FLAG_REPLY;
	r.m.max_reply = 0;
	for (unsigned i = 0; i < 200; i++) {
		r.m.req_id = (uint64_t)i * 0x9e3779b97f4a7c15ull;
		channel_push(&ep->ch, &r, 1);
	}
	raw_ask(&after, 1);
}

static void forged_handle(void)
{
	struct raw r = raw_ping();

	r.m.opcode = OP_ECHO_ECHO;
	r.m.dst_slot = 1;
	r.m.dst_gen = 12345;
	raw_ask(&r, 1);
}

static void asks(uint16_t opcode, unsigned slots, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct raw r = raw_ping();

	r.m.opcode = opcode;
	r.m.slots = (uint8_t)slots;
	r.m.arg0 = a;
	r.more[0].arg[0] = b;
	r.more[0].arg[1] = c;
	r.more[0].arg[2] = d;
	raw_ask(&r, slots);
}

static void link_operation(void)
{
	asks(OP_LINK_PEER_GONE, 2, 1u << 24 | 1, 1, 1, 0);
}

static void fence_others(void)
{
	asks(OP_DP_FENCE, 2, 1u << 24 | 1, 1, 0, 0);
}

static void watch_others(void)
{
	asks(OP_DP_WATCH, 2, 1u << 24 | 1, 1, 0, 0);
}

static void grant_others(void)
{
	asks(OP_DP_GRANT, 2, 3, 3, RIGHT_READ, 5);
}

static void revoke_others(void)
{
	asks(OP_DP_REVOKE, 2, 3, 3, 0, 0);
}

static void bad_opcode(void)
{
	asks(0x0fff, 1, 0, 0, 0, 0);
}

/* ---------------------------------------------------------------- verbs */

static void verb_raw(uint64_t cookie, uint32_t lane, uint32_t region, uint64_t offset, uint8_t flags)
{
	struct proto_verb v = {.magic = PROTO_VERB_MAGIC,
			       .major = PROTO_MAJOR,
			       .slots = 1,
			       .op = VERB_OP_READ,
			       .flags = flags,
			       .lane = (uint16_t)lane,
			       .len = 64,
			       .cookie = cookie,
			       .remote_slot = region,
			       .remote_gen = region ? ep->regions[0].handle.gen : 9,
			       .remote_offset = offset,
			       .local_slot = ep->regions[0].handle.slot,
			       .local_gen = ep->regions[0].handle.gen};

	channel_push(&ep->ch, &v, 1);
}

static void completion(void)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull, out[CHANNEL_RECORD_SLOTS * 8];
	struct proto_completion c;
	int n = 0;

	wake();
	while (n == 0 && clock_now_ns() < end)
		n = channel_pop(&ep->ch, out);
	memcpy(&c, out, sizeof(c));
	if (n == 1 && c.magic == PROTO_COMPLETION_MAGIC)
		snprintf(said, sizeof(said), "%s", proto_status_name(c.status[0]));
	else
		got("no completion", 0);
}

static void memory(struct atoll_region *r, uint64_t size)
{
	char err[256] = "";

	if (atoll_region_alloc(ep, size, 0, r, err, sizeof(err)))
		give_up("region", err);
}

static uint32_t lane_to(uint32_t node)
{
	uint32_t lane;
	int rc = atoll_lane_open(ep, node, 16, &lane, WAIT_MS);

	if (rc)
		give_up("lane", strerror(-rc));
	return lane;
}

static void no_lane(void)
{
	verb_raw(1, 60000, 0, 0, VERB_FLAG_CHAIN_END);
	completion();
}

static void past_the_end(void)
{
	struct atoll_region r;
	uint32_t lane;

	memory(&r, 4096);
	lane = lane_to(atoll_node(ep));
	verb_raw(1, ep->lanes[lane].number, r.handle.slot, UINT64_MAX - 32, VERB_FLAG_CHAIN_END);
	completion();
}

static void no_region(void)
{
	struct atoll_region r;
	uint32_t lane;

	memory(&r, 4096);
	lane = lane_to(atoll_node(ep));
	verb_raw(1, ep->lanes[lane].number, 0, 0, VERB_FLAG_CHAIN_END);
	completion();
}

static void mixed_chain(void)
{
	verb_raw(1, 0, 0, 0, 0);
	verb_raw(2, 0, 0, 0, VERB_FLAG_CHAIN_END);
	wake();
	see_end();
}

/* Pages are taken away while they are read and written. */
static void punch_holes(void)
{
	uint64_t end = clock_now_ns() + 300000000;
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR,
				      .op = CTL_OP_REGION_ALLOC, .size = 1 << 20, .numa = 0xffffffff};
	struct proto_ctl_reply r;
	struct verb v = {.op = VERB_WRITE, .len = 1 << 18};
	uint32_t lane = lane_to(atoll_node(ep)), n = 0;
	unsigned fds = 1;
	int fd, flags;

	if (sock_send(ep->sock, &q, sizeof(q), NULL, 0) ||
	    sock_recv_timeout(ep->sock, &r, sizeof(r), &fd, &fds, WAIT_MS) || r.status || fds != 1)
		give_up("region", r.text);
	v.local = v.remote = (struct atoll_handle){r.slot, r.gen};
	v.remote_offset = 1 << 19;
	flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	while (clock_now_ns() < end) {
		if (!atoll_post(ep, lane, &v, 1, 1))
			n++;
		if (fallocate(fd, flags, 0, 1 << 20))
			give_up("hole", strerror(errno));
		if (atoll_poll(ep, 64) < 0)
			break;
	}
	got(n > 10 ? "done" : "too few", 0);
}

/* ---------------------------------------------------------------- taking all there is */

static int control_ask(int sock, struct proto_ctl_request *q, const int *fds, unsigned nfds)
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

static void all_endpoints(void)
{
	unsigned n = 1;
	int rc = 0;

	for (; !rc && n < MANY; n++)
		attach(64, CHANNEL_ARENA_MIN, &rc);
	got(rc == -ENOSPC ? "LIMIT" : "no limit", n);
}

static void all_rings(void)
{
	unsigned n = 1;
	int rc = 0;

	for (; !rc && n < MANY; n++)
		attach(CHANNEL_SLOTS_MAX, CHANNEL_ARENA_MAX, &rc);
	got(rc == -ENOSPC && n < 6 ? "LIMIT" : "no limit", n);
}

static void all_connections(void)
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

static void all_lanes(void)
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

static void all_lanes_away(void)
{
	int rc = 0;
	uint32_t lane;
	unsigned n = 0;

	while (!rc && n++ < MANY)
		rc = atoll_lane_open(ep, 2, 16, &lane, WAIT_MS);
	got(rc == -ENOSPC && n == 41 ? "LIMIT" : "another limit: %u", n);
}

static void all_regions(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_ALLOC, .size = 4096, .numa = 0xffffffff};
	unsigned n = 0;

	while (n++ < MANY && control_ask(ep->sock, &q, NULL, 0) == STATUS_OK)
		;
}

static void all_memory(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_ALLOC, .size = 100ull << 30, .numa = 0xffffffff};

	control_ask(ep->sock, &q, NULL, 0);
}

static uint8_t last_status;
static unsigned outstanding, refused;

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

static struct atoll_handle service(const char *name)
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

static void all_requests(void)
{
	all_of("echo");
}

static void all_credits(void)
{
	all_of("b/echo");
}

static void all_handles(void)
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
static void all_chains(void)
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

static void never_reads(void)
{
	struct raw r = raw_ping();
	struct timespec nap = {.tv_nsec = 300000000};

	for (uint32_t i = 0; i <= 4 * ep->ch.tx_mask; i++)
		if (channel_room(&ep->ch, 1, 0) > 0)
			channel_push(&ep->ch, &r, 1);
		else
			wake(), sched_yield();
	nanosleep(&nap, NULL);
	got(channel_room(&ep->ch, 1, 0) == 0 ? "waits" : "goes on", 0);
}

static void wake_storm(void)
{
	uint64_t end = clock_now_ns() + 300000000;
	struct raw r = raw_ping();

	while (clock_now_ns() < end)
		wake();
	raw_ask(&r, 1);
}

/* Both events are made to block, and filled up as far as they go. */
static void blocking_wakes(void)
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

static void closes_all(void)
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

/* ---------------------------------------------------------------- the control socket */

static void said_bytes(const void *data, size_t len, const int *fds, unsigned nfds)
{
	int sock = sock_connect(ep->path), rc;
	struct proto_ctl_reply r;
	unsigned none = 0;

	if (sock < 0)
		give_up("connect", strerror(-sock));
	rc = sock_send(sock, data, len, fds, nfds);
	if (!rc)
		rc = sock_recv_timeout(sock, &r, sizeof(r), NULL, &none, WAIT_MS);
	snprintf(said, sizeof(said), "%s", rc ? rc == -ETIMEDOUT ? "nothing" : "hung up" : proto_status_name(r.status));
	close(sock);
}

static struct proto_ctl_request good_request(void)
{
	return (struct proto_ctl_request){.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR,
					  .op = CTL_OP_COUNTERS};
}

static void half_message(void)
{
	struct proto_ctl_request q = good_request();

	said_bytes(&q, 100, NULL, 0);
}

static void long_message(void)
{
	char text[65536] = "";
	struct proto_ctl_request q = good_request();

	memcpy(text, &q, sizeof(q));
	said_bytes(text, sizeof(text), NULL, 0);
}

static void bad_field(void)
{
	struct proto_ctl_request q = good_request();

	q.op = 77;
	said_bytes(&q, sizeof(q), NULL, 0);
}

static void descriptors(void)
{
	struct proto_ctl_request q = good_request();
	const int fds[] = {0, 1};

	said_bytes(&q, sizeof(q), fds, 2);
}

/* Memory of its own making, unsealed, that it could shrink later. */
static void own_memory(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_ALLOC, .size = 4096, .numa = 0xffffffff};
	int fd = memfd_create("mine", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, 4096))
		give_up("memfd", strerror(errno));
	control_ask(ep->sock, &q, &fd, 1);
}

static void many_descriptors(void)
{
	struct proto_ctl_request q = good_request();
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = {&q, sizeof(q)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)};
	int fds[253] = {0}, sock = sock_connect(ep->path);
	char byte;

	memset(&u, 0, sizeof(u));
	CMSG_FIRSTHDR(&mh)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&mh)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&mh)->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), fds, sizeof(fds));
	if (sock < 0 || sendmsg(sock, &mh, 0) < 0)
		give_up("send", strerror(errno));
	got(recv(sock, &byte, 1, 0) <= 0 ? "hung up" : "answered", 0);
}

static void slow_sender(void)
{
	struct proto_ctl_request q = good_request();
	struct timespec nap = {.tv_nsec = 20000000};
	int sock[20];

	/* they connect, say nothing for long, then half of what they have to say */
	for (unsigned i = 0; i < 20; i++)
		sock[i] = sock_connect(ep->path);
	for (unsigned i = 0; i < 20; i++) {
		nanosleep(&nap, NULL);
		if (sock[i] >= 0 && send(sock[i], &q, 1 + 12 * i, MSG_NOSIGNAL) > 0 && recv(sock[i], &q, sizeof(q), 0) > 0)
			give_up("half a request", "was answered");
	}
	got("hung up", 0);
}

static void never_reads_answers(void)
{
	struct proto_ctl_request q = good_request();
	int sock = sock_connect(ep->path), rc = 0;

	for (unsigned i = 0; i < 100000 && !rc; i++)
		rc = sock_send(sock, &q, sizeof(q), NULL, 0);
	got(rc ? "hung up" : "answered", 0);
}

static void other_regions(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_CLAIM, .key = 12345, .numa = 0xffffffff};

	control_ask(ep->sock, &q, NULL, 0);
}

static void frees_others(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_FREE, .key = 12345};

	control_ask(ep->sock, &q, NULL, 0);
}

static void plays_supervisor(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_ADMIN_SERVICE, .pid = 1, .uid = 0, .name = "echo"};

	q.pid = (uint32_t)getpid();
	control_ask(ep->sock, &q, NULL, 0);
}

static void takes_name(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_ATTACH, .kind = CTL_KIND_SERVICE, .name = "other"};
	int sock = sock_connect(ep->path);

	if (sock < 0)
		give_up("connect", strerror(-sock));
	control_ask(sock, &q, NULL, 0);
}

static void reads_trace(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_TRACE};

	control_ask(ep->sock, &q, NULL, 0);
}

static void attach_storm(void)
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

static const struct {
	const char *name;
	void (*run)(void);
	const char *gets, *counter;
} ways[] = {
	{"seq-jump", seq_jump, "closed", "bad_ring"},
	{"seq-back", seq_back, "closed", "bad_ring"},
	{"torn-slot", torn_slot, "closed", "bad_ring"},
	{"slots-none", slots_none, "closed", "bad_ring"},
	{"slots-many", slots_many, "closed", "bad_ring"},
	{"bad-magic", bad_magic, "closed", "poisoned"},
	{"bad-length", bad_length, "closed", "bad_ring"},
	{"payload-far", payload_far, "closed", "bad_ring"},
	{"payload-crooked", payload_crooked, "closed", "bad_ring"},
	{"wrapped-tail", wrapped_tail, "closed", "bad_ring"},
	{"consumed-ahead", consumed_ahead, "closed", "bad_ring"},
	{"consumed-bytes", consumed_bytes, "closed", "bad_ring"},
	{"rewrite-published", rewrite_published, "done", "-"},
	{"forged-source", forged_source, "OK", "forged_source"},
	{"forged-reply", forged_reply, "OK", "bad_reply"},
	{"forged-handle", forged_handle, "BAD_HANDLE", "refused.bad_handle"},
	{"bad-opcode", bad_opcode, "BAD_MESSAGE", "refused.bad_message"},
	{"link-operation", link_operation, "BAD_MESSAGE", "refused.bad_message"},
	{"fence-others", fence_others, "NO_RIGHT", "refused.no_right"},
	{"watch-others", watch_others, "NO_RIGHT", "refused.no_right"},
	{"grant-others", grant_others, "BAD_HANDLE", "refused.bad_handle"},
	{"revoke-others", revoke_others, "BAD_HANDLE", "refused.bad_handle"},
	{"no-lane", no_lane, "BAD_HANDLE", "refused.bad_handle"},
	{"no-region", no_region, "BAD_HANDLE", "refused.bad_handle"},
	{"past-the-end", past_the_end, "RANGE", "refused.range"},
	{"mixed-chain", mixed_chain, "closed", "bad_verb"},
	{"punch-holes", punch_holes, "done", "-"},
	{"all-endpoints", all_endpoints, "LIMIT", "quota.endpoints"},
	{"all-rings", all_rings, "LIMIT", "quota.rings"},
	{"all-connections", all_connections, "hung up", "quota.connections"},
	{"all-lanes", all_lanes, "LIMIT", "quota.lanes"},
	{"all-lanes-away", all_lanes_away, "LIMIT", "quota.lanes"},
	{"all-regions", all_regions, "LIMIT", "quota.regions"},
	{"all-memory", all_memory, "LIMIT", "quota.regions"},
	{"all-requests", all_requests, "LIMIT", "quota.requests"},
	{"all-credits", all_credits, "AGAIN", "quota.credits"},
	{"all-chains", all_chains, "all ended", "quota.chains"},
	{"all-handles", all_handles, "LIMIT", "refused.limit"},
	{"never-reads", never_reads, "waits", "stalls"},
	{"wake-storm", wake_storm, "OK", "-"},
	{"blocking-wakes", blocking_wakes, "OK", "-"},
	{"closes-all", closes_all, "closed", "closed"},
	{"attach-storm", attach_storm, "done", "attached"},
	{"half-message", half_message, "hung up", "control.malformed"},
	{"long-message", long_message, "hung up", "control.malformed"},
	{"bad-field", bad_field, "BAD_MESSAGE", "control.malformed"},
	{"descriptors", descriptors, "hung up", "control.malformed"},
	{"many-descriptors", many_descriptors, "hung up", "control.malformed"},
	{"own-memory", own_memory, "hung up", "control.malformed"},
	{"slow-sender", slow_sender, "hung up", "control.malformed"},
	{"never-reads-answers", never_reads_answers, "hung up", "-"},
	{"other-regions", other_regions, "NOT_FOUND", "control.refused"},
	{"frees-others", frees_others, "NOT_FOUND", "control.refused"},
	{"plays-supervisor", plays_supervisor, "DENIED", "control.refused"},
	{"takes-name", takes_name, "DENIED", "control.refused"},
	{"reads-trace", reads_trace, "DENIED", "control.refused"},
};

/* ---------------------------------------------------------------- the one that behaves */

static uint64_t answered, wrong, longest_ns, last_ns;

static void good_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	uint64_t now = clock_now_ns();

	(void)ctx;
	if (m->status != STATUS_OK || m->arg[0] != cookie || m->length != 8 || memcmp(payload, &cookie, 8))
		wrong++;
	answered++;
	outstanding--;
	if (now - last_ns > longest_ns)
		longest_ns = now - last_ns;
	last_ns = now;
}

static void good(void)
{
	static const struct atoll_handlers handlers = {.reply = good_reply};
	struct atoll_handle h[2] = {service("echo"), service("b/echo")};
	struct pollfd in = {.fd = 0, .events = POLLIN};
	uint64_t next = 0;
	char line[8];

	atoll_set_handlers(ep, &handlers, NULL);
	last_ns = clock_now_ns();
	for (;;) {
		struct proto_msg m = {.opcode = OP_ECHO_ECHO, .nargs = 1, .length = 8, .max_reply = 8};

		while (outstanding < 8) {
			m.arg[0] = ++next;
			if (atoll_request(ep, h[next & 1], &m, &next, next))
				break;
			outstanding++;
		}
		if (atoll_poll(ep, 64) < 0)
			give_up("poll", "its channel has ended");
		if (next % 64 == 0 || outstanding == 8)
			atoll_idle(ep, 1000000);
		if (poll(&in, 1, 0) <= 0)
			continue;
		if (read(0, line, 1) <= 0)
			return;
		printf("%llu %llu %llu\n", (unsigned long long)answered, (unsigned long long)wrong,
		       (unsigned long long)(longest_ns / 1000000));
		fflush(stdout);
		longest_ns = 0;
	}
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "list";
	int rc;

	if (!strcmp(way, "list")) {
		for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
			printf("%s\t%s\t%s\n", ways[i].name, ways[i].gets, ways[i].counter);
		return 0;
	}
	ep = attach(0, 0, &rc);
	if (!ep)
		give_up("attach", strerror(-rc));
	if (!strcmp(way, "good")) {
		good();
		return 0;
	}
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(ways[i].name, way)) {
			ways[i].run();
			printf("%s\n", said);
			return 0;
		}
	give_up(way, "there is no such way");
	return 1;
}
