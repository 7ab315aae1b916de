/* SPDX-License-Identifier: Apache-2.0 */
#include "services/index-shard/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What must be asked of the dataplane about a client. */
enum step {
	STEP_WATCH = 1 << 0,
	STEP_GRANT_TABLE = 1 << 1,
	STEP_GRANT_CONTROL = 1 << 2,
	STEP_FENCE = 1 << 3,
	STEPS_OPEN = STEP_WATCH | STEP_GRANT_TABLE | STEP_GRANT_CONTROL,
};

enum {
	STEPS = 4,
	CHUNK_DOUBLE = 2, /* chunks of one size before the next are twice as large */
};

struct client {
	uint32_t source, src_epoch;
	uint64_t secret;
	uint8_t todo;    /* steps that must be taken */
	uint8_t asked;   /* steps that have been sent and are not answered */
	bool opening;    /* `open` waits for its answer */
	uint8_t failed;  /* status that the open ends with, once it is dead */
	uint16_t behind; /* client that must be dead before the open goes on */
	uint16_t behind_epoch;
	unsigned chunks;           /* handed out */
	uint64_t suspect_ns, beat; /* suspected since, at this heartbeat; 0 not */
	struct proto_msg open;
};

/* A dead client's segment, to be handed out again. */
struct used {
	uint64_t segment;
	uint16_t cid, epoch;
	uint8_t map[INDEX_MAP_SIZE];
};

struct shard {
	struct store store;
	const struct shard_io *io;
	void *ctx;
	struct shard_handles handles;
	const char *directory; /* of the cluster; NULL: this shard is alone */
	uint32_t directory_len, directory_version;
	uint64_t directory_id;
	unsigned member;
	unsigned limit, alive, dead, suspected;
	uint64_t lease_ns;
	uint64_t return_ns;
	uint64_t returns_ns[INDEX_CLIENTS]; /* until then the dead one may come back and ask */
	struct used *used;
	unsigned nused, used_room;
	bool short_of_heap; /* said so */
	struct client client[INDEX_CLIENTS];
};

struct shard *shard_new(const struct store *store, unsigned clients, const struct shard_io *io,
			void *ctx)
{
	struct shard *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->store = *store;
	s->limit = clients;
	s->io = io;
	s->ctx = ctx;
	for (unsigned c = 1; c < INDEX_CLIENTS; c++)
		s->dead += s->store.client[c].state == INDEX_CLIENT_DEAD;
	return s;
}

void shard_free(struct shard *s)
{
	if (s)
		free(s->used);
	free(s);
}

void shard_lease_set(struct shard *s, uint64_t lease_ns)
{
	s->lease_ns = lease_ns;
}

void shard_return_set(struct shard *s, uint64_t return_ns)
{
	s->return_ns = return_ns;
	for (unsigned c = 1; c < INDEX_CLIENTS && return_ns; c++) /* of an earlier life of ours */
		if (s->store.client[c].state == INDEX_CLIENT_DEAD)
			s->returns_ns[c] = s->io->now_ns(s->ctx) + return_ns;
}

void shard_directory_set(struct shard *s, const char *text, uint32_t len, const struct index_directory *d,
			 unsigned member)
{
	s->directory = text;
	s->directory_len = len;
	s->directory_version = d->version;
	s->directory_id = index_directory_id(d);
	s->member = member;
}

void shard_handles_set(struct shard *s, const struct shard_handles *h)
{
	s->handles = *h;
}

static enum index_client_state state_of(const struct shard *s, unsigned c)
{
	return (enum index_client_state)s->store.client[c].state;
}

static uint16_t epoch_of(const struct shard *s, unsigned c)
{
	return s->store.client[c].epoch;
}

/* ALIVE -> FENCING -> DEAD. */
static void state_set(struct shard *s, unsigned c, enum index_client_state state)
{
	s->alive -= state_of(s, c) == INDEX_CLIENT_ALIVE;
	s->dead += state == INDEX_CLIENT_DEAD;
	store_client_set(&s->store, (uint16_t)c, epoch_of(s, c), state);
}

