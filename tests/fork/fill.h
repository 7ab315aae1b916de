/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill.h - a page cache filled at once from a snapshot, without a pager.
 *
 * For tests of proc/ alone, and a plain statement of what pages/ must bring about: after it, the cache
 * holds what a child may read, and `runs` are the changed pages of private file mappings.
 */
#ifndef ATOLL_TESTS_FORK_FILL_H
#define ATOLL_TESTS_FORK_FILL_H

#include "services/fork-pager/pages/source.h"

struct fill {
	int fd; /* the page cache: a memfd */
	struct page_run *runs;
	unsigned nruns;
	uint64_t pages; /* copied */
};

/* 0 or negative errno. */
int fill_cache(struct fill *f, const struct page_source *source);
void fill_free(struct fill *f);

#endif
