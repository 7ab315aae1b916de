/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through the table that finishes what dead clients have left: pending inserts are taken
 * back, splits finished, locks freed. It does what any client does that is held up by the dead
 * (race_decide.c, race_split.c), only everywhere, so it may itself be stopped at any verb, and two
 * may run.
 */
#include "clients/index/race_op.h"

#include <errno.h>
#include <string.h>

enum {
	TRIES = 8, /* looks at a subtable whose lock is the dead's, which others may be repairing */
	PENDING = 64, /* pending words that are looked at together */
};

struct repair {
	struct race *r;
	struct atoll_index_repaired *out;
	/* local memory, that of the walk of race_dump.c */
	uint8_t *table, *lines, *blocks;
	uint64_t table_at, lines_at, blocks_at;
	struct {
		uint64_t at, word;
	} pend[PENDING];
	unsigned npend;
};

static struct index_client line_of(const struct repair *p, uint16_t cid)
{
	struct index_client line;

	memcpy(&line, p->lines + (size_t)cid * INDEX_LINE, sizeof(line));
	return line;
}

static bool dead(const struct repair *p, uint16_t cid, uint16_t epoch)
{
	struct index_client line;

	if (cid == 0 || cid >= INDEX_CLIENTS)
		return false;
	line = line_of(p, cid);
	return rtx_is_dead(&line, cid, epoch);
}

static int lines_read(struct repair *p)
{
	struct verb v = core_read_verb((struct core *)p->r, INDEX_CLIENT_TABLE_OFFSET, INDEX_CLIENTS * INDEX_LINE,
				       p->lines_at);

	v.remote = p->r->c.control;
	return core_verbs_run((struct core *)p->r, &v, 1, 1);
}

/* ------------------------------------------------------------------ pending inserts */

/* Whose are they? Those of the dead are taken back. */
static int pending_take(struct repair *p)
{
	struct verb v[PENDING];
	unsigned n = p->npend, k = 0;
	int rc;

	p->npend = 0;
	for (unsigned i = 0; i < n; i++)
		v[i] = core_read_verb((struct core *)p->r, index_slot_offset(p->pend[i].word),
				      sizeof(struct index_kv), p->blocks_at + i * INDEX_LINE);
	rc = n ? core_verbs_run((struct core *)p->r, v, n, VERB_CHAIN_MAX) : 0;
	if (rc)
		return rc;
	for (unsigned i = 0; i < n; i++) {
		struct index_kv kv;

		memcpy(&kv, p->blocks + i * INDEX_LINE, sizeof(kv));
		if (!dead(p, kv.cid, kv.epoch)) {
			p->out->open++;
			continue;
		}
		v[k] = core_read_verb((struct core *)p->r, p->pend[i].at, 8, p->blocks_at + k * 8);
		v[k].op = VERB_CAS;
		v[k].compare = p->pend[i].word;
		p->pend[k] = p->pend[i]; /* k <= i */
		k++;
	}
	rc = k ? core_verbs_run((struct core *)p->r, v, k, 1) : 0;
	for (unsigned i = 0; i < k && !rc; i++) {
		uint64_t old;

		memcpy(&old, p->blocks + i * 8, sizeof(old));
		p->out->inserts += old == p->pend[i].word;
	}
	return rc;
}

/* ------------------------------------------------------------------ tombs */

/* Of a dead client's it is written that it was there, and then it is taken away. */
static int tomb_take(struct repair *p, uint64_t at, uint64_t word)
{
	uint16_t cid = index_tomb_cid(word);
	uint64_t log = line_of(p, cid).log_base, outcome = index_outcome_make(word), old;
	struct verb v[2] = {
		core_read_verb((struct core *)p->r, log + index_outcome_at(word), 8, p->blocks_at),
		core_read_verb((struct core *)p->r, at, 8, p->blocks_at + 8),
	};
	int rc;

	if (!dead(p, cid, index_tomb_epoch(word)))
		return 0; /* whose delete has ended, and who will do it */
	if (!race_log_good(p->r, log)) {
		p->out->bad++;
		return 0;
	}
	memcpy(p->blocks, &outcome, sizeof(outcome));
	v[0].op = VERB_WRITE;
	v[1].op = VERB_CAS;
	v[1].compare = word;
	rc = core_verbs_run((struct core *)p->r, v, 2, 2);
	memcpy(&old, p->blocks + 8, sizeof(old));
	p->out->deletes += !rc && old == word;
	return rc;
}

/* ------------------------------------------------------------------ subtables */

static int slot_take(struct repair *p, uint64_t at, uint64_t word)
{
	/* A frozen one is left out by whoever splits. */
	if (word & INDEX_SLOT_MOVE)
		return 0;
	if (index_slot_tomb(word))
		return tomb_take(p, at, word);
	if (!index_slot_pending(word))
		return 0;
	if (!race_word_good(p->r, word)) {
		p->out->bad++;
		return 0;
	}
	p->pend[p->npend].at = at;
	p->pend[p->npend++].word = word;
	return p->npend == PENDING ? pending_take(p) : 0;
}

