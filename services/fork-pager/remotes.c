/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots whose pages children of this node want. First the other pager is asked, once, for the right to
 * READ; then everything comes by READ alone: header, ranges, extents, image, and pages as they are wanted.
 *
 * Where a READ fails, or the dataplane was restarted, the right is asked for again by the handle. Only when the other
 * pager says that it has no such snapshot any more, or does not answer for GIVE_UP_S, children lose their pages.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/idle.h"
#include "services/fork-pager/server.h"

enum {
	LANE_DEPTH = 16,
	LANE_MS = 2000,
	ANSWER_US = 2000000,
	RETRY_MS = 20,
	GIVE_UP_S = 3,
};

static uint64_t part_len(const struct remote *r, unsigned i)
{
	const uint64_t len[REMOTE_PARTS] = {sizeof(r->header), r->header.nranges * sizeof(struct page_range),
					    r->header.nhops * sizeof(struct store_hop),
					    r->header.nextents * sizeof(struct store_extent), r->header.image_len};

	return len[i];
}

static uint64_t part_at(const struct remote *r, unsigned i)
{
	const uint64_t at[REMOTE_PARTS] = {0, r->header.ranges_at, r->header.hops_at, r->header.extents_at,
					   r->header.image_at};

	return at[i];
}

static void advance(struct remote *r);
static void close_at_last(struct remote *r);
static int hops_take(struct remote *r);
static void hops_put(struct remote *r);
static void ready_again(struct remote *r);

/* ------------------------------------------------------------------ reads */

static int slot_post(struct server *v, struct slot *t)
{
	unsigned i = (unsigned)(t - v->slots);
	struct verb verb = {.op = VERB_READ,
			    .len = t->len,
			    .remote = t->from->region,
			    .remote_offset = t->at,
			    .local = v->bounce.handle,
			    .local_offset = (uint64_t)i * SLOT_PAGES * PAGES_SIZE};
	int rc;

	/* A snapshot says where pages of its ancestors lie; those know how much they have. */
	if (t->at > t->from->size || t->len > t->from->size - t->at)
		return -EBADMSG;
	rc = atoll_post(v->s->ep, t->from->lane, &verb, 1, (uint64_t)t->use << 32 | i);
	t->lane = t->from->lane;
	t->posted = rc == 0;
	if (!rc)
		atoll_flush(v->s->ep);
	return rc;
}

static struct slot *slot_take(struct remote *r, struct remote *from, uint64_t at, uint32_t len, uint64_t token)
{
	struct server *v = r->s;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *t = &v->slots[i];

		if (t->busy)
			continue;
		*t = (struct slot){.busy = true, .r = r, .from = from, .at = at, .len = len, .token = token,
				   .use = t->use + 1};
		return t;
	}
	return NULL;
}

/* struct space_source: pages of the store, or of an ancestor's. */
static int source_read(void *ctx, unsigned hop, uint64_t store, uint32_t count, uint64_t token)
{
	struct remote *r = ctx, *from = hop ? r->hop[hop - 1] : r;
	uint64_t pages_at = hop ? space_index(r->space)->hops[hop - 1].pages_at : r->header.pages_at;
	uint64_t at = pages_at + store * PAGES_SIZE;
	struct slot *t;
	int rc;

	if (!from)
		return -ENOSPC;
	if (from->state == REMOTE_FAILED)
		return from->error;
	if (from->local) {
		if (at > from->size || (uint64_t)count * PAGES_SIZE > from->size - at)
			return -EBADMSG;
		space_arrived(r->space, token, (const uint8_t *)from->local->region.base + at, 0);
		return 0;
	}
	t = slot_take(r, from, at, count * PAGES_SIZE, token);
	if (!t)
		return -EAGAIN;
	r->s->active_ns = r->s->s->now_ns;
	/* What cannot go now goes when the right is there, or there again. */
	rc = from->state == REMOTE_READY ? slot_post(r->s, t) : 0;
	if (rc && rc != -ENOTCONN) {
		t->busy = false;
		return rc;
	}
	return 0;
}

