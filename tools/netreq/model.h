/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - how long a traced program takes over a network: by recurrence, in one pass over its calls.
 *
 * Each call advances the clock of its thread, of the wire out, of the service, of its stream and of the wire
 * back. Two things are kept apart that are easily mixed: a wire is busy for as long as it takes to put bytes
 * on it, and only then free for the next message; the way through the network (half a round trip) is added
 * behind that and occupies nobody, so that any number of messages travel at once. docs/netreq.md derives it.
 *
 * What the recurrence leaves to the simulation (sim.h): several clients, streams that share the device,
 * messages that meet others' messages packet by packet.
 */
#ifndef ATOLL_TOOLS_NETREQ_MODEL_H
#define ATOLL_TOOLS_NETREQ_MODEL_H

#include <stdbool.h>

#include "tools/netreq/trace.h"

/* A network, and what sending by it costs. */
struct net {
	double rtt_ns;	   /* round trip of an empty message, without the time on the wires below */
	double gbps;	   /* bandwidth each way, 10^9 bit/s; 0: without limit */
	double push_ns;	   /* the client's CPU time to send one message */
	double serve_ns;   /* the service's to take one, besides the call's own cpu_ns */
	double local_ns;   /* a LOCAL call */
	uint32_t message_bytes;	 /* head of a message, or of an answer, on the wire */
	uint32_t packet_bytes;	 /* heads of a packet */
	uint32_t packet_payload; /* bytes of messages that fit into one */
	uint32_t chunk_bytes;	 /* data in one message; more is cut */
	uint32_t window;	 /* messages of a client without an answer; 0: any number */
	uint32_t window_bytes;	 /* bytes on the way in one direction; 0: any number */
};

/* What the defaults of the command line are. */
extern const struct net net_default;

/* Calls taken for others than they are: what a program would gain from a change. */
enum model_change {
	MODEL_LOCAL = 1 << 0, /* TRACE_COULD_LOCAL become LOCAL */
	MODEL_ASYNC = 1 << 1, /* TRACE_COULD_ASYNC become ASYNC */
	MODEL_ALL_SYNC = 1 << 2, /* every call that sends a message waits for its answer: without outstanding requests */
};

/* What a call is under @change. */
enum trace_class model_class(const struct trace_call *c, unsigned change);
/* And its flags: those that wait go with SYNC. */
unsigned model_flags(const struct trace_call *c, unsigned change);

struct model_name {
	uint64_t calls, sync;
	double blocked_ns; /* waited for answers, beyond what a local program waits for the device */
};

struct model {
	double total_ns; /* from the start until the last thread and the last device work have ended */
	double blocked_ns;
	uint64_t messages, answers;
	double bytes_out, bytes_in; /* on the wires */
	struct model_name *names;   /* one for each of the trace's, or NULL: not wanted */
};

/**
 * model_run - the recurrence over the whole trace.
 * @net: NULL: the device is in the program's own host.
 * @names: memory for trace->nnames entries, or NULL.
 * Return: 0 or -ENOMEM.
 */
int model_run(const struct trace *t, const struct net *net, unsigned change, struct model_name *names,
	      struct model *out);

/* Messages that one call takes, and bytes of one message of @data bytes on the wire, its packets' heads included. */
uint64_t net_messages(const struct net *net, const struct trace_call *c);
double net_wire_bytes(const struct net *net, double data);

/* ---------------------------------------------------------------- what a program needs */

struct need {
	double budget;	    /* overhead allowed: 0.05 is five hundredths of the local time */
	double local_ns;
	double floor;	    /* overhead over a network without delay and without limit */
	bool possible;	    /* floor <= budget */
	double rtt_max_ns;  /* longest round trip, if the bandwidth is without limit; INFINITY: any */
	double gbps_min;    /* least bandwidth, if there is no delay; 0: any */
	double rtt_ns, gbps; /* the pair that is asked for: rtt_ns as given, or where delay takes half the budget */
	double overhead;     /* there */
};

/**
 * need_find - the longest round trip and the least bandwidth within a budget.
 * @base: costs; its rtt_ns and gbps are not used.
 * @rtt_ns: fixes the round trip, negative: choose.
 * @gbps: fixes the bandwidth, 0: choose.
 * Return: 0 or -ENOMEM.
 */
int need_find(const struct trace *t, const struct net *base, double budget, double rtt_ns, double gbps,
	      unsigned change, struct need *out);
/* The overhead over one network: remote over local time, minus one. Negative errno as a value below -1. */
double need_overhead(const struct trace *t, const struct net *net, double local_ns, unsigned change);
/* Least bandwidth at this round trip, rounded up to three digits; INFINITY if there is none. */
double need_gbps(const struct trace *t, const struct net *base, double rtt_ns, double local_ns, double budget,
		 unsigned change);

#endif
