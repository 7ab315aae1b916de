/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space_impl.h - what the files of a space share: the cache (space.c), children and their faults (child.c).
 */
#ifndef ATOLL_FORK_SPACE_IMPL_H
#define ATOLL_FORK_SPACE_IMPL_H

#include "services/fork-pager/pages/places.h"
#include "services/fork-pager/pages/space.h"

enum {
	FETCHES_MAX = 64, /* reads of a space under way */
	ZERO_WINDOW = 64, /* pages */
	STREAMS = 4,	  /* sequences of faults of one child that are told apart: its threads, say */
	AHEAD_MAX = 32,	  /* windows */
	MAP_MAX = 512,	  /* pages put into a child at once, and looked at in one step */
	TOUCHED = 32,	  /* pages of which the working set knows only together */
	AHEAD_FETCHES = 8, /* reads under way beyond which nothing is asked for ahead */
};

/* Faults that follow each other through the cache. */
struct stream {
	uint64_t from, end; /* what the last one has brought */
	unsigned ahead;	    /* windows to have on their way; 0 until a second fault has followed the first */
};

struct fault {
	uint64_t addr; /* page aligned */
	uint64_t since_ns;
	bool write;
};

struct space_child {
	struct space *s;
	struct space_child *next;
	int uffd;
	struct places places, due;
	struct stream stream[STREAMS];
	unsigned stream_next;
	struct fault *faults; /* not answered yet */
	size_t nfaults, room;
	uint32_t replayed, replay; /* of the working set: where it has come to, and where it ends */
	bool again; /* a fault met a change, or the source had no room */
	bool dead;  /* its memory is gone */
	bool stuck; /* what lies where is not known any more: it is answered nothing, until it is killed */
	bool root;  /* was added, and is not a fork of one */
	bool told;
	space_child_lost lost;
	void *ctx;
	uint64_t id; /* in its space */
	struct ledger *ledger;
	size_t ledger_size;
	int ledger_fd;
	/* Made beforehand, so that a fork never finds us without memory. */
	struct space_child *spare;
};

struct fetch {
	bool busy;
	uint64_t page; /* of the cache */
	uint64_t ordinal;
	uint32_t count;
	uint16_t hop;
	uint64_t token;
};

struct fill {
	struct fill *next;
	uint64_t page, end; /* where it has come to */
	void (*done)(void *ctx, int rc);
	void *ctx;
};

struct space {
	int fd;
	struct store_index x;
	struct space_source source;
	unsigned window;
	/* Pages that an extent tells of, numbered in order. */
	uint64_t *present, *coming;
	uint64_t npages, npresent;
	/* The working set: groups of TOUCHED pages by their ordinals, in the order in which they were first wanted. */
	uint64_t *touched;
	uint32_t *order, norder;
	/* What nobody has asked for is fetched as well, so many bytes a second; 0: is not. */
	uint64_t back_rate, back_ns;
	uint32_t back_extent;
	struct fetch fetch[FETCHES_MAX];
	uint64_t tokens;
	uint64_t asked; /* pages */
	int failed[1 + STORE_HOPS_MAX]; /* the source cannot give pages of a hop any more */
	struct fill *fills;
	struct space_child *children;
	uint64_t ids;
	struct space_stats stats;
	bool source_full;
	bool serving, progress; /* a source may answer at once */
	void (*watch)(void *ctx, int fd, struct space_child *c);
	void (*forget)(void *ctx, int fd);
	void *watch_ctx;
};

enum page_state {
	STATE_ZERO,
	STATE_PRESENT,
	STATE_COMING,
	STATE_ABSENT,
};

/* @run: pages from @page on that are in the same state, at most @max. */
enum page_state space_state(const struct space *s, uint64_t page, uint64_t max, uint64_t *run);
/* Pages before @page that are present and belong together with it, at most @max. */
uint64_t space_present_before(const struct space *s, uint64_t page, uint64_t max);
/* Ask for the window of so many pages round @page, which is ABSENT, not beyond [low, high). 0, -EAGAIN, or the reason. */
int space_ask(struct space *s, uint64_t page, uint64_t low, uint64_t high, uint64_t window);
/* Pages of one READ, where much is to come. */
static inline uint64_t space_large(const struct space *s)
{
	return s->source.max > s->window ? s->source.max : s->window;
}
/* Ask for what is absent of [from, to), which nobody waits for yet, as far as there is room. */
void space_ask_ahead(struct space *s, uint64_t from, uint64_t to);
/* One round of what waits: of @first alone, or of all, and again while pages come. */
void space_serve(struct space *s, struct space_child *first);
void space_child_serve(struct space_child *c);
/* A message of a userfaultfd, without waiting. */
ssize_t space_message_read(int fd, void *m);
/* Puts one page there, zero or that of the cache, as for a fault. 0 or negative errno. */
int space_child_put(struct space_child *c, uint64_t addr, bool zero);
/* child.c: puts present pages into a child. Bytes, or negative errno. */
int64_t space_put_cached(struct space_child *c, uint64_t addr, uint64_t pages);
/* working.c: pages that a child wanted, all of one extent or of neighbours. */
void space_touched(struct space *s, uint64_t page, uint64_t count);

#endif