/*
 * A secret says which index it is for in its upper 24 bits: when the node was started again,
 * numbers and epochs of its new, empty index begin anew, and a client of the lost one must not be
 * taken for one of this, nor go on as if nothing had been lost.
 */
static uint64_t secret_index(const struct shard *s)
{
	return (s->store.table->table_id & 0xffffff) << 40;
}

static uint64_t secret_make(struct shard *s)
{
	return secret_index(s) | (s->io->random(s->ctx) & 0xffffffffff);
}

static void reply(struct shard *s, const struct proto_msg *m, uint32_t status)
{
	s->io->reply(s->ctx, m, status, NULL, 0, NULL, 0);
}

/* ------------------------------------------------------------------ steps */

static uint64_t cookie_make(const struct shard *s, unsigned c, unsigned step)
{
	return (uint64_t)epoch_of(s, c) << 32 | c << 8 | step;
}

static int step_send(struct shard *s, unsigned c, uint8_t step)
{
	const struct client *k = &s->client[c];
	const struct shard_handles *h = &s->handles;
	const uint64_t who[2] = {k->source, k->src_epoch};
	const uint64_t table[5] = {
		h->table_slot,  h->table_gen,    RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC,
		k->open.req_id, INDEX_TAG_TABLE,
	};
	const uint64_t control[5] = {
		h->control_slot, h->control_gen, RIGHT_READ, k->open.req_id, INDEX_TAG_CONTROL,
	};
	uint64_t cookie = cookie_make(s, c, step);

	switch ((enum step)step) {
	case STEP_WATCH:
		return s->io->ask(s->ctx, OP_DP_WATCH, who, 2, cookie);
	case STEP_GRANT_TABLE:
		return s->io->ask(s->ctx, OP_DP_GRANT, table, 5, cookie);
	case STEP_GRANT_CONTROL:
		return s->io->ask(s->ctx, OP_DP_GRANT, control, 5, cookie);
	case STEP_FENCE:
		return s->io->ask(s->ctx, OP_DP_FENCE, who, 2, cookie);
	case STEPS_OPEN:
		break;
	}
	return 0;
}

/* Sends what there is to send, in order. */
static void pump(struct shard *s, unsigned c)
{
	struct client *k = &s->client[c];

	if (k->behind)
		return;
	for (unsigned i = 0; i < STEPS && k->todo; i++) {
		uint8_t step = (uint8_t)(1u << i);

		if (!(k->todo & step))
			continue;
		if (step_send(s, c, step) < 0)
			return;
		k->todo &= (uint8_t)~step;
		k->asked |= step;
	}
}

static void fence(struct shard *s, unsigned c, bool may_return);

/* Are those who are suspected silent for a lease? */
static void leases_check(struct shard *s)
{
	uint64_t now = s->io->now_ns(s->ctx);

	for (unsigned c = 1; c < INDEX_CLIENTS && s->suspected; c++) {
		struct client *k = &s->client[c];

		if (!k->suspect_ns)
			continue;
		if (state_of(s, c) == INDEX_CLIENT_ALIVE &&
		    store_beat(&s->store, (uint16_t)c) == k->beat) {
			if (now - k->suspect_ns < s->lease_ns)
				continue;
			fence(s, c, true);
		}
		k->suspect_ns = 0;
		s->suspected--;
	}
}

static void suspect_begin(struct shard *s, unsigned c)
{
	struct client *k = &s->client[c];

	if (!s->lease_ns || k->suspect_ns)
		return;
	k->suspect_ns = s->io->now_ns(s->ctx) | 1;
	k->beat = store_beat(&s->store, (uint16_t)c);
	s->suspected++;
}

bool shard_tick(struct shard *s)
{
	bool more = false;

	if (s->suspected)
		leases_check(s);
	more = s->suspected != 0;
	for (unsigned c = 1; c < INDEX_CLIENTS; c++) {
		if (!s->client[c].todo || s->client[c].behind)
			continue;
		pump(s, c);
		more |= s->client[c].todo != 0;
	}
	return more;
}

/* ------------------------------------------------------------------ death */

