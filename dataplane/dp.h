/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dp.h - the core of a dataplane: one loop that routes messages and executes verbs.
 *
 * The core knows channels, regions, a RoCEv2 device over a port, and peers. It makes no system call but
 * through its port and its wakes, takes the time as an argument, and is driven by dp_poll from one
 * thread. The process around it (main.c, control.c) attaches endpoints, makes memory and sleeps; a
 * simulation drives many cores in one process with a virtual clock.
 *
 * Ownership: channel halves and region memory are mapped by the caller and stay mapped until the core
 * says so (the `unused` callbacks, or dp_delete). Removal has two phases: dp_endpoint_close and
 * dp_region_close stop use at once, end what is outstanding, and call back when nothing in the core
 * refers to the memory any more.
 */
#ifndef ATOLL_DATAPLANE_DP_H
#define ATOLL_DATAPLANE_DP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/port.h"
#include "ipc/counters.h"
#include "ipc/verbs.h"
#include "proto/atoll_proto.h"

enum {
	DP_ENDPOINTS_MAX = 1024,
	DP_REGIONS_MAX = 4096,
	DP_PEERS_MAX = 254,
	DP_HANDLES_MAX = 1024, /* of one endpoint */
	DP_LANES_MAX = 64,     /* of one endpoint */
	DP_PENDING_MAX = 8192,
	DP_CHAINS_MAX = 8192,
	DP_CREDITS = 64, /* requests that one node may have outstanding at one service */
	DP_USERS_MAX = 256, /* with endpoints at a time */
	DP_HEARTBEATS_MISSED = 3,
};

struct dp_peer_conf {
	uint8_t node;
	char name[64];
	struct ip_addr address;
};

struct dp_conf {
	uint8_t node; /* 1 to 254 */
	char name[64];
	struct ip_addr address; /* the peers' are of its family */
	uint16_t udp_port; /* 0: 4791 */
	uint32_t heartbeat_ms;
	uint32_t features; /* that it says it has and uses, 0: all; an earlier minor version has fewer */
	uint64_t seed;	      /* randomness: incarnation, generations, QPNs, keys */
	uint32_t epoch;	      /* endpoints' epochs begin after it: must rise over restarts; 0: from now_ns */
	uint32_t mtu;	      /* largest RoCE payload, 0: what the port carries */
	uint32_t verb_depth;  /* READs and atomics outstanding on a lane, at most 128; 0: 64 */
	const struct dp_peer_conf *peers;
	unsigned npeers;
	/* may user @uid look up @service of this node? NULL: everybody may */
	bool (*lookup_allowed)(void *arg, uint32_t uid, const char *service);
	void *arg;
	/* memory for a region or an endpoint's halves is not referred to any more */
	void (*region_unused)(void *arg, uint64_t key, void *base, uint64_t size);
	void (*endpoint_unused)(void *arg, uint32_t endpoint, uint32_t epoch, void *cookie);
	/* ring the wake of an endpoint's process */
	void (*wake)(void *arg, int wake_fd);
	/* a line for the log; from the polled thread, for rare events only */
	void (*log)(void *arg, const char *line);
};

struct dp;

/* @port: opened and started, borrowed. NULL: a node without a network. */
struct dp *dp_new(const struct dp_conf *conf, struct port *port, uint64_t now_ns);
void dp_delete(struct dp *dp);

/* One turn of the loop. Return: how much was done; 0 says that nothing was found. */
unsigned dp_poll(struct dp *dp, uint64_t now_ns);
/* Did the last turn give a process the last of the answers, or of the completions, that it waits for? */
bool dp_delivered(const struct dp *dp);
/* Did it do something for a process of any node? A heartbeat or an acknowledgement alone is none: no more
 * need follow it, and a loop need not stay awake for it. */
bool dp_used(const struct dp *dp);
/* When the core next needs a turn even if nothing comes (UINT64_MAX: never). */
uint64_t dp_next_timer(const struct dp *dp);
/* Sets every endpoint's sleeping flag and arms the port; false if something is waiting after all. */
bool dp_sleep_begin(struct dp *dp);
void dp_sleep_end(struct dp *dp);

