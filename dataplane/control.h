/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the control side of a dataplane process: attach, memory, administration.
 *
 * A thread of its own serves the control socket, the supervisor's admin socket and the keeper, maps
 * memory before it is published and unmaps it after the core has let go of it. It reaches the polled
 * loop by one command at a time, which the loop executes between two turns; it shares nothing else with
 * it. The polled loop never waits for this thread.
 */
#ifndef ATOLL_DATAPLANE_CONTROL_H
#define ATOLL_DATAPLANE_CONTROL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "dataplane/dp.h"
#include "dataplane/port.h"
#include "ipc/conf.h"
#include "ipc/counters.h"

struct control;

struct control_conf {
	const struct node_conf *node;
	const char *socket; /* path to listen on */
	struct port *port; /* NULL: none; its link is watched */
	int keeper, admin, lifeline;
	int wake; /* event descriptor that wakes the loop */
	int epoll; /* the loop's: processes' wakes are added to it */
};

/* Binds the socket, makes the counters page. 0 or negative errno, with a line on stderr. */
int control_new(struct control **out, const struct control_conf *conf);
/* Fills in the callbacks that the core shall have. */
void control_callbacks(struct control *c, struct dp_conf *conf);
/* @dp: the core that the commands work on. Starts the thread. */
int control_start(struct control *c, struct dp *dp);
/* For the loop: is there a command? Cheap. Then run it. */
bool control_wanted(struct control *c);
void control_run(struct control *c);
/* Has the node come to its end (the supervisor is gone, or asked)? */
bool control_stopped(struct control *c);
void control_stop(struct control *c);
/* After the loop: ends the thread; a command that is open is not executed. Before core and port are freed. */
void control_end(struct control *c);
/* The same, and frees everything. */
void control_delete(struct control *c);

#endif
