/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - the network of a simulation: ports of many nodes, faults drawn from one seed, and a count of
 * which fault struck which step of the protocol.
 *
 * A packet that a node sends is copied, judged (lost, doubled, spoilt, late), and waits in one queue by
 * the virtual time at which it arrives. A node that is muted neither sends nor receives: that is what
 * its silent death looks like. What was on its way arrives all the same, also at whoever took its place.
 */
#ifndef ATOLL_TESTS_SIM_WIRE_H
#define ATOLL_TESTS_SIM_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/port.h"

enum sim_fault { SIM_LOSS, SIM_DUP, SIM_REORDER, SIM_CORRUPT, SIM_DELAY, SIM_CRASH, SIM_FAULTS };

/* What a packet is, as far as a bystander can tell. */
enum sim_step {
	STEP_CM_REQ, STEP_CM_REP, STEP_CM_RTU, STEP_CM_DREQ, STEP_CM_OTHER, STEP_HEARTBEAT, STEP_LOOKUP,
	STEP_GRANT, STEP_LANE_OPEN, STEP_LINK_OTHER, STEP_REQUEST, STEP_REPLY, STEP_SEND_PART, STEP_WRITE,
	STEP_READ, STEP_READ_DATA, STEP_ATOMIC, STEP_ATOMIC_ACK, STEP_ACK, STEP_NAK, STEP_STATUS,
	STEP_OTHER, SIM_STEPS
};

struct sim_rates {
	uint32_t loss, dup, reorder, corrupt, late; /* of a million packets */
	uint64_t delay_ns, jitter_ns, late_ns;
};

struct sim_wire;

struct sim_wire *sim_wire_new(uint64_t seed);
void sim_wire_delete(struct sim_wire *w);
void sim_wire_rates(struct sim_wire *w, const struct sim_rates *r);
/* A port for the node with this address; close it by its ops. */
struct port *sim_wire_port(struct sim_wire *w, struct ip_addr address);
void sim_port_mute(struct port *p);
/* Virtual time: deliver what is due. */
void sim_wire_advance(struct sim_wire *w, uint64_t now_ns);
uint64_t sim_wire_next(const struct sim_wire *w);
/* The step that a packet last sent by anybody was: where a crash strikes. */
enum sim_step sim_wire_last_step(const struct sim_wire *w);
void sim_wire_note(enum sim_fault f, enum sim_step s);

/* Over all seeds of the process. */
extern uint64_t sim_hits[SIM_FAULTS][SIM_STEPS];
extern const char *const sim_fault_names[SIM_FAULTS];
extern const char *const sim_step_names[SIM_STEPS];

#endif
