/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the fork-pager's parts: snapshots that it holds (exports.c), snapshots of other nodes whose pages it fetches
 * (remotes.c), and those who ask for either on its control socket (control.c).
 *
 * One thread. Descriptors of all three are in one epoll, so the run loop watches one. This process traces nobody
 * and starts nobody: whoever types `afork` does that with his own rights, and hands it descriptors that the
 * kernel let him open.
 */
#ifndef ATOLL_FORK_SERVER_H
#define ATOLL_FORK_SERVER_H

#include "ipc/service.h"
#include "proto/fork_control.h"
#include "services/fork-pager/pages/places.h"
#include "services/fork-pager/pages/space.h"

enum {
	EXPORTS_MAX = 48,
	CONNS_MAX = 256,
	REMOTES_MAX = 64,
	LANES_MAX = 32,
	FDS_MAX = 8192,
	SLOTS = 16,	  /* reads under way, of all snapshots */
	SLOT_PAGES = 128,  /* pages of one read */
	USERS_MAX = 256,  /* pagers of one snapshot */
	ENTRIES_MAX = 65536, /* ranges, runs, places */
	FILLS_MAX = 64, /* of one connection, under way */
	SHARE = 2, /* one user other than root has at most one of so many of each table above */
};

#define EXPORT_COOKIE (1ull << 62)
#define REMOTE_COOKIE (1ull << 61)

struct server;

enum watch_kind {
	WATCH_NONE,
	WATCH_LISTEN,
	WATCH_CONN,
	WATCH_CHILD, /* userfaultfd */
	WATCH_PROCESS, /* pidfd */
};

struct user {
	uint32_t source, epoch;
};

/* A snapshot that lies in a region of this process. */
struct export {
	bool used, whole, revoking;
	uint32_t epoch;
	uint64_t secret[2];
	uid_t uid;
	pid_t pid; /* of the parent */
	struct atoll_region region;
	uint64_t size; /* bytes in it */
	struct store_written written;
	/* of a process that is a child itself: what it has not changed lies in this one, or in what that has */
	struct remote *of;
	/* while it is copied */
	struct store_writer *writer;
	struct prepare *from;
	struct conn *by;
	/* pagers that have it open */
	struct user users[USERS_MAX];
	unsigned nusers;
	unsigned here; /* children and snapshots of this node that need it */
	uint64_t begun_ns, took_ns;
};

/* What a snapshot is copied from. */
struct prepare {
	struct conn *by;
	pid_t pid; /* of the parent */
	int mem_fd, pagemap_fd;
	uint8_t *image;
	size_t image_len;
	struct page_range *ranges;
	unsigned nranges;
	bool child; /* of a snapshot itself: some of its pages are elsewhere */
	struct remote *of; /* that one, once it is known; with a reference */
	struct places places; /* what of it lies where in the snapshot's memory */
	uint64_t give_up_ns;
};

enum remote_part {
	PART_HEADER,
	PART_RANGES,
	PART_HOPS,
	PART_EXTENTS,
	PART_IMAGE,
	REMOTE_PARTS,
};

enum remote_state {
	REMOTE_NONE,
	REMOTE_LOOKUP,	/* asks for the other pager */
	REMOTE_OPEN,	/* asks it for the snapshot */
	REMOTE_LOAD,	/* reads header, ranges, extents, image */
	REMOTE_READY,
	REMOTE_LATER,	/* tries again at `retry_ns` */
	REMOTE_FAILED,
};

/* A snapshot, here or on another node, whose pages children of this node want. */
struct remote {
	enum remote_state state;
	struct server *s;
	struct fork_handle handle;
	uid_t uid; /* whose children it is for: they can write to its page cache, so no others see it */
	uint32_t refs; /* connections and children */
	uint32_t node;
	struct atoll_handle pager, region;
	bool granted, want_lane;
	bool open; /* the other pager counts us among its users, or will */
	uint64_t size;
	unsigned lane;
	struct store_header header;
	uint8_t *part[REMOTE_PARTS];
	uint64_t loaded;  /* bytes of the part that is being read */
	unsigned loading; /* which */
	struct space *space;
	int error;
	char why[128];
	uint64_t retry_ns, give_up_ns, idle_since_ns;
	uint32_t asked; /* number of its last request: answers to earlier ones are old */
	struct export *local; /* of this node: no verbs */
	/* Nothing but its pages is wanted, for children of its descendants. */
	bool ancestor;
	struct remote *hop[STORE_HOPS_MAX]; /* its own ancestors, while refs */
};

struct slot {
	bool busy, posted;
	struct remote *r;    /* whose space waits for it */
	struct remote *from; /* where it is read: that, or an ancestor of it */
	uint64_t at; /* bytes in the store */
	uint32_t len;
	uint64_t token; /* of the space; UINT64_MAX: load */
	uint32_t lane;
	uint32_t use;	/* how often it was used: old completions are told by it */
};

