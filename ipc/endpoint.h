/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint.h - a process's end of its channel: attach, requests, replies, regions, verbs.
 *
 * An endpoint belongs to one thread. Nothing here waits unless it says so: requests and chains are
 * written to the ring, atoll_flush rings the doorbell, and atoll_poll hands what came back to the
 * handlers. Each accepted request ends in exactly one reply and each accepted chain in exactly one
 * completion, with a status (proto: enum status) that says what may be assumed.
 *
 * A dataplane may end and be started again under the endpoint. Then atoll_poll returns -ENOTCONN, and
 * atoll_reattach joins the new one: it claims the endpoint's regions, whose contents have stayed, and
 * opens the lanes again, which kills what the old lanes may still have had on the way. Only then the
 * outstanding chains end: NOT_SENT if the old dataplane never took them, else IN_DOUBT. Outstanding
 * requests end NOT_SENT or UNREACHABLE. Handles of services and of others' regions are void: look
 * them up again. Whoever does not want to go on calls atoll_detach, which ends everything UNREACHABLE.
 */
#ifndef ATOLL_IPC_ENDPOINT_H
#define ATOLL_IPC_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/verbs.h"
#include "proto/proto.h"

struct atoll_endpoint;

struct atoll_endpoint_conf {
	const char *socket; /* path of the dataplane's control socket; NULL: $ATOLL_SOCKET */
	const char *name;   /* 1 to 63 bytes; a service's is what others look up */
	uint16_t kind;	    /* CTL_KIND_CLIENT or CTL_KIND_SERVICE */
	uint8_t idle;	    /* enum idle_mode; AUTO follows what the dataplane says of the node */
	uint32_t slots;	    /* ring slots each way, 0 default */
	uint32_t arena;	    /* payload bytes each way, 0 default */
};

/* Memory that verbs can reach: pinned, shared with the dataplane, zero at first. */
struct atoll_region {
	struct atoll_handle handle; /* changes at atoll_reattach */
	void *base;
	uint64_t size; /* bytes */
	uint64_t key;  /* claims the region again */
	uint32_t flags; /* REGION_FLAG_* */
	uint32_t index;
};

/**
 * struct atoll_handlers - what atoll_poll calls, on its own thread
 * @request: (services) a request arrived; m->req_id is the token for atoll_reply. The payload is valid
 *	during the call only.
 * @reply: an own request ended: @cookie as given, m->status says how.
 * @event: m->opcode is dp.granted, dp.peer_gone or dp.credit.
 * @completion: a chain ended.
 * Any may be NULL: then what it would be told is dropped (a request is answered UNSUPPORTED).
 */
struct atoll_handlers {
	void (*request)(void *ctx, const struct proto_msg *m, const void *payload);
	void (*reply)(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload);
	void (*event)(void *ctx, const struct proto_msg *m);
	void (*completion)(void *ctx, const struct verb_completion *c);
};

/**
 * atoll_attach - become an endpoint of the node. Waits, at most two seconds.
 * @err: on failure a sentence that says what is wrong and how to mend it.
 * Return: 0, -ECONNREFUSED or -ENOENT (no dataplane there), -EACCES, -EPROTO, -ETIMEDOUT, -ENOMEM.
 */
int atoll_attach(struct atoll_endpoint **out, const struct atoll_endpoint_conf *conf, char *err,
		 size_t errlen);
/* Ends everything outstanding (UNREACHABLE or NOT_SENT, through the handlers), unmaps, frees. */
void atoll_detach(struct atoll_endpoint *ep);
/* Join the dataplane that was started in place of the one that ended. Waits up to @timeout_ms.
 * 0, or negative errno (-ETIMEDOUT: none came back); then only atoll_detach is left. */
int atoll_reattach(struct atoll_endpoint *ep, int timeout_ms, char *err, size_t errlen);

void atoll_set_handlers(struct atoll_endpoint *ep, const struct atoll_handlers *h, void *ctx);

uint32_t atoll_source(const struct atoll_endpoint *ep); /* node << 24 | endpoint number */
uint32_t atoll_epoch(const struct atoll_endpoint *ep);
uint32_t atoll_node(const struct atoll_endpoint *ep);
uint64_t atoll_incarnation(const struct atoll_endpoint *ep); /* of the dataplane */

/* The own dataplane, as a destination. */
#define ATOLL_DATAPLANE ((struct atoll_handle){0, 0})

/**
 * atoll_request - queue a request.
 * @m: opcode, args, nargs, budget_us, trace_id, flags (0 or MESSAGE_FLAG_ASYNC) are taken from it,
 *	max_reply (payload bytes that the answer may have), length with @payload.
 * Return: 0; -EAGAIN (ring, arena or outstanding table full: poll first); -EINVAL; -ENOTCONN.
 * A reply of status AGAIN means not delivered: send again after the dp.credit event for @dst.
 */
int atoll_request(struct atoll_endpoint *ep, struct atoll_handle dst, const struct proto_msg *m,
		  const void *payload, uint64_t cookie);

