/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a table's dead clients; and of one whose split another one finishes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/race_rig.h"

#define rig_faults rig_table_faults
#include "tests/unit/recycle_play.h"

static void rig_begin(struct rig *g, uint64_t seed)
{
	rig_open(g, seed, CLIENTS, 2, 4);
	rig_keys(g, KEYS, false);
}

static bool in_use(const struct core_recycled *s, uint64_t unit)
{
	return s->map[unit / 64] >> unit % 64 & 1;
}

/* Where another one finishes what the dead has begun to split, the halves are in use before they are reachable. */
static void test_halves(void **state)
{
	struct rig *g = &rig;
	unsigned met = 0;

	(void)state;
	for (uint64_t seed = 1; seed < 400; seed++) {
		const struct index_subtable *head;
		const struct index_log *record;
		struct core_recycle *p;
		uint64_t pair;

		rig_open(g, seed, CLIENTS, 2, 4);
		rig_keys(g, KEYS, false);
		for (unsigned i = 0; i < CLIENTS; i++)
			rig_chunk(g, i);
		head = (const void *)(g->w.region[RIG_TABLE].base + INDEX_SUPER_SIZE);
		g->client[WORKER].fake->v.ops = &waiting;
		for (unsigned k = 0; !head->lock; k++) {
			rig_submit(g, VICTIM, ATOLL_PUT, k % KEYS);
			rig_turn(g);
		}
		for (uint64_t i = 0; i < 10 * (seed % 40); i++)
			rig_turn(g);
		fake_fence(g->client[VICTIM].fake);
		bury(g);
		for (unsigned k = 0; !head->next && index_lock_cid(head->lock) != OTHER + 1 && k < 4000;
		     k++) {
			rig_submit(g, OTHER, ATOLL_PUT, k % KEYS);
			rig_turn(g);
		}
		for (uint64_t i = 0; i < seed % 50; i++)
			rig_turn(g);
		record = (const void *)(g->w.region[RIG_TABLE].base +
					rig_log(g, OTHER + 1));
		pair = record->aux - index_heap_offset(g->groups, 0);
		if (!head->next && index_lock_cid(head->lock) == OTHER + 1 &&
		    record->op == INDEX_LOG_HASH_SPLIT &&
		    rig_segment(g, (unsigned)(pair / INDEX_SEGMENT))->cid == VICTIM + 1) {
			g->client[OTHER].paused = true;
			p = find(g, WORKER, 0);
			assert_non_null(p);
			/* its verbs that were on their way may have ended it meanwhile */
			for (uint64_t u = 0; u < 2 * index_subtable_size(g->groups) / INDEX_LINE; u++)
				assert_true(in_use(&p->segment[0],
						   pair % INDEX_SEGMENT / INDEX_LINE + u));
			met++;
			free(p);
			g->client[OTHER].paused = false;
		}
		drain(g);
		rig_close(g);
	}
	printf("%u times\n", met);
	assert_true(met > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_worker_dies),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
