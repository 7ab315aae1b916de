/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - insides of atoll-index: cli.c reads the command line and does what takes one operation;
 * cli_load.c does what takes one operation a line of a file; cli_fsck.c
 * looks at everything.
 */
#ifndef ATOLL_CLIENTS_INDEX_CLI_H
#define ATOLL_CLIENTS_INDEX_CLI_H

#include "clients/index/atoll_index.h"

struct cli {
	struct atoll_index *ix;
	const char *target;
	struct atoll_index_options options;
	unsigned patience_ms; /* how long to try to connect again */
	const char *from;     /* scan: first key, or NULL */
	unsigned limit;       /* scan: entries at most, 0 all */
	bool reverse;         /* scan: downwards */
	bool quiet;           /* no progress */
	bool repair;          /* fsck: finish what the dead have left */
	bool check;           /* dump: the summary only; load: read back */
};

/* Both return the exit status of the program. */
int cli_load(struct cli *c, const char *path);
int cli_verify(struct cli *c, const char *path);

/* Looks at everything, after a repair with --repair. The same. */
int cli_fsck(struct cli *c);

/* Says on stderr which members of a cluster are not reached, and why. Returns how many. */
unsigned cli_lost(struct cli *c);

/* A bar on stderr, where that is a terminal. @from: clock at the beginning. */
void cli_progress(const struct cli *c, const char *what, uint64_t done, uint64_t all,
		  uint64_t from_ns);

#endif
