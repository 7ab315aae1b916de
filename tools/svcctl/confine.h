/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.h - what a process of a node sees: namespaces of its own, and a file system with next to nothing.
 *
 * A confined process has its own users, mounts, process numbers, IPC objects, host name and network, unless
 * its page keeps one of them. Its file system is an empty one with the libraries, its program, what its page
 * lists, the node's run_dir (to find the dataplane's socket) and its state directory; all but the last are
 * read-only. Of other processes, their logs and their state it sees nothing, nor the supervisor's socket.
 *
 * With root the supervisor maps the process's user; without root, its own. Where the kernel refuses, the
 * process starts with fewer namespaces, and a warning in `svcctl status` says so.
 */
#ifndef ATOLL_SVCCTL_CONFINE_H
#define ATOLL_SVCCTL_CONFINE_H

#include <sys/types.h>

#include "ipc/conf.h"
#include "tools/svcctl/policy.h"

#define CONFINE_ROOT "root" /* in run_dir: where the process's file system is put together */

/* Namespaces of a process, as flags of clone(2). */
int confine_flags(const struct policy *p);

/* In the supervisor, after clone: who the users of the child's user namespace are. 0 or negative errno. */
int confine_map(pid_t pid, const struct conf_user *user);

/**
 * confine_files - in the child: change to a file system of its own.
 * @program: an open descriptor of the program, which is put at @exec.
 * @state: its own directory, NULL: it has none, nor the run_dir.
 * Return: 0, or negative errno with what failed in @what; nothing has changed then.
 */
int confine_files(const struct policy *p, const char *run_dir, const char *state, int program,
		  const char *exec, const char **what);

/* In the child: its resource limits. */
void confine_limits(const struct policy *p);

#endif
