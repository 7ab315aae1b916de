/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - commands about nodes that are up: which ones are meant, and what their supervisors say.
 *
 * Errors are said on stderr; what is returned is negative, or the exit status of the command.
 */
#ifndef ATOLL_SVCCTL_CLIENT_H
#define ATOLL_SVCCTL_CLIENT_H

#include <stdbool.h>

#include "ipc/conf.h"
#include "tools/svcctl/local.h"

enum { TARGETS_MAX = LOCAL_NODES_MAX };

struct target {
	char name[CONF_NAME_MAX + 1];
	char run_dir[CONF_PATH_MAX + 1];
	char file[LOCAL_PATH_MAX];
};

/* Arguments as targets, at most TARGETS_MAX; none: the local nodes of @dir. How many, or negative. */
int client_targets(int argc, char **argv, const char *dir, struct target *t);
/* [TARGET] NAME, or [NODE/]NAME of the local nodes. 0 or negative. */
int client_target(int argc, char **argv, const char *dir, struct target *out, const char **name);

/* One request to a supervisor. 0 and the answer (allocated; its first byte is the sign); 1: it says an error;
 * negative: there is no supervisor. */
int client_ask(const struct target *t, const char *request, char **text);

int client_status(int n, const struct target *t, bool json);
int client_down(int n, const struct target *t, bool json);
int client_restart(const struct target *t, const char *name, bool json);

#endif
