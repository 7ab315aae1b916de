/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile.h - ways of a client that means harm (hostile.c says what it is for), by what they abuse: the rings and
 * what is in them, its share of what there is, the control socket and descriptors.
 *
 * Each way is a function that does it and leaves in said[] what it got.
 */
#ifndef ATOLL_TESTS_INTEGRATION_HOSTILE_H
#define ATOLL_TESTS_INTEGRATION_HOSTILE_H

#include "ipc/endpoint_impl.h"
#include "ipc/sock.h"
#include "proto/proto.h"

enum { WAIT_MS = 5000, MANY = 4096 };

struct raw {
	struct proto_message m;
	struct proto_message_args more[3];
};

extern struct atoll_endpoint *ep;
extern char said[256]; /* what it got */
extern unsigned outstanding; /* requests of all_of and of the one that behaves */

/* hostile.c */
void got(const char *text, unsigned n);
_Noreturn void give_up(const char *what, const char *why);
struct atoll_endpoint *attach(uint32_t slots, uint32_t arena, int *rc);
void see_end(void);
void wake(void);

/* hostile_ring.c */
struct raw raw_ping(void);
void raw_ask(const struct raw *r, unsigned slots);
void seq_jump(void);
void seq_back(void);
void torn_slot(void);
void slots_none(void);
void slots_many(void);
void bad_magic(void);
void bad_length(void);
void payload_far(void);
void wrapped_tail(void);
void payload_crooked(void);
void consumed_ahead(void);
void consumed_bytes(void);
void rewrite_published(void);
void forged_source(void);
void forged_reply(void);
void forged_handle(void);
void link_operation(void);
void fence_others(void);
void watch_others(void);
void grant_others(void);
void revoke_others(void);
void bad_opcode(void);
void memory(struct atoll_region *r, uint64_t size);
uint32_t lane_to(uint32_t node);
void no_lane(void);
void past_the_end(void);
void no_region(void);
void mixed_chain(void);
void punch_holes(void);

/* hostile_quota.c */
int control_ask(int sock, struct proto_ctl_request *q, const int *fds, unsigned nfds);
void all_endpoints(void);
void all_rings(void);
void all_connections(void);
void all_lanes(void);
void all_lanes_away(void);
void all_regions(void);
void all_memory(void);
struct atoll_handle service(const char *name);
void all_requests(void);
void all_credits(void);
void all_handles(void);
void all_chains(void);
void never_reads(void);
void wake_storm(void);
void blocking_wakes(void);
void closes_all(void);
void attach_storm(void);
void computes(void);

/* hostile_control.c */
void half_message(void);
void long_message(void);
void bad_field(void);
void descriptors(void);
void own_memory(void);
void many_descriptors(void);
void slow_sender(void);
void never_reads_answers(void);
void other_regions(void);
void frees_others(void);
void plays_supervisor(void);
void takes_name(void);
void reads_trace(void);

#endif
