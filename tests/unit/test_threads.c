/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs on several threads, for the thread sanitizer above all: a ring between two threads that sleep and
 * wake each other, and a node's keeper, control side and loop with clients that come and go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/control.h"
#include "ipc/channel.h"
#include "ipc/endpoint.h"
#include "ipc/idle.h"
#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "proto/proto.h"

enum { SLOTS = 64, ARENA = 65536, RECORDS = 20000, CLIENTS = 3, PINGS = 300, ROUNDS = 4 };

/* ---------------------------------------------------------------- a ring */

struct side {
	struct channel ch;
	int wakes, woken; /* event of the other, own event */
	bool writes;
	uint64_t sum;
};

static void side_sleep(struct side *s)
{
	struct pollfd p = {.fd = s->woken, .events = POLLIN};
	uint64_t n;

	if (!channel_sleep_begin(&s->ch))
		return;
	poll(&p, 1, 1000);
	channel_sleep_end(&s->ch);
	if (p.revents && read(s->woken, &n, sizeof(n)) < 0)
		abort();
}

static void side_wake(struct side *s)
{
	uint64_t one = 1;

	if (channel_wants_wake(&s->ch) && write(s->wakes, &one, sizeof(one)) < 0)
		abort();
}

static void *side_run(void *arg)
{
	uint64_t out[CHANNEL_RECORD_SLOTS * 8], rng = 1;
	struct side *s = arg;

	for (uint32_t i = 0; i < RECORDS;) {
		uint8_t record[CHANNEL_RECORD_SLOTS * CHANNEL_SLOT] = {0};
		unsigned n = 1 + i % 3;
		uint32_t pos = 0;

		if (s->writes) {
			if (channel_room(&s->ch, n, 64) <= 0) {
				sched_yield();
				continue;
			}
			memset(channel_payload_alloc(&s->ch, 64, &pos), (int)(i & 0xff), 64);
			record[3] = (uint8_t)n;
			memcpy(record + 4, &i, 4);
			memcpy(record + 8, &pos, 4);
			channel_push(&s->ch, record, n);
			if ((rng = rng * 6364136223846793005ull + 1) >> 62 == 0)
				side_wake(s);
			i++;
			if (i == RECORDS)
				side_wake(s);
		} else {
			int k = channel_pop(&s->ch, out);
			const uint8_t *payload;

			if (k == 0) {
				side_sleep(s);
				continue;
			}
			memcpy(record, out, CHANNEL_SLOT);
			memcpy(&pos, record + 8, 4);
			payload = k > 0 ? channel_payload(&s->ch, pos, 64) : NULL;
			if (!payload || payload[63] != (uint8_t)i || memcmp(record + 4, &i, 4))
				abort();
			s->sum += payload[0];
			channel_consumed(&s->ch);
			i++;
		}
	}
	return NULL;
}

