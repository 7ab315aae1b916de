/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - how long traced programs take over a network: by discrete events.
 *
 * Several clients, each playing a trace, share a wire out, a wire back, a service and a device. Messages queue
 * for the wire and are packed, several to a packet, as long as there are any of the same client; clients take
 * turns packet by packet. Each has a window of messages without an answer. The service takes messages one at
 * a time. The device runs each stream in order and at most `slots` pieces of work at once.
 *
 * The engine has a clock of its own, which starts at 0 and jumps from event to event, and takes its randomness
 * as a seed: the same arguments give the same result to the last bit. Without jitter there is no randomness.
 */
#ifndef ATOLL_TOOLS_NETREQ_SIM_H
#define ATOLL_TOOLS_NETREQ_SIM_H

#include "tools/netreq/model.h"

enum { SIM_CLIENTS_MAX = 1024 };

struct sim_conf {
	const struct trace *traces; /* one for each client, or one for all of them */
	bool same;		    /* one for all */
	unsigned clients;
	struct net net;
	unsigned slots;	    /* work of one device at once; 0: each stream by itself */
	unsigned change;    /* enum model_change */
	double jitter;	    /* gaps vary by this share either way, and starts by one gap's mean times clients */
	uint64_t seed;
	uint64_t events_max; /* 0: no limit; beyond it the run ends with -ETIME */
};

struct sim_result {
	double total_ns[SIM_CLIENTS_MAX]; /* of each client, from its own start */
	double worst_ns, mean_ns;
	uint64_t events, messages, packets;
	double wire_out_busy, wire_in_busy, service_busy, device_busy; /* shares of the time until the last end */
	uint64_t queue_max; /* messages that waited for the wire out at once */
	double service_wait_ns; /* a message's mean, from its arrival until the service took it */
};

/* 0; -EINVAL (clients, net); -ENOMEM; -ETIME; -EDEADLK: the traces' dependencies never end. */
int sim_run(const struct sim_conf *conf, struct sim_result *out);

#endif
