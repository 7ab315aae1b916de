/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.h - a cluster in one process: real dataplane cores over a simulated wire, services, clients, and
 * what is known to be true of them.
 *
 * One seed decides everything. Each node has one service, which answers echoes (some of them later, and not
 * while it is stalled), grants its region, and now and then revokes it or fences a client off; clients look
 * services up, send requests, open and close lanes, and work on regions. Any process and any node may end at
 * any step, politely or not, and start again.
 *
 * What is checked:
 *  - each request that was accepted ends once, each chain once;
 *  - a request that ended as certainly not executed was not; one that ended OK was, once; none twice;
 *  - answers come back whole, to whoever asked; who was told AGAIN is told when there is room;
 *  - each client adds to a word of its own: the word is as large as its FAAs that ended OK, and no larger
 *    than with those in doubt, verb by verb of each chain; old values rise by one;
 *  - a WRITE that ended OK is read back; one that ended as not executed has left no byte;
 *  - after FENCED was acknowledged, and after an operation ended IN_DOUBT, nothing of it executes later;
 *  - the core's own invariants (dp_check: credits, reservations, references), and at the end nothing
 *    outstanding anywhere, and no lane, region or responder of a process that has gone.
 */
#ifndef ATOLL_TESTS_SIM_WORLD_H
#define ATOLL_TESTS_SIM_WORLD_H

#include <stdint.h>

struct sim_totals {
	uint64_t messages, verbs, ok, refused, doubt, crashes, node_crashes, fences, revokes, agains, steps;
};

/* Runs one seed. NULL, or what was broken (static storage). @verbose: log to stdout. */
const char *sim_run(uint64_t seed, int verbose, struct sim_totals *totals);

#endif