static void fence(struct shard *s, unsigned c, bool may_return)
{
	struct client *k = &s->client[c];

	if (state_of(s, c) != INDEX_CLIENT_ALIVE)
		return;
	state_set(s, c, INDEX_CLIENT_FENCING);
	s->returns_ns[c] = may_return && s->return_ns ? s->io->now_ns(s->ctx) + s->return_ns : 0;
	k->behind = 0;
	k->todo = STEP_FENCE;
	pump(s, c);
}

/* Fenced off. Whoever waited for that goes on. */
static void died(struct shard *s, unsigned c)
{
	struct client *k = &s->client[c];

	state_set(s, c, INDEX_CLIENT_DEAD);
	if (k->opening)
		reply(s, &k->open, k->failed ? k->failed : STATUS_FAILED);
	s->suspected -= k->suspect_ns != 0;
	memset(k, 0, sizeof(*k));
	for (unsigned i = 1; i < INDEX_CLIENTS; i++)
		if (s->client[i].behind == c && s->client[i].behind_epoch == epoch_of(s, c)) {
			s->client[i].behind = 0;
			pump(s, i);
		}
}

static void opened(struct shard *s, unsigned c)
{
	struct client *k = &s->client[c];
	const struct index_super *t = s->store.table;
	const uint64_t args[14] = {
		[REPLY_INDEX_OPEN_CID] = c,
		[REPLY_INDEX_OPEN_EPOCH] = epoch_of(s, c),
		[REPLY_INDEX_OPEN_SECRET] = k->secret,
		[REPLY_INDEX_OPEN_VERSION] = INDEX_VERSION,
		[REPLY_INDEX_OPEN_GROUPS] = t->groups,
		[REPLY_INDEX_OPEN_TABLE_OFFSET] = t->table_offset,
		[REPLY_INDEX_OPEN_HEAP_OFFSET] = t->heap_offset,
		[REPLY_INDEX_OPEN_HEAP_SIZE] = t->heap_size,
		[REPLY_INDEX_OPEN_LOG_BASE] = s->store.client[c].log_base,
		[REPLY_INDEX_OPEN_DEPTH] = t->depth,
		[REPLY_INDEX_OPEN_TYPE] = t->type,
		[REPLY_INDEX_OPEN_DIRECTORY] = s->directory_id,
		[REPLY_INDEX_OPEN_DIRECTORY_VERSION] = s->directory_version,
		[REPLY_INDEX_OPEN_MEMBER] = s->member,
	};

	k->opening = false;
	s->io->reply(s->ctx, &k->open, STATUS_OK, args, 14, NULL, 0);
}

void shard_answer(struct shard *s, uint64_t cookie, uint32_t status)
{
	unsigned c = (unsigned)(cookie >> 8) & 0xffff;
	uint8_t step = (uint8_t)cookie;
	struct client *k;

	if (c == 0 || c >= INDEX_CLIENTS || epoch_of(s, c) != (uint16_t)(cookie >> 32))
		return;
	k = &s->client[c];
	if (!(k->asked & step))
		return;
	k->asked &= (uint8_t)~step;
	if (step == STEP_FENCE) {
		/* NO_RIGHT: it was never granted a region, so there is nothing that it could reach.
		 */
		if (status == STATUS_OK || status == STATUS_NO_RIGHT)
			died(s, c);
		else
			k->todo |= STEP_FENCE;
		return;
	}
	if (state_of(s, c) != INDEX_CLIENT_ALIVE)
		return;
	if (status == STATUS_AGAIN) {
		k->todo |= step;
	} else if (status != STATUS_OK) {
		k->failed = (uint8_t)status;
		fence(s, c, false);
	} else if (k->opening && !k->asked && !k->todo) {
		opened(s, c);
	}
}

void shard_peer_gone(struct shard *s, uint32_t source, uint32_t epoch, bool may_return)
{
	for (unsigned c = 1; c < INDEX_CLIENTS; c++) {
		struct client *k = &s->client[c];

		if (state_of(s, c) == INDEX_CLIENT_ALIVE && k->source == source &&
		    (int32_t)(k->src_epoch - epoch) <= 0)
			fence(s, c, may_return);
	}
}

