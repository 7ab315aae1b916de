/* SPDX-License-Identifier: Apache-2.0 */
/* rig_recycle.h - segments of the dead, as the shard of race_rig.h or tree_rig.h has them: taken back, handed out again. */
#ifndef ATOLL_TESTS_RIG_RECYCLE_H
#define ATOLL_TESTS_RIG_RECYCLE_H

#include "clients/index/rtx.h"

static inline struct index_segment *rig_segment(struct rig *g, unsigned n)
{
	return (struct index_segment *)(void *)(g->w.region[RIG_CONTROL].base +
						INDEX_SEGMENT_TABLE_OFFSET) + n;
}

/* As a shard does with what is given back. How many it took. */
static inline unsigned rig_recycle(struct rig *g, const struct core_recycle *p)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < p->n; i++) {
		const struct core_recycled *s = &p->segment[i];
		const struct index_segment *e = rig_segment(g, s->number);
		bool good = e->cid == s->cid && e->epoch == s->epoch &&
			    rtx_is_dead(rig_line(g, s->cid), s->cid, s->epoch);

		for (unsigned k = 0; k < g->nused; k++)
			good &= g->used[k].number != s->number;
		if (good)
			g->used[g->nused++] = *s;
		taken += good;
	}
	return taken;
}

static inline void rig_chunk_used(struct rig *g, unsigned i)
{
	const struct core_recycled *s = &g->used[--g->nused];

	*rig_segment(g, s->number) = (struct index_segment){g->client[i].cid, g->client[i].epoch, 1};
	core_chunk_used(g->client[i].core,
			rig_heap(g) + s->number * (uint64_t)INDEX_SEGMENT,
			INDEX_SEGMENT, s->map);
}

#endif
