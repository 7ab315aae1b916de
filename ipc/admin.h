/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - what a supervisor and the dataplane that it started have in common.
 *
 * The supervisor starts `atoll-dataplane FILE` with three descriptors: the configuration file, open
 * for reading (the path in argv[1] is for messages only; the process may no longer be able to open
 * it), a socket to the keeper (ipc/keeper.h), and the admin socket. Over the admin socket the
 * supervisor sends struct proto_ctl_request and gets one struct proto_ctl_reply for each, in order:
 *
 *   ADMIN_SERVICE  pid, name: that process, and no other, may claim the name. Sent before the
 *                  process runs the service's program; a later one for the same name replaces it.
 *   ADMIN_STATUS   name empty: OK when the loop turns. With a name: OK when a service of that name
 *                  is attached, NOT_FOUND when it is not.
 *   COUNTERS       a read-only memory file with the counters page beside the answer.
 *
 * When the admin socket hangs up, or the descriptor in $ATOLL_LIFELINE does, the node is over and the
 * dataplane ends. A restarted dataplane gets new sockets; svcctl tells it of the services again.
 */
#ifndef ATOLL_IPC_ADMIN_H
#define ATOLL_IPC_ADMIN_H

enum {
	ADMIN_FD_CONF = 3,
	ADMIN_FD_KEEPER = 4,
	ADMIN_FD_ADMIN = 5,
	ADMIN_FD_LIFELINE = 6, /* of every process of a node; its number is in ADMIN_ENV_LIFELINE */
	KEEPER_FD_SUPERVISOR = 3,
};

#define ADMIN_ENV_SOCKET "ATOLL_SOCKET"	    /* path of the dataplane's control socket */
#define ADMIN_ENV_SERVICE "ATOLL_SERVICE"   /* a service's name */
#define ADMIN_ENV_LIFELINE "ATOLL_LIFELINE" /* descriptor that hangs up when the supervisor ends */
#define ADMIN_ENV_STATE "ATOLL_STATE" /* a service's own directory, which outlives it */
#define ADMIN_ENV_PROC "ATOLL_PROC"   /* the device of the node's /proc, MAJOR:MINOR: a service has another one */
#define ADMIN_SOCKET_NAME "dataplane.sock"  /* in run_dir, made by the dataplane */

#endif
