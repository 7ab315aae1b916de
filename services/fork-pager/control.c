/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: what `afork` asks for, and what it is told. proto/fork_control.h says the order of things. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "ipc/sock.h"
#include "services/fork-pager/pages/ledger.h"
#include "services/fork-pager/server.h"

void fork_handle_print(const struct fork_handle *h, char *out)
{
	snprintf(out, FORK_HANDLE_TEXT, "%u/%u-%u-%016llx%016llx", h->node, h->slot, h->epoch,
		 (unsigned long long)h->secret[0], (unsigned long long)h->secret[1]);
}

/* Its directory is its own; everybody may reach the socket in it, and nobody can list it. */
static void directory_open(const char *path)
{
	char dir[sizeof(((struct server *)0)->path)];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return;
	*slash = 0;
	if (chmod(dir, 0711))
		fprintf(stderr, "fork-pager: only root and its own user can reach it: %s: %s\n", dir, strerror(errno));
}

int control_init(struct server *v)
{
	directory_open(v->path);
	v->listen = sock_listen(v->path, 0666);
	if (v->listen < 0) {
		fprintf(stderr, "fork-pager: cannot listen on %s: %s\n", v->path, strerror(-v->listen));
		return v->listen;
	}
	return server_watch(v, v->listen, WATCH_LISTEN, NULL);
}

/* ------------------------------------------------------------------ connections */

static void conn_close(struct server *v, struct conn *c)
{
	if (c->preparing)
		export_abort(v, c->preparing);
	prepare_free(c->waiting);
	for (struct child *k = v->children; k; k = k->next)
		if (k->conn == c)
			k->conn = NULL;
	server_forget(v, c->fd);
	close(c->fd);
	if (c->r)
		remote_put(c->r);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

void control_accept(struct server *v)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = accept4(v->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned has = 0;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
		close(fd);
		return;
	}
	for (unsigned i = 0; i < CONNS_MAX; i++)
		has += v->conns[i].used && v->conns[i].uid == cred.uid;
	for (unsigned i = 0; i < CONNS_MAX && control_share(cred.uid, has, CONNS_MAX); i++) {
		struct conn *c = &v->conns[i];

		if (c->used)
			continue;
		if (server_watch(v, fd, WATCH_CONN, c))
			break;
		*c = (struct conn){.used = true, .fd = fd, .uid = cred.uid, .use = ++v->uses};
		return;
	}
	close(fd);
}

/* An answer that does not fit is one that nobody reads: the connection ends. */
static void answer(struct server *v, struct conn *c, struct fork_control *a, int rc, const int *fds, unsigned nfds)
{
	a->magic = FORK_CONTROL_MAGIC;
	a->rc = rc;
	if (sock_send(c->fd, a, sizeof(*a), fds, nfds))
		conn_close(v, c);
}

static void refuse(struct server *v, struct conn *c, uint16_t op, int rc, const char *why)
{
	struct fork_control a = {.op = op};

	snprintf(a.text, sizeof(a.text), "%s", why);
	answer(v, c, &a, rc, NULL, 0);
}

/* ------------------------------------------------------------------ preparing */

static void export_stats(const struct export *e, uint64_t *stat)
{
	stat[0] = e->written.looked_at;
	stat[1] = e->written.zero;
	stat[2] = e->written.same;
	stat[3] = e->written.stored;
	stat[4] = e->size;
	stat[5] = e->nusers;
	stat[6] = e->took_ns;
	stat[7] = e->written.elsewhere;
}

static void prepare(struct server *v, struct conn *c, const struct fork_control *q, int *fds, unsigned nfds)
{
	char why[160] = "three descriptors belong to it";
	int rc = -EINVAL;

	/* Page tables of a child are looked at while it is found out whose it is; else they are a copy. */
	if (nfds == 3 && (!foreign_is_memory(fds[0]) || !foreign_is_memory(fds[2]) ||
			  (!foreign_is_memory(fds[1]) && !foreign_is_pagemap(fds[1], c->uid))))
		snprintf(why, sizeof(why), "a descriptor is not of memory: nobody waits for what is behind it");
	else if (nfds == 3 && q->count <= ENTRIES_MAX && q->image_len <= 1 << 20 && !c->preparing && !c->waiting)
		rc = export_begin(v, c, fds[0], fds[1], fds[2], q, why, sizeof(why));
	if (rc) {
		refuse(v, c, FORK_CONTROL_PREPARE, rc, why);
		return;
	}
	fds[0] = fds[1] = -1; /* the export's now */
}

void control_prepared(struct server *v, struct conn *c, struct export *e, int rc, const char *why)
{
	struct fork_control a = {.op = FORK_CONTROL_PREPARE};

	if (!rc) {
		export_handle(v, e, &a.handle);
		export_stats(e, a.stat);
	}
	snprintf(a.text, sizeof(a.text), "%s", why);
	answer(v, c, &a, rc, NULL, 0);
}

