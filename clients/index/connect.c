/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public calls over an endpoint: attach, find the shard, become its client, feed the engine
 * with chunks, and begin anew after a loss.
 *
 * A connection is an endpoint, an identity at the shard, and an engine; all three end together. A
 * new one names the old identity, so that the shard has fenced it off before it answers. It is a
 * new endpoint too, never the old one: fencing is by endpoint and epoch, and would strike what is
 * new.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/cluster.h"
#include "ipc/idle.h"
#include "proto/index_layout.h"

enum {
	WHY_MAX = 400,
	INNER_NODES = 4096, /* that a client of a tree remembers: about 8 MiB */
	RECLAIM_US = 10000, /* a replaced value rests 16 times as long */
	DOUBTS = 256, /* operations in doubt that are remembered */
	IDLE_NS = 1000000,     /* longest sleep with nothing in flight */
	PENDING_NS = 10000000, /* and while answers are waited for, which wake */
	RETRY_NS = 50000,      /* shortest: waking up costs as much */
	TICKET_MEMBER = 56, /* bit of a ticket from which on the member of a cluster stands in it */
};

static __thread char why_text[WHY_MAX];

int index_fail(const char **why, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why_text, sizeof(why_text), format, args);
	va_end(args);
	if (why)
		*why = why_text;
	return rc;
}

/* ------------------------------------------------------------------ what the engine asks for */

static uint64_t owner_now(void *owner)
{
	(void)owner;
	return clock_now_ns();
}

static void chunk_ask(struct atoll_index *ix)
{
	struct proto_msg m;
	int rc;

	proto_request_init(&m, OP_INDEX_CHUNK);
	m.arg[ARG_INDEX_CHUNK_CID] = ix->cid;
	m.arg[ARG_INDEX_CHUNK_EPOCH] = ix->epoch;
	m.nargs = 2;
	m.max_reply = INDEX_MAP_SIZE;
	m.budget_us = ix->options.answer_ms * 1000;
	rc = atoll_request(ix->ep, ix->shard, &m, NULL, 0);
	ix->chunk_due = rc == -EAGAIN;
	/* -ENOTCONN: the next poll ends everything */
}

static void owner_want_chunk(void *owner)
{
	struct atoll_index *ix = owner;

	/* Not from inside the engine: an answer to it may be a call into it. */
	ix->chunk_due = true;
}

static void owner_suspect(void *owner, uint16_t cid, uint16_t epoch)
{
	struct atoll_index *ix = owner;
	struct proto_msg m;

	proto_request_init(&m, OP_INDEX_SUSPECT);
	m.arg[ARG_INDEX_SUSPECT_CID] = cid;
	m.arg[ARG_INDEX_SUSPECT_EPOCH] = epoch;
	m.nargs = 2;
	m.flags |= MESSAGE_FLAG_ASYNC;
	/* If it finds no room, the engine asks again. */
	atoll_request(ix->ep, ix->shard, &m, NULL, 0);
}

/* ------------------------------------------------------------------ what comes in */

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct atoll_index *ix = ctx;

	(void)cookie;
	if (m->opcode != OP_INDEX_CHUNK && m->opcode != 0)
		return;
	if (!ix->core)
		return;
	switch (m->status) {
	case STATUS_OK:
		if (m->length == INDEX_MAP_SIZE) {
			uint64_t map[INDEX_MAP_SIZE / 8];

			memcpy(map, payload, sizeof(map));
			core_chunk_used(ix->core, m->arg[REPLY_INDEX_CHUNK_OFFSET],
					m->arg[REPLY_INDEX_CHUNK_SIZE], map);
			break;
		}
		core_chunk_add(ix->core, m->arg[REPLY_INDEX_CHUNK_OFFSET],
			       m->arg[REPLY_INDEX_CHUNK_SIZE]);
		break;
	case STATUS_AGAIN: /* never delivered; dp.credit says when */
		ix->chunk_refused = true;
		break;
	case STATUS_LIMIT:
		core_chunk_none(ix->core, ATOLL_NO_SPACE, m->status);
		break;
	case STATUS_FENCED:
		ix->lost = true;
		core_chunk_none(ix->core, ATOLL_FENCED, m->status);
		break;
	case STATUS_DENIED:
	case STATUS_NOT_FOUND:
	case STATUS_UNSUPPORTED:
		core_chunk_none(ix->core, ATOLL_REFUSED, m->status);
		break;
	case STATUS_NOT_SENT:
		ix->lost = true;
		core_chunk_none(ix->core, ATOLL_NOT_SENT, m->status);
		break;
	default: /* a chunk may be lost by this, and nothing else */
		ix->lost = true;
		core_chunk_none(ix->core, ATOLL_UNREACHABLE, m->status);
	}
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct atoll_index *ix = ctx;
	uint64_t tag;

	if (m->opcode == OP_DP_CREDIT && ix->chunk_refused) {
		ix->chunk_refused = false;
		ix->chunk_due = true;
	}
	if (m->opcode != OP_DP_GRANTED)
		return;
	tag = m->arg[ARG_DP_GRANTED_TAG];
	if (tag != INDEX_TAG_TABLE && tag != INDEX_TAG_CONTROL)
		return;
	ix->grant[tag - 1] = (struct grant){
		.handle = {(uint32_t)m->arg[ARG_DP_GRANTED_SLOT],
			   (uint32_t)m->arg[ARG_DP_GRANTED_GEN]},
		.size = m->arg[ARG_DP_GRANTED_SIZE],
		.rights = (uint32_t)m->arg[ARG_DP_GRANTED_RIGHTS],
		.node = (uint32_t)m->arg[ARG_DP_GRANTED_NODE],
	};
}

