/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - one entry of a trace, taken apart: what filters ask about and what is printed.
 *
 * An entry comes from a trace ring, a flight recorder or a file, and may hold anything. event_read
 * refuses what is no entry at all; of the rest every field may have any value, and whoever looks up a
 * name for one must be ready not to find it. A trace keeps two slots of a record and the first bytes
 * of its payload; what it does not keep is zero here.
 */
#ifndef ATOLL_MSGDUMP_EVENT_H
#define ATOLL_MSGDUMP_EVENT_H

#include "proto/proto.h"

enum event_kind { EVENT_MESSAGE, EVENT_VERB, EVENT_COMPLETION, EVENT_PACKET };

enum { EVENT_PACKET_MAX = 65536 };

struct event {
	enum event_kind kind;
	uint8_t point; /* enum proto_trace_point */
	uint8_t node;  /* that wrote it */
	uint64_t time_ns;
	uint32_t where;	   /* node << 24 | endpoint on whose ring; node << 24 of a link */
	uint32_t src, dst; /* node << 24 | endpoint; 0: not known, or the record has none */
	struct proto_msg msg;
	struct proto_verb verb;
	struct proto_verb_operands operands;
	struct proto_completion completion;
	uint8_t data[sizeof(((struct proto_trace_entry *)0)->data)];
	uint32_t captured; /* bytes of data */
	struct proto_trace_entry entry; /* what all this comes from, but for packets */
	/* a packet: an Ethernet frame; valid until the next event of the same source */
	const uint8_t *packet;
	uint32_t packet_length, packet_captured;
};

/* Puts together the packets that take more than one entry. All zero at first. */
struct event_packets {
	uint32_t have, want; /* want 0: none is under way */
	struct event first;
	uint8_t bytes[EVENT_PACKET_MAX];
};

/* Takes @e apart. False: it is no entry of a trace, or one of a packet. @e: private memory. */
bool event_read(const struct proto_trace_entry *e, struct event *out);
/* The same for entries in order, packets put together. False: it has not become an event (yet). */
bool event_next(struct event_packets *packets, const struct proto_trace_entry *e, struct event *out);
/* A packet from a file. */
void event_packet(struct event *out, uint64_t time_ns, bool out_of, const uint8_t *frame,
		  uint32_t captured, uint32_t length);

/* "from-ring"; NULL for a number that is no point. */
const char *event_point_name(unsigned point);
/* A point's number, or -1. */
int event_point_find(const char *name);
/* "request", "reply", "event", "async", "verb", "completion", "packet" */
const char *event_kind_name(const struct event *ev);

#endif
