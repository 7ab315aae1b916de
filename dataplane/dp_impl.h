/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dp_impl.h - the core's state, shared by its files. One idea each: core.c the loop and endpoints,
 * handle.c handles and regions, route.c requests and replies, ops.c what the dataplane itself answers,
 * lane.c verbs, link.c other nodes, fence.c fencing, trace.c trace ring and counters.
 *
 * Everything is private memory of the polled thread.
 */
#ifndef ATOLL_DATAPLANE_DP_IMPL_H
#define ATOLL_DATAPLANE_DP_IMPL_H

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "dataplane/dp.h"
#include "dataplane/netif.h"
#include "dataplane/roce/roce.h"
#include "ipc/channel.h"
#include "proto/proto.h"

enum {
	DP_NONE = 0xffffffff,
	DP_DRAIN_SLOTS = 4,	 /* kept free in an endpoint's ring for the answer to its next record */
	DP_DRAIN_BYTES = 8192,
	DP_REPLY_SLOTS = 4,	 /* reserved for one reply */
	DP_BUDGET = 8,		 /* records of one endpoint a turn: then its peer has work while the rest is taken */
	DP_PORT_BUDGET = 8,	 /* packets sent a turn: a stream holds up others by a few microseconds */
	DP_INPUT_BUDGET = 8,	 /* packets received before rings are looked at */
	DP_SLICE = 65536,	 /* bytes of a local verb between polls */
	DP_LOOK_MIN_NS = 1000000,   /* who has no room is looked at again after so long, */
	DP_LOOK_MAX_NS = 50000000,  /* or as long as that has lasted, but no longer than this */
	DP_IDLE_AFTER_NS = 1000000, /* then an endpoint is polled in turn with the other idle ones */
	DP_REQUESTS_MAX = 1024, /* of one endpoint outstanding; so many its library keeps count of */
	DP_CHAINS_OF_ONE = 1024,
	LINK_MSG_MAX = PROTO_SLOTS_MAX * PROTO_SLOT_SIZE + PROTO_PAYLOAD_MAX,
	LINK_BUF = LINK_MSG_MAX,
	LINK_BUFS = 512,
	LINK_BUFS_SPARE = 64,	/* kept for what links themselves say */
	LINK_REQUESTS = 256,	/* of one peer outstanding here */
	LINK_RESPONDERS = 1024, /* lanes of one peer's clients: a quarter of what the device has */
	DP_RX_QUEUE = 1 << 19,	/* bytes of received link messages waiting for the loop */
	DP_MADS = 64,
	DP_TICK_NS = 50000, /* between looks at links' timers */
};

enum dp_counter {
	DPC_TURNS, DPC_BUSY_TURNS, DPC_MESSAGES, DPC_REPLIES, DPC_EVENTS, DPC_VERBS, DPC_CHAINS,
	DPC_COMPLETIONS, DPC_ENDPOINTS, DPC_REGIONS, DPC_ATTACHED, DPC_CLOSED, DPC_POISONED,
	DPC_BAD_MESSAGE, DPC_BAD_HANDLE, DPC_NO_RIGHT, DPC_RANGE, DPC_ALIGN, DPC_FENCED, DPC_AGAIN,
	DPC_FORGED_SOURCE, DPC_BAD_REPLY, DPC_BAD_VERB, DPC_BAD_RING, DPC_TIMED_OUT, DPC_CANCELLED,
	DPC_PEER_DIED, DPC_UNREACHABLE, DPC_LINKS_UP, DPC_LINK_UPS, DPC_LINK_DOWNS, DPC_LINK_BAD,
	DPC_LINK_TX, DPC_LINK_RX, DPC_HEARTBEATS, DPC_LANES, DPC_FENCES, DPC_REVOKES, DPC_GRANTS,
	DPC_GRANTS_LOST, DPC_LIMIT, DPC_QUOTA_LANES, DPC_QUOTA_REQUESTS, DPC_QUOTA_CHAINS,
	DPC_QUOTA_CREDITS, DPC_STALLS, DPC_EVENTS_LATE, DPC_WAKES, DPC_CM_REJECTS, DPC_MAX_TURN_NS,
	DPC_OWN_COUNT,
	DPC_COUNT = DPC_OWN_COUNT + ROCE_C_COUNT + (int)NETIF_STATS,
};

/* ---------------------------------------------------------------- handles and regions */