static void lane_broken(struct server *v, uint32_t lane)
{
	for (unsigned i = 0; i < v->nlanes; i++)
		if (v->lanes[i].lane == lane)
			v->lanes[i].broken = true;
}

/* Nobody waits for it any more. Its memory is free when its READ has ended, not before. */
static void slot_orphan(struct slot *t)
{
	t->r = NULL;
	t->busy = t->posted;
}

static void others_again(struct server *v)
{
	for (unsigned i = 0; i < REMOTES_MAX; i++)
		if (v->remotes[i].space && v->remotes[i].refs)
			space_again(v->remotes[i].space);
}

/* Why pages of @r cannot be had, if it is for an ancestor. */
static void descendants_tell(struct server *v, const struct remote *ancestor)
{
	for (unsigned i = 0; i < REMOTES_MAX; i++)
		for (unsigned k = 0; k < STORE_HOPS_MAX; k++)
			if (v->remotes[i].state != REMOTE_NONE && v->remotes[i].hop[k] == ancestor)
				snprintf(v->remotes[i].why, sizeof(v->remotes[i].why), "ancestor %u/%u-%u: %.90s",
					 ancestor->handle.node, ancestor->handle.slot, ancestor->handle.epoch,
					 ancestor->why);
}

static void failed(struct remote *r, int error, const char *why)
{
	struct server *v = r->s;

	r->state = REMOTE_FAILED;
	r->error = error;
	snprintf(r->why, sizeof(r->why), "%s", why);
	server_say("snapshot %u of node %u: %s", r->handle.slot, r->handle.node, why);
	descendants_tell(v, r);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *t = &v->slots[i];
		struct remote *of = t->r;
		uint64_t token = t->token;

		if (!t->busy || !of || (of != r && t->from != r))
			continue;
		slot_orphan(t);
		if (token != UINT64_MAX && of->space)
			space_arrived(of->space, token, NULL, error);
	}
	if (r->space)
		space_again(r->space);
	others_again(v);
	control_opened(v, r);
	if (!r->refs)
		close_at_last(r);
}

static void later(struct remote *r)
{
	uint64_t now = clock_now_ns();

	if (r->state == REMOTE_FAILED)
		return;
	if (r->state == REMOTE_READY || r->give_up_ns == 0)
		r->give_up_ns = now + GIVE_UP_S * 1000000000ull;
	if (now >= r->give_up_ns) {
		failed(r, -EHOSTUNREACH, "its node does not answer");
		return;
	}
	r->state = REMOTE_LATER;
	r->retry_ns = now + RETRY_MS * 1000000ull;
	r->asked++;
	for (unsigned i = 0; i < SLOTS; i++)
		if (r->s->slots[i].busy && r->s->slots[i].r == r && r->s->slots[i].token == UINT64_MAX)
			slot_orphan(&r->s->slots[i]); /* begins anew */
}

static void loaded(struct remote *r, const uint8_t *data, uint32_t len)
{
	memcpy(r->part[r->loading] + r->loaded, data, len);
	r->loaded += len;
	advance(r);
}

void remotes_completion(struct server *v, const struct verb_completion *c)
{
	unsigned i = (uint32_t)c->cookie % SLOTS;
	struct slot *t = &v->slots[i];
	const uint8_t *data = (const uint8_t *)v->bounce.base + (size_t)i * SLOT_PAGES * PAGES_SIZE;
	struct remote *r = t->r, *from = t->from;

	if (!t->busy || t->use != c->cookie >> 32 || !t->posted)
		return;
	t->posted = false;
	/* Whatever came of the right, a lane that lost an answer is not used again. */
	if (c->status[0] != STATUS_OK && c->status[0] != STATUS_BAD_HANDLE)
		lane_broken(v, t->lane);
	if (r && c->status[0] != STATUS_OK) {
		/* Again, with the right that it takes by then. */
		if (from->state == REMOTE_READY || from->state == REMOTE_LOAD)
			later(from);
		return;
	}
	t->busy = false;
	if (!r) {
		others_again(v);
		return;
	}
	v->active_ns = v->s->now_ns;
	if (t->token == UINT64_MAX)
		loaded(r, data, t->len);
	else
		space_arrived(r->space, t->token, data, 0);
	others_again(v);
}

