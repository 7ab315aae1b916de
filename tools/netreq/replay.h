/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - how long a traced program really takes over the transport.
 *
 * Two processes, each with a dataplane in a loop of its own, are joined by a real port inside a fault port that
 * adds delay and limits the rate. The client's thread plays the trace: its gaps pass in its loop, its calls are
 * requests through ring, dataplane and link. The service on the other node plays a device that does nothing for
 * as long as the trace says. Before each measurement the costs that the formula wants (round trip, time to
 * push and to serve a message) are measured with the fault port switched off, in the same processes' code.
 *
 * A trace of one thread; calls of several threads are played in the order of the file by one.
 */
#ifndef ATOLL_TOOLS_NETREQ_REPLAY_H
#define ATOLL_TOOLS_NETREQ_REPLAY_H

#include "tools/netreq/model.h"

enum { REPLAY_ROUNDS_MAX = 15 };

struct replay_conf {
	double delay_ns; /* added to the round trip: half each way */
	double gbps;	 /* rate of the wire each way; 0: none set */
	double budget;	 /* not 0: play it at the least rate that keeps the overhead within it, and at half of it */
	unsigned rounds;
	int core[2];
	const char *port; /* "shm", "uring" or NULL: the first that works */
};

struct replay_result {
	double measured_ns;  /* median of the rounds that nothing disturbed */
	double disturbed;    /* 0; if there was none, part of the measured one in which a loop did not run */
	double predicted_ns; /* by the formula, from the costs below and the delay and rate set */
	double simulated_ns; /* by the simulation, from the same */
	double local_ns;     /* by the formula, with the device in the same host */
	double error;	     /* |predicted - measured| / measured */
	double sim_error;    /* |simulated - measured| / measured */
	double gbps_min, half_ns; /* with a budget: the least rate, and what was measured at half of it */
	struct net net;	     /* costs as measured, without what was added; gbps: what the nodes carry by themselves */
	const char *port;
};

/* 0; -ENODEV: no port works here; -ERANGE: no rate keeps the budget; -EBUSY: others have the
 * cores, so that it cannot be known; -ETIMEDOUT; -EIO; other negative errno, after a line on stderr. */
int replay_run(const struct trace *t, const struct replay_conf *conf, struct replay_result *out);

#endif
