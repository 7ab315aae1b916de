/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the pager ends. A child whose snapshot had come whole needs nobody's pages any more, but somebody who follows what it does to
 * its memory: from then on that is this process. It holds the page cache and a userfaultfd of each of the child's processes
 * anyway, and where what lies the pager has written down for it (pages/ledger.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "services/fork-pager/afork.h"
#include "services/fork-pager/pages/ledger.h"
#include "services/fork-pager/pages/space.h"

enum {
	EVENTS = 32,
	KEEP_WINDOW = 32, /* pages put into a child at once */
	KEEP_BYTES_MAX = 1 << 30, /* of an index */
};

struct kept {
	uint64_t id; /* of the pager, for one process */
	int uffd, ledger;
};

struct afork_keep {
	struct kept *of;
	size_t n;
	int index; /* of the snapshot; -1: it is not whole */
	int epoll;
	struct space *space;
	void (*lost)(void *ctx, int rc, const char *why);
	void *ctx;
};

struct afork_keep *afork_keep_new(void)
{
	struct afork_keep *k = calloc(1, sizeof(*k));

	if (k)
		k->index = k->epoll = -1;
	return k;
}

void afork_keep_free(struct afork_keep *k)
{
	if (!k)
		return;
	space_free(k->space);
	for (size_t i = 0; i < k->n; i++) {
		close_quietly(k->of[i].uffd);
		close_quietly(k->of[i].ledger);
	}
	close_quietly(k->index);
	close_quietly(k->epoll);
	free(k->of);
	free(k);
}

/* Those whose processes have ended are of no use. */
static void sweep(struct afork_keep *k)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->n; i++) {
		if (space_alive(k->of[i].uffd)) {
			k->of[kept++] = k->of[i];
			continue;
		}
		close_quietly(k->of[i].uffd);
		close_quietly(k->of[i].ledger);
	}
	k->n = kept;
}

int afork_keep_add(struct afork_keep *k, uint64_t id, int uffd)
{
	struct kept *more;

	sweep(k);
	more = realloc(k->of, (k->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	k->of = more;
	k->of[k->n++] = (struct kept){.id = id, .uffd = uffd, .ledger = -1};
	return 0;
}

void afork_keep_whole(struct afork_keep *k, uint64_t id, int ledger, int index)
{
	close_quietly(k->index);
	k->index = index;
	for (size_t i = 0; i < k->n; i++)
		if (k->of[i].id == id && k->of[i].ledger < 0) {
			k->of[i].ledger = ledger;
			return;
		}
	close(ledger);
}

/* ------------------------------------------------------------------ taking over */

static int part(int fd, uint64_t *at, uint64_t len, void **out)
{
	if (len > KEEP_BYTES_MAX)
		return -EBADMSG;
	*out = malloc(len + 1);
	if (!*out)
		return -ENOMEM;
	if (pread(fd, *out, len, (off_t)*at) != (ssize_t)len)
		return -EBADMSG;
	*at += len;
	return 0;
}

static int never(void *ctx, unsigned hop, uint64_t store, uint32_t count, uint64_t token)
{
	(void)ctx, (void)hop, (void)store, (void)count, (void)token;
	return -EIO;
}

static int space_take(struct afork_keep *k, int cache_fd)
{
	const struct space_source none = {.read = never};
	struct store_header h;
	struct store_index x;
	void *p[3] = {NULL, NULL, NULL};
	const char *why;
	uint64_t at = sizeof(h);
	int rc = pread(k->index, &h, sizeof(h), 0) == sizeof(h) ? 0 : -EBADMSG;

	if (!rc)
		rc = part(k->index, &at, h.nranges * sizeof(struct page_range), &p[0]);
	if (!rc)
		rc = part(k->index, &at, h.nhops * sizeof(struct store_hop), &p[1]);
	if (!rc)
		rc = part(k->index, &at, h.nextents * sizeof(struct store_extent), &p[2]);
	if (!rc)
		rc = store_index_make(&x, &h, p[0], p[1], p[2], &why);
	if (!rc) {
		rc = space_new_whole(&k->space, &x, &none, KEEP_WINDOW, cache_fd);
		if (rc)
			store_index_free(&x);
	}
	for (int i = 0; i < 3; i++)
		free(p[i]);
	return rc;
}

static void watched(void *ctx, int fd, struct space_child *c)
{
	struct afork_keep *k = ctx;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &e))
		k->lost(k->ctx, -errno, "a process of it cannot be watched");
}

static void forgotten(void *ctx, int fd)
{
	struct afork_keep *k = ctx;

	epoll_ctl(k->epoll, EPOLL_CTL_DEL, fd, NULL);
}

int afork_keep_take(struct afork_keep *k, int cache_fd, void (*lost)(void *ctx, int rc, const char *why), void *ctx)
{
	int rc = k->index < 0 ? -ENODATA : 0;

	sweep(k);
	for (size_t i = 0; i < k->n && !rc; i++)
		rc = k->of[i].ledger < 0 ? -ENODATA : 0;
	if (!rc)
		rc = space_take(k, cache_fd);
	if (rc)
		return rc;
	k->lost = lost;
	k->ctx = ctx;
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll < 0)
		return -errno;
	space_watch(k->space, watched, forgotten, k);
	for (size_t i = 0; i < k->n && !rc; i++) {
		struct places p = {0}, due = {0};
		int uffd = k->of[i].uffd;

		rc = ledger_read(k->of[i].ledger, &p, &due);
		if (!rc) {
			k->of[i].uffd = -1;
			rc = space_child_take(k->space, uffd, &p, &due, lost, ctx);
		}
		places_free(&p);
		places_free(&due);
	}
	return rc;
}

int afork_keep_fd(const struct afork_keep *k)
{
	return k ? k->epoll : -1;
}

void afork_keep_turn(struct afork_keep *k)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(k->epoll, e, EVENTS, 0);

	for (int i = 0; i < n; i++)
		space_child_ready(e[i].data.ptr);
	if (space_wants_again(k->space))
		space_again(k->space);
	/* After the events: what they point to is not freed before. */
	space_sweep(k->space);
}

bool afork_keep_again(const struct afork_keep *k)
{
	return k->space && space_wants_again(k->space);
}
