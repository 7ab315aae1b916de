/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_rate - messages between two nodes in one thread, to see what trace points cost. Built twice, with
 * them and without; the benchmark has both and asks them in turn.
 *
 *	trace_rate CORE READER_CORE
 *
 * Each line on stdin, "off MS" or "on MS", is answered by how many requests a second were answered
 * meanwhile. Node a's client has WINDOW requests at node b's service in flight; the port is memory of this
 * process, so that nothing but the dataplanes' own work is measured. The flight recorders are on, where
 * they are built. "on": rings are traced to, and a thread on READER_CORE reads them as msgdump does.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/dp.h"
#include "dataplane/port.h"
#include "ipc/endpoint_impl.h"

enum {
	WINDOW = 16,
	SLOTS = CHANNEL_SLOTS_DEFAULT,
	ARENA = CHANNEL_ARENA_DEFAULT,
	TRACE = 4096,
	RECORDER = 1024,
	OP_ECHO = 0x7002, /* no schema names it: the router passes it on */
	UP_MS = 5000,
};

/* With or without trace points: this is what the program is built twice for. */
struct side {
	struct dp *dp;
	struct atoll_endpoint *ep;
	uint8_t *trace;
	struct proto_msg reply;
	uint64_t replies;
};

static struct side sides[2];
static volatile bool reading;

static void *memory(size_t size)
{
	void *p = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);

	if (p)
		memset(p, 0, size);
	return p;
}

static int side_open(struct side *s, int i, struct dp_peer_conf *peer)
{
	struct dp_conf conf = {.node = (uint8_t)(i + 1),
			       .address = ip_addr_v4(0x7f000002u + (uint32_t)i),
			       .udp_port = 4791,
			       .heartbeat_ms = 50,
			       .seed = (uint64_t)i + 1,
			       .epoch = 1,
			       .peers = peer,
			       .npeers = 1};
	struct port_conf pc = {.address = conf.address, .udp_port = conf.udp_port};
	size_t size = channel_half_size(SLOTS, ARENA);
	struct dp_attach a = {.kind = i ? CTL_KIND_SERVICE : CTL_KIND_CLIENT,
			      .name = i ? "echo" : "client",
			      .own = calloc(1, size),
			      .slots = SLOTS,
			      .arena = ARENA,
			      .wake_fd = -1};
	void *process = calloc(1, size);
	/* on pages, as in a dataplane's process */
	void *recorder = memory(RECORDER * sizeof(struct proto_recorder_entry));
	uint32_t endpoint, epoch;
	struct port *port;
	char err[256];
	int rc;

	snprintf(conf.name, sizeof(conf.name), "%c", 'a' + i);
	*peer = (struct dp_peer_conf){.node = (uint8_t)(2 - i), .address = ip_addr_v4(0x7f000003u - (uint32_t)i)};
	snprintf(peer->name, sizeof(peer->name), "%c", 'b' - i);
	rc = port_open(&port, "loop:bench", &pc, err, sizeof(err));
	if (!rc)
		rc = port->ops->start(port);
	if (rc)
		return rc;
	s->dp = dp_new(&conf, port, clock_now_ns());
	s->ep = endpoint_new();
	s->trace = memory(64 + TRACE * sizeof(struct proto_trace_entry));
	if (!s->dp || !s->ep || !s->trace || !a.own || !process || !recorder)
		return -ENOMEM;
	dp_recorder(s->dp, recorder, RECORDER);
	channel_format(a.own, SLOTS, ARENA, 1);
	channel_format(process, SLOTS, ARENA, 1);
	a.peer = process;
	rc = dp_endpoint_add(s->dp, &a, &endpoint, &epoch);
	return rc ? rc : endpoint_bind(s->ep, process, a.own, SLOTS, ARENA);
}

static void turn(uint64_t now)
{
	for (unsigned i = 0; i < 2; i++) {
		dp_poll(sides[i].dp, now);
		atoll_poll(sides[i].ep, 64);
	}
}

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct side *s = ctx;
	struct proto_msg r = {.opcode = m->opcode, .nargs = 1, .arg = {m->arg[0]}};

	(void)payload;
	atoll_reply(s->ep, m->req_id, &r, NULL);
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct side *s = ctx;

	(void)cookie;
	(void)payload;
	s->reply = *m;
	s->replies++;
}