void shard_restarted(struct shard *s)
{
	for (unsigned c = 1; c < INDEX_CLIENTS; c++) {
		memset(&s->client[c], 0, sizeof(s->client[c]));
		if (state_of(s, c) == INDEX_CLIENT_ALIVE || state_of(s, c) == INDEX_CLIENT_FENCING)
			state_set(s, c, INDEX_CLIENT_DEAD);
	}
	shard_return_set(s, s->return_ns);
}

/* ------------------------------------------------------------------ requests */

/* A number that is free, or failing that one whose client is dead and which has epochs left. */
static unsigned number_take(const struct shard *s)
{
	uint64_t now = s->io->now_ns(s->ctx);
	unsigned best = 0;

	for (unsigned c = 1; c < INDEX_CLIENTS; c++) {
		if (state_of(s, c) == INDEX_CLIENT_FREE)
			return c;
		if (state_of(s, c) == INDEX_CLIENT_DEAD && epoch_of(s, c) < INDEX_EPOCH_MAX &&
		    s->returns_ns[c] <= now &&
		    !store_log_open(&s->store, (uint16_t)c) &&
		    (!best || epoch_of(s, c) < epoch_of(s, best)))
			best = c;
	}
	return best;
}

/* The earlier identity that an open names: STATUS_OK and *behind if it must die first. */
static uint32_t old_identity(struct shard *s, const struct proto_msg *m, unsigned *behind)
{
	uint64_t cid = m->arg[ARG_INDEX_OPEN_OLD_CID];
	uint64_t epoch = m->arg[ARG_INDEX_OPEN_OLD_EPOCH];

	*behind = 0;
	if (cid != 0 && m->arg[ARG_INDEX_OPEN_OLD_SECRET] >> 40 != secret_index(s) >> 40)
		return STATUS_NOT_FOUND;
	if (cid == 0 || cid >= INDEX_CLIENTS || epoch != epoch_of(s, (unsigned)cid))
		return STATUS_OK; /* nobody, or somebody who is dead for long */
	switch (state_of(s, (unsigned)cid)) {
	case INDEX_CLIENT_ALIVE:
	case INDEX_CLIENT_FENCING:
		if (s->client[cid].secret != m->arg[ARG_INDEX_OPEN_OLD_SECRET])
			return STATUS_DENIED;
		*behind = (unsigned)cid;
		return STATUS_OK;
	case INDEX_CLIENT_FREE:
	case INDEX_CLIENT_DEAD:
		break;
	}
	return STATUS_OK;
}

static void open_client(struct shard *s, const struct proto_msg *m)
{
	unsigned behind, c = number_take(s);
	uint32_t status;
	struct client *k;

	if (m->flags & MESSAGE_FLAG_ASYNC)
		return;
	if (m->arg[ARG_INDEX_OPEN_VERSION] != INDEX_VERSION) {
		reply(s, m, STATUS_UNSUPPORTED);
		return;
	}
	if (m->length) { /* there is one table, and it has no name */
		reply(s, m, STATUS_NOT_FOUND);
		return;
	}
	for (unsigned i = 1; i < INDEX_CLIENTS; i++)
		if (s->client[i].source == m->src && s->client[i].src_epoch == m->src_epoch &&
		    state_of(s, i) != INDEX_CLIENT_FREE && state_of(s, i) != INDEX_CLIENT_DEAD) {
			/* Fencing is by endpoint: two clients on one could not be told apart. */
			reply(s, m, STATUS_EXISTS);
			return;
		}
	status = old_identity(s, m, &behind);
	if (status == STATUS_OK &&
	    (c == 0 || s->alive >= s->limit || !store_log(&s->store, (uint16_t)c)))
		status = STATUS_LIMIT;
	if (status != STATUS_OK) {
		reply(s, m, status);
		return;
	}
	k = &s->client[c];
	*k = (struct client){
		.source = m->src,
		.src_epoch = m->src_epoch,
		.secret = secret_make(s),
		.todo = STEPS_OPEN,
		.opening = true,
		.behind = (uint16_t)behind,
		.behind_epoch = behind ? epoch_of(s, behind) : 0,
		.open = *m,
	};
	s->dead -= state_of(s, c) == INDEX_CLIENT_DEAD;
	s->alive++;
	store_client_set(&s->store, (uint16_t)c, (uint16_t)(epoch_of(s, c) + 1),
			 INDEX_CLIENT_ALIVE);
	if (behind)
		fence(s, behind, true);
	pump(s, c);
}

