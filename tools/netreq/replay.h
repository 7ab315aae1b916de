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
	unsigned rounds;
	int core[2];
	const char *port; /* "shm", "uring" or NULL: the first that works */
};

struct replay_result {
	double measured_ns;  /* median of the rounds */
	double predicted_ns; /* by the formula, from the costs below and the delay and rate set */
	double local_ns;     /* by the formula, with the device in the same host */
	double error;	     /* |predicted - measured| / measured */
	struct net net;	     /* costs as measured, without what was added */
	const char *port;
};

/* 0; -ENODEV: no port works here; -ETIMEDOUT; -EIO; other negative errno, after a line on stderr. */
int replay_run(const struct trace *t, const struct replay_conf *conf, struct replay_result *out);

#endif