/* ------------------------------------------------------------------ a connection */

/* Operations that have ended in doubt outlive the engine. */
static void doubts_keep(struct atoll_index *ix)
{
	const struct core_doubt *d;
	unsigned n = ix->core ? core_doubts(ix->core, &d) : 0;

	if (n && !ix->doubt)
		ix->doubt = calloc(DOUBTS, sizeof(*ix->doubt));
	for (unsigned i = 0; i < n && ix->doubt; i++)
		ix->doubt[ix->doubts++ % DOUBTS] = d[i];
}

/* Ends what is outstanding, and the connection. */
void index_disconnect(struct atoll_index *ix)
{
	struct core *core = ix->core;

	if (core) {
		core_abandon(core);
		index_stats_add(&ix->before, core_stats(core));
		doubts_keep(ix);
		ix->core = NULL;
		core_close(core);
	}
	if (ix->ep)
		atoll_detach(ix->ep);
	ix->ep = NULL;
	free(ix->recycle);
	ix->recycle = NULL;
	ix->chunk_due = ix->chunk_refused = false;
	memset(ix->grant, 0, sizeof(ix->grant));
}

static int attach(struct atoll_index *ix, const char **why)
{
	static const struct atoll_handlers handlers = {.reply = on_reply, .event = on_event};
	struct atoll_endpoint_conf conf = {
		.socket = ix->socket[0] ? ix->socket : NULL,
		.name = ix->name,
		.kind = CTL_KIND_CLIENT,
	};
	char err[256] = "";
	int rc = atoll_attach(&ix->ep, &conf, err, sizeof(err));

	if (rc) {
		ix->ep = NULL;
		return index_fail(why, rc, "%s", err[0] ? err : strerror(-rc));
	}
	atoll_set_handlers(ix->ep, &handlers, ix);
	return 0;
}

static int find(struct atoll_index *ix, const char **why)
{
	int ms = (int)ix->options.answer_ms;
	int rc = atoll_lookup(ix->ep, ix->target, &ix->shard, &ix->node, ms);

	if (rc == -ENOENT)
		return index_fail(why, rc, "there is no service \"%s\"; svcctl status tells what runs",
			    ix->target);
	if (rc == -EACCES)
		return index_fail(why, rc, "the configuration does not allow this user to use \"%s\"",
			    ix->target);
	if (rc == -EHOSTUNREACH)
		return index_fail(why, rc, "the node of \"%s\" does not answer", ix->target);
	if (rc)
		return index_fail(why, rc, "cannot look up \"%s\": %s", ix->target, strerror(-rc));
	for (unsigned i = 0; i < ix->options.lanes; i++) {
		rc = atoll_lane_open(ix->ep, ix->node, ix->options.depth, &ix->lanes[i], ms);
		if (rc)
			return index_fail(why, rc == -ESTALE ? -EAGAIN : rc,
				    "cannot open a lane to node %u: %s", ix->node, strerror(-rc));
	}
	return 0;
}

