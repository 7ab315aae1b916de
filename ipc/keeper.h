/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the process that creates and holds a node's shared memory.
 *
 * The keeper makes every memory file of the node, sealed against shrinking and growing, and holds the
 * descriptors of regions, so that regions outlive a dataplane. It parses nothing but the fixed request
 * below, maps nothing, and has two peers: the supervisor (which tells it, over the socket it was
 * started with, of each new dataplane's socket, and may see the flight recorders) and one dataplane at a
 * time. A new dataplane's socket replaces the old one. The keeper ends when the supervisor's socket hangs up.
 */
#ifndef ATOLL_IPC_KEEPER_H
#define ATOLL_IPC_KEEPER_H

#include <stdint.h>

enum {
	KEEPER_MAGIC = 0x4174,
	KEEPER_REGIONS_MAX = 4096,
	KEEPER_RECORDERS_MAX = 4, /* of the last dataplanes */
};

/* Flag of a held entry that is a dataplane's flight recorder, its key the time when it started; the
 * supervisor may LIST and GET these. */
#define KEEPER_FLAG_RECORDER (1u << 31)

enum keeper_op {
	KEEPER_TRANSIENT = 1, /* make a file of size bytes and send it: not held */
	KEEPER_CREATE = 2,    /* make a file and hold it under key; flags and uid are kept beside it */
	KEEPER_GET = 3,	      /* send the file held under key */
	KEEPER_DROP = 4,      /* let go of key */
	KEEPER_LIST = 5,      /* the index-th held entry (in `size`), without its file */
	KEEPER_SUPERVISOR_DATAPLANE = 6, /* supervisor only: the socket beside it is the new dataplane's */
};

/* Request and answer alike. */
struct keeper_msg {
	uint16_t magic;
	uint16_t op;
	int32_t error; /* answer: 0 or negative errno */
	uint64_t key;
	uint64_t size; /* bytes; the index of a LIST */
	uint32_t flags; /* region_flag, kept */
	uint32_t uid;	/* owner, kept */
};
_Static_assert(sizeof(struct keeper_msg) == 32, "keeper message");

/* The process's main loop. @supervisor: its socket. Return: the exit status. */
int keeper_run(int supervisor);

/* For the dataplane and the supervisor: one request and its answer over @sock. The file's descriptor in *@fd, -1 when the
 * answer has none. 0 or negative errno (-ETIMEDOUT after a second). */
int keeper_call(int sock, struct keeper_msg *msg, int *fd);

#endif