static int find(struct atoll_handle *echo)
{
	struct proto_msg look = {.opcode = OP_DP_LOOKUP, .length = 6};
	uint64_t end = clock_now_ns() + UP_MS * 1000000ull;

	while (!dp_link_up(sides[0].dp, 2) || !dp_link_up(sides[1].dp, 1)) {
		turn(clock_now_ns());
		if (clock_now_ns() > end)
			return -EHOSTUNREACH;
	}
	if (atoll_request(sides[0].ep, ATOLL_DATAPLANE, &look, "b/echo", 0))
		return -EIO;
	while (!sides[0].replies && clock_now_ns() < end)
		turn(clock_now_ns());
	*echo = (struct atoll_handle){(uint32_t)sides[0].reply.arg[REPLY_DP_LOOKUP_SLOT],
				      (uint32_t)sides[0].reply.arg[REPLY_DP_LOOKUP_GEN]};
	return sides[0].replies && sides[0].reply.status == STATUS_OK ? 0 : -ENOENT;
}

/* As msgdump reads: each entry copied, and its sequence looked at again; a pause when there is none. */
static void *reader(void *arg)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t at[2] = {0};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)*(int *)arg, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	for (;;) {
		unsigned got = 0;

		for (unsigned i = 0; i < 2 && reading; i++) {
			uint64_t end = __atomic_load_n((uint64_t *)sides[i].trace, __ATOMIC_ACQUIRE);
			struct proto_trace_entry copy;

			if (end - at[i] > TRACE)
				at[i] = end - TRACE;
			for (; at[i] < end; at[i]++, got++) {
				struct proto_trace_entry *e =
					(struct proto_trace_entry *)(sides[i].trace + 64) + (at[i] & (TRACE - 1));

				memcpy(&copy, e, sizeof(copy));
				__atomic_thread_fence(__ATOMIC_ACQUIRE);
				(void)__atomic_load_n(&e->seq, __ATOMIC_RELAXED);
				__asm__ volatile("" : : "m"(copy));
			}
		}
		if (!got)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

static double rate(struct atoll_handle echo, uint64_t ns)
{
	static uint64_t asked;
	uint64_t start = clock_now_ns(), now = start, first = sides[0].replies;

	if (!asked)
		asked = first;
	while (now - start < ns) {
		for (unsigned i = 0; i < 16; i++) {
			while (asked - sides[0].replies < WINDOW) {
				struct proto_msg m = {.opcode = OP_ECHO, .arg = {asked}, .nargs = 1};

				if (atoll_request(sides[0].ep, echo, &m, NULL, asked))
					break;
				asked++;
			}
			turn(now);
		}
		now = clock_now_ns();
	}
	return (double)(sides[0].replies - first) / (double)(now - start) * 1e9;
}

int main(int argc, char **argv)
{
	static const struct atoll_handlers client = {.reply = on_reply}, service = {.request = on_request};
	struct dp_peer_conf peer[2];
	int core[2] = {argc > 1 ? atoi(argv[1]) : 0, argc > 2 ? atoi(argv[2]) : 0};
	struct atoll_handle echo;
	char line[64], mode[8];
	pthread_t thread;
	cpu_set_t set;
	unsigned ms;
	int rc = 0;

	CPU_ZERO(&set);
	CPU_SET((unsigned)core[0], &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (int i = 0; i < 2 && !rc; i++)
		rc = side_open(&sides[i], i, &peer[i]);
	if (!rc) {
		atoll_set_handlers(sides[0].ep, &client, &sides[0]);
		atoll_set_handlers(sides[1].ep, &service, &sides[1]);
		rc = find(&echo);
	}
	if (!rc)
		rc = -pthread_create(&thread, NULL, reader, &core[1]);
	if (rc) {
		fprintf(stderr, "trace_rate: %s\n", strerror(-rc));
		return 1;
	}
	while (fgets(line, sizeof(line), stdin) && sscanf(line, "%7s %u", mode, &ms) == 2) {
		reading = strcmp(mode, "on") == 0;
		for (unsigned i = 0; i < 2; i++)
			dp_trace(sides[i].dp, reading ? sides[i].trace : NULL, TRACE, false);
		printf("%.1f\n", rate(echo, ms * 1000000ull));
		fflush(stdout);
	}
	return 0;
}
