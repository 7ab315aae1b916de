/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore.h - a child from an image.
 *
 * A child begins as a clone of the caller in a new pid namespace (so that pid and tids can be those of
 * the parent), maps a small program, the stub, at an address that the image does not use, and jumps into it. The
 * stub runs a list of system calls that was written for it beforehand: it unmaps everything else, moves the
 * vdso to where the image has it, maps, opens, sets; makes the other threads, which have lists of their
 * own; then waits. The restorer gets the userfaultfd and hands it to the pager; then each thread leaves
 * the stub by rt_sigreturn from a frame that holds its registers. The last thing the restorer does is to
 * unmap the stub, from outside.
 *
 * The list is data: (system call, six arguments, what is expected),
 * in memory that the child and the restorer share.
 * No code of the program runs before every thread stands complete.
 *
 * Who owns what: the restorer owns the list, the descriptors it opened for the child, and the child until it is let go.
 * The page cache belongs to pages/ (pages/source.h).
 *
 * Rights are the caller's: what the kernel does not let it do (an identity, a capability, a raised limit)
 * the child does not get, and the report says so.
 */
#ifndef ATOLL_FORK_RESTORE_H
#define ATOLL_FORK_RESTORE_H

#include "services/fork-pager/image.h"
#include "services/fork-pager/pages/source.h"
#include "services/fork-pager/proc/box.h"

struct restore_options {
	int stdio[3];	    /* for descriptors that were a terminal of the parent; -1: the caller's own */
	int cache_fd;	    /* page cache of the handle on this node */
	uint64_t uffd_features; /* of UFFDIO_API; 0: no userfaultfd, the cache was filled */
	bool same_pids;	    /* pid namespace of its own, pid and tids kept; needs the right to make one */
	const struct box *box; /* it lives there: then it keeps pid and tids. NULL: none; it gets a pid namespace if it keeps them */
	/* Called before the cache is read here: 0 once all that restore_wants_whole names is there. NULL: it is. */
	int (*filled)(void *ctx);
	void *filled_ctx;
	const struct page_run *runs; /* of ranges of kind FILE: what is in the cache */
	unsigned nruns;
};

struct restore_report {
	char text[4096];
	unsigned lines;
};

/* A child that stands complete and has not run yet. */
struct restore_child {
	pid_t pid;	/* as the caller sees it */
	int pidfd;
	int uffd;	/* -1: none. Goes to the pager. */
	struct page_place *places;
	unsigned nplaces;
	struct restore_report report;
	void *priv;	/* the restorer's own */
};

/* Must the cache have all pages of this mapping before restore_build? (What is shared is copied, and what grows
 * downwards cannot be a mapping of the cache.) */
bool restore_wants_whole(const struct image_vma *v);

/**
 * restore_build - make a child up to its first instruction.
 * Return: 0; -EINVAL (the image cannot be: report says why); -ENOEXEC (other cpu features or vdso); -ENOENT (a
 * file is missing or another one: report); -EPERM; -EAGAIN; -ENOMEM. On failure nothing of it is left.
 */
int restore_build(struct restore_child *c, const struct image *im, const struct restore_options *o);
/* Let it run: after the pager has the userfaultfd. 0 or negative errno (then it is gone). */
int restore_run(struct restore_child *c);
/* End it, running or not, and with its pid namespace whatever it has forked. It is still to be waited for. */
void restore_kill(struct restore_child *c);
/* Kill it if it has not run, free everything but the process. */
void restore_free(struct restore_child *c);

#endif
