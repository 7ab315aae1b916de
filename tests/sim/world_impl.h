/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world_impl.h - inside of the simulated cluster, shared by its files: world.c nodes, time and faults,
 * client.c clients and what is known of their requests and verbs, service.c services and fences.
 */
#ifndef ATOLL_TESTS_SIM_WORLD_IMPL_H
#define ATOLL_TESTS_SIM_WORLD_IMPL_H

#include <string.h>

#include "dataplane/dp.h"
#include "ipc/endpoint_impl.h"
#include "tests/sim/wire.h"
#include "tests/sim/world.h"

enum {
	NODES_MAX = 4,
	CLIENTS_MAX = 6,
	SLOTS = 256,
	SLOTS_NARROW = 64,
	ARENA = 65536,
	OP_GRANT_ME = 0x1f01, /* an opcode that no schema knows: the router passes it on */
	OP_SIM_ECHO = 0x1f02,
	WORDS = 4096,	      /* of a region: one for each identity of a client */
	AREA = 2048,	      /* bytes that each identity writes and reads */
	REGION = (WORDS * 8 + 256 * AREA + 4095) & ~4095,
	IDS = 1 << 16,
	MESSAGES_MIN = 2000,
	VERBS_MIN = 500,
	STEPS_MAX = 4000000,
	WINDOW = 8,
	TRACKED = 512,
	DEFERRED = 128,		   /* requests that a service has put off */
	TOLD_NS = 200000000,	   /* after AGAIN: until then somebody must say that there is room */
	COOKIE_FENCE = 1 << 16,
};

struct half_pair {
	void *own, *peer; /* the dataplane's, the process's */
};

struct world;

/* A process with an endpoint. */
struct proc {
	struct world *w;
	unsigned node;
	uint16_t kind;
	char name[16];
	struct atoll_endpoint *ep; /* NULL: not running */
	struct half_pair halves;
	uint64_t restart_ns;
	bool attached;
};

struct fenced {
	uint32_t word;
	uint64_t value;
};

struct service {
	struct proc p;
	uint8_t *memory;
	struct atoll_handle region;
	bool published;
	uint64_t life; /* rises with each region */
	/* the client that asked last for a grant: candidates for fences */
	struct {
		uint32_t source, epoch, word;
	} known[16];
	unsigned nknown;
	struct {
		uint64_t token, id;
		struct proto_msg request;
		bool used;
	} grants[16]; /* dp.grant asked, the requester not yet answered */
	struct {
		uint64_t token;
		uint32_t id, length;
	} deferred[DEFERRED];
	unsigned ndeferred;
	uint64_t busy_ns; /* it does not look at its ring until then */
	unsigned fence_next;
	uint32_t fence_word[64], fence_epoch[64];
	unsigned fence_client[64];
	struct fenced fenced[64];
	unsigned nfenced;
};

enum client_phase { C_LOOKUP, C_GRANT, C_LANE, C_WORK };

/* What is known of the word that one identity adds to. */
struct ledger {
	uint32_t word;
	uint64_t base;	     /* value when everything before was settled */
	uint64_t ok, doubt;  /* of FAAs since */
	uint64_t next_old;   /* old value that the next OK must have, at least */
};

struct client {
	struct proc p;
	unsigned target; /* node whose service it uses */
	enum client_phase phase;
	struct atoll_handle service, region;
	bool have_region, busy;
	uint64_t life; /* of the service's region that it was granted */
	uint64_t wait_ns;
	uint8_t *local;
	struct atoll_handle local_handle;
	bool published;
	uint32_t lane;
	struct ledger ledger;
	uint8_t pattern; /* of its area, if area_known */
	bool area_known, area_pending;
	/* told AGAIN, and waits for dp.credit: since when, and what must not have changed meanwhile */
	uint64_t again_ns;
	uint64_t again_downs[2]; /* links that went down, here and there */
	struct dp *again_dp[2];
	uint64_t again_life;
	unsigned chains;
	uint32_t faa_out, faa_tail; /* FAAs posted and not ended */
	bool settling; /* the lane is being opened again: then what was in doubt is settled */
	bool mute; /* fenced: start a new identity */
	bool lane_ok;
	bool tidy; /* it closes a lane that has died */
	bool closing;
	uint64_t flap_ns; /* the lane is to be closed then, whatever is under way on it */
	bool linger;	  /* and the next one is to lie idle for a while */
};

/* A request or a chain that is to end once. */
struct track {
	uint8_t open;
	uint8_t kind; /* 0 request, 1 chain */
	uint8_t faas, writes, reads;
	uint8_t faa[3]; /* which verbs add, for each status */
	bool was_known; /* of a WRITE: the area before it */
	uint8_t was;
	uint16_t client;
	uint8_t pattern;
	uint32_t identity;
	uint64_t life;
	struct atoll_handle service;
};

struct node {
	struct dp *dp;
	struct port *port;
	uint64_t restart_ns;
};

struct world {
	uint64_t rng, now, incarnation;
	uint32_t lives; /* of nodes, in epochs */
	struct sim_wire *wire;
	unsigned nodes, nclients;
	struct node node[NODES_MAX + 1];
	struct service service[NODES_MAX + 1];
	struct client client[CLIENTS_MAX];
	uint8_t executed[IDS];
	uint8_t ended[IDS]; /* status + 1 of a request */
	uint32_t next_id, next_word;
	struct track track[TRACKED];
	uint32_t track_at;
	bool draining, calm, narrow;
	bool v6; /* the nodes' addresses */
	bool mixed; /* the nodes' minor versions */
	int verbose;
	const char *broken;
	char text[256];
	struct sim_totals *totals;
	uint64_t messages, verbs;
};

/* world.c */
uint64_t draw(struct world *w);
bool chance(struct world *w, unsigned of_million);
void broken(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool proc_attach(struct proc *p, void *ctx, const struct atoll_handlers *handlers);
/* The process is gone: nobody hears how its requests end. */
void proc_die(struct proc *p);

/* client.c */
void client_start(struct client *c);
void client_act(struct client *c);
/* Everything that the client had under way has ended: what is in its word now is final. */
void ledger_settle(struct client *c);
/* Forget what it waits for: it has died. */
void tracks_drop(struct world *w, unsigned client);
uint8_t payload_byte(uint64_t id, uint32_t i);
/* May a request that ended so have been executed? */
bool executed_ok(uint32_t status);

/* service.c */
void service_start(struct service *s);
/* Fence off one of the clients that were granted the region. */
void service_fence(struct service *s);
void service_revoke(struct service *s);
void fences_check(struct service *s);
/* Answer some of the requests that were put off. */
void service_act(struct service *s);

static inline uint64_t *word_of(struct world *w, unsigned node, uint32_t word)
{
	return (uint64_t *)(void *)w->service[node].memory + word;
}

#endif
