/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - one node's supervisor: starts its processes, restarts what dies, ends what is left.
 *
 * One thread, one poll loop. Each turn reads what has happened (signals, ended processes, answers of
 * the dataplane, requests of `svcctl` commands), then looks at every process and does what its state
 * and the time call for. The keeper's end is the node's end, because its regions are gone. The
 * dataplane's is not: a new one is started and introduced to the keeper, and the services attach to it
 * by themselves.
 *
 * The node ends in phases: services, then the dataplane, then the keeper.
 */
#ifndef ATOLL_SVCCTL_NODE_H
#define ATOLL_SVCCTL_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/conf.h"
#include "tools/svcctl/admin.h"
#include "tools/svcctl/guard.h"
#include "tools/svcctl/proc.h"

enum {
	NODE_KEEPER,
	NODE_DATAPLANE,
	NODE_SERVICE0,
	NODE_PROCS_MAX = NODE_SERVICE0 + CONF_SERVICES_MAX,
	NODE_CLIENTS_MAX = 16,
	NODE_TEXT_MAX = 256,
};

enum node_phase {
	NODE_STARTING, /* not all services were ready yet */
	NODE_UP,
	NODE_STOP_SERVICES,
	NODE_STOP_DATAPLANE,
	NODE_STOP_KEEPER,
	NODE_OVER,
};

/* A `svcctl` command that is connected. */
struct node_client {
	int fd;	  /* -1: free */
	int wait; /* process that it waits for, -1: none */
	bool ended; /* that process has ended since */
	uint64_t until_ns;
};

struct node {
	const struct node_conf *conf;
	const char *file; /* the configuration's path */
	enum node_phase phase;
	struct proc procs[NODE_PROCS_MAX];
	char exec[NODE_PROCS_MAX][CONF_TEXT_MAX + 1];
	struct policy *policy[NODE_PROCS_MAX]; /* NULL: it has no page */
	int filter[NODE_PROCS_MAX];	       /* the page, compiled: a sealed memory file */
	unsigned nprocs;
	struct admin admin;
	struct guard guard;
	int lock, control, signals, keeper_sock, conf_fd;
	int lifeline[2];
	int ready_fd; /* told when the node is up; -1 */
	int while_fd; /* pidfd: the node ends when that process does; -1 */
	struct node_client clients[NODE_CLIENTS_MAX];
	uint64_t started_ns, now_ns, tick_ns, ask_ns;
	bool failed; /* the exit status is not 0 */
	char why[NODE_TEXT_MAX]; /* it ends */
	char warning[NODE_TEXT_MAX];
};

/**
 * node_run - the supervisor, from start to end.
 * @ready_fd: gets "up\n" when every service is ready; closed then. -1: a line on stdout instead.
 * @while_fd: a pidfd, or -1: the node ends, as by SIGTERM, when that process has ended.
 * Return: the exit status. Why it could not start, or ended, is on stderr.
 */
int node_run(const struct node_conf *conf, const char *file, int ready_fd, int while_fd);

const char *node_phase_name(enum node_phase phase);
/* Begin to end the node. @failed: it was not asked to. */
void node_end(struct node *n, bool failed, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int node_proc_find(const struct node *n, const char *name);

/* node_start.c */
/* Absolute paths of all programs, in n->exec. 0, or -ENOENT with a sentence in n->why. */
int node_find_programs(struct node *n);
/* Every program's policy page, read and compiled. 0, or -EINVAL with a sentence in n->why. */
int node_find_policies(struct node *n);
/* Start it now; if that fails, plan it again. */
void node_proc_start(struct node *n, unsigned i);
/* When it is started next: later each time that it did not live long. */
void node_proc_plan(struct proc *p, uint64_t now_ns);

/* control.c: the node's side of svcctl.sock. */
int control_listen(const char *run_dir);
void control_accept(struct node *n);
void control_read(struct node *n, struct node_client *c);
void control_tick(struct node *n);

/* status.c: the whole state as a table or as one JSON object. Allocated; NULL without memory. */
char *status_text(const struct node *n);
char *status_json(const struct node *n);
/* As lines with fields parted by tabs, for snapshot.h: `node NAME STATE UPTIME_MS`, `process NAME STATE PID RESTARTS
 * CORE`, `counter NAME UNIT sum|level VALUE HELP`. */
char *status_lines(const struct node *n);

/* find.c: absolute path of a program of this project, or of a path. 0 or -ENOENT. */
int program_find(const char *name, char *out, size_t len);

#endif
