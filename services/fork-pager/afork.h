/* SPDX-License-Identifier: Apache-2.0 */
/*
 * afork.h - the parts of the command: its side of the control socket (afork_control.c), children (afork_resume.c).
 */
#ifndef ATOLL_FORK_AFORK_H
#define ATOLL_FORK_AFORK_H

#include <stdbool.h>
#include <unistd.h>

#include "proto/fork_control.h"
#include "services/fork-pager/pages/source.h"

enum {
	AFORK_CHILDREN_MAX = 64,
	AFORK_WAIT_MS = 60000, /* for an answer: a large snapshot is copied meanwhile */
};

struct afork_options {
	bool force, no_pids, verbose;
	int count;
};

static inline void close_quietly(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The pager of a node: @node is its run directory, NULL that of $ATOLL_SOCKET. A descriptor, or negative errno after a
 * line on stderr. */
int afork_connect(const char *node);
/* Sends @q and gets its answer in place. 0, what the pager says, or negative errno of the connection. */
int afork_ask(int sock, struct fork_control *q, const int *fds, unsigned nfds, int *got, unsigned *ngot);
int afork_answer(int sock, struct fork_control *a, int *got, unsigned *ngot);
/* A memory file with two pieces one after the other; descriptor or negative errno. */
int afork_file(const void *a, size_t alen, const void *b, size_t blen);

/* Hands a snapshot over and waits until it is copied; says on stderr what was wrong. */
int afork_prepare(int sock, pid_t pid, const struct page_source *source, const void *image, size_t len,
		  struct fork_control *answer);
/* Starts children and waits for them. Their exit status, or 120 and more after a line on stderr. */
int afork_resume(const char *node, const struct fork_handle *h, const struct afork_options *o);

#endif
