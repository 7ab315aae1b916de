/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint_impl.h - inside of an endpoint, shared by endpoint.c (records) and session.c (control
 * socket, regions, reattach).
 */
#ifndef ATOLL_IPC_ENDPOINT_IMPL_H
#define ATOLL_IPC_ENDPOINT_IMPL_H

#include "ipc/channel.h"
#include "ipc/endpoint.h"
#include "ipc/idle.h"

enum {
	EP_REQUESTS = 1024, /* outstanding */
	EP_CHAINS = 1024,
	EP_LANES = 64,
	EP_REGIONS = 64,
	EP_DONE = EP_CHAINS, /* completions kept for the verbs provider */
};

enum ep_state { EP_LIVE, EP_LOST_UNTAKEN, EP_LOST_TAKEN };

/* Something that will be answered. `pos` is where its record starts in the ring: what the dataplane
 * had not taken when it died was never sent. */
struct ep_pending {
	uint64_t cookie;
	uint32_t gen;
	uint32_t pos;
	uint16_t next; /* free list, or the same list while in use */
	uint8_t used;
	uint8_t count; /* verbs of a chain */
	uint16_t lane;
	uint8_t call;  /* atoll_call waits for it */
	uint8_t state; /* enum ep_state */
};

struct ep_lane {
	uint32_t node, depth;
	uint32_t number; /* the dataplane's */
	bool used, open;
};

struct ep_region {
	struct atoll_handle handle;
	void *base;
	uint64_t size, key;
	uint32_t flags;
	bool used;
};

struct atoll_endpoint {
	struct channel ch;
	struct idle idle;
	struct atoll_handlers handlers;
	void *ctx;
	uint32_t source, epoch;
	uint64_t incarnation;
	uint64_t secret; /* resume */
	int sock;	 /* control socket, -1 in a simulation */
	int wake_fd;	 /* write: wakes the dataplane */
	int event_fd;	 /* read end of a pipe: wakes us */
	bool dirty;	 /* published since the last flush */
	bool lost;	 /* the dataplane is gone */
	int broken;	 /* -EPROTO, once the channel made no sense */
	uint64_t checked_ns; /* when the control socket was last looked at */
	uint32_t empty_polls;

	struct ep_pending requests[EP_REQUESTS];
	struct ep_pending chains[EP_CHAINS];
	uint16_t request_free, chain_free;
	uint32_t chains_out; /* not yet completed */

	struct ep_lane lanes[EP_LANES];
	struct ep_region regions[EP_REGIONS];

	/* atoll_call */
	struct proto_msg *call_reply;
	void *call_buf;
	uint32_t call_room;
	bool call_done;

	/* verbs provider */
	struct verbs verbs;
	bool verbs_taken;
	struct verb_completion done[EP_DONE];
	uint32_t done_head, done_tail;

	/* mappings, for unmapping and for remembering over a reattach */
	void *own_map, *peer_map;
	size_t map_size;
	struct atoll_endpoint_conf conf;
	char name[64];
	char path[108];
};

/* An endpoint over two mapped halves, without a control socket: simulations and tests use it as it is,
 * session.c fills in the rest. NULL without memory. */
struct atoll_endpoint *endpoint_new(void);
int endpoint_bind(struct atoll_endpoint *ep, void *own, const void *peer, uint32_t slots,
		  uint32_t arena);
/* The dataplane is gone: mark what it had taken and what not. Before endpoint_bind replaces the
 * channel. Then the fail functions end what was marked: NOT_SENT, or @taken if it had been taken. */
void endpoint_mark_lost(struct atoll_endpoint *ep);
void endpoint_fail_requests(struct atoll_endpoint *ep, uint8_t taken);
void endpoint_fail_chains(struct atoll_endpoint *ep, uint8_t taken);
/* Is the control socket hung up? Sets ep->lost. */
void endpoint_check_lost(struct atoll_endpoint *ep, uint64_t now_ns);
int endpoint_lane_join(struct atoll_endpoint *ep, struct ep_lane *lane, int timeout_ms);

#endif