struct child {
	struct child *next;
	struct remote *r;
	struct space_child *c;
	struct conn *conn; /* NULL: whoever started it has gone */
	int pidfd;
	pid_t pid;
};

struct conn {
	bool used;
	int fd;
	uid_t uid;
	struct remote *r;
	bool opening;
	unsigned filling; /* answers to FILL that are due */
	uint64_t use;	  /* tells it from a later one in its place */
	bool keeps;	  /* it takes over from us what it can */
	struct prepare *waiting; /* for pages that tell whose child it is */
	struct export *preparing;
};

struct server {
	struct service *s;
	int epoll, listen;
	char path[108];
	unsigned window;
	uint64_t cache_s; /* how long a page cache without children is kept */
	struct {
		uint8_t kind; /* enum watch_kind */
		void *ptr;
	} watch[FDS_MAX];
	struct export exports[EXPORTS_MAX];
	struct remote remotes[REMOTES_MAX];
	struct {
		uint32_t node, lane;
		bool broken; /* an answer on it was lost */
	} lanes[LANES_MAX];
	unsigned nlanes;
	struct atoll_region bounce;
	struct slot slots[SLOTS];
	struct child *children;
	unsigned nchildren;
	struct conn conns[CONNS_MAX];
	uint64_t active_ns; /* when something was last asked or answered */
	uint64_t sweep_ns;
	uint64_t messages;  /* from other pagers */
	uint64_t uses;	    /* of connections */
};

int server_watch(struct server *v, int fd, enum watch_kind kind, void *ptr);
void server_forget(struct server *v, int fd);
/* A line for people, on stdout. */
void server_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* foreign.c: what a descriptor of somebody's is, without waiting for whoever is behind it. Before the sandbox: */
void foreign_init(int epoll);
bool foreign_is_memory(int fd); /* a memory file */
bool foreign_is_pagemap(int fd, uid_t uid);
bool foreign_is_userfaultfd(int fd);
bool foreign_is_process(int fd); /* a pidfd */

/* exports.c */
int export_begin(struct server *v, struct conn *by, int mem_fd, int pagemap_fd, int blob,
		 const struct fork_control *q, char *why, size_t len);
/* Copies some more; true: there is more to do. */
bool exports_step(struct server *v);
/* Frees it, and what it is a child of is not needed for it any more. */
void prepare_free(struct prepare *p);
void export_abort(struct server *v, struct export *e);
void export_handle(const struct server *v, const struct export *e, struct fork_handle *out);
struct export *export_find(struct server *v, uint32_t slot, uint32_t epoch, const uint64_t secret[2]);
/* 0, -EBUSY (it has users and @force is not set). */
int export_reclaim(struct server *v, struct export *e, bool force);
void exports_revoked(struct server *v, uint64_t cookie, uint32_t status);
void exports_reattached(struct server *v);
void exports_message(struct server *v, const struct proto_msg *m);
void exports_peer_gone(struct server *v, uint32_t source, uint32_t epoch);

/* remotes.c */
int remotes_init(struct server *v);
/* For children of @uid, or for those of a descendant (@ancestor: no space). NULL: there are too many. */
struct remote *remote_get(struct server *v, const struct fork_handle *h, uid_t uid, bool ancestor);
void remote_put(struct remote *r);
void remotes_reply(struct server *v, uint64_t cookie, const struct proto_msg *m);
void remotes_granted(struct server *v, const struct proto_msg *m);
void remotes_completion(struct server *v, const struct verb_completion *c);
/* Time passes; the next time that it should be called. Not from inside atoll_poll. */
uint64_t remotes_tick(struct server *v, uint64_t now);
void remotes_reattached(struct server *v);
/* An export of this node goes. */
void remotes_export_gone(struct server *v, struct export *e);
void remotes_free(struct server *v);

/* control.c */
int control_init(struct server *v);
void control_free(struct server *v);
void control_accept(struct server *v);
/* May a user have one more, with @has of @all? */
static inline bool control_share(uid_t uid, unsigned has, unsigned all)
{
	return uid == 0 || has < all / SHARE;
}
void control_readable(struct server *v, struct conn *c);
void control_opened(struct server *v, struct remote *r);
void control_prepared(struct server *v, struct conn *c, struct export *e, int rc, const char *why);
void child_ended(struct server *v, struct child *k);
/* Gives those who started children of a whole snapshot what they need to go on without us. */
void children_keep(struct server *v, struct remote *r);

/* "NODE/SLOT-EPOCH-SECRET", FORK_HANDLE_TEXT bytes. */
void fork_handle_print(const struct fork_handle *h, char *out);

#endif
