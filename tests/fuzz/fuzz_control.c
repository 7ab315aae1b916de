/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processes send on the control socket, to the real control thread with a keeper and a core behind it. The
 * input is a program: connections come and go, and send requests that are nearly right, cut short, too long or with
 * descriptors. Each request must be answered or hung up on, and one that is right must be answered in the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/control.h"
#include "ipc/channel.h"
#include "ipc/idle.h"
#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "proto/proto.h"
#include "tests/fuzz/input.h"

enum { CONNECTIONS = 6, STEPS = 64, ANSWER_MS = 5000 };

static struct control *control;
static struct dp *dp;
static int sock[CONNECTIONS];
static char path[64];
static uint64_t key; /* of a region that was given last */

static void die(const char *why)
{
	fprintf(stderr, "fuzz_control: %s\n", why);
	abort();
}

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

static void socket_remove(void)
{
	unlink(path);
}

static void set_up(void)
{
	static const char text[] = "[node]\nname = n\nid = 1\nrun_dir = /tmp\n[service echo]\nexec = echo\n"
				   "[limits 0]\nregion_mib = 8\nring_mib = 16\nendpoints = 3\nconnections = 5\n";
	static struct node_conf nc;
	struct conf_errors errors = {0};
	struct keeper_msg m = {.magic = KEEPER_MAGIC, .op = KEEPER_SUPERVISOR_DATAPLANE};
	int kd[2], ks[2], ad[2], life[2];
	struct control_conf cc = {.node = &nc, .socket = path};
	struct dp_conf dc = {.node = 1, .name = "n", .seed = 1, .heartbeat_ms = 50};
	pthread_t t;

	if (conf_parse("fuzz", text, sizeof(text) - 1, NULL, &nc, &errors) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, kd) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ks) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ad) || pipe(life))
		die("cannot set up");
	nc.trace_entries = 64;
	snprintf(path, sizeof(path), "/tmp/atoll-fuzz.%d", (int)getpid());
	if (pthread_create(&t, NULL, keeper_thread, (void *)(intptr_t)ks[1]) ||
	    sock_send(ks[0], &m, sizeof(m), &kd[1], 1) ||
	    sock_recv_timeout(ks[0], &m, sizeof(m), NULL, NULL, ANSWER_MS))
		die("no keeper");
	close(kd[1]);
	cc.keeper = kd[0];
	cc.admin = ad[0];
	cc.lifeline = life[0];
	cc.wake = eventfd(0, EFD_NONBLOCK);
	cc.epoll = epoll_create1(0);
	if (control_new(&control, &cc))
		die("no control side");
	control_callbacks(control, &dc);
	dc.log = NULL;
	dp = dp_new(&dc, NULL, clock_now_ns());
	if (!dp || control_start(control, dp) || pthread_create(&t, NULL, loop_thread, NULL))
		die("no loop");
	atexit(socket_remove);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		sock[i] = -1;
}

static void hang_up(unsigned i)
{
	if (sock[i] >= 0)
		close(sock[i]);
	sock[i] = -1;
}

/* An answer or the end, and soon. */
static int answer(unsigned i, struct proto_ctl_reply *r)
{
	int fds[SOCK_FDS_MAX], rc;
	unsigned n = SOCK_FDS_MAX;

	rc = sock_recv_timeout(sock[i], r, sizeof(*r), fds, &n, ANSWER_MS);
	if (rc == -ETIMEDOUT)
		die("a request is neither answered nor hung up on");
	while (!rc && n)
		close(fds[--n]);
	/* a refusal repeats what was asked, which may be nothing that there is */
	if (!rc && (r->magic != PROTO_CTL_REPLY_MAGIC || r->status >= STATUS_COUNT || r->text[sizeof(r->text) - 1] ||
		    (r->status == STATUS_OK && proto_ctl_reply_check(r) != STATUS_OK)))
		die("an answer is malformed");
	if (!rc && r->status == STATUS_OK && r->key)
		key = r->key;
	if (rc)
		hang_up(i);
	return rc;
}

static void request(struct input *in)
{
	unsigned i = (unsigned)take(in, 1) % CONNECTIONS;
	uint8_t what = (uint8_t)take(in, 1);
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC,
				      .major = PROTO_MAJOR,
				      .op = (uint16_t)(1 + what % 8),
				      .numa = 0xffffffff};
	uint8_t bytes[2 * sizeof(q)] = {0};
	size_t len = sizeof(q);
	struct proto_ctl_reply r;
	const int fds[2] = {0, 1};

	if (sock[i] < 0)
		sock[i] = sock_connect(path);
	if (sock[i] < 0)
		return;
	switch (q.op) {
	case CTL_OP_ATTACH:
		q.kind = what & 0x10 ? CTL_KIND_SERVICE : CTL_KIND_CLIENT;
		q.slots = what & 0x20 ? 64u << take(in, 1) % 10 : 64;
		q.arena = what & 0x20 ? 65536u << take(in, 1) % 10 : 65536;
		memcpy(q.name, what & 8 ? "echo" : "name", 4);
		break;
	case CTL_OP_REGION_ALLOC:
		q.numa = 0xffffffff;
		q.size = what & 8 ? take(in, 8) : take(in, 3);
		q.flags = what & 0x10 ? (uint32_t)take(in, 1) : 0;
		break;
	case CTL_OP_REGION_CLAIM:
	case CTL_OP_REGION_FREE:
		q.key = what & 8 ? take(in, 8) : key;
		break;
	default:
		break;
	}
	memcpy(bytes, &q, sizeof(q));
	/* spoil some of it */
	if (what & 0x40)
		for (unsigned n = (unsigned)take(in, 1) % 4; n; n--)
			bytes[take(in, 1)] ^= (uint8_t)take(in, 1);
	if (what & 0x80) {
		uint8_t how = (uint8_t)take(in, 1);

		len = how & 1 ? 1 + take(in, 2) % sizeof(bytes) : len;
		if (sock_send(sock[i], bytes, len, fds, how & 2 ? 2 : 0)) {
			hang_up(i);
			return;
		}
		if (how & 4) { /* it does not wait for the answer */
			hang_up(i);
			return;
		}
	} else if (sock_send(sock[i], bytes, len, NULL, 0)) {
		hang_up(i);
		return;
	}
	answer(i, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR, .op = CTL_OP_COUNTERS};
	struct proto_ctl_reply r = {0};

	if (!control)
		set_up();
	for (unsigned steps = 0; in.len && steps < STEPS; steps++)
		if (take(&in, 1) % 8)
			request(&in);
		else
			hang_up((unsigned)take(&in, 1) % CONNECTIONS);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		hang_up(i);
	/* the hang-ups are seen one after the other: till then all connections may be taken */
	for (unsigned tries = 0; tries < 1000; tries++) {
		sock[0] = sock_connect(path);
		if (sock[0] >= 0 && !sock_send(sock[0], &q, sizeof(q), NULL, 0) && !answer(0, &r) &&
		    r.status == STATUS_OK)
			break;
		hang_up(0);
		if (tries == 999)
			die("a good request is not answered");
		usleep(1000);
	}
	hang_up(0);
	return 0;
}