/* ------------------------------------------------------------------ resuming */

static int opened_blob(struct remote *r, uint64_t *nruns)
{
	unsigned n = space_file_runs(r->space, NULL, 0);
	struct page_run *runs = calloc(n + 1, sizeof(*runs));
	size_t image = r->header.image_len, len = n * sizeof(*runs);
	int fd = runs ? memfd_create("atoll-fork", MFD_CLOEXEC) : -1;

	if (runs)
		space_file_runs(r->space, runs, n);
	if (fd >= 0 && (pwrite(fd, r->part[PART_IMAGE], image, 0) != (ssize_t)image ||
			pwrite(fd, runs, len, (off_t)image) != (ssize_t)len)) {
		close(fd);
		fd = -1;
	}
	free(runs);
	*nruns = n;
	return fd;
}

static void opened(struct server *v, struct conn *c)
{
	struct remote *r = c->r;
	struct fork_control a = {.op = FORK_CONTROL_OPEN, .handle = r->handle};
	int fds[2], blob;

	c->opening = false;
	if (r->state == REMOTE_FAILED) {
		int error = r->error;

		snprintf(a.text, sizeof(a.text), "%s", r->why);
		c->r = NULL;
		remote_put(r);
		answer(v, c, &a, error, NULL, 0);
		return;
	}
	blob = opened_blob(r, &a.count);
	if (blob < 0) {
		refuse(v, c, FORK_CONTROL_OPEN, -ENOMEM, "no memory for the image");
		return;
	}
	a.image_len = r->header.image_len;
	a.cache_size = r->header.cache_size;
	fds[0] = space_fd(r->space);
	fds[1] = blob;
	answer(v, c, &a, 0, fds, 2);
	close(blob);
}

void control_opened(struct server *v, struct remote *r)
{
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (v->conns[i].used && v->conns[i].opening && v->conns[i].r == r)
			opened(v, &v->conns[i]);
}

static void open_handle(struct server *v, struct conn *c, const struct fork_control *q)
{
	if (c->r) {
		refuse(v, c, FORK_CONTROL_OPEN, -EBUSY, "this connection has a snapshot open");
		return;
	}
	c->opening = true;
	c->r = remote_get(v, &q->handle, c->uid, false);
	if (!c->r) {
		c->opening = false;
		refuse(v, c, FORK_CONTROL_OPEN, -ENOSPC, "this node has as many snapshots open as it can, or you have your share");
		return;
	}
	if (c->r->state == REMOTE_READY || c->r->state == REMOTE_FAILED)
		opened(v, c);
}

struct filling {
	struct server *v;
	struct conn *c;
	uint64_t use;
};

static void filled(void *ctx, int rc)
{
	struct filling *f = ctx;
	struct conn *c = f->c;

	if (c->used && c->use == f->use) {
		c->filling--;
		refuse(f->v, c, FORK_CONTROL_FILL, rc, rc ? "pages that it begins with cannot be had" : "");
	}
	free(f);
}

static void fill(struct server *v, struct conn *c, const struct fork_control *q)
{
	struct filling *f = c->r && c->r->space && c->filling < FILLS_MAX ? malloc(sizeof(*f)) : NULL;

	if (!f) {
		refuse(v, c, FORK_CONTROL_FILL, -EINVAL, "no snapshot is open, or too much is under way");
		return;
	}
	*f = (struct filling){v, c, c->use};
	c->filling++;
	if (space_fill(c->r->space, q->page, q->count, filled, f)) {
		c->filling--;
		free(f);
		refuse(v, c, FORK_CONTROL_FILL, -ENOMEM, "no memory");
	}
}

/* ------------------------------------------------------------------ children */

/* From inside the space, before the child can notice: whoever started it is to know why when it ends. */
static void child_lost(void *ctx, int rc, const char *why)
{
	struct child *k = ctx;
	struct fork_control a = {.magic = FORK_CONTROL_MAGIC, .op = FORK_CONTROL_LOST, .rc = -EIO, .pid = k->pid};

	(void)rc;
	snprintf(a.text, sizeof(a.text), "%.90s%s%.90s", why, k->r->why[0] ? ": " : "", k->r->why);
	server_say("child %d: %s", k->pid, a.text);
	if (k->conn)
		sock_send(k->conn->fd, &a, sizeof(a), NULL, 0);
}

