/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that this node holds: copied once into a region, then read by others without this process. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/server.h"

enum {
	STEP_PAGES = 128, /* copied between two looks at the ring and at faults: about 0.2 ms */
	LINEAGE_S = 10,	  /* for pages that tell whose child a process is */
	POOL_WASTE = 4,	  /* a region of an earlier snapshot is taken if it is at most so many times too large */
};

struct export *export_find(struct server *v, uint32_t slot, uint32_t epoch, const uint64_t secret[2])
{
	struct export *e = slot < EXPORTS_MAX ? &v->exports[slot] : NULL;

	if (!e || !e->used || !e->whole || e->epoch != epoch ||
	    ((e->secret[0] ^ secret[0]) | (e->secret[1] ^ secret[1])))
		return NULL;
	return e;
}

void export_handle(const struct server *v, const struct export *e, struct fork_handle *out)
{
	*out = (struct fork_handle){.node = atoll_node(v->s->ep),
				    .slot = (uint32_t)(e - v->exports),
				    .epoch = e->epoch,
				    .secret = {e->secret[0], e->secret[1]}};
}

/* ------------------------------------------------------------------ memory */

/* The region of an unused slot that fits, else a new one. */
static struct export *slot_take(struct server *v, uint64_t size, char *why, size_t len)
{
	struct export *best = NULL, *empty = NULL;
	char err[160] = "";

	for (unsigned i = 0; i < EXPORTS_MAX; i++) {
		struct export *e = &v->exports[i];

		if (e->used)
			continue;
		if (!e->region.base)
			empty = empty ? empty : e;
		else if (e->region.size >= size && e->region.size / POOL_WASTE <= size &&
			 (!best || e->region.size < best->region.size))
			best = e;
	}
	if (best)
		return best;
	for (unsigned i = 0; i < EXPORTS_MAX && !empty; i++)
		if (!v->exports[i].used) {
			empty = &v->exports[i];
			atoll_region_free(v->s->ep, &empty->region);
			empty->region.base = NULL;
		}
	if (!empty) {
		snprintf(why, len, "this node holds as many snapshots as it can (%d); reclaim some", EXPORTS_MAX);
		return NULL;
	}
	if (atoll_region_alloc(v->s->ep, size, 0, &empty->region, err, sizeof(err))) {
		memset(&empty->region, 0, sizeof(empty->region));
		snprintf(why, len, "no memory for the snapshot: %s", err);
		return NULL;
	}
	return empty;
}

static void *blob_read(int fd, size_t len)
{
	uint8_t *p = malloc(len + 1);
	size_t at = 0;

	while (p && at < len) {
		ssize_t n = pread(fd, p + at, len - at, (off_t)at);

		if (n <= 0) {
			free(p);
			return NULL;
		}
		at += (size_t)n;
	}
	return p;
}

static unsigned exports_of(const struct server *v, uid_t uid)
{
	unsigned n = 0;

	for (unsigned i = 0; i < EXPORTS_MAX; i++)
		n += v->exports[i].used && v->exports[i].uid == uid;
	return n;
}

static bool ranges_ok(const struct page_range *r, uint64_t n)
{
	uint64_t cache = 0, end = 0;

	for (uint64_t i = 0; i < n; i++) {
		if (r[i].start % PAGES_SIZE || r[i].length % PAGES_SIZE || r[i].length == 0 ||
		    r[i].start < end || r[i].length > (1ull << 47) || r[i].start > (1ull << 47) ||
		    r[i].cache != cache || r[i].kind > PAGES_CHILD)
			return false;
		cache += r[i].length;
		end = r[i].start + r[i].length;
	}
	return true;
}

/* ------------------------------------------------------------------ what is copied */

void prepare_free(struct prepare *p)
{
	if (!p)
		return;
	if (p->mem_fd >= 0)
		close(p->mem_fd);
	if (p->pagemap_fd >= 0)
		close(p->pagemap_fd);
	if (p->of)
		remote_put(p->of);
	places_free(&p->places);
	free(p->image);
	free(p->ranges);
	free(p);
}

/* Takes what `afork` sent, but not its descriptors. */
static struct prepare *prepare_new(struct conn *by, int blob, const struct fork_control *q)
{
	size_t ranges_len = q->count * sizeof(struct page_range);
	struct prepare *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct prepare){.by = by, .pid = q->pid, .mem_fd = -1, .pagemap_fd = -1, .image_len = q->image_len,
			      .nranges = (unsigned)q->count,
			      .give_up_ns = clock_now_ns() + LINEAGE_S * 1000000000ull};
	p->image = blob_read(blob, q->image_len + ranges_len);
	p->ranges = malloc(ranges_len + 1);
	if (p->image && p->ranges) {
		memcpy(p->ranges, p->image + q->image_len, ranges_len);
		if (ranges_ok(p->ranges, q->count)) {
			for (unsigned i = 0; i < p->nranges; i++)
				p->child |= p->ranges[i].kind == PAGES_CHILD;
			return p;
		}
	}
	prepare_free(p);
	return NULL;
}