/* One right, in an endpoint's table. */
struct dp_handle {
	uint32_t gen;
	uint8_t object; /* enum object, 0: free */
	uint8_t rights;
	uint8_t node;	/* that the object is on */
	uint8_t again;	/* its user was told AGAIN and waits for dp.credit */
	uint32_t index; /* endpoint number, or region index of this node, or next free */
	uint32_t id;	/* endpoint's epoch, or region's generation, or a remote region's rkey */
	uint64_t size;	/* of a region */
};

struct dp_region {
	uint32_t gen; /* 20 bits; part of the rkey */
	uint32_t endpoint, epoch; /* owner */
	uint32_t refs; /* chains that work on it */
	uint8_t *base;
	uint64_t size, key;
	bool used, closing;
	uint32_t own_slot;  /* owner's handle */
	uint8_t exported[256]; /* rights given to each node */
};

static inline uint32_t region_rkey(uint32_t index, uint32_t gen)
{
	return index << 20 | (gen & 0xfffff);
}

/* ---------------------------------------------------------------- requests */

enum dp_party { PARTY_NONE, PARTY_ENDPOINT, PARTY_NODE, PARTY_SELF };
enum dp_job { JOB_FORWARD, JOB_LOOKUP, JOB_LANE_OPEN, JOB_LANE_CLOSE, JOB_GRANT, JOB_PING };

struct dp_list {
	uint32_t prev, next;
};

/* A request that has not been answered. Its token (gen << 32 | index) names it to whoever answers. */
struct dp_pending {
	uint32_t gen;
	uint8_t from, to;     /* enum dp_party */
	uint8_t job;	      /* enum dp_job */
	uint8_t used;
	uint16_t user; /* number of the one that it is charged to, and one; 0: none */
	uint16_t opcode;
	uint16_t max_reply;
	uint32_t from_index; /* endpoint number or node */
	uint32_t from_epoch;
	uint32_t to_index;
	uint32_t to_epoch;
	uint64_t from_id; /* req_id of the origin */
	uint32_t to_handle; /* endpoint at a remote node: whose credit is used; job: lane number */
	uint32_t trace_id;
	uint64_t deadline_ns; /* 0: none */
	struct dp_list by_from, by_to; /* on the lists of origin and target */
};

/* ---------------------------------------------------------------- verbs */

enum lane_state { LANE_FREE, LANE_OPENING, LANE_OPEN, LANE_DEAD };

enum qp_role { QP_LINK, QP_LANE, QP_RESPONDER };

/* What a roce_qp belongs to: the first member of link, lane and responder. */
struct dp_qp {
	uint8_t role; /* enum qp_role */
	struct roce_qp *qp;
};

/* One client's ordered stream of verbs to a node. */
struct dp_lane {
	struct dp_qp q;
	uint8_t state;
	uint8_t node;
	bool doomed; /* its QP failed: to be destroyed after the engine returned */
	uint8_t dead_status; /* what verbs posted to a dead lane get; FENCED: what was under way is in doubt */
	uint16_t number;
	uint32_t endpoint;
	uint32_t peer_qpn;
	uint32_t depth;
	uint32_t head, tail; /* local lane: queue of chains, by dp_chain.next */
	bool busy;
	struct dp_lane *busy_next;
	/* what it has done, see usage.c; one chain at a time is followed for how long they take */
	uint64_t chains, ended, verbs, bytes;
	uint32_t followed; /* its number, and one; 0: none */
	uint64_t followed_ns, latency_ns;
};

/* The responder's side of a remote client's lane. */
struct dp_responder {
	struct dp_qp q;
	uint8_t node;
	bool doomed;
	uint32_t source, epoch;
	struct dp_responder *next, **prev; /* list of the link */
};

struct dp_chain {
	uint32_t gen;
	uint32_t endpoint, epoch; /* endpoint DP_NONE: its owner has gone */
	uint16_t lane, user;
	uint8_t used, count, sent, done;
	uint64_t cookie;
	uint8_t status[PROTO_CHAIN_MAX];
	uint32_t next; /* queue of a local lane, or free list */
	uint32_t region[PROTO_CHAIN_MAX]; /* local region held by each verb */
	/* of a local lane only; the engine has what it needs of the others */
	uint64_t progress; /* bytes of verb `done` already copied */
	struct verb verb[PROTO_CHAIN_MAX];
	uint32_t remote_region[PROTO_CHAIN_MAX]; /* region worked on, */
	uint32_t remote_gen[PROTO_CHAIN_MAX];	 /* and its generation */
};