uint64_t dp_incarnation(const struct dp *dp);
bool dp_link_up(const struct dp *dp, uint8_t node);

/* Send one message to the dataplane of @node, which answers it itself. 0, -ENOTCONN, -EBUSY (one is out).
 * dp_ping_done: has the answer come (or the link gone)? For benchmarks and health checks. */
int dp_ping(struct dp *dp, uint8_t node);
bool dp_ping_done(const struct dp *dp);

/* What all endpoints of one user may have at a time; 0: no limit but the core's own. */
struct dp_quota {
	uint32_t lanes;	   /* open */
	uint32_t requests; /* unanswered */
	uint32_t chains;   /* not yet completed; more wait in their rings */
	uint32_t credits;  /* of the DP_CREDITS at a service of another node */
};

struct dp_attach {
	uint16_t kind;	/* CTL_KIND_* */
	const char *name;
	uint32_t uid, pid;
	bool trusted;	       /* charged apart from the user's other processes */
	struct dp_quota quota; /* of whom it is charged to, from now on */
	void *own;	  /* half that the core writes, formatted */
	const void *peer; /* half that the process writes, formatted */
	uint32_t slots, arena;
	int wake_fd;  /* passed to conf.wake; -1 none */
	void *cookie; /* for endpoint_unused */
};

/* Return: 0 and the endpoint's number and epoch; -EEXIST (a service of that name is there); -ENOSPC;
 * -EUSERS (of too many users); -EPROTO (bad halves). On the polled thread, like all of these. */
int dp_endpoint_add(struct dp *dp, const struct dp_attach *a, uint32_t *endpoint, uint32_t *epoch);
/* @why: enum gone. Outstanding requests at it end PEER_DIED, its own are dropped, its lanes closed. Its
 * regions are closed too. -ENOENT if it is not there (any more). */
int dp_endpoint_close(struct dp *dp, uint32_t endpoint, uint32_t epoch, uint32_t why);

/* Is a service of that name attached? */
bool dp_service_there(struct dp *dp, const char *name);

/* Publish memory as a region of @endpoint. 0 and its handle; -ENOSPC, -ENOENT. */
int dp_region_add(struct dp *dp, uint32_t endpoint, uint32_t epoch, uint64_t key, void *base,
		  uint64_t size, struct atoll_handle *out);
int dp_region_close(struct dp *dp, uint64_t key);

/* Trace: @ring holds @entries (a power of two) struct proto_trace_entry behind a 64-byte head. NULL stops.
 * @packets: the port's, too. Where the writer is stands in the head, so the same ring is gone on with. */
void dp_trace(struct dp *dp, void *ring, uint32_t entries, bool packets);

/* Flight recorder: the last @entries (a power of two up to 32768) records, in zeroed memory that outlives
 * this process. Before the first turn. */
void dp_recorder(struct dp *dp, struct proto_recorder_entry *entries, uint32_t count);

/* What the core counts: fills @out (COUNTERS_MAX entries) and returns how many. */
uint32_t dp_counter_describe(struct counter_info *out);
/* Values are written to @values (a counters page's) from now on. */
void dp_counters_move(struct dp *dp, uint64_t *values);
/* Use of endpoints and lanes is written to @slots, COUNTERS_SLOTS of a counters page, from now on. */
void dp_usage(struct dp *dp, struct counters_slot *slots);
/* The values, those of the RoCEv2 engine brought up to date. On the polled thread. */
const uint64_t *dp_counters(struct dp *dp);
/* Index of a counter by name, or -1: for tests and tools. */
int dp_counter_find(const char *name);

#ifdef ATOLL_PLANTED_BUGS
/* Faults that a test build can switch on, to show that the simulation sees them. */
enum dp_planted { DP_PLANTED_NO_FENCE = 1 << 0, DP_PLANTED_LOST_CREDIT = 1 << 1 };
extern unsigned dp_planted;
#endif

/* What must hold between turns; for tests. 0, or a description of the first broken invariant. */
const char *dp_check(const struct dp *dp);
/* Nothing outstanding: no pending request, no chain. For leak checks. */
bool dp_quiet(const struct dp *dp);

#endif