/* May segment @i of client @cid and @epoch be handed out again? A status. */
static uint32_t used_check(const struct shard *s, uint64_t i, uint64_t cid, uint64_t epoch)
{
	const struct index_segment *e;

	if (i >= s->store.used || cid == 0 || cid >= INDEX_CLIENTS)
		return STATUS_NOT_FOUND;
	e = &s->store.segment[i];
	if (e->cid != cid || e->epoch != epoch || e->run == INDEX_RUN_LOG ||
	    epoch > epoch_of(s, (unsigned)cid))
		return STATUS_NOT_FOUND;
	if (epoch == epoch_of(s, (unsigned)cid)) {
		if (state_of(s, (unsigned)cid) != INDEX_CLIENT_DEAD)
			return STATUS_NOT_FOUND;
		if (s->io->now_ns(s->ctx) < s->returns_ns[cid])
			return STATUS_AGAIN;
	}
	return STATUS_OK;
}

/* Hands a segment of the dead out, if there is one. */
static bool used_give(struct shard *s, const struct proto_msg *m, unsigned c)
{
	while (s->nused && s->store.table->type == INDEX_TYPE_HASH && m->max_reply >= INDEX_MAP_SIZE) {
		const struct used *u = &s->used[--s->nused];
		const uint64_t args[2] = {
			s->store.table->heap_offset + u->segment * INDEX_SEGMENT,
			INDEX_SEGMENT,
		};

		if (used_check(s, u->segment, u->cid, u->epoch) != STATUS_OK)
			continue; /* it was given twice */
		s->store.segment[u->segment] =
			(struct index_segment){.cid = (uint16_t)c, .epoch = epoch_of(s, c), .run = 1};
		s->io->reply(s->ctx, m, STATUS_OK, args, 2, u->map, INDEX_MAP_SIZE);
		return true;
	}
	return false;
}

static void recycle(struct shard *s, const struct proto_msg *m, const void *payload)
{
	uint64_t cid = m->arg[ARG_INDEX_RECYCLE_CID], epoch = m->arg[ARG_INDEX_RECYCLE_EPOCH];
	uint64_t segment = m->arg[ARG_INDEX_RECYCLE_SEGMENT];
	uint32_t status = used_check(s, segment, cid, epoch);
	bool known = false;

	for (unsigned i = 1; i < INDEX_CLIENTS; i++)
		known |= s->client[i].source == m->src && s->client[i].src_epoch == m->src_epoch &&
			 state_of(s, i) == INDEX_CLIENT_ALIVE && !s->client[i].opening;
	if (!known)
		status = STATUS_DENIED;
	else if (m->length != INDEX_MAP_SIZE)
		status = STATUS_BAD_MESSAGE;
	for (unsigned i = 0; i < s->nused && status == STATUS_OK; i++)
		if (s->used[i].segment == segment)
			status = STATUS_NOT_FOUND; /* another worker was earlier */
	if (status == STATUS_OK && s->nused == s->used_room) {
		unsigned room = s->used_room ? 2 * s->used_room : 16;
		struct used *more = realloc(s->used, room * sizeof(*more));

		if (more) {
			s->used = more;
			s->used_room = room;
		} else {
			status = STATUS_AGAIN;
		}
	}
	if (status == STATUS_OK) {
		struct used *u = &s->used[s->nused++];

		*u = (struct used){.segment = segment, .cid = (uint16_t)cid, .epoch = (uint16_t)epoch};
		memcpy(u->map, payload, sizeof(u->map));
		s->short_of_heap = false;
	}
	reply(s, m, status);
}