static const char *type_name(uint64_t type)
{
	return type == INDEX_TYPE_HASH ? "hash table" : type == INDEX_TYPE_TREE ? "tree" : NULL;
}

/* Is it of the cluster that it should be of, and there where it should be? */
static int membership(struct atoll_index *ix, const struct proto_msg *r, const char **why)
{
	struct membership now = {0};

	if (r->nargs > REPLY_INDEX_OPEN_MEMBER)
		now = (struct membership){
			.directory = r->arg[REPLY_INDEX_OPEN_DIRECTORY],
			.version = (uint32_t)r->arg[REPLY_INDEX_OPEN_DIRECTORY_VERSION],
			.member = (uint32_t)r->arg[REPLY_INDEX_OPEN_MEMBER],
		};
	if (!ix->in_cluster) {
		ix->told = now;
		return 0;
	}
	if (!now.directory)
		return index_fail(why, -EPROTO, "\"%s\" is named in the directory of a cluster, but knows of none",
				  ix->target);
	if (now.version != ix->told.version)
		return index_fail(why, -EPROTO, "\"%s\" has version %u of its cluster's directory, others have version %u",
				  ix->target, now.version, ix->told.version);
	if (now.directory != ix->told.directory)
		return index_fail(why, -EPROTO,
				  "\"%s\" has another directory of its cluster than others, under the same version %u",
				  ix->target, now.version);
	if (now.member != ix->told.member)
		return index_fail(why, -EPROTO, "\"%s\" is member %u of its cluster by the directory, but says that it is %u",
				  ix->target, ix->told.member, now.member);
	return 0;
}

static int introduce(struct atoll_index *ix, struct proto_msg *r, const char **why)
{
	struct proto_msg m;
	int rc;

	proto_request_init(&m, OP_INDEX_OPEN);
	m.arg[ARG_INDEX_OPEN_VERSION] = INDEX_VERSION;
	m.arg[ARG_INDEX_OPEN_OLD_CID] = ix->cid;
	m.arg[ARG_INDEX_OPEN_OLD_EPOCH] = ix->epoch;
	m.arg[ARG_INDEX_OPEN_OLD_SECRET] = ix->secret;
	m.nargs = 4;
	m.budget_us = ix->options.answer_ms * 1000;
	rc = atoll_call(ix->ep, ix->shard, &m, NULL, r, NULL, (int)ix->options.answer_ms);
	if (rc)
		return index_fail(why, rc, "\"%s\" does not answer: %s", ix->target, strerror(-rc));
	switch (r->status) {
	case STATUS_OK:
		break;
	case STATUS_UNSUPPORTED:
		return index_fail(why, -EPROTO, "\"%s\" is no index, or of another version", ix->target);
	case STATUS_NOT_FOUND:
		return index_fail(why, -ESTALE,
			    "the index \"%s\" was lost with its node; what has its name now is new",
			    ix->target);
	case STATUS_LIMIT:
		return index_fail(why, -ENOSPC, "\"%s\" has as many clients as it takes", ix->target);
	default:
		return index_fail(why, atoll_status_errno(r->status), "\"%s\" refused: %s", ix->target,
			    proto_status_text(r->status));
	}
	if (!type_name(r->arg[REPLY_INDEX_OPEN_TYPE]))
		return index_fail(why, -EPROTO, "\"%s\" is an index of a type that this client does not know",
			    ix->target);
	if (ix->options.type && ix->options.type != r->arg[REPLY_INDEX_OPEN_TYPE])
		return index_fail(why, -EMEDIUMTYPE, "\"%s\" is a %s, not a %s", ix->target,
			    type_name(r->arg[REPLY_INDEX_OPEN_TYPE]), type_name(ix->options.type));
	rc = membership(ix, r, why);
	if (rc)
		return rc;
	if (!ix->grant[0].size || !ix->grant[1].size)
		return index_fail(why, -EPROTO, "\"%s\" answered but gave no memory", ix->target);
	return 0;
}