/**
 * atoll_reply - (services) answer a request, now or later.
 * @token: its req_id. @m: status, args, nargs, length with @payload.
 * Return: 0; -EAGAIN (own ring full: flush, poll, try again); -EINVAL; -ENOTCONN.
 */
int atoll_reply(struct atoll_endpoint *ep, uint64_t token, const struct proto_msg *m,
		const void *payload);

/* Queue one chain on a lane (atoll_lane_open): as verbs_ops.post. */
int atoll_post(struct atoll_endpoint *ep, uint32_t lane, const struct verb *chain, unsigned n,
	       uint64_t cookie);

/* Ring the doorbell for what was queued. atoll_poll does it too. */
void atoll_flush(struct atoll_endpoint *ep);

/**
 * atoll_poll - deliver up to @budget records to the handlers.
 * Return: how many; -ENOTCONN when the dataplane is gone; -EPROTO when the channel is broken.
 * Handlers may queue requests, replies and chains, but not poll.
 */
int atoll_poll(struct atoll_endpoint *ep, unsigned budget);

/* After a poll that returned 0: spin, yield or sleep as the idle mode says, until something may have
 * come or @timeout_ns passed. */
void atoll_idle(struct atoll_endpoint *ep, uint64_t timeout_ns);
/* For callers with a poll loop of their own: after a poll that returned 0, has the idle strategy come to
 * sleeping (else it has paused or yielded)? Then the descriptors turn readable when there is something,
 * between atoll_sleep_begin (false: do not sleep) and atoll_sleep_end. */
bool atoll_idle_wants_sleep(struct atoll_endpoint *ep);
int atoll_wait_fds(struct atoll_endpoint *ep, int fds[2]);
bool atoll_sleep_begin(struct atoll_endpoint *ep);
void atoll_sleep_end(struct atoll_endpoint *ep);

/**
 * atoll_call - send a request and poll until its reply, at most @timeout_ms. Other records that come
 * in the meantime go to the handlers.
 * @reply: the answer; @buf: where its payload goes, up to m->max_reply bytes.
 * Return: 0 (look at reply->status), -ETIMEDOUT (the request was cancelled), -ENOTCONN, -EINVAL.
 */
int atoll_call(struct atoll_endpoint *ep, struct atoll_handle dst, const struct proto_msg *m,
	       const void *payload, struct proto_msg *reply, void *buf, int timeout_ms);

/* Find a service, "node/service" or "service" on this node. Waits. 0; -ENOENT no such service;
 * -EHOSTUNREACH its node does not answer; -EACCES; -ETIMEDOUT; -ENOTCONN. */
int atoll_lookup(struct atoll_endpoint *ep, const char *name, struct atoll_handle *out,
		 uint32_t *node, int timeout_ms);

/* Open a lane to a node (this one too) with @depth READs and atomics outstanding. Waits. The number
 * stays good over atoll_reattach. 0, -EHOSTUNREACH, -ENOSPC (limit), -ETIMEDOUT, -ENOTCONN. */
int atoll_lane_open(struct atoll_endpoint *ep, uint32_t node, uint32_t depth, uint32_t *lane,
		    int timeout_ms);

/* Close it, also after a loss of the session. What was outstanding on it has completed when this returns,
 * NOT_SENT or IN_DOUBT. Waits. 0, -EINVAL (no such lane), or -ENOTCONN, -ETIMEDOUT, -EHOSTUNREACH: then the
 * other node was not asked, and notices with the client's end at the latest. Its number is free in any case. */
int atoll_lane_close(struct atoll_endpoint *ep, uint32_t lane, int timeout_ms);

/* Regions; through the control socket, they wait up to two seconds. */
int atoll_region_alloc(struct atoll_endpoint *ep, uint64_t size, uint32_t flags,
		       struct atoll_region *out, char *err, size_t errlen);
/* The same, and its memory as a descriptor, for a process of the caller's that shares it and has no ring. The
 * caller closes it. */
int atoll_region_alloc_fd(struct atoll_endpoint *ep, uint64_t size, uint32_t flags,
			  struct atoll_region *out, int *fd, char *err, size_t errlen);
/* A persistent region of an earlier life, by its key. */
int atoll_region_claim(struct atoll_endpoint *ep, uint64_t key, struct atoll_region *out, char *err,
		       size_t errlen);
int atoll_region_free(struct atoll_endpoint *ep, struct atoll_region *region);
/* The region's current handle after a reattach. */
struct atoll_handle atoll_region_handle(const struct atoll_endpoint *ep,
					const struct atoll_region *region);

/* A provider for libraries that work on verbs: its poll delivers only completions, everything else
 * goes to the endpoint's handlers. It takes over the completion handler. */
struct verbs *atoll_verbs(struct atoll_endpoint *ep);

/* The negative errno that fits a status, 0 for OK. */
int atoll_status_errno(uint32_t status);

#endif