/* Which snapshot its pages come from that it has not changed. -EAGAIN: later. */
static int lineage(struct server *v, struct prepare *p, char *why, size_t len)
{
	struct space_child *left = NULL, *k;
	struct remote *of = NULL;
	unsigned can_be = 0;

	for (unsigned i = 0; i < REMOTES_MAX && !p->of; i++) {
		struct remote *r = &v->remotes[i];
		int rc = r->space ? space_lineage(r->space, p->pagemap_fd, &p->places, &k) : -ENOENT;

		if (rc == 0) {
			p->of = r;
		} else if (rc == -EAGAIN && clock_now_ns() < p->give_up_ns) {
			return rc;
		} else if (rc != -ENOENT && (p->by->uid == 0 || p->by->uid == r->uid)) {
			/* Where nothing can be put, what is left must be it. */
			can_be += rc == -EEXIST ? 1 : 2;
			of = r;
			left = k;
		}
	}
	if (!p->of && can_be == 1 && space_lineage_take(left, &p->places) == 0)
		p->of = of;
	if (!p->of) {
		snprintf(why, len, "%s", can_be ? "whose child it is cannot be told now: try again"
						: "its pages are not served by this node: prepare it where it was resumed");
		return can_be ? -EBUSY : -EREMOTE;
	}
	p->of->refs++;
	if (p->of->state == REMOTE_FAILED) {
		snprintf(why, len, "pages of it cannot be had any more: %.100s", p->of->why);
		return -ESTALE;
	}
	if (space_index(p->of->space)->h.nhops + 1 > STORE_HOPS_MAX) {
		snprintf(why, len, "it has %d ancestors already, and pages of each", STORE_HOPS_MAX);
		return -EMLINK;
	}
	return 0;
}

static int origin(void *ctx, uint64_t addr, uint64_t max, uint64_t *run, struct page_origin *out)
{
	const struct prepare *p = ctx;

	return space_origin(p->of->space, &p->places, addr, max, run, out);
}

/* The snapshot that it is a child of, and all before that. */
static unsigned hops_of(const struct prepare *p, struct store_hop *hop)
{
	const struct remote *r = p->of;
	const struct store_index *x = r ? space_index(r->space) : NULL;

	if (!r)
		return 0;
	hop[0] = (struct store_hop){.node = r->handle.node, .slot = r->handle.slot, .epoch = r->handle.epoch,
				    .secret = {r->handle.secret[0], r->handle.secret[1]},
				    .pages_at = r->header.pages_at, .npages = r->header.npages};
	memcpy(hop + 1, x->hops, x->h.nhops * sizeof(*hop));
	return x->h.nhops + 1;
}

/* ------------------------------------------------------------------ copying */

static int copy_begin(struct server *v, struct prepare *p, char *why, size_t len)
{
	struct page_source source = {.pid = p->pid, .mem_fd = p->mem_fd, .pagemap_fd = p->pagemap_fd,
				     .ranges = p->ranges, .nranges = p->nranges,
				     .origin = p->child ? origin : NULL, .origin_ctx = p};
	struct store_hop hop[STORE_HOPS_MAX];
	unsigned nhops = hops_of(p, hop);
	struct atoll_region region;
	struct store_plan plan;
	struct export *e;
	uint32_t epoch;
	int rc = store_measure(&source, p->image_len, nhops, &plan);

	if (rc) {
		snprintf(why, len, "the snapshot's page tables cannot be read: %s", strerror(-rc));
		return rc;
	}
	if (!control_share(p->by->uid, exports_of(v, p->by->uid), EXPORTS_MAX)) {
		snprintf(why, len, "you hold as many snapshots as one user can (%d); reclaim some", EXPORTS_MAX / SHARE);
		return -EDQUOT;
	}
	e = slot_take(v, plan.size, why, len);
	if (!e)
		return -ENOSPC;
	region = e->region;
	epoch = e->epoch;
	*e = (struct export){.used = true, .epoch = epoch + 1, .region = region, .uid = p->by->uid,
			     .pid = p->pid, .by = p->by, .begun_ns = clock_now_ns()};
	rc = store_write_begin(&e->writer, &source, &plan, p->image, p->image_len, hop, nhops, region.base,
			       region.size);
	if (!rc && getrandom(e->secret, sizeof(e->secret), 0) != sizeof(e->secret))
		rc = -EIO;
	if (rc) {
		snprintf(why, len, "no memory to copy the snapshot");
		store_write_end(e->writer);
		e->writer = NULL;
		e->used = false;
		return rc;
	}
	e->from = p;
	p->by->preparing = e;
	return 0;
}

