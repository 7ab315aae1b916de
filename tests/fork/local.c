/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fork/local.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "services/fork-pager/proc/restore.h"

enum {
	WINDOW = 32,
};

static uint32_t draw(struct local *l)
{
	l->seed = l->seed * 1664525u + 1013904223u;
	return l->seed >> 8;
}

static int source_read(void *ctx, unsigned hop, uint64_t store, uint32_t count, uint64_t token)
{
	struct local *l = ctx;

	if (hop)
		return -EINVAL;
	if (l->cut && ++l->reads > l->cut)
		return -EHOSTUNREACH;
	if (!l->late) {
		const uint8_t *from = l->memory + ((struct store_header *)(void *)l->memory)->pages_at;

		space_arrived(l->space, token, from + store * PAGES_SIZE, 0);
		return 0;
	}
	if (l->nwaiting == LOCAL_READS_MAX)
		return -EAGAIN;
	l->waiting[l->nwaiting].store = store;
	l->waiting[l->nwaiting].count = count;
	l->waiting[l->nwaiting++].token = token;
	return 0;
}

static void deliver(struct local *l)
{
	const struct store_header *h = (const struct store_header *)(void *)l->memory;

	while (l->nwaiting && draw(l) % 4) {
		unsigned i = draw(l) % l->nwaiting;
		uint64_t store = l->waiting[i].store, token = l->waiting[i].token;

		l->waiting[i] = l->waiting[--l->nwaiting];
		space_arrived(l->space, token, l->memory + h->pages_at + store * PAGES_SIZE, 0);
	}
}

static void watch(void *ctx, int fd, struct space_child *c)
{
	struct local *l = ctx;

	if (l->nfds < LOCAL_FDS_MAX) {
		l->fds[l->nfds].fd = fd;
		l->fds[l->nfds++].child = c;
	}
}

static void forget(void *ctx, int fd)
{
	struct local *l = ctx;

	for (unsigned i = 0; i < l->nfds; i++)
		if (l->fds[i].fd == fd)
			l->fds[i] = l->fds[--l->nfds];
}

int local_open(struct local *l, const struct page_source *source, const void *image, size_t len)
{
	const struct space_source from = {.read = source_read, .ctx = l};
	const struct store_header *h;
	struct store_writer *w;
	struct store_index x;
	struct store_plan plan;
	const char *why = "";
	int rc = store_measure(source, len, 0, &plan);

	if (rc)
		return rc;
	l->size = plan.size;
	l->memory = mmap(NULL, l->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l->memory == MAP_FAILED)
		return -ENOMEM;
	rc = store_write_begin(&w, source, &plan, image, len, NULL, 0, l->memory, l->size);
	if (rc)
		return rc;
	do
		rc = store_write_some(w, 100);
	while (rc > 0);
	store_write_end(w);
	if (rc)
		return rc;
	h = (const struct store_header *)(void *)l->memory;
	rc = store_header_check(h, l->size, &why);
	if (!rc)
		rc = store_index_make(&x, h, l->memory + h->ranges_at, l->memory + h->hops_at, l->memory + h->extents_at, &why);
	if (!rc)
		rc = space_new(&l->space, &x, &from, WINDOW);
	if (rc) {
		fprintf(stderr, "store: %s\n", why);
		return rc;
	}
	space_watch(l->space, watch, forget, l);
	l->nruns = space_file_runs(l->space, NULL, 0);
	l->runs = calloc(l->nruns + 1, sizeof(*l->runs));
	if (!l->runs)
		return -ENOMEM;
	space_file_runs(l->space, l->runs, l->nruns);
	return 0;
}

static void filled(void *ctx, int rc)
{
	*(int *)ctx = rc;
}

int local_fill(struct local *l, const struct image *im)
{
	const struct store_index *x = space_index(l->space);

	for (uint32_t i = 0; i < im->nvmas; i++) {
		int rc = 1;

		if (!restore_wants_whole(&im->vmas[i]))
			continue;
		if (space_fill(l->space, x->ranges[i].cache / PAGES_SIZE,
			       x->ranges[i].length / PAGES_SIZE, filled, &rc))
			return -ENOMEM;
		while (rc == 1) {
			deliver(l);
			space_again(l->space);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static void gone(void *ctx, int rc, const char *why)
{
	struct local *l = ctx;

	l->lost = rc;
	fprintf(stderr, "pager: %s\n", why);
}

int local_child_add(struct local *l, int uffd, const struct page_place *places, unsigned n,
		    struct space_child **out)
{
	return space_child_add(l->space, uffd, places, n, gone, l, out);
}

void local_serve(struct local *l, int pidfd)
{
	struct pollfd p[LOCAL_FDS_MAX + 1];

	for (;;) {
		unsigned n = l->nfds;
		bool soon = l->nwaiting || space_wants_again(l->space);

		p[0] = (struct pollfd){.fd = pidfd, .events = POLLIN};
		for (unsigned i = 0; i < n; i++)
			p[i + 1] = (struct pollfd){.fd = l->fds[i].fd, .events = POLLIN};
		poll(p, n + 1, soon ? 0 : 100);
		for (unsigned i = 0; i < n; i++)
			/* The list moves under us: look it up again. */
			for (unsigned k = 0; p[i + 1].revents && k < l->nfds; k++)
				if (l->fds[k].fd == p[i + 1].fd) {
					space_child_ready(l->fds[k].child);
					break;
				}
		deliver(l);
		if (soon)
			space_again(l->space);
		space_sweep(l->space);
		if (p[0].revents)
			return;
	}
}

void local_close(struct local *l)
{
	space_free(l->space);
	free(l->runs);
	if (l->memory)
		munmap(l->memory, l->size);
}