static int groups_take(struct repair *p, const struct race_sub *sub)
{
	uint32_t n = p->r->c.groups;
	struct verb v =
		core_read_verb((struct core *)p->r, sub->at + INDEX_LINE, n * INDEX_GROUP_SIZE, p->table_at);
	int rc = core_verbs_run((struct core *)p->r, &v, 1, 1);

	for (uint32_t b = 0; b < n * INDEX_GROUP_BUCKETS && !rc; b++) {
		struct index_bucket bucket;

		memcpy(&bucket, p->table + (size_t)b * INDEX_LINE, sizeof(bucket));
		for (unsigned i = 0; i < INDEX_BUCKET_SLOTS && !rc; i++)
			rc = slot_take(p,
				       sub->at + INDEX_LINE + (uint64_t)b * INDEX_LINE +
					       offsetof(struct index_bucket, slot) + i * 8,
				       bucket.slot[i]);
	}
	return rc ? rc : pending_take(p);
}

static int head_read(struct repair *p, const struct race_sub *sub, struct index_subtable *head)
{
	struct verb v = core_read_verb((struct core *)p->r, sub->at, INDEX_LINE, p->table_at);
	int rc = core_verbs_run((struct core *)p->r, &v, 1, 1);

	memcpy(head, p->table, sizeof(*head));
	return rc;
}

/* The engine finishes a split; it is polled until it has. */
static int split_finish(struct repair *p, const struct race_sub *sub, uint64_t lock)
{
	struct race *r = p->r;

	race_split_repair(r, sub, lock, line_of(p, index_lock_cid(lock)).log_base);
	while (r->split.state != RACE_SPLIT_IDLE) {
		if (core_poll((struct core *)r) < 0 || r->lost)
			return -ENOTCONN;
		if (r->split.state != RACE_SPLIT_IDLE)
			r->c.verbs->ops->idle(r->c.verbs);
	}
	return 0;
}

static int sub_take(struct repair *p, struct race_sub sub)
{
	struct index_subtable head;
	uint64_t done = p->r->stats.repairs;
	int rc;

	for (unsigned i = 0;; i++) {
		rc = head_read(p, &sub, &head);
		if (rc)
			return rc;
		if (head.prefix != sub.prefix || head.depth != sub.depth) {
			p->out->bad++;
			return 0;
		}
		if (!head.lock || i == TRIES ||
		    !dead(p, index_lock_cid(head.lock), index_lock_epoch(head.lock)))
			break;
		rc = split_finish(p, &sub, head.lock);
		if (rc)
			return rc;
		p->out->locks++;
	}
	done = p->r->stats.repairs - done;
	p->out->splits += done;
	p->out->locks -= done < p->out->locks ? done : p->out->locks;
	p->out->open += head.lock != 0;
	p->out->subtables++;
	if (!head.next)
		return groups_take(p, &sub);
	if (!race_sub_offset_good(p->r, head.next, 2) || sub.depth >= INDEX_DEPTH_MAX) {
		p->out->bad++;
		return 0;
	}
	race_sub_learn(p->r, &sub, head.next);
	for (uint32_t i = 0; i < 2 && !rc; i++)
		rc = sub_take(p, (struct race_sub){
					 .at = head.next + i * index_subtable_size(p->r->c.groups),
					 .prefix = sub.prefix << 1 | i,
					 .depth = sub.depth + 1,
				 });
	return rc;
}

static int walk(struct race *r, struct atoll_index_repaired *out)
{
	uint64_t after_ops = (uint64_t)r->c.ops * RACE_LOCAL_OP;
	struct repair p = {
		.r = r,
		.out = out,
		.table = r->c.local_base + after_ops,
		.table_at = r->c.local_offset + after_ops,
	};
	int rc;

	p.lines = p.table + RACE_DUMP_TABLE;
	p.lines_at = p.table_at + RACE_DUMP_TABLE;
	p.blocks = p.lines + INDEX_CLIENTS * INDEX_LINE;
	p.blocks_at = p.lines_at + INDEX_CLIENTS * INDEX_LINE;
	rc = lines_read(&p);
	for (unsigned c = 1; c < INDEX_CLIENTS && !rc; c++)
		out->dead += line_of(&p, (uint16_t)c).state == INDEX_CLIENT_DEAD;
	r->repairing = true;
	for (uint32_t i = 0; i < 1u << r->c.depth && !rc; i++)
		rc = sub_take(
			&p, (struct race_sub){
				    .at = r->c.table_offset + i * index_subtable_size(r->c.groups),
				    .prefix = i,
				    .depth = r->c.depth,
			    });
	r->repairing = false;
	return rc;
}

int race_repairs(struct core *k, uint64_t *out)
{
	int rc = core_quiet(k);

	return rc ? rc : core_fetch(k, k->c.table, INDEX_REPAIRED_OFFSET, out, sizeof(*out));
}

/* The first @deaths have been repaired. */
static int repairs_raise(struct core *k, uint64_t deaths)
{
	uint64_t old;
	struct verb v = core_read_verb(k, INDEX_REPAIRED_OFFSET, 8,
				       k->local_offset + CORE_LOCAL_FETCH);
	int rc = race_repairs(k, &old);

	v.op = VERB_CAS;
	while (!rc && old < deaths) {
		v.compare = old;
		v.swap = deaths;
		rc = core_verbs_run(k, &v, 1, 1);
		memcpy(&old, k->local + CORE_LOCAL_FETCH, sizeof(old));
		if (old == v.compare)
			break;
	}
	return rc;
}

int race_repair(struct core *k, struct atoll_index_repaired *out)
{
	uint64_t deaths;
	int rc = core_deaths(k, &deaths); /* before the client table is read */

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = walk(race_of(k), out);
	return rc ? rc : repairs_raise(k, deaths);
}