static int engine_start(struct atoll_index *ix, const struct proto_msg *r, const char **why)
{
	const struct atoll_index_options *o = &ix->options;
	bool tree = r->arg[REPLY_INDEX_OPEN_TYPE] == INDEX_TYPE_TREE;
	struct core_config c = {
		.verbs = atoll_verbs(ix->ep),
		.lanes = ix->lanes,
		.nlanes = o->lanes,
		.ops = o->in_flight,
		.table = ix->grant[0].handle,
		.control = ix->grant[1].handle,
		.local = ix->local.handle,
		.local_base = ix->local.base,
		.local_size = ix->local.size,
		.cid = (uint16_t)ix->cid,
		.epoch = (uint16_t)ix->epoch,
		.groups = (uint32_t)r->arg[REPLY_INDEX_OPEN_GROUPS],
		.depth = (unsigned)r->arg[REPLY_INDEX_OPEN_DEPTH],
		.log_base = r->arg[REPLY_INDEX_OPEN_LOG_BASE],
		.table_offset = r->arg[REPLY_INDEX_OPEN_TABLE_OFFSET],
		.heap_offset = r->arg[REPLY_INDEX_OPEN_HEAP_OFFSET],
		.heap_size = r->arg[REPLY_INDEX_OPEN_HEAP_SIZE],
		.cache = tree && o->cache < 8 ? INNER_NODES : o->cache,
		.ft_off = o->ft_off,
		.beat_us = o->ft_off ? 0 : o->lease_ms * 1000 / 4,
		.reclaim_us = RECLAIM_US,
		.suspect_us = o->suspect_us,
		.busy_us = o->busy_ms * 1000,
		.seed = ix->secret,
		.tickets = (uint64_t)ix->told.member << TICKET_MEMBER | ix->opened << 16,
		.owner = ix,
		.now_ns = owner_now,
		.want_chunk = owner_want_chunk,
		.suspect = owner_suspect,
	};
	uint64_t size = ix->grant[0].size;
	int rc = -EPROTO;

	if (c.heap_offset < size && c.heap_size <= size - c.heap_offset &&
	    ix->grant[1].size >= INDEX_SEGMENT_TABLE_OFFSET &&
	    (tree || r->arg[REPLY_INDEX_OPEN_GROUPS] <= INDEX_GROUPS_MAX))
		rc = core_open(&ix->core, tree ? &tree_engine : &race_engine, &c);
	if (rc == -ENOMEM)
		return index_fail(why, rc, "no memory");
	if (rc)
		return index_fail(why, -EPROTO, "what \"%s\" says of its memory makes no sense",
			    ix->target);
	return 0;
}

/* Whichever it will be. */
static uint64_t local_size(unsigned ops)
{
	uint64_t a = core_local_size(&race_engine, ops), b = core_local_size(&tree_engine, ops);

	return a > b ? a : b;
}

int index_connect(struct atoll_index *ix, const char **why)
{
	struct proto_msg r;
	char err[256] = "";
	int rc = attach(ix, why);

	if (!rc)
		rc = find(ix, why);
	if (!rc) {
		rc = atoll_region_alloc(ix->ep, local_size(ix->options.in_flight), 0,
					&ix->local, err, sizeof(err));
		if (rc)
			index_fail(why, rc, "no memory for buffers: %s", err);
	}
	if (!rc)
		rc = introduce(ix, &r, why);
	if (!rc) {
		ix->cid = (uint32_t)r.arg[REPLY_INDEX_OPEN_CID];
		ix->epoch = (uint32_t)r.arg[REPLY_INDEX_OPEN_EPOCH];
		ix->secret = r.arg[REPLY_INDEX_OPEN_SECRET];
		rc = engine_start(ix, &r, why);
	}
	if (rc) {
		index_disconnect(ix);
		return rc;
	}
	ix->lost = false;
	ix->opened++;
	return 0;
}

static int options_take(struct atoll_index *ix, const char *target,
			const struct atoll_index_options *given, const char **why)
{
	struct atoll_index_options *o = &ix->options;

	if (given)
		*o = *given;
	o->in_flight = o->in_flight ? o->in_flight : 16;
	o->lanes = o->lanes ? o->lanes : 1;
	o->depth = o->depth ? o->depth : 32;
	o->suspect_us = o->suspect_us ? o->suspect_us : 2000;
	o->busy_ms = o->busy_ms ? o->busy_ms : 2000;
	o->answer_ms = o->answer_ms ? o->answer_ms : 5000;
	o->lease_ms = o->lease_ms ? o->lease_ms : 50;
	if (o->in_flight > ATOLL_INDEX_IN_FLIGHT_MAX || o->lanes > CORE_LANES_MAX ||
	    o->depth > 128 || (o->type && !type_name(o->type)) || (o->cache & (o->cache - 1)) || o->cache > 1u << 24 ||
	    o->lease_ms > 60000 || o->busy_ms > 3600000 || o->answer_ms > 3600000)
		return index_fail(why, -EINVAL, "an option of the index client is out of its range");
	if (!target || !target[0] || strlen(target) >= sizeof(ix->target))
		return index_fail(why, -EINVAL, "the index is named NODE/SERVICE, or SERVICE");
	if (strlen(o->socket ? o->socket : "") >= sizeof(ix->socket) ||
	    strlen(o->name ? o->name : "") >= sizeof(ix->name))
		return index_fail(why, -EINVAL, "the socket's path or the client's name is too long");
	strcpy(ix->target, target);
	strcpy(ix->socket, o->socket ? o->socket : "");
	strcpy(ix->name, o->name ? o->name : "index-client");
	o->socket = o->name = NULL;
	return 0;
}

