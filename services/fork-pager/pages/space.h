/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h - the page cache of one snapshot on this node, and where its pages come from.
 *
 * The cache is a memfd as long as all ranges together; children map it MAP_PRIVATE, so what one of them
 * writes is its own and what none has written is there once. It has holes where pages are zero, and where
 * they have not come yet: only the bitmaps here say which. The space is its only writer.
 *
 * Pages come through a table of functions, from memory of this process or by READ from another node, whole
 * runs of them, now or later. They arrive in ordinary memory and are written to the cache with
 * pwrite, a copy of about a microsecond a page: so the cache needs not be a region.
 *
 * All on one thread. Nothing here waits.
 */
#ifndef ATOLL_FORK_SPACE_H
#define ATOLL_FORK_SPACE_H

#include "services/fork-pager/pages/store.h"

struct places;
struct space;

enum {
	SPACE_WINDOW_MAX = 256, /* pages of one read */
};

/* Counts since the space was made. */
struct space_stats {
	uint64_t faults;  /* messages of a userfaultfd that asked for memory */
	uint64_t fetched; /* pages that came from the source */
	uint64_t far;	  /* of these, from ancestors of the snapshot */
	uint64_t reads;	  /* of runs of pages */
	uint64_t ahead;	  /* of these reads, such that no fault had asked for */
	uint64_t mapped;  /* pages put into children, shared */
	uint64_t cached;  /* faults whose page was there already */
	uint64_t zero;	  /* pages put into children that are zero */
	uint64_t forks, moves, empties, unmaps; /* events of children */
	uint64_t again;	  /* tries that met a change of the child's memory on the way */
	uint64_t latency_ns_sum, latency_ns_max; /* of faults, from read(2) to wake */
	uint64_t children, children_all;
	uint64_t replayed; /* pages of the working set of earlier children, put in before they were asked for */
	uint64_t working;  /* pages in it */
	uint64_t left;	   /* pages of the snapshot that are not here yet */
	uint64_t behind;   /* pages fetched in the background */
	uint64_t lost; /* faults that ended in SIGBUS */
	char why[96];  /* the last reason for that */
};

/**
 * struct space_source - where pages come from
 * @read: bring @count pages from @store on, of those of the store (@hop 0) or of its ancestor @hop; then call
 *	space_arrived once with @token, maybe
 *	before it returns. 0; -EAGAIN: no room now, space_again is called when there is; other negative
 *	errno: they cannot be had.
 */
struct space_source {
	int (*read)(void *ctx, unsigned hop, uint64_t store, uint32_t count, uint64_t token);
	void *ctx;
	uint32_t max; /* pages of one read; less than a window: a window */
};

/**
 * space_new - a space with an empty cache.
 * @index: taken over on success.
 * @window: pages asked for at once on a fault, 1 to SPACE_WINDOW_MAX.
 * Return: 0, -ENOMEM, -EINVAL, or what memfd_create(2) says.
 */
int space_new(struct space **out, struct store_index *index, const struct space_source *source,
	      unsigned window);
/* One whose pages are all in @cache_fd already, which stays the caller's. */
int space_new_whole(struct space **out, struct store_index *index, const struct space_source *source,
		    unsigned window, int cache_fd);
/* Have all pages come? */
bool space_whole(const struct space *s);
/* Closes what its children still have: they must have ended, or be about to be killed. */
void space_free(struct space *s);

/* Pages have come: @data (@rc 0), or the reason why not. */
void space_arrived(struct space *s, uint64_t token, const void *data, int rc);
/* The source has room again, or time has passed for faults that met a change: see space_wants_again. */
void space_again(struct space *s);
bool space_wants_again(const struct space *s);

int space_fd(const struct space *s);
const struct store_index *space_index(const struct space *s);
const struct space_stats *space_stats(const struct space *s);

/* Runs of pages that the snapshot has changed of ranges of kind FILE. How many; at most @max are stored. */
unsigned space_file_runs(const struct space *s, struct page_run *out, unsigned max);

