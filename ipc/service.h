/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - the run loop of a service: a table of functions, one thread, one ring.
 *
 * A service is a process with one job. It fills in a struct service_ops and calls service_main, which
 * attaches under the name in $ATOLL_SERVICE (or the name given), polls the ring, descriptors and
 * timers, joins a restarted dataplane, and ends when its supervisor does ($ATOLL_LIFELINE) or on
 * SIGTERM. All functions of the table are called on the one thread. A request may be answered during
 * `message` or later by its token; one that is never answered keeps a place at its sender until the
 * sender's budget, the sender's end, or this service's end.
 */
#ifndef ATOLL_IPC_SERVICE_H
#define ATOLL_IPC_SERVICE_H

#include "ipc/endpoint.h"

enum { SERVICE_FDS_MAX = 16 };

struct service {
	struct atoll_endpoint *ep;
	void *state;	   /* the service's own */
	uint64_t timer_ns; /* monotonic time of the next `timer` call, UINT64_MAX: none */
	uint64_t now_ns;   /* at the start of this turn */
	bool stop;	   /* set: leave the loop after this turn */
	int fds[SERVICE_FDS_MAX];
	unsigned nfds;
	const struct service_ops *ops;
};

/**
 * struct service_ops - what a service does; any but name may be NULL
 * @name: default name.
 * @init: after the first attach. 0 or negative errno, after a line on stderr that says why.
 * @message: a request (m->req_id is the token for atoll_reply). Payload valid during the call.
 * @reply: an answer to an own atoll_request.
 * @granted: a handle was granted (m: dp.granted).
 * @peer_gone: a watched source has ended.
 * @fd: one of the descriptors added with service_fd_add is readable.
 * @poll: once a turn, for what tells of itself by memory; returns how much there was. Must be short.
 * @timer: timer_ns has come; it is UINT64_MAX during the call: set it again if wanted.
 * @completion: a chain of own verbs ended.
 * @reattached: the dataplane was restarted; regions were claimed again, handles of others are void, and
 *	requests that were not answered have gone.
 * @fini: before the process ends; nothing else is called after it.
 */
struct service_ops {
	const char *name;
	int (*init)(struct service *s, int argc, char **argv);
	void (*message)(struct service *s, const struct proto_msg *m, const void *payload);
	void (*reply)(struct service *s, uint64_t cookie, const struct proto_msg *m,
		      const void *payload);
	void (*granted)(struct service *s, const struct proto_msg *m);
	void (*peer_gone)(struct service *s, uint32_t source, uint32_t epoch, uint32_t why);
	void (*fd)(struct service *s, int fd);
	unsigned (*poll)(struct service *s);
	void (*timer)(struct service *s);
	void (*completion)(struct service *s, const struct verb_completion *c);
	void (*reattached)(struct service *s);
	void (*fini)(struct service *s);
};

/* The process's main. Return: its exit status (0 after a wanted end). */
int service_main(const struct service_ops *ops, int argc, char **argv);

/* Sets the endpoint's handlers to call @s->ops: service_main does, and so does a simulation. */
void service_bind(struct service *s, struct atoll_endpoint *ep);

/* Answer with a status, registers and a payload. Waits while the ring is full, which lasts for a turn of the
 * dataplane; returns as atoll_reply. Does nothing for a request that wants no answer. */
int service_reply(struct service *s, const struct proto_msg *request, uint32_t status,
		  const uint64_t *args, unsigned nargs, const void *payload, uint32_t len);

/* Watch a descriptor for reading; 0 or -ENOSPC. */
int service_fd_add(struct service *s, int fd);
void service_fd_remove(struct service *s, int fd);

#endif
