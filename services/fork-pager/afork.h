/* SPDX-License-Identifier: Apache-2.0 */
/*
 * afork.h - the parts of the command: its side of the control socket (afork_control.c), children (afork_resume.c),
 * whom it reports to (afork_report.c).
 */
#ifndef ATOLL_FORK_AFORK_H
#define ATOLL_FORK_AFORK_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "proto/fork_control.h"
#include "services/fork-pager/pages/source.h"
#include "services/fork-pager/proc/restore.h"

enum {
	AFORK_CHILDREN_MAX = 64,
	AFORK_EXIT_TROUBLE = 120, /* and not the child's own */
	AFORK_WAIT_MS = 60000, /* for an answer: a large snapshot is copied meanwhile */
};

struct capture_self;

struct afork_options {
	bool force, no_pids, verbose;
	int count;
	const struct capture_self *self; /* NULL: the process does not know */
	bool no_replay;	  /* the working set of earlier children is not put in beforehand */
	int fill_mib;	  /* a second, fetched in the background; 0: not */
	bool container;
	struct box_options box;
};

/* A line for whoever started us: on stderr, or with the report. @rc: what it was, negative errno, or 0. */
void afork_say(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Lines of others. */
void afork_pass(const char *text);
/* afork_report.c: to the program that started us through clients/fork; nothing without --report. */
int afork_report_open(int fd);
void afork_report(uint32_t kind, const char *handle, int status);

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
int afork_send(int sock, struct fork_control *q, const int *fds, unsigned nfds);
int afork_answer(int sock, struct fork_control *a, int *got, unsigned *ngot);
/* A memory file with two pieces one after the other; descriptor or negative errno. */
int afork_file(const void *a, size_t alen, const void *b, size_t blen);

/* Hands a snapshot over and waits until it is copied; says on stderr what was wrong. */
int afork_prepare(int sock, pid_t pid, const struct page_source *source, const void *image, size_t len,
		  struct fork_control *answer);
/* afork_child.c. A snapshot, open on a node, of which children can be made. Each function says what is wrong, and returns 0 or
 * AFORK_EXIT_TROUBLE. */
struct afork_snapshot {
	int sock; /* to its pager */
	struct image im;
	uint8_t *image; /* and the runs behind it */
	struct page_run *runs;
	uint64_t nruns, cache_size, uffd_features;
	int cache_fd;
	bool no_replay;
	uint64_t fill_rate; /* bytes a second, 0: none */
	struct afork_keep *keep; /* NULL: none */
	unsigned fills; /* answers to FILL that are due */
};

/* @meanwhile: called while the pager works, or NULL. */
int afork_open(struct afork_snapshot *s, const char *node, const struct fork_handle *h, void (*meanwhile)(void *ctx), void *ctx);
void afork_close(struct afork_snapshot *s);
/* A child that stands complete, and whose pager knows it. After an error it is to be ended all the same. */
int afork_stand(struct afork_snapshot *s, struct restore_child *c, const struct restore_options *o);
int afork_go(struct afork_snapshot *s, struct restore_child *c);
/* Kills it, waits for it, frees it. */
void afork_end(struct restore_child *c);

/* afork_keep.c: what children need that live longer than their pager. */
struct afork_keep;
struct afork_keep *afork_keep_new(void);
void afork_keep_free(struct afork_keep *k);
/* A process of a child, by the pager's number; its userfaultfd is @k's after success. 0 or -ENOMEM. */
int afork_keep_add(struct afork_keep *k, uint64_t id, int uffd);
/* The pager has all of its pages, and keeps a ledger of it. Both descriptors are @k's. */
void afork_keep_whole(struct afork_keep *k, uint64_t id, int ledger, int index);
/* The pager has ended: all processes are served from here. 0; -ENODATA: not all had come; -EBUSY: it ended in the middle of a
 * change. After an error they are to be ended. @lost: as space_child_lost. */
int afork_keep_take(struct afork_keep *k, int cache_fd, void (*lost)(void *ctx, int rc, const char *why), void *ctx);
/* Then: readable when there is something to do; -1 before. */
int afork_keep_fd(const struct afork_keep *k);
void afork_keep_turn(struct afork_keep *k);
bool afork_keep_again(const struct afork_keep *k);

/* afork_serve.c: children for whoever connects to @path, until SIGTERM. */
int afork_serve(const char *node, const struct fork_handle *h, const struct afork_options *o, const char *path);

/* Starts children and waits for them. Their exit status, or 120 and more after a line on stderr. */
int afork_resume(const char *node, const struct fork_handle *h, const struct afork_options *o);

#endif
