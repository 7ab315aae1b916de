/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll_fork.h - fork(2), across machines.
 *
 *	int child = atoll_fork("/run/atoll/b", 0);	// a run directory: the node on which the child starts
 *
 *	if (child == 0) {				// there: same memory, same threads, same pid
 *		reseed_random();
 *		serve();
 *		_exit(0);
 *	}
 *	if (child < 0)
 *		errx(1, "%s", atoll_fork_error());
 *	atoll_fork_wait(child, &status);		// here: a descriptor, readable once the child has ended
 *
 * A process cannot trace itself, so each call starts the program `afork`, which takes the snapshot, or starts the children
 * and stays with them: it is their parent, and what they have for standard streams are the caller's. It is no child of the
 * caller (SIGCHLD and wait(2) notice nothing), unless the caller is a subreaper or the first of a pid namespace. `afork` is the one
 * named by $ATOLL_AFORK, else that of the installation, else the one in $PATH.
 *
 * Nodes are named by their run directory; NULL is the one of $ATOLL_SOCKET. All descriptors that these functions return are
 * close-on-exec, and are not there in children that the program itself asks for. A process that holds one cannot be
 * forked by others (`afork prepare PID`): it is a socket to another process.
 *
 * Any thread may call any of them. None may be called from a signal handler.
 */
#ifndef ATOLL_FORK_H
#define ATOLL_FORK_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum {
	ATOLL_FORK_HANDLE = 64, /* bytes of a handle's text, with the zero */
};

enum atoll_fork_flag {
	ATOLL_FORK_FORCE = 1 << 0,   /* prepare: drop what cannot be carried; reclaim: although children need it */
	ATOLL_FORK_NO_PIDS = 1 << 1, /* resume, fork: new process numbers, no pid namespace; takes no root for that */
};

/**
 * atoll_fork - a child of the caller on another node.
 * @node: of this machine, where it starts. The snapshot lies on the node of $ATOLL_SOCKET until the child has ended.
 * Return: a descriptor for atoll_fork_wait; 0 in the child, after the hooks have run; negative errno, with
 * atoll_fork_error (-EOPNOTSUPP: the caller has what cannot be carried, all of it is listed). Then there is no child.
 */
int atoll_fork(const char *node, unsigned flags);

/**
 * atoll_fork_prepare - a snapshot of the caller, for any number of children.
 * @handle: gets ATOLL_FORK_HANDLE bytes: the right to the snapshot, as good as its memory.
 * Return: 0; 1 in every child that is ever started from it, after the hooks have run, with @handle empty; negative errno.
 */
int atoll_fork_prepare(const char *node, unsigned flags, char *handle);
/* The same of another process, as ptrace(2) allows. */
int atoll_fork_prepare_pid(const char *node, pid_t pid, unsigned flags, char *handle);

/**
 * atoll_fork_resume - start @count (1 to 64) children of a snapshot on a node of this machine, wherever it was taken.
 * Return: when all of them run, a descriptor for atoll_fork_wait; negative errno.
 */
int atoll_fork_resume(const char *node, const char *handle, unsigned count, unsigned flags);

/**
 * atoll_fork_wait - wait for all children of a descriptor, and close it. poll(2) says when it does not block.
 * @status: NULL, or as waitpid(2) gives it, of the first one that did not end with 0.
 * Return: 0; -ECONNRESET: whoever looked after them is gone, and they with it; -EBADF. A child that lost memory has ended by a signal,
 * and atoll_fork_error says why it was lost.
 */
int atoll_fork_wait(int fd, int *status);

/* Give a snapshot's memory back, wiped. 0; -EBUSY: children need it; -ENOENT. */
int atoll_fork_reclaim(const char *node, const char *handle, unsigned flags);

/**
 * atoll_fork_hook - have something done in each child before atoll_fork or atoll_fork_prepare returns in it: to draw new random
 * seeds, to connect again. Hooks run in the thread that called, in the order in which they were set; other threads
 * run already. Return: 0 or -ENOMEM.
 */
int atoll_fork_hook(void (*fn)(void *ctx), void *ctx);

/* Why the last call of this thread failed, or what was lost. */
const char *atoll_fork_error(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