static void child_watch(void *ctx, int fd, struct space_child *c)
{
	struct server *v = ctx;
	struct fork_control a = {.op = FORK_CONTROL_SPARE};
	struct child *k;
	bool fork;

	if (server_watch(v, fd, WATCH_CHILD, c))
		server_say("descriptor %d cannot be watched", fd);
	k = space_child_owner(c, &fork);
	if (fork && k && k->conn) {
		a.pid = k->pid;
		a.page = space_child_id(c);
		a.magic = FORK_CONTROL_MAGIC;
		sock_send(k->conn->fd, &a, sizeof(a), &fd, 1);
		children_keep(v, k->r);
	}
}

static void child_forget(void *ctx, int fd)
{
	server_forget(ctx, fd);
}

static void child_add(struct server *v, struct conn *c, const struct fork_control *q, int *fds, unsigned nfds)
{
	struct fork_control a = {.op = FORK_CONTROL_CHILD};
	struct child *k = calloc(1, sizeof(*k));
	struct page_place *places = NULL;
	size_t len = q->count * sizeof(*places);
	int rc = -EINVAL;

	if (nfds == 3 && (!foreign_is_userfaultfd(fds[0]) || !foreign_is_process(fds[1]) || !foreign_is_memory(fds[2]))) {
		free(k);
		refuse(v, c, FORK_CONTROL_CHILD, -EINVAL, "these are not a userfaultfd, a process and a memory file");
		return;
	}
	if (k && nfds == 3 && c->r && c->r->space && q->count <= ENTRIES_MAX)
		places = malloc(len + 1);
	if (places && pread(fds[2], places, len, 0) == (ssize_t)len) {
		*k = (struct child){.r = c->r, .conn = c, .pidfd = fds[1], .pid = q->pid};
		space_watch(c->r->space, child_watch, child_forget, v);
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		rc = space_child_add(c->r->space, fds[0], places, (unsigned)q->count, child_lost, k, &k->c);
		fds[0] = -1;
	}
	free(places);
	if (!rc) {
		fds[1] = -1;
		if (!(q->flags & FORK_CONTROL_NO_REPLAY))
			space_child_replay(k->c);
		if (q->page)
			space_background(c->r->space, q->page);
		rc = server_watch(v, k->pidfd, WATCH_PROCESS, k);
		k->next = v->children;
		v->children = k;
		v->nchildren++;
		a.page = space_child_id(k->c);
		c->r->refs++;
		if (rc) /* it is served, and its end noticed by a sweep */
			rc = 0;
	} else {
		free(k);
	}
	snprintf(a.text, sizeof(a.text), "%s", rc ? "these places are not the snapshot's" : "");
	answer(v, c, &a, rc, NULL, 0);
}

static int index_blob(const struct store_index *x)
{
	const struct {
		const void *data;
		size_t len;
	} part[] = {{&x->h, sizeof(x->h)}, {x->ranges, x->h.nranges * sizeof(*x->ranges)},
		    {x->hops, x->h.nhops * sizeof(*x->hops)}, {x->extents, x->h.nextents * sizeof(*x->extents)}};
	int fd = memfd_create("atoll-index", MFD_CLOEXEC);
	off_t at = 0;

	for (size_t i = 0; fd >= 0 && i < sizeof(part) / sizeof(part[0]); i++) {
		if (pwrite(fd, part[i].data, part[i].len, at) != (ssize_t)part[i].len) {
			close(fd);
			return -ENOMEM;
		}
		at += (off_t)part[i].len;
	}
	return fd;
}

void children_keep(struct server *v, struct remote *r)
{
	struct space_child *c = NULL;
	int fds[2] = {-1, -1};
	bool fork;

	(void)v;
	if (!space_whole(r->space))
		return;
	while ((c = space_unkept(r->space, c))) {
		struct child *k = space_child_owner(c, &fork);
		struct fork_control a = {.magic = FORK_CONTROL_MAGIC, .op = FORK_CONTROL_WHOLE,
					 .page = space_child_id(c)};

		if (!k || !k->conn || !k->conn->keeps)
			continue;
		if (fds[1] < 0)
			fds[1] = index_blob(space_index(r->space));
		fds[0] = fds[1] < 0 ? -1 : space_child_ledger(c);
		if (fds[0] < 0)
			break;
		a.pid = k->pid;
		sock_send(k->conn->fd, &a, sizeof(a), fds, 2);
		if (!fork)
			server_say("child %d: all its pages are here", k->pid);
	}
	if (fds[1] >= 0)
		close(fds[1]);
}

void child_ended(struct server *v, struct child *k)
{
	for (struct child **at = &v->children; *at; at = &(*at)->next)
		if (*at == k) {
			*at = k->next;
			break;
		}
	v->nchildren--;
	server_forget(v, k->pidfd);
	close(k->pidfd);
	space_child_end(k->c);
	remote_put(k->r);
	free(k);
}

/* ------------------------------------------------------------------ looking */

