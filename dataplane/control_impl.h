/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_impl.h - inside of the control side: control.c the thread and its commands, attach.c what
 * processes ask for.
 */
#ifndef ATOLL_DATAPLANE_CONTROL_IMPL_H
#define ATOLL_DATAPLANE_CONTROL_IMPL_H

#include <pthread.h>
#include <string.h>

#include "dataplane/control.h"

enum {
	CONTROL_CLIENTS = DP_ENDPOINTS_MAX,
	CONTROL_SERVICES = CONF_SERVICES_MAX,
	CONTROL_RESERVED = 64, /* connections kept for those who are trusted */
	CONTROL_SLICE = 16 << 20, /* bytes of a region made between two looks at everybody else */
	CONTROL_ACCEPTS = 16,	  /* connections taken between them */
	CONTROL_GRACE_MS = 10000, /* for regions of a dataplane that ended to be claimed */
};

/* A connection on the control socket. */
struct client {
	int sock; /* -1: free */
	uint32_t uid, pid;
	bool attached, traces, packets;
	bool trusted; /* the node's owner, or a service that svcctl started: charged apart */
	uint32_t endpoint, epoch;
	void *own, *peer; /* halves, as mapped here */
	size_t half_size;
	int wake_fd;  /* the dataplane's: in the loop's epoll */
	struct {
		bool under_way;
		struct proto_ctl_request q; /* that will be answered when it is all there */
		uint64_t key, done;
		int fd;
	} grow; /* a region whose pages are fetched a slice at a time */
	int event_fd; /* the process's: write end of a pipe, for the loop */
};

struct region {
	uint64_t key, size;
	uint32_t flags, uid;
	void *base; /* NULL: held by the keeper only */
	bool trusted; /* whose it was last */
	int client; /* index of the owner; -1 none */
	uint64_t since_ns; /* without an owner since */
};

/* What the core has let go of; made on the loop, worked off here. */
struct garbage {
	struct garbage *next;
	uint64_t key; /* a region; 0: an endpoint */
	uint32_t client;
};

enum command_op { CMD_ATTACH, CMD_CLOSE, CMD_REGION, CMD_REGION_CLOSE, CMD_TRACE, CMD_SERVICE, CMD_NONE };

struct command {
	enum command_op op;
	struct dp_attach attach;
	uint32_t endpoint, epoch, why;
	uint64_t key, size;
	void *base;
	uint32_t entries;
	bool packets;
	struct atoll_handle handle;
	bool found;
	int result;
};

/* Counted by this thread alone; on the page behind the counters of the core. */
enum control_counter {
	CC_REQUESTS, CC_MALFORMED, CC_REFUSED, CC_QUOTA_CONNECTIONS, CC_QUOTA_ENDPOINTS, CC_QUOTA_RINGS,
	CC_QUOTA_REGIONS, CC_LOST, CC_PORT_UP, CC_PORT_DOWNS, CC_PORT_MTU, CC_COUNT
};

struct control {
	struct control_conf conf;
	struct dp *dp;
	pthread_t thread;
	bool started;
	int listen;
	uint64_t incarnation;
	uint32_t node;
	struct client clients[CONTROL_CLIENTS];
	unsigned top; /* clients in use are below */
	unsigned connected;
	uint32_t half_mib; /* half of the machine's memory: what regions of one user may have, if not said */
	struct region *regions;
	unsigned nregions;
	struct {
		char name[64];
		uint32_t pid, uid; /* a number may be given to another process; a user is not */
	} services[CONTROL_SERVICES];
	unsigned nservices;
	struct counters_page *page;
	uint32_t counters; /* where the own ones begin */
	int page_fd;
	void *trace;
	size_t trace_size;
	int trace_fd;
	unsigned tracers, packet_tracers;
	bool port_up;

	struct command command;
	atomic_int wanted;
	sem_t done;
	atomic_int stopped;
	pthread_mutex_t lock; /* of garbage */
	struct garbage *garbage;
};

static inline void control_count(struct control *c, enum control_counter i)
{
	counter_add(&c->page->value[c->counters + i], 1);
}

/* Have the loop execute @cmd, and wait for it. -ESHUTDOWN when the loop has ended. */
int command_run(struct control *c, struct command *cmd);
/* A sealed memory file of the keeper's. Descriptor or negative errno. */
int keeper_file(struct control *c, uint16_t op, uint64_t key, uint64_t size, uint32_t flags,
		uint32_t uid);
/* One request of a process. Closes nothing; the answer is sent. Return: false to hang up. */
bool client_request(struct control *c, struct client *cl, const struct proto_ctl_request *q);
/* Its channel is not used any more. */
void halves_unmap(struct client *cl);
/* One more slice of the region that it waits for; the last is answered. False to hang up. */
bool client_grow(struct control *c, struct client *cl);
/* It hangs up meanwhile. */
void client_grow_end(struct control *c, struct client *cl);
/* Is a process the node's owner's, or a service's that svcctl started? */
bool client_trusted(const struct control *c, uint32_t pid, uint32_t uid);
void client_close(struct control *c, struct client *cl, uint32_t why);
struct region *region_find(struct control *c, uint64_t key);
void region_forget(struct control *c, struct region *r, bool drop);
/* recorder.c: gives the core a flight recorder. Before the loop. 0 or negative errno. */
int recorder_start(struct control *c);
/* Have the loop trace what the tracers want, or nothing. */
void trace_set(struct control *c);
/* A read-only descriptor on a file that we keep writing to. */
int file_seal_writes(int fd);
/* Is every page of a mapped memory file really there? One that is not would be a SIGBUS in the loop. */
bool file_present(void *p, size_t size);

#endif