/* ------------------------------------------------------------------ asking the other pager */

static void ask(struct remote *r, struct atoll_handle to, uint16_t op, const void *payload, uint32_t len)
{
	struct server *v = r->s;
	struct proto_msg m;

	proto_request_init(&m, op);
	if (op != OP_DP_LOOKUP) {
		m.arg[ARG_FORK_OPEN_SLOT] = r->handle.slot;
		m.arg[ARG_FORK_OPEN_EPOCH] = r->handle.epoch;
		m.arg[ARG_FORK_OPEN_SECRET0] = r->handle.secret[0];
		m.arg[ARG_FORK_OPEN_SECRET1] = r->handle.secret[1];
		m.nargs = 4;
	}
	m.length = len;
	m.budget_us = ANSWER_US;
	if (op == OP_FORK_CLOSE)
		m.flags |= MESSAGE_FLAG_ASYNC;
	r->asked++;
	if (atoll_request(v->s->ep, to, &m, payload,
			  REMOTE_COOKIE | (uint64_t)(r->asked & 0xffffff) << 32 | (uint64_t)(r - v->remotes)) &&
	    op != OP_FORK_CLOSE)
		later(r);
}

/* A pager is one user of a snapshot, whatever it needs it for: of all that are alike here the last one closes it. */
static void close_at_last(struct remote *r)
{
	if (!r->open)
		return;
	r->open = false;
	for (unsigned i = 0; i < REMOTES_MAX; i++) {
		const struct remote *k = &r->s->remotes[i];

		if (k->state != REMOTE_NONE && k->open && memcmp(&k->handle, &r->handle, sizeof(k->handle)) == 0)
			return;
	}
	ask(r, r->pager, OP_FORK_CLOSE, NULL, 0);
}

static void lookup(struct remote *r)
{
	char name[64];
	int n = snprintf(name, sizeof(name), "#%u/fork-pager", r->handle.node);

	r->state = REMOTE_LOOKUP;
	r->granted = false;
	ask(r, ATOLL_DATAPLANE, OP_DP_LOOKUP, name, (uint32_t)n);
}

/* The space, once all is there. */
static void loaded_all(struct remote *r)
{
	const struct space_source source = {.read = source_read, .ctx = r, .max = SLOT_PAGES};
	struct store_index x;
	const char *why = "";
	int rc = store_index_make(&x, &r->header, r->part[PART_RANGES], r->part[PART_HOPS], r->part[PART_EXTENTS],
				  &why);

	if (!rc) {
		rc = space_new(&r->space, &x, &source, r->s->window);
		if (rc)
			store_index_free(&x);
		why = "no memory for its page cache";
	}
	if (rc) {
		failed(r, rc, why);
		return;
	}
	for (unsigned i = 0; i < PART_IMAGE; i++) {
		free(r->part[i]);
		r->part[i] = NULL;
	}
	if (r->refs && hops_take(r))
		failed(r, -ENOSPC, "this node has as many snapshots open as it can: no room for its ancestors");
	else
		ready_again(r);
}

/* Reads on, part by part. */
static void advance(struct remote *r)
{
	const char *why;

	while (r->loading < REMOTE_PARTS && r->part[r->loading] && r->loaded == part_len(r, r->loading)) {
		if (r->loading == PART_HEADER) {
			memcpy(&r->header, r->part[PART_HEADER], sizeof(r->header));
			if (store_header_check(&r->header, r->size, &why) || r->header.image_len > 1 << 20 ||
			    r->header.nranges > ENTRIES_MAX) {
				failed(r, -EBADMSG, "what its node holds is no snapshot that we know");
				return;
			}
		}
		r->loading++;
		r->loaded = 0;
	}
	if (r->loading == REMOTE_PARTS) {
		loaded_all(r);
		return;
	}
	if (!r->part[r->loading]) {
		r->part[r->loading] = malloc(part_len(r, r->loading) + 1);
		if (!r->part[r->loading]) {
			failed(r, -ENOMEM, "no memory");
			return;
		}
		if (part_len(r, r->loading) == 0) {
			advance(r);
			return;
		}
	}
	{
		uint64_t left = part_len(r, r->loading) - r->loaded;
		uint32_t len = left < SLOT_PAGES * PAGES_SIZE ? (uint32_t)left : SLOT_PAGES * PAGES_SIZE;
		struct slot *t = slot_take(r, r, part_at(r, r->loading) + r->loaded, len, UINT64_MAX);

		if (!t || slot_post(r->s, t)) {
			if (t)
				t->busy = false;
			later(r);
		}
	}
}