/* ---------------------------------------------------------------- endpoints */

/* What the endpoints of one user have together. Free when all of it is 0. */
struct dp_user {
	uint32_t uid;
	bool trusted;
	uint32_t endpoints, lanes, requests, chains;
	struct dp_quota quota;
};

struct dp_endpoint {
	uint32_t index, epoch;
	uint16_t kind;
	uint16_t user; /* its number */
	uint32_t uid, pid;
	char name[64];
	struct channel ch;
	int wake_fd;
	void *cookie;
	bool dirty;   /* published since its last wake check */
	bool woken;   /* it was, for more than the woken_at slots that it had consumed */
	uint32_t woken_at;
	bool poison;  /* to be closed at the end of the turn */
	bool fenced;  /* its verbs on regions of this node are refused */
	uint64_t stalled_ns; /* since when it has not been served: it does not read what it is given; 0: it is */
	bool again;   /* a local sender was told AGAIN for want of room here */
	uint64_t again_ns; /* since when */
	uint8_t again_nodes[32]; /* ... or a remote one: bitmap of nodes */
	uint8_t waits; /* some handle of its own is marked again */
	bool idle;
	uint64_t active_ns;
	struct dp_endpoint *prev, *next; /* active or idle list */

	struct dp_handle *handles;
	uint32_t nhandles, free_handle;
	uint32_t *granted; /* (source, epoch) pairs that regions were granted to */
	uint32_t ngranted;
	uint32_t *watched; /* (source, epoch) pairs */
	uint32_t nwatched;
	uint32_t *events; /* (source, epoch, why) of peer_gone that found no room */
	uint32_t nevents;

	struct dp_list from_list, to_list; /* heads: pendings that it asked, and that it shall answer */
	uint32_t nasked, nchains;	   /* of its own, not yet ended */
	uint64_t messages, chains, verbs, bytes; /* so far */

	struct dp_lane *lanes[DP_LANES_MAX];
	/* the chain that is being read from the ring */
	struct verb build[PROTO_CHAIN_MAX];
	uint8_t build_status[PROTO_CHAIN_MAX];
	uint8_t build_count;
	uint8_t build_ready; /* complete, waits for room on its lane */
	uint16_t build_lane;
	uint64_t build_cookie;
};

/* ---------------------------------------------------------------- links */

enum link_state { LINK_DOWN, LINK_REQ_SENT, LINK_REP_SENT, LINK_UP };

struct link_buf {
	uint32_t len;
	uint32_t next;
	uint8_t data[LINK_BUF];
};

/* Credits for one service of the peer. */
struct link_service {
	uint32_t endpoint, epoch, credits, used;
	uint16_t by_user[DP_USERS_MAX]; /* of those used */
};

struct dp_link {
	struct dp_qp q;
	struct dp *dp;
	struct dp_peer_conf peer;
	uint8_t state;
	bool doomed;
	bool active; /* we send REQ */
	uint64_t peer_incarnation; /* of the link that is or was up */
	uint64_t fences_of;	   /* incarnation whose clients' fences are kept */
	uint32_t peer_qpn, mtu;
	uint32_t local_comm, remote_comm;
	uint64_t tid;
	uint32_t retries;
	uint64_t next_ns;  /* next REQ or heartbeat */
	uint64_t heard_ns; /* last packet of the peer's */
	uint64_t beat;
	uint32_t peer_heartbeat_ms;
	uint32_t features; /* that both ends have */
	struct link_buf *bufs;
	uint32_t free_buf, nfree;
	uint32_t open_buf; /* being filled */
	uint32_t requests_here; /* outstanding here on behalf of the peer */
	struct link_service services[64];
	uint32_t nservices;
	struct dp_list from_list, to_list;
	struct dp_responder *responders;
	uint32_t nresponders;
	char cause[64];
};

struct fence_entry {
	uint32_t source, epoch;
};

struct dp {
	struct dp_conf conf;
	uint64_t now, incarnation, rng;
	uint64_t next_tid; /* of attempts at links */
	uint32_t epoch; /* of the last attach */
	struct port *port;
	struct netif *nif;
	struct roce_dev *roce;

	struct dp_endpoint *endpoints[DP_ENDPOINTS_MAX];
	struct dp_endpoint *active, *idle, *idle_next;
	uint32_t nendpoints;

