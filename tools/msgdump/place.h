/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.h - which node is meant, and what the nodes are called.
 *
 * A node is named by its run_dir, by its configuration file, or, if it is one of this user's local
 * nodes (svcctl up --local), by its name. Names of nodes come from that configuration.
 */
#ifndef ATOLL_MSGDUMP_PLACE_H
#define ATOLL_MSGDUMP_PLACE_H

#include <stdbool.h>

#include "ipc/conf.h"

struct place {
	char run_dir[CONF_PATH_MAX + 1];
	bool named; /* conf holds the names of the node and its peers */
	struct node_conf conf;
};

/* Does this word look like a node's, and not like the beginning of a filter? */
bool place_is(const char *word);
/* Find it. 0 or negative errno, said on stderr. */
int place_find(const char *word, struct place *out);
/* Names from a configuration file alone. 0 or negative errno, said on stderr. */
int place_names(const char *file, struct place *out);
/* The number of the node of that name; negative: none is known. @arg: a struct place. */
int place_node(void *arg, const char *name);

#endif
