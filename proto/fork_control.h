/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_control.h - what `afork` and the fork-pager of its node say to each other.
 *
 * SOCK_SEQPACKET on "fork.sock" in the state directory of the service; every message is one struct fork_control,
 * both ways, with descriptors by SCM_RIGHTS. Each request has one answer, with its op, on the same
 * connection, in order, except that LIST and STAT are answered by as many as there are entries, and one with
 * `more` 0 at the end. LOST and SPARE come unasked.
 *
 *	PREPARE	fds: memory files with the pages and page table entries of a frozen snapshot, at their offsets in
 *		/proc/PID/mem and pagemap (for a child: pagemap itself), one with the image and then the
 *		ranges. Answered with the handle when the pages have been copied: the snapshot may go.
 *	OPEN	the handle. Answered when its index is here. fds: the page cache, a memory file with the
 *		image and then the runs of changed pages of files.
 *	FILL	pages of the cache that must be there before a child is made.
 *	CHILD	fds: userfaultfd, pidfd, a memory file with the places. From then on its faults are answered.
 *	LOST	to afork: a page of a child cannot be had, and why: it is to be ended.
 *	KEEP	says that WHOLE may come, once all children are handed over.
 *	WHOLE	to afork, for a process (`page`): all pages have come, and its ledger is kept. fds: ledger, and a memory file with
 *		header, ranges, hops and extents of the snapshot. With them afork can serve it when the pager has ended.
 *	SPARE	to afork, with a userfaultfd: a child has forked. Held by afork, too, so that no memory shows
 *		what it is not if the pager dies.
 *	RECLAIM, LIST, STAT	of this node's snapshots and caches.
 *
 * A connection that ends takes nothing with it but a PREPARE that is under way. The layout has no version of its own: both come from
 * one build, and `magic` changes with it.
 */
#ifndef ATOLL_PROTO_FORK_CONTROL_H
#define ATOLL_PROTO_FORK_CONTROL_H

#include <stdint.h>

enum {
	FORK_CONTROL_MAGIC = 0x33434641, /* "AFC3" */
	FORK_HANDLE_TEXT = 64,		 /* bytes, with the zero: NODE/SLOT-EPOCH-SECRET */
};

enum fork_control_op {
	FORK_CONTROL_PREPARE = 1,
	FORK_CONTROL_OPEN = 2,
	FORK_CONTROL_FILL = 3,
	FORK_CONTROL_CHILD = 4,
	FORK_CONTROL_LOST = 5,
	FORK_CONTROL_SPARE = 6,
	FORK_CONTROL_RECLAIM = 7,
	FORK_CONTROL_LIST = 8,
	FORK_CONTROL_STAT = 9,
	FORK_CONTROL_KEEP = 10,
	FORK_CONTROL_WHOLE = 11,
};

enum fork_control_flag {
	FORK_CONTROL_FORCE = 1 << 0, /* RECLAIM although children need it */
	FORK_CONTROL_NO_REPLAY = 1 << 1, /* CHILD: without the working set of earlier ones */
};

/* The right to a snapshot. */
struct fork_handle {
	uint32_t node;	/* that holds it */
	uint32_t slot;	/* of its table */
	uint32_t epoch; /* rises with every use of the slot */
	uint32_t reserved;
	uint64_t secret[2];
};

struct fork_control {
	uint32_t magic;
	uint16_t op;
	uint16_t flags; /* enum fork_control_flag */
	int32_t rc;	/* answers: 0 or negative errno, with `text` */
	uint32_t more;	/* LIST, STAT: there is another one after this */
	struct fork_handle handle;
	uint64_t image_len; /* bytes */
	uint64_t count;	    /* ranges, runs, places, pages */
	uint64_t page;	    /* FILL: of the cache; STAT: how many pages have come from ancestors; CHILD: if not 0, bytes a
			     * second to fetch in the background; its answer, SPARE, WHOLE: number of a process */
	uint64_t cache_size; /* bytes */
	int32_t pid;	     /* PREPARE: of the parent; CHILD: of the child, for messages to people */
	uint32_t uid;	     /* LIST: whose it is */
	/* PREPARE, LIST: pages looked at, zero, alike, stored, bytes of the store, users, time in ns, pages that lie
	 * with ancestors.
	 * STAT: faults, fetched, reads, mapped, cached, zero, forks, moves, empties, unmaps, latency sum and
	 * maximum in ns, children now and in all, lost, again, replayed, working set, background, pages that are not here yet */
	uint64_t stat[20];
	char text[192];
};
_Static_assert(sizeof(struct fork_handle) == 32, "control layout");
_Static_assert(sizeof(struct fork_control) == 440, "control layout");

#endif