	struct dp_user users[DP_USERS_MAX];

	struct dp_region regions[DP_REGIONS_MAX];

	struct dp_pending *pending;
	uint32_t free_pending, npending;
	bool answered; /* a link request was, this turn: the other dataplane waits for it */
	bool ping_out; /* dp_ping's message is not answered yet */
	bool delivered; /* the last turn gave a process the last of what it waited for */
	bool used;	/* the last turn did something for a process of any node */
	bool dirty;   /* something was put on some endpoint's ring, this turn */
	bool talks;   /* some link may have a message that was not given to the engine */
	bool full;    /* some endpoint had no room for what was sent to it */
	bool waiting; /* some endpoint waits for dp.credit */
	uint32_t ndeadlines;
	uint64_t deadline_scan_ns;

	struct dp_chain *chains;
	uint32_t free_chain, nchains;
	struct dp_lane *busy_head, *busy_tail; /* local lanes with chains queued, served in turn */

	struct dp_link *links[256]; /* by node */
	struct dp_link *link_list[DP_PEERS_MAX];
	uint32_t nlinks;
	uint64_t ticked_ns;
	uint64_t sleep_until; /* when the loop means to wake from its last sleep */
	bool doomed; /* some QP or endpoint is to be destroyed */
	uint8_t *rx; /* received link messages: {u8 node, u32 len} and data, 8-aligned */
	uint32_t rx_len;
	struct {
		struct ip_addr address;
		uint32_t len;
		uint8_t mad[256];
	} mads[DP_MADS];
	uint32_t nmads;

	struct fence_entry *fences;
	uint32_t nfences;

	uint8_t *trace;
	uint32_t trace_mask;
	uint64_t trace_pos;
	struct proto_recorder_entry *recorder; /* NULL: none */
	uint32_t recorder_mask, recorder_pos;

	uint64_t *counters;
	uint64_t own_counters[DPC_COUNT];
	struct counters_slot *slots; /* NULL: nobody wants them */
	uint32_t slots_used;
	uint64_t usage_ns; /* when they were written */
};

static inline void dp_count(struct dp *dp, enum dp_counter c)
{
	counter_add(&dp->counters[c], 1);
}

uint64_t dp_random(struct dp *dp);
static inline struct dp_user *dp_user_of(struct dp *dp, const struct dp_endpoint *ep)
{
	return &dp->users[ep->user];
}

/* Has it as much as its quota allows? Counted. */
static inline bool dp_over(struct dp *dp, uint32_t has, uint32_t quota, enum dp_counter c)
{
	if (!quota || has < quota)
		return false;
	dp_count(dp, c);
	return true;
}

