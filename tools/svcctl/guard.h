/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.h - a process that outlives the supervisor by two seconds.
 *
 * When a supervisor is killed, its node must end all the same. Its processes see that by themselves;
 * one that is stopped, stuck or does not care would stay. So a supervisor forks a guard at its start
 * and hands it a pidfd of each process that it starts. When the socket hangs up without a farewell,
 * the guard waits for them, kills what is left, removes the node's sockets, and writes down why the
 * node ended. It holds the lock of run_dir (by inheritance) until then, so that the next supervisor
 * does not come in between.
 */
#ifndef ATOLL_SVCCTL_GUARD_H
#define ATOLL_SVCCTL_GUARD_H

#include <sys/types.h>

struct guard {
	pid_t pid;
	int sock; /* -1: none */
};

/* Fork one. @lock: stays open in it. 0 or negative errno. */
int guard_start(struct guard *g, const char *run_dir, int lock);
/* Tell it of a process; 0 or negative errno: then it is gone. */
int guard_add(struct guard *g, int pidfd, pid_t pid);
/* The node has ended in order: it need do nothing. */
void guard_dismiss(struct guard *g);

#endif