int index_new(struct atoll_index **out, const char *target, const struct atoll_index_options *options,
	      const char **why)
{
	struct atoll_index *ix = calloc(1, sizeof(*ix));
	int rc;

	if (!ix)
		return index_fail(why, -ENOMEM, "no memory");
	rc = options_take(ix, target, options, why);
	if (rc) {
		free(ix);
		return rc;
	}
	*out = ix;
	return 0;
}

int atoll_index_open(struct atoll_index **out, const char *target,
		     const struct atoll_index_options *options, const char **why)
{
	struct atoll_index *ix;
	int rc = index_new(&ix, target, options, why);

	if (rc)
		return rc;
	rc = index_connect(ix, why);
	if (rc) {
		free(ix);
		return rc;
	}
	if (ix->told.directory && !ix->options.shard_only)
		return cluster_open(out, ix, why);
	*out = ix;
	return 0;
}

void atoll_index_close(struct atoll_index *ix)
{
	if (ix && ix->cluster) {
		cluster_close(ix);
	} else if (ix) {
		index_disconnect(ix);
		free(ix->doubt);
		free(ix);
	}
}

int index_try_again(int rc)
{
	switch (rc) {
	case -ECONNREFUSED: /* no dataplane yet */
	case -ENOENT:       /* none, or no service yet */
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -ENOTCONN:
	case -ECONNRESET:
	case -EPIPE:
	case -EIO:
	case -EBADF:
	case -EINPROGRESS:
	case -ECANCELED:
	case -EAGAIN:
		return -EAGAIN;
	default:
		return rc;
	}
}

int atoll_index_reconnect(struct atoll_index *ix, const char **why)
{
	if (ix->cluster)
		return cluster_reconnect(ix, why);
	index_disconnect(ix);
	ix->lost = true;
	return index_try_again(index_connect(ix, why));
}

int atoll_index_resolve(struct atoll_index *ix, uint64_t ticket, bool *executed)
{
	*executed = false;
	if (ix->cluster) {
		struct atoll_index *m = atoll_index_member(ix, (unsigned)(ticket >> TICKET_MEMBER));

		return m ? atoll_index_resolve(m, ticket, executed) : -ENOENT;
	}
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	for (uint64_t i = 0; i < DOUBTS && i < ix->doubts && ticket; i++)
		if (ix->doubt[i].ticket == ticket)
			return core_doubt_resolve(ix->core, &ix->doubt[i], executed);
	return -ENOENT;
}

uint64_t atoll_index_ticket(const struct atoll_index *ix)
{
	const struct core_doubt *d;
	unsigned n = ix->core ? core_doubts(ix->core, &d) : 0;

	if (ix->cluster)
		return atoll_index_ticket(cluster_last(ix));
	if (n)
		return d[n - 1].ticket;
	return ix->doubts ? ix->doubt[(ix->doubts - 1) % DOUBTS].ticket : 0;
}

bool atoll_index_lost(const struct atoll_index *ix)
{
	if (ix->cluster)
		return cluster_lost(ix);
	return !ix->core || ix->lost || core_lost(ix->core);
}

/* ------------------------------------------------------------------ operations */

int atoll_index_submit(struct atoll_index *ix, enum atoll_op op, const void *key, size_t klen,
		       const void *value, size_t vlen, atoll_done done, void *arg)
{
	if (ix->cluster)
		ix = cluster_route(ix, key, klen);
	if (!ix || atoll_index_lost(ix))
		return -ENOTCONN;
	return core_submit(ix->core, op, key, klen, value, vlen, done, arg);
}

