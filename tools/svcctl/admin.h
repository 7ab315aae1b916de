/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - the supervisor's side of the admin socket (ipc/admin.h).
 *
 * Requests are sent without waiting; answers come in the same order and are handed on by admin_read.
 * A dataplane that does not answer costs the supervisor nothing but the place in the queue.
 */
#ifndef ATOLL_SVCCTL_ADMIN_H
#define ATOLL_SVCCTL_ADMIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/counters.h"
#include "proto/proto.h"

enum { ADMIN_QUEUE_MAX = 128 };

struct admin {
	int fd; /* -1: no dataplane */
	struct {
		uint16_t op;
		int16_t proc;
	} queue[ADMIN_QUEUE_MAX];
	unsigned head, count;
	uint64_t asked_ns; /* when the oldest was sent */
	bool counters_asked;
	const struct counters_page *counters; /* mapped read-only, or NULL */
};

/* Take over the socket of a new dataplane; forget the old one. -1: there is none. */
void admin_open(struct admin *a, int fd);
/* @proc: given back with the answer. 0; -EAGAIN: no room now; -ENOTCONN. */
int admin_ask(struct admin *a, uint16_t op, int proc, pid_t pid, uid_t uid, const char *name);
/* One answer, if there is one. 0 with op, proc, status and text; -EAGAIN: none; else it has hung up. */
int admin_read(struct admin *a, uint16_t *op, int *proc, struct proto_ctl_reply *reply);

#endif