static void lane_use(struct remote *r)
{
	struct server *v = r->s;
	unsigned i;
	int rc;

	for (i = 0; i < v->nlanes && v->lanes[i].node != r->node; i++)
		;
	if (i < v->nlanes && v->lanes[i].broken) {
		atoll_lane_close(v->s->ep, v->lanes[i].lane, LANE_MS);
		v->lanes[i] = v->lanes[--v->nlanes];
		i = v->nlanes;
	}
	if (i == v->nlanes) {
		rc = i == LANES_MAX ? -ENOSPC
				    : atoll_lane_open(v->s->ep, r->node, LANE_DEPTH, &v->lanes[i].lane, LANE_MS);
		if (rc) {
			later(r);
			return;
		}
		v->lanes[i].node = r->node;
		v->lanes[i].broken = false;
		v->nlanes++;
	}
	r->lane = v->lanes[i].lane;
	r->state = REMOTE_OPEN;
	r->open = true;
	ask(r, r->pager, OP_FORK_OPEN, NULL, 0);
}

static void ready_again(struct remote *r)
{
	struct server *v = r->s;

	r->state = REMOTE_READY;
	r->give_up_ns = 0;
	for (unsigned i = 0; i < SLOTS && r->state == REMOTE_READY; i++) {
		struct slot *t = &v->slots[i];
		int rc = t->busy && t->r && t->from == r && !t->posted ? slot_post(v, t) : 0;

		if (rc == -EBADMSG)
			failed(r, rc, "what a child of it says of its pages is wrong");
		else if (rc)
			later(r);
	}
	if (r->state == REMOTE_READY && r->space)
		space_again(r->space);
	control_opened(v, r);
	if (!r->refs)
		close_at_last(r);
}

static void opened(struct remote *r, const struct proto_msg *m)
{
	if (m->status == STATUS_NOT_FOUND) {
		failed(r, r->space || r->ancestor ? -ESTALE : -ENOENT,
		       r->space || r->ancestor ? "it was reclaimed"
					       : "its node has no such snapshot, or the handle is wrong");
		return;
	}
	if (m->status != STATUS_OK || !r->granted) {
		later(r);
		return;
	}
	/* What the grant covers counts, not what was said. */
	if (!r->space && m->arg[REPLY_FORK_OPEN_SIZE] < r->size)
		r->size = m->arg[REPLY_FORK_OPEN_SIZE];
	if (r->space || r->ancestor) {
		ready_again(r);
		return;
	}
	for (unsigned i = 0; i < REMOTE_PARTS; i++) {
		free(r->part[i]);
		r->part[i] = NULL;
	}
	r->state = REMOTE_LOAD;
	r->loading = 0;
	r->loaded = 0;
	advance(r);
}

void remotes_reply(struct server *v, uint64_t cookie, const struct proto_msg *m)
{
	struct remote *r = &v->remotes[(uint32_t)cookie % REMOTES_MAX];

	if (r->state == REMOTE_NONE || (cookie >> 32 & 0xffffff) != (r->asked & 0xffffff))
		return;
	switch (r->state) {
	case REMOTE_LOOKUP:
		if (m->status == STATUS_DENIED) {
			failed(r, -EACCES, "its node does not let us");
		} else if (m->status != STATUS_OK) {
			later(r);
		} else {
			r->pager = (struct atoll_handle){(uint32_t)m->arg[REPLY_DP_LOOKUP_SLOT],
							 (uint32_t)m->arg[REPLY_DP_LOOKUP_GEN]};
			r->node = (uint32_t)m->arg[REPLY_DP_LOOKUP_NODE];
			/* A lane is opened outside of the poll: see remotes_tick. */
			r->state = REMOTE_OPEN;
			r->retry_ns = 0;
			r->granted = false;
			r->want_lane = true;
		}
		break;
	case REMOTE_OPEN:
		opened(r, m);
		break;
	default:
		break;
	}
}