static void ring(void **state)
{
	size_t size = channel_half_size(SLOTS, ARENA);
	uint8_t *half[2] = {aligned_alloc(64, size), aligned_alloc(64, size)};
	struct side side[2] = {{.writes = true}, {.writes = false}};
	int event[2] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
	pthread_t t[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		memset(half[i], 0, size);
		channel_format(half[i], SLOTS, ARENA, 1);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(channel_open(&side[i].ch, half[i], half[1 - i], SLOTS, ARENA), 0);
		side[i].woken = event[i];
		side[i].wakes = event[1 - i];
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, side_run, &side[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_true(side[1].sum > 0);
	for (unsigned i = 0; i < 2; i++) {
		close(event[i]);
		free(half[i]);
	}
}

/* ---------------------------------------------------------------- a node */

static struct control *control;
static struct dp *dp;
static char path[64];
static int wake;

static void *keeper_thread(void *arg)
{
	keeper_run((int)(intptr_t)arg);
	return NULL;
}

static void *loop_thread(void *arg)
{
	(void)arg;
	while (!control_stopped(control)) {
		dp_poll(dp, clock_now_ns());
		if (control_wanted(control))
			control_run(control);
		else
			sched_yield();
	}
	return NULL;
}

static void *client_thread(void *arg)
{
	struct atoll_endpoint_conf conf = {.name = "client", .kind = CTL_KIND_CLIENT, .socket = path, .slots = 64,
					   .arena = 65536};
	struct verb v = {.op = VERB_FAA, .len = 8, .swap = 1, .remote_offset = 64};
	char err[256] = "";

	(void)arg;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct proto_msg m = {.opcode = OP_DP_PING, .nargs = 1}, r;
		struct atoll_region region;
		struct atoll_endpoint *ep;
		uint32_t lane;

		if (atoll_attach(&ep, &conf, err, sizeof(err)) ||
		    atoll_region_alloc(ep, 65536, 0, &region, err, sizeof(err)) ||
		    atoll_lane_open(ep, atoll_node(ep), 4, &lane, 5000))
			return "it cannot begin";
		v.local = v.remote = region.handle;
		for (unsigned i = 0; i < PINGS; i++) {
			m.arg[0] = i;
			if (!(i & 7) && atoll_post(ep, lane, &v, 1, i))
				return "a chain is not taken";
			if (atoll_call(ep, ATOLL_DATAPLANE, &m, NULL, &r, NULL, 5000) || r.arg[0] != i)
				return "no answer";
		}
		if (atoll_lane_close(ep, lane, 5000))
			return "the lane is not closed";
		/* some free what they have, some just go */
		if (round & 1 && atoll_region_free(ep, &region))
			return "the region is not freed";
		atoll_detach(ep);
	}
	return NULL;
}

static void node(void **state)
{
	static const char text[] = "[node]\nname = n\nid = 1\nrun_dir = /tmp\n";
	static struct node_conf nc;
	struct conf_errors errors = {0};
	struct keeper_msg m = {.magic = KEEPER_MAGIC, .op = KEEPER_SUPERVISOR_DATAPLANE};
	struct control_conf cc = {.node = &nc, .socket = path};
	struct dp_conf dc = {.node = 1, .name = "n", .seed = 1, .heartbeat_ms = 50};
	pthread_t keeper, loop, client[CLIENTS];
	int kd[2], ks[2], ad[2], life[2];
	void *why;

	(void)state;
	assert_int_equal(conf_parse("test", text, sizeof(text) - 1, NULL, &nc, &errors), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, kd), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ks), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ad), 0);
	assert_int_equal(pipe(life), 0);
	snprintf(path, sizeof(path), "/tmp/atoll-threads.%d", (int)getpid());
	assert_int_equal(pthread_create(&keeper, NULL, keeper_thread, (void *)(intptr_t)ks[1]), 0);
	assert_int_equal(sock_send(ks[0], &m, sizeof(m), &kd[1], 1), 0);
	assert_int_equal(sock_recv_timeout(ks[0], &m, sizeof(m), NULL, NULL, 5000), 0);
	close(kd[1]);
	cc.keeper = kd[0];
	cc.admin = ad[0];
	cc.lifeline = life[0];
	cc.wake = wake = eventfd(0, EFD_NONBLOCK);
	cc.epoll = epoll_create1(0);
	assert_int_equal(control_new(&control, &cc), 0);
	control_callbacks(control, &dc);
	dc.log = NULL;
	dp = dp_new(&dc, NULL, clock_now_ns());
	assert_non_null(dp);
	assert_int_equal(control_start(control, dp), 0);
	assert_int_equal(pthread_create(&loop, NULL, loop_thread, NULL), 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&client[i], NULL, client_thread, NULL), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(client[i], &why);
		if (why)
			fail_msg("%s", (char *)why);
	}
	control_stop(control);
	pthread_join(loop, NULL);
	dp_delete(dp);
	control_delete(control);
	close(ks[0]); /* the keeper ends with its supervisor */
	pthread_join(keeper, NULL);
	close(ks[1]);
	close(kd[0]);
	for (unsigned i = 0; i < 2; i++) {
		close(ad[i]);
		close(life[i]);
	}
	close(wake);
	close(cc.epoll);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(ring), cmocka_unit_test(node)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
