/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - what connect.c does with an engine, whichever it is: the hash table's (race.h) or the
 * tree's (tree.h), as the type of the index says.
 */
#ifndef ATOLL_CLIENTS_INDEX_ENGINE_H
#define ATOLL_CLIENTS_INDEX_ENGINE_H

#include "clients/index/race.h"
#include "clients/index/tree.h"

/* One of the two, or none. */
struct engine {
	struct race *race;
	struct tree *tree;
};

static inline bool engine_none(const struct engine *e)
{
	return !e->race && !e->tree;
}

/* Bytes of local memory, whichever it will be. */
static inline uint64_t engine_local_size(unsigned ops)
{
	uint64_t a = race_local_size(ops), b = tree_local_size(ops);

	return a > b ? a : b;
}

static inline void engine_close(struct engine *e)
{
	race_close(e->race);
	tree_close(e->tree);
	*e = (struct engine){NULL, NULL};
}

static inline int engine_submit(struct engine *e, enum atoll_op op, const void *key, size_t klen,
				const void *value, size_t vlen, atoll_done done, void *arg)
{
	return e->race ? race_submit(e->race, op, key, klen, value, vlen, done, arg)
		       : tree_submit(e->tree, op, key, klen, value, vlen, done, arg);
}

static inline int engine_poll(struct engine *e)
{
	return e->race ? race_poll(e->race) : tree_poll(e->tree);
}

static inline void engine_abandon(struct engine *e)
{
	if (e->race)
		race_abandon(e->race);
	else
		tree_abandon(e->tree);
}

static inline void engine_chunk_add(struct engine *e, uint64_t offset, uint64_t size)
{
	if (e->race)
		race_chunk_add(e->race, offset, size);
	else
		tree_chunk_add(e->tree, offset, size);
}

static inline void engine_chunk_none(struct engine *e, enum atoll_result result, unsigned status)
{
	if (e->race)
		race_chunk_none(e->race, result, status);
	else
		tree_chunk_none(e->tree, result, status);
}

static inline unsigned engine_pending(const struct engine *e)
{
	return e->race ? race_pending(e->race) : e->tree ? tree_pending(e->tree) : 0;
}

static inline bool engine_splitting(const struct engine *e)
{
	return e->race && race_splitting(e->race);
}

static inline bool engine_lost(const struct engine *e)
{
	return e->race ? race_lost(e->race) : tree_lost(e->tree);
}

static inline const struct atoll_index_stats *engine_stats(const struct engine *e)
{
	return e->race ? race_stats(e->race) : tree_stats(e->tree);
}

static inline int engine_dump(struct engine *e, atoll_entry entry, atoll_progress progress,
			      void *arg, struct atoll_index_report *report)
{
	return e->race ? race_dump(e->race, entry, progress, arg, report)
		       : tree_dump(e->tree, entry, progress, arg, report);
}

static inline int engine_check(struct engine *e, atoll_progress progress, void *arg,
			       struct atoll_index_report *report, struct atoll_index_account *out)
{
	return e->race ? race_check(e->race, progress, arg, report, out)
		       : tree_check(e->tree, progress, arg, report, out);
}

static inline int engine_repair(struct engine *e, struct atoll_index_repaired *out)
{
	return e->race ? race_repair(e->race, out) : tree_repair(e->tree, out);
}

static inline int engine_deaths(struct engine *e, uint64_t *out)
{
	return e->race ? race_deaths(e->race, out) : tree_deaths(e->tree, out);
}

#endif
