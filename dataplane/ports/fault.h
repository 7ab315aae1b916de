/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - a port that loses, doubles, reorders, corrupts, delays and throttles what it sends.
 *
 * `fault:loss=0.01,dup=0.01,reorder=0.02,corrupt=0.01,delay_us=20,jitter_us=10,rate_mbps=1000,seed=7/INNER`
 * wraps any other port. Faults strike packets on their way out, drawn from the seed in the order of
 * the packets, so the same calls give the same faults. Shares are probabilities; a reordered packet
 * is held back for delay_us + 100 us more than its own time. Times and the rate may have a fraction
 * (delay_us=2.5). Delays use the clock of the
 * configuration, or the monotonic one, and are kept by the calls of the port: a packet leaves at
 * the first rx_burst or tx_burst after its time.
 *
 * Beside chance there is a rule: a function that sees each packet before it goes and says what
 * strikes it, for tests that aim at one kind of packet.
 */
#ifndef ATOLL_DATAPLANE_PORTS_FAULT_H
#define ATOLL_DATAPLANE_PORTS_FAULT_H

#include "dataplane/port.h"

enum fault_kind {
	FAULT_LOSS,
	FAULT_DUP,
	FAULT_REORDER,
	FAULT_CORRUPT,
	FAULT_DELAY,
	FAULT_OVERFLOW,
	FAULT_KINDS
};

/**
 * fault_rule_fn - which faults strike this packet, besides those drawn.
 * @pkt: as it was given to tx_burst: a frame on PORT_L2 ports, else from the IPv4 header.
 * Return: OR of 1 << FAULT_LOSS, FAULT_DUP, FAULT_REORDER, FAULT_CORRUPT.
 */
typedef uint32_t fault_rule_fn(void *arg, const struct pkt *pkt);

/* Ask @rule about each packet from now on; NULL: none. @p must be a fault port. */
void fault_rule_set(struct port *p, fault_rule_fn *rule, void *arg);

/* How often each kind has struck. @p must be a fault port. */
void fault_counts(const struct port *p, uint64_t out[FAULT_KINDS]);

#endif