void remotes_granted(struct server *v, const struct proto_msg *m)
{
	for (unsigned i = 0; i < REMOTES_MAX; i++) {
		struct remote *r = &v->remotes[i];

		if (r->state != REMOTE_OPEN || r->want_lane || r->granted ||
		    m->arg[ARG_DP_GRANTED_NODE] != r->handle.node ||
		    m->arg[ARG_DP_GRANTED_TAG] != r->handle.slot)
			continue;
		r->region = (struct atoll_handle){(uint32_t)m->arg[ARG_DP_GRANTED_SLOT],
						  (uint32_t)m->arg[ARG_DP_GRANTED_GEN]};
		if (!r->space)
			r->size = m->arg[ARG_DP_GRANTED_SIZE];
		r->granted = true;
		return;
	}
}

/* ------------------------------------------------------------------ life */

static void open_local(struct remote *r)
{
	struct export *e = export_find(r->s, r->handle.slot, r->handle.epoch, r->handle.secret);

	if (!e) {
		failed(r, -ENOENT, "this node has no such snapshot, or the handle is wrong");
		return;
	}
	r->local = e;
	r->size = e->size;
	e->here++;
	if (r->ancestor) {
		r->state = REMOTE_READY;
		return;
	}
	for (unsigned i = 0; i < REMOTE_PARTS; i++) {
		r->part[i] = malloc(part_len(r, i) + 1);
		if (!r->part[i]) {
			failed(r, -ENOMEM, "no memory");
			return;
		}
		memcpy(r->part[i], (uint8_t *)e->region.base + part_at(r, i), part_len(r, i));
		if (i == PART_HEADER)
			memcpy(&r->header, r->part[i], sizeof(r->header));
	}
	loaded_all(r);
}

static void drop(struct remote *r)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (r->s->slots[i].busy && (r->s->slots[i].r == r || r->s->slots[i].from == r))
			slot_orphan(&r->s->slots[i]);
	space_free(r->space);
	for (unsigned i = 0; i < REMOTE_PARTS; i++)
		free(r->part[i]);
	memset(r, 0, sizeof(*r));
}

struct remote *remote_get(struct server *v, const struct fork_handle *h, uid_t uid, bool ancestor)
{
	struct remote *r = NULL, *oldest = NULL;
	unsigned has = 0;

	for (unsigned i = 0; i < REMOTES_MAX && !r; i++) {
		struct remote *k = &v->remotes[i];

		if (k->state != REMOTE_NONE && k->state != REMOTE_FAILED && k->uid == uid &&
		    k->ancestor == ancestor && memcmp(&k->handle, h, sizeof(*h)) == 0)
			r = k;
		has += k->state != REMOTE_NONE && k->refs && k->uid == uid;
	}
	if (r) {
		if (++r->refs > 1)
			return r;
		if (r->local)
			r->local->here++;
		if (hops_take(r))
			failed(r, -ENOSPC, "this node has as many snapshots open as it can: no room for its ancestors");
		/* It was closed meanwhile: the other pager is asked again before its pages are. */
		else if (!r->local && r->state == REMOTE_READY)
			lookup(r);
		return r;
	}
	if (!control_share(uid, has, REMOTES_MAX))
		return NULL;
	for (unsigned i = 0; i < REMOTES_MAX && !r; i++) {
		struct remote *k = &v->remotes[i];

		if (k->state == REMOTE_NONE)
			r = k;
		else if (k->refs == 0 && (!oldest || k->idle_since_ns < oldest->idle_since_ns))
			oldest = k;
	}
	if (!r && oldest) {
		drop(oldest);
		r = oldest;
	}
	if (!r)
		return NULL;
	*r = (struct remote){.s = v, .handle = *h, .uid = uid, .refs = 1, .state = REMOTE_LATER, .ancestor = ancestor};
	if (h->node == atoll_node(v->s->ep))
		open_local(r);
	else
		lookup(r);
	return r;
}

