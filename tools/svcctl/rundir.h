/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rundir.h - a node's directory: its lock, sockets, logs, and why it ended last.
 *
 *   lock             held by the supervisor (and its guard) while the node is up
 *   dataplane.sock   made by the dataplane; what processes attach to
 *   svcctl.sock      made by the supervisor; only for the node's owner
 *   log/NAME.log     output of each process; NAME.log.1 is what went before
 *   state/NAME/      a service's own directory
 *   ended            why the node is not up any more
 */
#ifndef ATOLL_SVCCTL_RUNDIR_H
#define ATOLL_SVCCTL_RUNDIR_H

#include <stddef.h>
#include <stdint.h>

#include "ipc/conf.h"

#define RUNDIR_CONTROL "svcctl.sock"

/* Make it and its log directory. @owner: of the directory, if root makes it. 0, or negative errno with
 * a sentence in @err. */
int rundir_make(const char *dir, const struct conf_user *owner, char *err, size_t errlen);
/* Take its lock, waiting up to @wait_ms for one that is being given up. Descriptor, -EBUSY, or other. */
int rundir_lock(const char *dir, int wait_ms);
/* Remove all sockets, *.sock: the node has ended, or they are left of an earlier life. */
void rundir_clean(const char *dir);
/* Remove the socket of a dataplane that has ended. */
void rundir_clean_dataplane(const char *dir);
/* Write down, or read, why the node ended. NULL: it is up. */
void rundir_ended(const char *dir, const char *why);
int rundir_why(const char *dir, char *out, size_t len);

/* Make the directory of a service, for @user only. 0 or negative errno. */
int rundir_state(const char *dir, const char *name, const struct conf_user *user);

/* Open a process's log for appending. Descriptor or negative errno. */
int rundir_log_open(const char *dir, const char *name);
/* Move what is longer than @max_kib to NAME.log.1. The writer keeps its descriptor. */
void rundir_log_rotate(const char *dir, const char *name, uint32_t max_kib);
/* The last lines of a log, at most @len - 1 bytes. */
void rundir_log_tail(const char *dir, const char *name, unsigned lines, char *out, size_t len);

#endif
