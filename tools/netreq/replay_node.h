/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_node.h - one side of a replay: a dataplane and the endpoint of a client or a service, in one loop.
 *
 * The processes share one struct replay_shared; the client writes everything in it but `ready` and still_ns[1].
 */
#ifndef ATOLL_TOOLS_NETREQ_REPLAY_NODE_H
#define ATOLL_TOOLS_NETREQ_REPLAY_NODE_H

#include "dataplane/dp.h"
#include "ipc/endpoint.h"
#include "ipc/idle.h"
#include "tools/netreq/replay.h"

enum {
	REPLAY_WINDOW = 56,  /* requests without an answer: what a node may have at a service is DP_CREDITS */
	REPLAY_DATA = 8192,  /* bytes in a message: PROTO_PAYLOAD_MAX */
	REPLAY_HEARTBEAT_MS = 2000,
	REPLAY_PATIENCE_MS = 60000,
	REPLAY_TRACES = 3,
	REPLAY_TRIES = 32, /* of a trace, at most: until as many as are wanted were not disturbed */
	REPLAY_TRY_MS = 1500, /* and for so long: then as many as are wanted do, disturbed or not */
	/* A loop that takes longer for one turn was not running: a turn's work, at most some hundred packets, is less. */
	REPLAY_STILL_NS = 250000,
	REPLAY_DISTURBED = 100, /* one part in so many of a round in which a loop stood still: it does not count */
	/* opcode of this program's own: no schema names it, the router passes it on */
	OP_REPLAY_CALL = 0x7101,
};

/* Registers of a call. */
enum replay_arg {
	RA_CALL,    /* number */
	RA_PART,    /* message of the call | messages << 32 */
	RA_FLAGS,   /* enum trace_flag | class << 8 | begins the call's work << 16 | brings results << 17 */
	RA_STREAM,
	RA_DEVICE_NS,
	RA_CPU_NS,
	RA_AFTER,   /* as in the trace */
	RA_BACK,    /* bytes of this message's answer */
	RA_COUNT,
};

struct replay_shared {
	uint32_t ready; /* the service's node is there */
	uint32_t done;
	int error;
	double push_ns; /* mean of the client's requests */
	uint64_t still_ns[2]; /* that each side's loop did not run, since the beginning; [1] is the service's to write */
	unsigned tries[REPLAY_TRACES];
	double total_ns[REPLAY_TRACES][REPLAY_TRIES];
	double disturbed[REPLAY_TRACES][REPLAY_TRIES]; /* part of the round that a loop stood still */
};

struct replay_session {
	struct replay_shared *s;
	const struct trace *traces[REPLAY_TRACES]; /* played one after the other */
	unsigned ntraces, rounds;
	double delay_ns, gbps;
	char dir[64];
	const char *port;
	unsigned side; /* rises with each session: addresses of their own */
};

struct replay_node {
	struct dp *dp;
	struct port *port;
	struct atoll_endpoint *ep;
	uint64_t now, *still_ns;
	unsigned done;
};

/* 0 for the client's, 1 for the service's. 0 or negative errno. */
int replay_node_open(const struct replay_session *r, int side, struct replay_node *n);

/* One turn of the dataplane, one of the endpoint. */
static inline void replay_node_turn(struct replay_node *n)
{
	uint64_t now = clock_now_ns();

	if (now - n->now > REPLAY_STILL_NS && n->now)
		__atomic_store_n(n->still_ns, *n->still_ns + (now - n->now), __ATOMIC_RELAXED);
	n->now = now;
	n->done = dp_poll(n->dp, n->now);
	atoll_poll(n->ep, 64);
}

/* What the two processes do; they do not return. */
void replay_client(const struct replay_session *r);
void replay_service(const struct replay_session *r);

#endif