void dp_log(struct dp *dp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline uint32_t dp_source(const struct dp *dp, uint32_t endpoint)
{
	return (uint32_t)dp->conf.node << 24 | endpoint;
}

/* core.c */
struct dp_endpoint *endpoint_get(struct dp *dp, uint32_t index, uint32_t epoch);
/* Close at the end of the turn: a reason for the log. */
void endpoint_poison(struct dp *dp, struct dp_endpoint *ep, const char *why);
/* Room in its ring beside what is reserved? Poisons it when its counts make no sense. */
bool endpoint_room(struct dp *dp, struct dp_endpoint *ep, uint32_t slots, uint32_t bytes);
/* Put a message on its ring; room was checked. @payload copied. */
void endpoint_push(struct dp *dp, struct dp_endpoint *ep, struct proto_msg *m, const void *payload);
/* An event; false when there is no room. */
bool endpoint_event(struct dp *dp, struct dp_endpoint *ep, uint16_t opcode, const uint64_t *args,
		    unsigned nargs);
void endpoint_peer_gone(struct dp *dp, struct dp_endpoint *ep, uint32_t source, uint32_t epoch,
			uint32_t why);
void endpoint_activate(struct dp *dp, struct dp_endpoint *ep);
struct dp_endpoint *service_find(struct dp *dp, const char *name);
/* Tell local watchers that a source has ended. */
void source_gone(struct dp *dp, uint32_t source, uint32_t epoch, uint32_t why);

/* handle.c */
int handle_new(struct dp_endpoint *ep, const struct dp_handle *h, struct atoll_handle *out);
struct dp_handle *handle_get(struct dp_endpoint *ep, uint32_t slot, uint32_t gen);
void handle_free(struct dp_endpoint *ep, uint32_t slot);
struct dp_region *region_get(struct dp *dp, uint32_t index, uint32_t gen);
void region_put(struct dp *dp, uint32_t index); /* a reference ends */
uint8_t region_revoke(struct dp *dp, struct dp_endpoint *ep, struct atoll_handle h, uint32_t *gen);
void regions_of_close(struct dp *dp, uint32_t endpoint, uint32_t epoch);

/* route.c */
void route_message(struct dp *dp, struct dp_endpoint *ep, const void *slots, unsigned n);
void route_link_message(struct dp *dp, struct dp_link *l, struct proto_msg *m, const void *payload);
struct dp_pending *pending_new(struct dp *dp, uint64_t *token);
struct dp_pending *pending_find(struct dp *dp, uint64_t token);
void pending_link_from(struct dp *dp, struct dp_pending *p, struct dp_list *head);
void pending_link_to(struct dp *dp, struct dp_pending *p, struct dp_list *head);
/* End it without an answer to the origin. */
void pending_drop(struct dp *dp, struct dp_pending *p);
/* Answer the origin and end it. */
void pending_answer(struct dp *dp, struct dp_pending *p, struct proto_msg *reply, const void *payload);
void pending_fail(struct dp *dp, struct dp_pending *p, uint8_t status);
/* The same, and tell the node that works on it. */
void pending_cancel(struct dp *dp, struct dp_pending *p, uint8_t status);
void pendings_of_gone(struct dp *dp, struct dp_list *from, struct dp_list *to, uint8_t status);
/* Fail it TIMED_OUT unless it is answered in @budget_us; 0: never. */
void pending_deadline(struct dp *dp, struct dp_pending *p, uint32_t budget_us);
void pending_deadlines(struct dp *dp);
/* Answer a record of @ep that never became a pending request. */
void reply_now(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m, uint8_t status,
	       const uint64_t *args, unsigned nargs, const void *payload, uint32_t len);
void list_init(struct dp_list *head);
/* Room came back at (node, endpoint), or at all of a node (DP_NONE): tell who waits. */
void credit_arrived(struct dp *dp, uint8_t node, uint32_t endpoint);
void pending_init(struct dp *dp);
struct dp_pending *pending_first_from(struct dp *dp, const struct dp_list *head);
struct dp_pending *pending_first_to(struct dp *dp, const struct dp_list *head);

/* ops.c */
void ops_request(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m,
		 const void *payload);
uint8_t ops_grant_local(struct dp *dp, struct dp_endpoint *to, const struct dp_handle *h,
			uint64_t tag);

/* lane.c */
bool chain_take(struct dp *dp, struct dp_endpoint *ep, const void *slots, unsigned n);
/* Submit the finished chain; false: no room on its lane yet. */
bool chain_submit(struct dp *dp, struct dp_endpoint *ep);
void lane_complete(struct dp *dp, struct dp_lane *l, uint64_t cookie, uint8_t status);
struct dp_lane *lane_new(struct dp *dp, struct dp_endpoint *ep, uint8_t node, uint32_t depth);
/* No chain of it is outstanding after this, and none can execute after a lane that is opened later. */
void lane_kill(struct dp *dp, struct dp_lane *l, uint8_t dead_status);
void lane_close_remote(struct dp *dp, uint8_t node, uint32_t endpoint, uint32_t qpn);
void lane_free(struct dp *dp, struct dp_endpoint *ep, struct dp_lane *l);
unsigned lanes_local_run(struct dp *dp);
void lanes_of_node_down(struct dp *dp, uint8_t node, uint8_t dead_status);
int lane_ready(struct dp *dp, struct dp_lane *l, struct dp_link *k, uint32_t qpn, uint32_t psn,
	       uint32_t depth, uint32_t mtu);
void chain_init(struct dp *dp);

/* fence.c */
bool fence_hit(const struct dp *dp, uint32_t source, uint32_t epoch);
uint8_t fence_source(struct dp *dp, uint32_t source, uint32_t epoch);
/* The node was started again: its earlier clients are gone for good, and their numbers are free. */
void fences_forget(struct dp *dp, uint8_t node);

/* link.c */
int links_init(struct dp *dp);
void links_free(struct dp *dp);
void links_tick(struct dp *dp); /* every DP_TICK_NS */
uint64_t links_next_timer(const struct dp *dp);
void link_flush(struct dp *dp, struct dp_link *l);
/* Hand what links have to say, and whatever else is ready, to the port. Not from the engine's callbacks. */
unsigned links_output(struct dp *dp);
/* Is there a buffer beside those that answers will need? @urgent: the spare ones may be used. */
bool link_can_send(const struct dp_link *l, bool urgent);
/* May one more request of the peer be taken: will there be a buffer for its answer? */
bool link_may_accept(const struct dp_link *l);
/* Never waits and never drops: a link that has no buffer left for what must be said goes down. */
void link_send(struct dp *dp, struct dp_link *l, struct proto_msg *m, const void *payload);
uint64_t link_timeout_ns(const struct dp *dp); /* of one try */
/* What arrived during the engine's turn. */
unsigned links_run(struct dp *dp);
void link_down(struct dp *dp, struct dp_link *l, const char *why);
struct dp_link *link_get(struct dp *dp, uint32_t node); /* NULL unless up */
struct link_service *link_service_get(struct dp_link *l, uint32_t endpoint, uint32_t epoch,
				      bool make);
void responder_free(struct dp *dp, struct dp_responder *r);
/* Destroy the QPs that failed during the engine's turn. */
void doomed_reap(struct dp *dp);
extern const struct roce_host dp_roce_host;

/* linkops.c: requests between dataplanes */
void linkops_request(struct dp *dp, struct dp_link *l, const struct proto_msg *m,
		     const void *payload);
/* The peer answered a request of this dataplane's own. */
void linkops_answer(struct dp *dp, struct dp_link *l, struct dp_pending *p, struct proto_msg *m);

/* usage.c */
void usage_publish(struct dp *dp);
void usage_tick(struct dp *dp);

/* trace.c. A build without trace points is what their cost is measured against. */
#ifdef ATOLL_NO_TRACE
enum { TRACE_BUILT = 0 };
#else
enum { TRACE_BUILT = 1 };
#endif

static inline bool dp_traced(const struct dp *dp)
{
	return TRACE_BUILT && dp->trace;
}

/* One entry, past the cache where that can be: nobody reads it soon, and it would push out what is in use.
 * @rest: endpoint, seq and point, as they stand behind the time. */
static inline void recorder_write(struct proto_recorder_entry *e, uint64_t time_ns, uint64_t rest,
				  const void *record)
{
#ifdef __SSE2__
	__m128i *to = (__m128i *)(void *)e;
	const __m128i *from = record;

	_mm_stream_si128(to, _mm_set_epi64x((long long)rest, (long long)time_ns));
	for (int i = 0; i < 3; i++)
		_mm_stream_si128(to + 1 + i, _mm_loadu_si128(from + i));
#else
	e->time_ns = time_ns;
	e->endpoint = (uint32_t)rest;
	e->point = (uint8_t)(rest >> 48);
	memcpy(e->record, record, sizeof(e->record));
	__atomic_store_n(&e->seq, (uint16_t)(rest >> 32), __ATOMIC_RELEASE);
#endif
}

/* The flight recorder, always on: a record is noted once, where it enters the dataplane or is made by it;
 * that costs a cache line written. @record: 48 bytes, which the header
 * slot of any record and the beginning of struct proto_msg are. */
static inline void recorder_note(struct dp *dp, enum proto_trace_point point, uint32_t endpoint,
				 const void *record)
{
	struct proto_recorder_entry *e;

	if (!TRACE_BUILT || !dp->recorder)
		return;
	e = &dp->recorder[dp->recorder_pos++ & dp->recorder_mask];
	recorder_write(e, dp->now, (uint64_t)endpoint | (uint64_t)(uint16_t)dp->recorder_pos << 32 |
					   (uint64_t)point << 48, record);
}

void trace_publish(struct dp *dp);
void trace_record(struct dp *dp, enum proto_trace_point point, uint32_t endpoint, uint32_t peer,
		  const void *slots, unsigned n, const void *payload, uint32_t len);
/* A message off @ep's ring; m->src is who that is. */
void trace_from_ring(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m,
		     const void *slots, unsigned n, const void *payload);
void trace_message(struct dp *dp, enum proto_trace_point point, uint32_t endpoint, uint32_t peer,
		   const struct proto_msg *m, const void *payload);
void status_count(struct dp *dp, uint8_t status);

#endif