/**
 * space_fill - bring all pages of a run of the cache, before anybody faults on them.
 * @done: called once, maybe before this returns: 0, or why they cannot be had.
 * Return: 0, -ENOMEM (then @done does not come).
 */
int space_fill(struct space *s, uint64_t page, uint64_t count, void (*done)(void *ctx, int rc),
	       void *ctx);

/* Tells that a page of a child cannot be had: it gets SIGBUS, if it can, and is to be killed. Called at most once
 * for each space_child_add, from inside: it must not call back. */
typedef void (*space_child_lost)(void *ctx, int rc, const char *why);

struct space_child;

/**
 * space_child_add - serve a child's faults from here on.
 * @uffd: non-blocking, with the features of space_features; the space owns it from here, also after an error.
 * @places: ascending; of kind CACHED.
 * Return: 0, -EINVAL (places that cannot be), -ENOMEM.
 */
int space_child_add(struct space *s, int uffd, const struct page_place *places, unsigned n,
		    space_child_lost lost, void *ctx, struct space_child **out);
/* The same for a process that another space has served, @p and @due as it has left them. @uffd: as above. */
int space_child_take(struct space *s, int uffd, const struct places *p, const struct places *due,
		     space_child_lost lost, void *ctx);
uint64_t space_child_id(const struct space_child *c);
/* A process without a ledger (pages/ledger.h), whose owner has not ended, after @c, or the first; NULL: none. */
struct space_child *space_unkept(const struct space *s, const struct space_child *c);
/* Has the process of a userfaultfd memory still? */
bool space_alive(int uffd);
/* The process has ended: its descriptor is closed, and those of its forks that have ended as well. */
void space_child_end(struct space_child *c);

/* The working set of earlier children is put into this one, step by step, before it asks. */
void space_child_replay(struct space_child *c);
/**
 * space_background - fetch what nobody asks for, too, from now on.
 * @rate: bytes a second; 0: stop. With several, the last one counts.
 */
void space_background(struct space *s, uint64_t rate);
/**
 * space_step - some of what can be done ahead.
 * @next: lowered to when to come again.
 * Return: true if there is more to do at once.
 */
bool space_step(struct space *s, uint64_t now, uint64_t *next);

/* Calls for each descriptor that is served: @watch as they come, @forget before they are closed. */
void space_watch(struct space *s, void (*watch)(void *ctx, int fd, struct space_child *c),
		 void (*forget)(void *ctx, int fd), void *ctx);
/* What space_child_add was given for the child that this one is, or is a fork of; NULL once that has ended. */
void *space_child_owner(const struct space_child *c, bool *fork);
/* A descriptor is readable. */
void space_child_ready(struct space_child *c);
/* Looks which forks of children have ended; now and then. */
void space_sweep(struct space *s);

/**
 * space_lineage - is a snapshot one of a process that is served here?
 * @pagemap_fd: its /proc/PID/pagemap. @out: zeroed; gets what lies where in it; to be freed.
 * Return: 0; -ENOENT: no; -EAGAIN: ask again when pages have come; -EEXIST: of all served here it can only be *@left,
 * if it is any (space_lineage_take gets its places); -ENOTUNIQ: it can be several; -ENOMEM.
 */
int space_lineage(struct space *s, int pagemap_fd, struct places *out, struct space_child **left);
int space_lineage_take(const struct space_child *c, struct places *out);

/**
 * space_origin - where lies a page that a child of this space has not changed?
 * @p: its places. @run: how many from @addr on lie together, at most @max. Hop 1 is the store of this space.
 * Return: 0; -EIO: it is lost.
 */
int space_origin(const struct space *s, const struct places *p, uint64_t addr, uint64_t max, uint64_t *run,
		 struct page_origin *out);

/* What UFFDIO_API of a child must be asked for; 0 when this kernel lacks what it takes, or does not let us. */
uint64_t space_features(void);

#endif
