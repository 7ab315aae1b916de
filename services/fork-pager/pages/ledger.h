/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - what lies where in a child, in memory that outlives the pager.
 *
 * Written by the pager alone, for a child whose snapshot has come whole. The kernel writes each event into it, so that none is
 * known to the pager alone. What lies where is there twice: the pager changes the copy that does not count, and says by one word
 * that the other one counts from now on and that the event is in it. So whoever finds it after the pager's end, whenever that was,
 * knows all that has been told. Only the descriptor of a fork ends with the pager.
 */
#ifndef ATOLL_FORK_LEDGER_H
#define ATOLL_FORK_LEDGER_H

#include <linux/userfaultfd.h>

#include "services/fork-pager/pages/places.h"

enum ledger_word {
	LEDGER_SECOND = 1 << 0, /* the second copy counts */
	LEDGER_EVENT = 1 << 1,	/* `event`, if it is one, is not in it yet */
	LEDGER_UNSAID = 1 << 2, /* there is more than stands here */
};

struct ledger {
	uint32_t word; /* enum ledger_word */
	uint32_t room;	    /* pieces of a copy */
	uint32_t n[2];	    /* pieces of each */
	uint32_t due[2];    /* behind them: what stands in `due` (places.h) */
	struct uffd_msg event; /* zero: none */
	struct place piece[];
};
_Static_assert(sizeof(struct place) == 32 && sizeof(struct ledger) == 56, "ledger layout");

struct space;
struct space_child;

/* A ledger for @c from here on: its descriptor, which @c owns; negative errno. */
int space_child_ledger(struct space_child *c);
/* The next event of @c, as read(2) gives it. */
ssize_t ledger_event(struct space_child *c, struct uffd_msg *m);
/* It has been followed. */
void ledger_write(struct space_child *c, const struct uffd_msg *m);
void ledger_free(struct space_child *c);

/* Reads one whose writer has ended. @out, @due: zeroed. 0; -EBUSY: something is missing: a fork; -EBADMSG; -ENOMEM. */
int ledger_read(int fd, struct places *out, struct places *due);

#endif
