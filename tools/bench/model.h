/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - a cluster in virtual time: the engines of the index over verbs that cost what the model says.
 *
 * Each client has a core of its own and a node with a dataplane of its own, each shard a node with its own. A verb waits for its
 * client's core, for that node's dataplane, crosses the wire, waits for the shard's dataplane, is executed there on
 * plain memory in the order of arrival, and its answer crosses the wire. All of it is deterministic. Not in the model:
 * packets that are lost, fences inside of a chain but for their round trip, and what caches do.
 */
#ifndef ATOLL_TOOLS_BENCH_MODEL_H
#define ATOLL_TOOLS_BENCH_MODEL_H

#include <stdint.h>

struct model_cost {
	double verb_ns; /* of a dataplane, a verb; the same in the client's node */
	double byte_ns; /* and a byte */
	double chain_ns; /* of a client's core, to post a chain and to take its answer */
	double wire_ns; /* one way */
};

struct model_result {
	double rate;		     /* operations a second of all clients */
	double shard, node, client; /* busy part of the busiest of each kind, of the time */
	double idlest;		    /* and of the least busy shard */
};

/* YCSB's workload C if @reads, else A, over @shards, of @clients with @window operations in flight each, @ops in all.
 * 0 or negative errno, after a line on stderr. */
int model_run(const struct model_cost *cost, unsigned shards, unsigned clients, unsigned window, uint64_t ops,
	      int reads, struct model_result *out);

#endif
