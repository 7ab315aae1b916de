/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - the sessions of a gpu-exec: who has which process, how much memory, what is unanswered
 *
 * A session is a client's: bound to its source and epoch, which the dataplane stamps. It begins in steps
 * that are answered at any time and in any order: the bounce region is granted, the client is watched, the
 * worker has opened its device; then gpu.open is answered. Batches are handed down in the order of their
 * seq and answered in it. It ends by gpu.close, by the end of its client, by the end of its worker, or by
 * that of the dataplane: then the worker is killed, and what it had is counted as free once it is gone.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_SESSION_H
#define ATOLL_SERVICES_GPU_EXEC_SESSION_H

#include "ipc/service.h"
#include "services/gpu-exec/worker.h"

enum {
	SESSIONS_MAX = 48,	   /* each has a region */
	SESSION_BATCHES_MAX = 64,  /* unanswered of one session; the client keeps to fewer */
	SESSION_BOUNCE = 4 << 20,  /* bytes */
	SESSION_LEASE = 64 << 20,  /* bytes, at first */
	SESSION_NURSERY = 0,	   /* in place of a session's number: the nursery's socket */
};

enum session_state {
	SESSION_FREE,
	SESSION_OPENING,
	SESSION_UP,
	SESSION_ENDING, /* its process is killed and not yet reaped */
};

enum session_step { /* of opening, that are not done */
	STEP_GRANT = 1,
	STEP_WATCH = 2,
	STEP_WORKER = 4,
};

struct session_batch { /* handed down, or waiting for room in the socket */
	struct proto_msg request;
	uint64_t seq;
	uint8_t *calls; /* NULL: handed down */
};

struct session {
	enum session_state state;
	uint32_t number; /* life << 8 | index */
	uint32_t source, epoch;
	char program[64];
	uint8_t todo; /* enum session_step */
	struct proto_msg open, close;
	bool closing; /* `close` waits for its answer */
	struct atoll_region bounce;
	struct worker_page *page;
	uint64_t answers; /* read */
	int socket;
	uint32_t pid; /* as it says */
	bool gone;    /* its process is */
	bool blocked; /* the socket is full */
	uint64_t seq; /* of the next batch */
	struct session_batch batch[SESSION_BATCHES_MAX];
	unsigned first, count;
	uint64_t leased, opened_ns;
};

struct gpu_exec {
	const struct gpu_device_ops *ops;
	uint64_t memory, session_memory; /* bytes */
	uint64_t kernel_ns;		 /* of the null device */
	unsigned sessions_max, cores, capability, share;
	int epoll, nursery;
	uint64_t leased;
	uint32_t life;
	unsigned open; /* sessions whose workers may say something */
	struct session session[SESSIONS_MAX];
};

/* gpu.open. Answers it, at once or later. */
void session_open(struct service *s, const struct proto_msg *m, const void *payload);
/* The other requests. */
void session_message(struct service *s, const struct proto_msg *m, const void *payload);
/* An answer of the dataplane to a step. */
void session_step(struct service *s, uint64_t cookie, const struct proto_msg *m);
/* Reads what the workers have said; how much. With @wait its descriptors are looked at, too. */
unsigned session_poll(struct service *s, bool look);
void session_peer_gone(struct service *s, uint32_t source, uint32_t epoch);
/* Ends all, at once. */
void session_end_all(struct service *s);
/* Reaps what has ended. True: there is more to come. */
bool session_reap(struct service *s);

#endif