int atoll_index_poll(struct atoll_index *ix)
{
	int n;

	if (ix->cluster)
		return cluster_poll(ix);
	if (!ix->core)
		return -ENOTCONN;
	if (ix->chunk_due)
		chunk_ask(ix);
	n = core_poll(ix->core);
	if (n == 0 && atoll_index_lost(ix) && core_pending(ix->core) == 0)
		return -ENOTCONN;
	return n;
}

void atoll_index_idle(struct atoll_index *ix)
{
	uint64_t now, next, most = IDLE_NS;

	if (ix->cluster) {
		cluster_idle(ix);
		return;
	}
	if (!ix->ep)
		return;
	/* Operations that wait for others look again by the clock; who waits for an answer is woken by it. */
	if (core_pending(ix->core)) {
		now = clock_now_ns();
		next = core_next(ix->core);
		most = PENDING_NS;
		if (ix->chunk_due || next < now + RETRY_NS)
			most = RETRY_NS;
		else if (next < now + most)
			most = next - now;
	}
	atoll_idle(ix->ep, most);
}

unsigned atoll_index_pending(const struct atoll_index *ix)
{
	return ix->cluster ? cluster_pending(ix) : core_pending(ix->core);
}

struct wait {
	bool done;
	enum atoll_result result;
	void *value;
	size_t room, len;
};

static void wait_done(void *arg, const struct atoll_outcome *o)
{
	struct wait *w = arg;

	w->done = true;
	w->result = o->result;
	if (o->value) {
		w->len = o->value_len;
		if (w->room && w->value)
			memcpy(w->value, o->value, w->len < w->room ? w->len : w->room);
	}
}

static enum atoll_result run(struct atoll_index *ix, enum atoll_op op, const void *key, size_t klen,
			     const void *value, size_t vlen, struct wait *w)
{
	struct atoll_index *shard = ix;
	int rc;

	if (ix->cluster) {
		shard = cluster_route(ix, key, klen);
		if (!shard)
			return ATOLL_NOT_SENT;
	}
	while ((rc = atoll_index_submit(shard, op, key, klen, value, vlen, wait_done, w)) == -EAGAIN)
		if (atoll_index_poll(ix) == 0)
			atoll_index_idle(ix);
	if (rc)
		return rc == -ENOTCONN ? ATOLL_NOT_SENT : ATOLL_REFUSED;
	while (!w->done) {
		rc = atoll_index_poll(ix);
		if (rc == 0)
			atoll_index_idle(ix);
		else if (rc < 0)
			break;
	}
	/* Whoever waits does not poll for long: a subtable is not left half split. */
	if (ix->cluster)
		cluster_last_set(ix, shard);
	while (w->done && core_restructuring(shard->core)) {
		rc = atoll_index_poll(ix);
		if (rc < 0)
			break;
		if (rc == 0)
			atoll_index_idle(ix);
	}
	return w->done ? w->result : ATOLL_IN_DOUBT;
}

enum atoll_result atoll_index_get(struct atoll_index *ix, const void *key, size_t klen, void *value,
				  size_t *size)
{
	struct wait w = {.value = value, .room = *size};
	enum atoll_result r = run(ix, ATOLL_GET, key, klen, NULL, 0, &w);

	*size = w.len;
	return r;
}

enum atoll_result atoll_index_put(struct atoll_index *ix, const void *key, size_t klen,
				  const void *value, size_t vlen)
{
	struct wait w = {0};

	return run(ix, ATOLL_PUT, key, klen, value, vlen, &w);
}

enum atoll_result atoll_index_insert(struct atoll_index *ix, const void *key, size_t klen,
				     const void *value, size_t vlen)
{
	struct wait w = {0};

	return run(ix, ATOLL_INSERT, key, klen, value, vlen, &w);
}

enum atoll_result atoll_index_update(struct atoll_index *ix, const void *key, size_t klen,
				     const void *value, size_t vlen)
{
	struct wait w = {0};

	return run(ix, ATOLL_UPDATE, key, klen, value, vlen, &w);
}

enum atoll_result atoll_index_delete(struct atoll_index *ix, const void *key, size_t klen)
{
	struct wait w = {0};

	return run(ix, ATOLL_DELETE, key, klen, NULL, 0, &w);
}