static int go_on(struct server *v, struct prepare *p, char *why, size_t len)
{
	int rc = p->child && !p->of ? lineage(v, p, why, len) : 0;

	return rc ? rc : copy_begin(v, p, why, len);
}

int export_begin(struct server *v, struct conn *by, int mem_fd, int pagemap_fd, int blob,
		 const struct fork_control *q, char *why, size_t len)
{
	struct prepare *p = prepare_new(by, blob, q);
	int rc;

	snprintf(why, len, "the snapshot's description cannot be read");
	if (!p)
		return -EBADMSG;
	p->mem_fd = mem_fd;
	p->pagemap_fd = pagemap_fd;
	rc = go_on(v, p, why, len);
	if (rc == -EAGAIN) {
		by->waiting = p;
		return 0;
	}
	if (rc) {
		p->mem_fd = p->pagemap_fd = -1; /* the caller's still */
		prepare_free(p);
	}
	return rc;
}

static void copy_end(struct export *e)
{
	store_write_end(e->writer);
	e->writer = NULL;
	if (e->by)
		e->by->preparing = NULL;
	/* Its ancestors are needed for as long as it is there. */
	e->of = e->from->of;
	e->from->of = NULL;
	prepare_free(e->from);
	e->from = NULL;
}

/* What is in the memory of somebody's program is not left to the next one. */
static void wipe(struct export *e, uint64_t size)
{
	explicit_bzero(e->region.base, size < e->region.size ? size : e->region.size);
	explicit_bzero(e->secret, sizeof(e->secret));
	e->used = e->whole = false;
	if (e->of)
		remote_put(e->of);
	e->of = NULL;
}

static void waiting_step(struct server *v, struct conn *c)
{
	struct prepare *p = c->waiting;
	char why[160] = "";
	int rc = go_on(v, p, why, sizeof(why));

	if (rc == -EAGAIN)
		return;
	c->waiting = NULL;
	if (!rc)
		return;
	prepare_free(p);
	control_prepared(v, c, NULL, rc, why);
}

bool exports_step(struct server *v)
{
	bool more = false;

	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (v->conns[i].used && v->conns[i].waiting) {
			waiting_step(v, &v->conns[i]);
			more = true;
		}
	for (unsigned i = 0; i < EXPORTS_MAX; i++) {
		struct export *e = &v->exports[i];
		struct conn *by = e->by;
		char why[96] = "";
		int rc;

		if (!e->writer)
			continue;
		rc = store_write_some(e->writer, STEP_PAGES);
		if (rc > 0) {
			more = true;
			continue;
		}
		store_written(e->writer, &e->written);
		copy_end(e);
		e->by = NULL;
		e->took_ns = clock_now_ns() - e->begun_ns;
		if (rc == 0) {
			e->whole = true;
			e->size = e->written.size;
			server_say("snapshot %u of process %d: %llu pages, %llu zero, %llu alike, %.1f MiB, %.1f ms",
				   i, e->pid, (unsigned long long)e->written.looked_at,
				   (unsigned long long)e->written.zero,
				   (unsigned long long)e->written.same, (double)e->size / 1048576,
				   (double)e->took_ns / 1e6);
		} else {
			snprintf(why, sizeof(why), "%s",
				 rc == -ESRCH ? "the snapshot ended before it was copied"
				 : rc == -EIO ? "pages of it are lost: it emptied changed pages of a mapped file"
					      : "its pages cannot be read");
			wipe(e, e->region.size);
		}
		if (by)
			control_prepared(v, by, e, rc, why);
	}
	return more;
}

void export_abort(struct server *v, struct export *e)
{
	(void)v;
	copy_end(e);
	e->by = NULL;
	wipe(e, e->region.size);
}

/* ------------------------------------------------------------------ users, and the end */

static void ask(struct server *v, uint16_t op, const uint64_t *args, unsigned n, uint64_t cookie)
{
	struct proto_msg m;

	proto_request_init(&m, op);
	memcpy(m.arg, args, n * sizeof(*args));
	m.nargs = (uint8_t)n;
	if (atoll_request(v->s->ep, ATOLL_DATAPLANE, &m, NULL, cookie))
		server_say("the ring to the dataplane is full");
}