static void chunk(struct shard *s, const struct proto_msg *m)
{
	uint64_t cid = m->arg[ARG_INDEX_CHUNK_CID], args[2];
	unsigned c = cid < INDEX_CLIENTS ? (unsigned)cid : 0;
	struct client *k = &s->client[c];
	unsigned segments;

	if (c == 0 || m->arg[ARG_INDEX_CHUNK_EPOCH] > epoch_of(s, c)) {
		reply(s, m, STATUS_NOT_FOUND);
		return;
	}
	if (m->arg[ARG_INDEX_CHUNK_EPOCH] < epoch_of(s, c) ||
	    state_of(s, c) != INDEX_CLIENT_ALIVE) {
		reply(s, m, STATUS_FENCED);
		return;
	}
	if (k->source != m->src || k->src_epoch != m->src_epoch) {
		reply(s, m, STATUS_DENIED);
		return;
	}
	if (used_give(s, m, c))
		return;
	/* Small at first: somebody who writes one key should not take megabytes with him. */
	segments = 1u << (k->chunks / CHUNK_DOUBLE < 4 ? k->chunks / CHUNK_DOUBLE : 4);
	args[1] = store_chunk(&s->store, (uint16_t)c, epoch_of(s, c), segments, &args[0]);
	if (args[1] == 0) {
		if (!s->short_of_heap)
			s->io->say(s->ctx,
				   "the heap is used up: clients get NO_SPACE for new values; "
				   "start with a larger --heap-mib");
		s->short_of_heap = true;
		reply(s, m, STATUS_LIMIT);
		return;
	}
	k->chunks++;
	s->io->reply(s->ctx, m, STATUS_OK, args, 2, NULL, 0);
}

static void suspect(struct shard *s, const struct proto_msg *m)
{
	uint64_t cid = m->arg[ARG_INDEX_SUSPECT_CID], epoch = m->arg[ARG_INDEX_SUSPECT_EPOCH];
	uint64_t state = CLIENT_STATE_UNKNOWN;
	unsigned c = cid < INDEX_CLIENTS ? (unsigned)cid : 0;

	if (c && epoch < epoch_of(s, c)) {
		state = CLIENT_STATE_DEAD;
	} else if (c && epoch == epoch_of(s, c)) {
		static const uint8_t told[] = {
			[INDEX_CLIENT_FREE] = CLIENT_STATE_UNKNOWN,
			[INDEX_CLIENT_ALIVE] = CLIENT_STATE_ALIVE,
			[INDEX_CLIENT_FENCING] = CLIENT_STATE_FENCING,
			[INDEX_CLIENT_DEAD] = CLIENT_STATE_DEAD,
		};

		state = told[state_of(s, c)];
		/* Does the dataplane know of its end, and we do not? Watching again tells. */
		if (state == CLIENT_STATE_ALIVE && !s->client[c].opening) {
			s->client[c].todo |= STEP_WATCH;
			pump(s, c);
			suspect_begin(s, c);
		}
	}
	s->io->reply(s->ctx, m, STATUS_OK, &state, 1, NULL, 0);
}

void shard_message(struct shard *s, const struct proto_msg *m, const void *payload)
{
	const uint64_t stat[4] = {
		[REPLY_INDEX_STAT_CLIENTS] = s->alive,
		[REPLY_INDEX_STAT_DEAD] = s->dead,
		[REPLY_INDEX_STAT_CHUNKS_USED] = s->store.used + s->store.logs,
		[REPLY_INDEX_STAT_CHUNKS] = s->store.segments,
	};

	switch (m->opcode) {
	case OP_INDEX_OPEN:
		open_client(s, m);
		break;
	case OP_INDEX_CHUNK:
		chunk(s, m);
		break;
	case OP_INDEX_SUSPECT:
		suspect(s, m);
		break;
	case OP_INDEX_RECYCLE:
		recycle(s, m, payload);
		break;
	case OP_INDEX_DIRECTORY:
		if (!s->directory)
			reply(s, m, STATUS_NOT_FOUND);
		else if (m->max_reply < s->directory_len)
			reply(s, m, STATUS_TOO_BIG);
		else
			s->io->reply(s->ctx, m, STATUS_OK, NULL, 0, s->directory, s->directory_len);
		break;
	case OP_INDEX_STAT:
		s->io->reply(s->ctx, m, STATUS_OK, stat, 4, NULL, 0);
		break;
	default:
		reply(s, m, STATUS_UNSUPPORTED);
	}
}