static void list(struct server *v, struct conn *c)
{
	struct fork_control a;

	for (unsigned i = 0; i < EXPORTS_MAX && c->used; i++) {
		const struct export *e = &v->exports[i];

		if (!e->used || (c->uid && c->uid != e->uid))
			continue;
		a = (struct fork_control){.op = FORK_CONTROL_LIST, .more = 1, .pid = e->pid, .uid = e->uid};
		export_handle(v, e, &a.handle);
		export_stats(e, a.stat);
		snprintf(a.text, sizeof(a.text), "%s", e->whole ? "ready" : e->revoking ? "going" : "copying");
		answer(v, c, &a, 0, NULL, 0);
	}
	a = (struct fork_control){.op = FORK_CONTROL_LIST};
	if (c->used)
		answer(v, c, &a, 0, NULL, 0);
}

static void stats(struct server *v, struct conn *c)
{
	struct fork_control a;

	for (unsigned i = 0; i < REMOTES_MAX && c->used; i++) {
		const struct remote *r = &v->remotes[i];
		const struct space_stats *t = r->space ? space_stats(r->space) : NULL;

		if (r->state == REMOTE_NONE || !t)
			continue;
		a = (struct fork_control){
			.op = FORK_CONTROL_STAT, .more = 1, .handle = r->handle,
			.cache_size = r->header.cache_size, .count = r->header.npages, .page = t->far,
			.stat = {t->faults, t->fetched, t->reads, t->mapped, t->cached, t->zero, t->forks,
				 t->moves, t->empties, t->unmaps, t->latency_ns_sum, t->latency_ns_max,
				 t->children, t->children_all, t->lost, t->again,
				 t->replayed, t->working, t->behind, t->left}};
		a.handle.secret[0] = a.handle.secret[1] = 0;
		snprintf(a.text, sizeof(a.text), "%s", r->why[0] ? r->why : t->why);
		answer(v, c, &a, 0, NULL, 0);
	}
	a = (struct fork_control){.op = FORK_CONTROL_STAT};
	if (c->used)
		answer(v, c, &a, 0, NULL, 0);
}

static void reclaim(struct server *v, struct conn *c, const struct fork_control *q)
{
	const struct fork_handle *h = &q->handle;
	struct export *e = export_find(v, h->slot, h->epoch, h->secret);
	int rc = h->node != atoll_node(v->s->ep) ? -EREMOTE : e ? 0 : -ENOENT;

	if (!rc)
		rc = export_reclaim(v, e, q->flags & FORK_CONTROL_FORCE);
	refuse(v, c, FORK_CONTROL_RECLAIM, rc,
	       rc == -EREMOTE ? "it is on another node: reclaim it there"
	       : rc == -ENOENT ? "this node has no such snapshot, or the handle is wrong"
	       : rc == -EBUSY  ? "children, or snapshots of children, need it; --force ends them" : "");
}

/* ------------------------------------------------------------------ requests */

void control_readable(struct server *v, struct conn *c)
{
	struct fork_control q;
	int fds[3] = {-1, -1, -1};
	unsigned nfds = 3;
	int rc = sock_recv(c->fd, &q, sizeof(q), fds, &nfds);

	if (rc == -EAGAIN)
		return;
	if (rc || q.magic != FORK_CONTROL_MAGIC || c->opening) {
		for (unsigned i = 0; !rc && i < nfds; i++)
			close(fds[i]);
		conn_close(v, c);
		return;
	}
	q.text[sizeof(q.text) - 1] = 0;
	switch ((enum fork_control_op)q.op) {
	case FORK_CONTROL_PREPARE:
		prepare(v, c, &q, fds, nfds);
		break;
	case FORK_CONTROL_OPEN:
		open_handle(v, c, &q);
		break;
	case FORK_CONTROL_FILL:
		fill(v, c, &q);
		break;
	case FORK_CONTROL_CHILD:
		child_add(v, c, &q, fds, nfds);
		break;
	case FORK_CONTROL_RECLAIM:
		reclaim(v, c, &q);
		break;
	case FORK_CONTROL_LIST:
		list(v, c);
		break;
	case FORK_CONTROL_STAT:
		stats(v, c);
		break;
	case FORK_CONTROL_KEEP:
		c->keeps = true;
		refuse(v, c, FORK_CONTROL_KEEP, 0, "");
		break;
	case FORK_CONTROL_LOST:
	case FORK_CONTROL_SPARE:
	case FORK_CONTROL_WHOLE:
	default:
		refuse(v, c, q.op, -ENOSYS, "no such request");
	}
	for (unsigned i = 0; i < 3; i++)
		if (i < nfds && fds[i] >= 0)
			close(fds[i]);
}

void control_free(struct server *v)
{
	while (v->children)
		child_ended(v, v->children);
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (v->conns[i].used)
			conn_close(v, &v->conns[i]);
	if (v->listen >= 0)
		close(v->listen);
	unlink(v->path);
}