/* Handles that others hold are stale before the memory is wiped: else a late READ would find zeros. */
int export_reclaim(struct server *v, struct export *e, bool force)
{
	if ((e->nusers || e->here) && !force)
		return -EBUSY;
	remotes_export_gone(v, e);
	e->whole = false;
	e->revoking = true;
	e->nusers = 0;
	e->by = NULL;
	ask(v, OP_DP_REVOKE, (const uint64_t[2]){e->region.handle.slot, e->region.handle.gen}, 2,
	    EXPORT_COOKIE | (uint64_t)(e - v->exports));
	return 0;
}

void exports_revoked(struct server *v, uint64_t cookie, uint32_t status)
{
	struct export *e = &v->exports[(uint32_t)cookie % EXPORTS_MAX];

	if (!e->revoking)
		return;
	e->revoking = false;
	if (status == STATUS_OK) {
		wipe(e, e->size);
		return;
	}
	server_say("snapshot %u: its memory cannot be taken back: %s", (unsigned)(e - v->exports),
		   proto_status_text(status));
}

void exports_reattached(struct server *v)
{
	for (unsigned i = 0; i < EXPORTS_MAX; i++) {
		struct export *e = &v->exports[i];

		if (!e->region.base)
			continue;
		/* Those who had it open ask again, by the handle. */
		e->region.handle = atoll_region_handle(v->s->ep, &e->region);
		e->nusers = 0;
		if (e->revoking)
			exports_revoked(v, EXPORT_COOKIE | i, STATUS_OK);
	}
}

static struct user *user_of(struct export *e, uint32_t source, uint32_t epoch)
{
	for (unsigned i = 0; i < e->nusers; i++)
		if (e->users[i].source == source && e->users[i].epoch == epoch)
			return &e->users[i];
	return NULL;
}

static void user_drop(struct export *e, struct user *u)
{
	*u = e->users[--e->nusers];
}

void exports_peer_gone(struct server *v, uint32_t source, uint32_t epoch)
{
	for (unsigned i = 0; i < EXPORTS_MAX; i++) {
		struct user *u = user_of(&v->exports[i], source, epoch);

		if (u)
			user_drop(&v->exports[i], u);
	}
}

static void opened(struct server *v, struct export *e, const struct proto_msg *m)
{
	struct user *u = user_of(e, m->src, m->src_epoch);
	const uint64_t grant[5] = {e->region.handle.slot, e->region.handle.gen, RIGHT_READ, m->req_id,
				   (uint64_t)(e - v->exports)};

	if (!u) {
		if (e->nusers == USERS_MAX) {
			service_reply(v->s, m, STATUS_LIMIT, NULL, 0, NULL, 0);
			return;
		}
		u = &e->users[e->nusers++];
		*u = (struct user){.source = m->src, .epoch = m->src_epoch};
		ask(v, OP_DP_WATCH, (const uint64_t[2]){m->src, m->src_epoch}, 2, 0);
	}
	ask(v, OP_DP_GRANT, grant, 5, 0);
	service_reply(v->s, m, STATUS_OK, &e->size, 1, NULL, 0);
}

void exports_message(struct server *v, const struct proto_msg *m)
{
	/* All four begin alike. */
	const uint64_t secret[2] = {m->arg[ARG_FORK_OPEN_SECRET0], m->arg[ARG_FORK_OPEN_SECRET1]};
	struct export *e = export_find(v, (uint32_t)m->arg[ARG_FORK_OPEN_SLOT],
				       (uint32_t)m->arg[ARG_FORK_OPEN_EPOCH], secret);
	struct user *u;

	v->messages++;
	if (!e) {
		service_reply(v->s, m, STATUS_NOT_FOUND, NULL, 0, NULL, 0);
		return;
	}
	switch (m->opcode) {
	case OP_FORK_OPEN:
		opened(v, e, m);
		break;
	case OP_FORK_CLOSE:
		u = user_of(e, m->src, m->src_epoch);
		if (u)
			user_drop(e, u);
		service_reply(v->s, m, STATUS_OK, NULL, 0, NULL, 0);
		break;
	default: /* fork.reclaim */
		if (export_reclaim(v, e, m->arg[ARG_FORK_RECLAIM_FORCE] != 0)) {
			service_reply(v->s, m, STATUS_LIMIT, NULL, 0, NULL, 0);
			break;
		}
		service_reply(v->s, m, STATUS_OK, NULL, 0, NULL, 0);
	}
}
