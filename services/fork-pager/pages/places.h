/* SPDX-License-Identifier: Apache-2.0 */
/*
 * places.h - which page of the page cache lies where in one child's memory.
 *
 * Pieces, ascending and disjoint, cut and moved as the child's events of userfaultfd say. What no piece
 * tells of, and faults nevertheless, is anonymous memory that has grown: zeros.
 *
 * Events of two threads may come in another order than the changes they tell of: munmap(A) by one and then mremap(B, A) by
 * another, told the other way round. So what was moved over, or moved away, stands in `due` until its
 * unmap has been told, and that unmap touches nothing else.
 */
#ifndef ATOLL_FORK_PLACES_H
#define ATOLL_FORK_PLACES_H

#include <stddef.h>

#include "services/fork-pager/pages/source.h"

enum place_state {
	PLACE_PAGES = 0, /* of the cache */
	PLACE_ZERO = 1,	 /* was emptied, and is zero */
	PLACE_LOST = 2,	 /* was emptied, and would show a file that is not here */
};

struct place {
	uint64_t start, end; /* addresses in the child, page aligned */
	uint64_t page;	     /* of the page cache, at `start` */
	uint8_t state;	     /* enum place_state */
	bool file;	     /* changed pages of a mapped file */
};

struct places {
	struct place *piece;
	size_t n, room;
};

/* Room for @n pieces more, so that cuts cannot fail. 0 or -ENOMEM. */
int places_reserve(struct places *p, size_t n);
/* Append, in ascending order: -EINVAL if it is not, or not page aligned; -ENOMEM. */
int places_add(struct places *p, const struct place *piece);
/* The piece that an address is in, or NULL; @next (may be NULL): where the next one starts, UINT64_MAX for none. */
const struct place *places_find(const struct places *p, uint64_t addr, uint64_t *next);
/* Nothing lies in [start, end) any more. Room for one piece must be reserved. */
void places_cut(struct places *p, uint64_t start, uint64_t end);
/* A piece over whatever was there. 0 or -ENOMEM. */
int places_put(struct places *p, const struct place *piece);

/* Events; 0 or -ENOMEM. Was emptied: anonymous memory is zero, a file's pages are lost. */
int places_empty(struct places *p, uint64_t start, uint64_t end);
/* [from, from + len) lies at [to, to + len) now, and nothing at its old place. */
int places_move(struct places *p, struct places *due, uint64_t from, uint64_t to, uint64_t len);
int places_unmap(struct places *p, struct places *due, uint64_t start, uint64_t end);

int places_copy(struct places *to, const struct places *from);
void places_free(struct places *p);

#endif
