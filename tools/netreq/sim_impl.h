/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_impl.h - inside of the simulation: what waits where. sim.c has the events and the network, sim_device.c
 * the service's and the device's side.
 */
#ifndef ATOLL_TOOLS_NETREQ_SIM_IMPL_H
#define ATOLL_TOOLS_NETREQ_SIM_IMPL_H

#include "tools/netreq/sim.h"

enum event_kind {
	EV_CALL,      /* a thread makes its next call */
	EV_PUSHED,    /* a call's messages are in the queue for the wire */
	EV_WIRE_OUT,  /* the wire out is free again */
	EV_ARRIVED,   /* a message is at the service */
	EV_SERVED,    /* the service has taken it */
	EV_DEVICE,    /* a piece of work has ended */
	EV_WIRE_IN,   /* the wire back is free again */
	EV_ANSWERED,  /* an answer is at the client */
};

struct event {
	double at;
	uint64_t order; /* of what happens at the same time */
	uint32_t client, call;
	uint32_t part;	/* message of the call */
	uint8_t kind;
};

/* What becomes of one call. */
struct state {
	uint32_t parts;	  /* messages that it takes */
	uint32_t came;	  /* that the service has taken */
	uint32_t sent;	  /* that the service has answered */
	uint32_t answered; /* whose answer is at the client */
	uint32_t next;	      /* in its stream: 1 + call */
	uint32_t waiters;     /* calls that wait for this one's end on the device: first, 1 + call */
	uint32_t waits_next;  /* among them */
	uint32_t work;	      /* number of its work among the client's */
	bool given, done;     /* to the device, by the device */
	bool ready;	      /* its answers may go */
	bool work_ended;      /* of the work with the number of this entry, not of this call */
};

struct stream {
	uint32_t head, tail; /* 1 + call */
	bool busy;	     /* its head runs or waits for a slot or another stream */
};

/* A message or an answer that waits; or work that waits, with its client in place of the part. */
struct outgoing {
	uint32_t call, part;
};

struct queue {
	struct outgoing *ring;
	size_t head, tail, room;
};

/* Bytes that are on the way until their acknowledgement is back. */
struct flight {
	double back_at, bytes;
};

struct wire {
	bool busy;
	double time;   /* that it was busy */
	uint32_t turn; /* whose packet is next */
	double bytes;  /* on the way */
	struct flight *ring;
	size_t head, tail, room;
};

struct client {
	const struct trace *t;
	uint32_t *order, *next, *last; /* calls by thread: as model.c has them */
	double *cpu;
	struct state *states;
	struct stream *streams;
	struct queue out, in; /* messages that wait for the wire out, answers for the wire back */
	uint64_t unanswered;
	uint32_t *all; /* calls that wait for every stream */
	size_t nall;
	uint32_t works, ended; /* pieces of work given to the device; of the first, so many have ended */
	double start, end;
	uint32_t running; /* threads that have calls left */
};

struct service_wait {
	struct event e;
	double since;
};

struct sim {
	const struct sim_conf *conf;
	struct sim_result *result;
	struct client *clients;
	struct event *heap;
	size_t nevents, room;
	uint64_t order, rng;
	double now;
	struct wire out, in;
	bool service_busy;
	double service_time, device_time, wait_time;
	uint64_t waiting_out;
	struct service_wait *at_service;
	size_t serve_head, serve_tail, serve_room;
	struct queue slots; /* work that waits for a slot */
	unsigned running; /* on the device */
	int error;
};

void sim_at(struct sim *s, double at, enum event_kind kind, uint32_t client, uint32_t call, uint32_t part);
/* Room for one more at the end of a ring of *@room entries of @size bytes: the ring, which may have moved, or
 * NULL, and s->error is set. */
void *sim_ring_room(struct sim *s, void *ring, size_t size, size_t *head, size_t *tail, size_t *room);
void sim_queue_add(struct sim *s, struct queue *q, struct outgoing o);
/* An answer to message @part of the call may go. */
void sim_answer(struct sim *s, uint32_t client, uint32_t call, uint32_t part);

/* sim_device.c */
void sim_arrived(struct sim *s, const struct event *e);
void sim_served(struct sim *s, const struct event *e);
void sim_device_ended(struct sim *s, const struct event *e);

#endif
