/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box.h - a lean container: namespaces and a control group that stand ready before a child is put into them.
 *
 * A box is held by its first process, which does nothing, has no descriptors, and takes everything in its pid namespace with
 * it when it ends; it ends with whoever made the box. Making one costs some 0.3 ms, so it is made ahead, off the
 * path of whoever waits for a child. Boxes are not used twice: nothing of one child is there for the next.
 *
 * In a box the mount table is a private copy with a /proc of its own; with a root directory (`rootfs`), only that is
 * there. A control group is made in the caller's own: in version 2 of the hierarchy where it can be written, and for
 * limits whose controller is in version 1, there. A limit that cannot be had is an error, a group that cannot is said.
 */
#ifndef ATOLL_FORK_BOX_H
#define ATOLL_FORK_BOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	BOX_GROUPS = 3, /* unified, memory, cpu */
	BOX_PATH = 512,
};

struct box_options {
	bool pid_only;		 /* a pid namespace and nothing else */
	bool net;		 /* a network of its own, with a loopback interface */
	const char *rootfs;	 /* becomes its root directory; it has a directory /proc; NULL: the caller's */
	const char *private_dir; /* gets an empty file system of its own there, of 1 MiB; NULL */
	uint64_t memory_bytes;	 /* 0: no limit */
	unsigned cpu_percent;	 /* of one core; 0: no limit */
};

struct box {
	pid_t init; /* as the caller sees it; 0: there is no box */
	int pidfd;  /* of it */
	int root;   /* its root directory, O_PATH; -1 with pid_only */
	bool pid_only, net;
	char group[BOX_GROUPS][BOX_PATH]; /* directories; "": none */
};

/**
 * box_make - namespaces, and groups with their limits.
 * @why: a line of what went wrong or what it does without, or "". Return: 0, negative errno.
 */
int box_make(struct box *b, const struct box_options *o, char *why, size_t len);
/* Into its groups: the child once it is made. 0 or negative errno. */
int box_add(const struct box *b, pid_t pid);
/* In the child, while it has one thread: into all namespaces but the one for pids, which its parent has seen to. */
int box_enter(const struct box *b);
/* A path as whoever lives in it sees it, whatever links lead to; -1 with errno. */
int box_open(const struct box *b, const char *path, int flags);
/* How often something in it was killed for want of memory. */
uint64_t box_oom_kills(const struct box *b);
/* Takes away groups of makers that were killed before they could: done by box_make the first time, too. */
void box_sweep(void);
/* Kills all that lives in it, and takes it away. Its children are to be waited for first or after. */
void box_free(struct box *b);

#endif