void remote_put(struct remote *r)
{
	if (--r->refs)
		return;
	r->idle_since_ns = clock_now_ns();
	if (r->local)
		r->local->here--;
	/* Else when it is: what was asked for may be granted yet. */
	else if (r->state == REMOTE_READY || r->state == REMOTE_FAILED)
		close_at_last(r);
	hops_put(r);
}

/* The right to the pages of a snapshot lies in those of its children: its node is asked for them as if by the handle. */
static int hops_take(struct remote *r)
{
	const struct store_index *x = r->space ? space_index(r->space) : NULL;

	for (uint32_t i = 0; x && i < x->h.nhops; i++) {
		const struct store_hop *h = &x->hops[i];
		const struct fork_handle handle = {.node = h->node, .slot = h->slot, .epoch = h->epoch,
						   .secret = {h->secret[0], h->secret[1]}};

		r->hop[i] = remote_get(r->s, &handle, r->uid, true);
		if (!r->hop[i]) {
			hops_put(r);
			return -ENOSPC;
		}
		if (r->hop[i]->state == REMOTE_FAILED)
			descendants_tell(r->s, r->hop[i]);
	}
	return 0;
}

static void hops_put(struct remote *r)
{
	for (unsigned i = 0; i < STORE_HOPS_MAX; i++) {
		struct remote *h = r->hop[i];

		r->hop[i] = NULL;
		if (h)
			remote_put(h);
	}
}

void remotes_export_gone(struct server *v, struct export *e)
{
	for (unsigned i = 0; i < REMOTES_MAX; i++)
		if (v->remotes[i].local == e && v->remotes[i].state != REMOTE_NONE) {
			failed(&v->remotes[i], -ESTALE, "it was reclaimed");
			v->remotes[i].local = NULL;
		}
}

uint64_t remotes_tick(struct server *v, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < REMOTES_MAX; i++) {
		struct remote *r = &v->remotes[i];

		if (r->state == REMOTE_NONE)
			continue;
		if (r->want_lane && r->state == REMOTE_OPEN) {
			r->want_lane = false;
			lane_use(r);
		}
		if (r->state == REMOTE_LATER && now >= r->retry_ns)
			lookup(r);
		if (r->refs == 0 && now > r->idle_since_ns + v->cache_s * 1000000000ull) {
			drop(r);
			continue;
		}
		if (r->state == REMOTE_LATER && r->retry_ns < next)
			next = r->retry_ns;
		if (r->refs == 0 && r->idle_since_ns + v->cache_s * 1000000000ull < next)
			next = r->idle_since_ns + v->cache_s * 1000000000ull;
	}
	return next;
}

void remotes_reattached(struct server *v)
{
	v->bounce.handle = atoll_region_handle(v->s->ep, &v->bounce);
	for (unsigned i = 0; i < REMOTES_MAX; i++) {
		struct remote *r = &v->remotes[i];

		if (r->state == REMOTE_NONE || r->state == REMOTE_FAILED || r->local)
			continue;
		r->want_lane = false;
		later(r);
	}
}

int remotes_init(struct server *v)
{
	char err[160] = "";
	int rc = atoll_region_alloc(v->s->ep, (uint64_t)SLOTS * SLOT_PAGES * PAGES_SIZE, 0, &v->bounce, err,
				    sizeof(err));

	if (rc)
		fprintf(stderr, "fork-pager: no memory for pages on their way: %s\n", err);
	return rc;
}

void remotes_free(struct server *v)
{
	for (unsigned i = 0; i < REMOTES_MAX; i++)
		if (v->remotes[i].state != REMOTE_NONE)
			drop(&v->remotes[i]);
}
