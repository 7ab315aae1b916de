/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the dead leave of their chunks: found here, given back to the shard, and by it to others.
 *
 * A walk marks what is reachable. What lies in a dead client's segment and is not can become reachable no more:
 * the dead link nothing, and nobody else takes blocks from there. There is one exception, a pair of subtables
 * that the dead has begun and another one is finishing; the record of whoever holds that subtable's lock names
 * it, and it is marked, too. What others may still hold in their hands, or in their slot caches, they hold
 * for RECLAIM_GRACE epochs at most (reclaim.h). After that time the segments go back, each with a map of what is
 * in use: the shard takes one only as long as it is the dead one's (services/index-shard), so who comes late, or
 * twice, does no harm, and who dies on the way leaves nothing.
 */
#include "clients/index/core_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	UNITS = INDEX_SEGMENT / INDEX_LINE,
	WORDS = UNITS / 64,
	WORTH = UNITS / 16, /* free units that are worth it */
};
_Static_assert(WORDS * 8 == INDEX_MAP_SIZE, "a bit a unit");

/* Segments of the dead, as the tables say now, without maps. */
static int dead_find(struct core *k, struct core_recycle *p)
{
	uint64_t n = k->c.heap_size / INDEX_SEGMENT, each = CORE_FETCH_MAX / sizeof(struct index_segment);
	struct index_client *lines = malloc(INDEX_CLIENTS * sizeof(*lines));
	struct index_segment *s = malloc(each * sizeof(*s));
	int rc = lines && s ? core_fetch(k, k->c.control, INDEX_CLIENT_TABLE_OFFSET, lines,
					 INDEX_CLIENTS * sizeof(*lines))
			    : -ENOMEM;

	for (uint64_t i = 0; i < n && !rc; i += each) {
		uint64_t some = n - i < each ? n - i : each;

		rc = core_fetch(k, k->c.control, INDEX_SEGMENT_TABLE_OFFSET + i * sizeof(*s), s,
				(uint32_t)(some * sizeof(*s)));
		for (uint64_t j = 0; j < some && !rc && p->n < CORE_RECYCLE_MAX; j++) {
			if (s[j].cid == 0 || s[j].cid >= INDEX_CLIENTS || s[j].run == INDEX_RUN_LOG ||
			    !rtx_is_dead(&lines[s[j].cid], s[j].cid, s[j].epoch))
				continue;
			p->segment[p->n].number = (uint32_t)(i + j);
			p->segment[p->n].cid = s[j].cid;
			p->segment[p->n++].epoch = s[j].epoch;
		}
	}
	free(s);
	free(lines);
	return rc;
}

/* Copies the marks, and drops segments of which too little is free. */
static void maps_take(struct core_recycle *p, const struct account_marks *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < p->n; i++) {
		struct core_recycled *s = &p->segment[kept];
		unsigned used = 0;

		*s = p->segment[i];
		memcpy(s->map, m->bits + (uint64_t)s->number * WORDS, sizeof(s->map));
		for (unsigned w = 0; w < WORDS; w++)
			used += (unsigned)__builtin_popcountll(s->map[w]);
		kept += used <= UNITS - WORTH;
	}
	p->n = kept;
}

int core_recycle_find(struct core *k, struct core_recycle **out)
{
	struct account_marks m = {
		.heap_offset = k->c.heap_offset,
		.units = k->c.heap_size / INDEX_LINE,
	};
	struct atoll_index_report report = {0};
	struct core_recycle *p;
	int rc = core_quiet(k);

	*out = NULL;
	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	m.bits = calloc(m.units / 64, sizeof(*m.bits));
	rc = p && m.bits ? dead_find(k, p) : -ENOMEM;
	if (!rc && p->n) {
		k->intents = true;
		rc = core_mark(k, &m, NULL, NULL, &report);
		k->intents = false;
		/* What cannot be followed may lead anywhere. */
		if (rc >= 0 && (rc || report.torn || m.outside || m.overlaps))
			rc = -EBADMSG;
		if (!rc)
			rc = core_fetch(k, k->c.table, INDEX_RECLAIM_OFFSET, &p->epoch,
					sizeof(p->epoch));
		if (!rc)
			maps_take(p, &m);
	}
	free(m.bits);
	if (rc || !p->n) {
		free(p);
		return rc;
	}
	k->reclaim.wanted = true;
	*out = p;
	return 0;
}

bool core_recycle_ripe(struct core *k, const struct core_recycle *p)
{
	bool ripe = k->reclaim.epoch >= p->epoch + RECLAIM_GRACE;

	if (ripe)
		k->reclaim.wanted = false;
	return ripe;
}
