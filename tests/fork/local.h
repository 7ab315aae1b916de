/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local.h - the pager without a service: a snapshot's pages in memory of this process, given out late and in any order.
 */
#ifndef ATOLL_TESTS_FORK_LOCAL_H
#define ATOLL_TESTS_FORK_LOCAL_H

#include "services/fork-pager/image.h"
#include "services/fork-pager/pages/space.h"

enum {
	LOCAL_FDS_MAX = 256,
	LOCAL_READS_MAX = 8,
};

struct local {
	uint8_t *memory;
	uint64_t size;
	struct space *space;
	struct page_run *runs;
	unsigned nruns;
	uint32_t seed;
	bool late; /* pages come at a later turn, the last asked for first */
	unsigned cut; /* after so many reads pages cannot be had any more; 0: never */
	unsigned reads;
	struct {
		uint64_t store, token;
		uint32_t count;
	} waiting[LOCAL_READS_MAX];
	unsigned nwaiting;
	struct {
		int fd;
		struct space_child *child;
	} fds[LOCAL_FDS_MAX];
	unsigned nfds;
	int lost;
};

/* The snapshot's store and an empty space over it. 0 or negative errno. */
int local_open(struct local *l, const struct page_source *source, const void *image, size_t len);
/* Pages that must be there before a child is made. */
int local_fill(struct local *l, const struct image *im);
int local_child_add(struct local *l, int uffd, const struct page_place *places, unsigned n,
		    struct space_child **out);
/* Serves until the process has ended. */
void local_serve(struct local *l, int pidfd);
void local_close(struct local *l);

#endif
