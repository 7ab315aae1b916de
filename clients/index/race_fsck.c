/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts for every byte of the heap: what has been handed out is a log, or reachable from the
 * table, or free or in flight with a living client, or was left by a dead one. Nothing reachable
 * may lie outside of what was handed out, and no two things may lie on one another.
 */
#include "clients/index/race_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	ENTRIES =
		RACE_DUMP_TABLE / sizeof(struct index_segment), /* of the segment table at a time */
};

static int segments_count(struct race *r, const struct account_marks *m, struct atoll_index_account *a)
{
	uint64_t after_ops = (uint64_t)r->c.ops * RACE_LOCAL_OP;
	uint8_t *table = r->c.local_base + after_ops, *lines = table + RACE_DUMP_TABLE;
	uint64_t local = r->c.local_offset + after_ops, n = r->c.heap_size / INDEX_SEGMENT;
	struct verb v = race_read_verb(r, INDEX_CLIENT_TABLE_OFFSET, INDEX_CLIENTS * INDEX_LINE,
				       local + RACE_DUMP_TABLE);
	int rc;

	v.remote = r->c.control;
	rc = race_verbs_run(r, &v, 1, 1);
	for (uint64_t i = 0; i < n && !rc; i += ENTRIES) {
		uint64_t k = n - i < ENTRIES ? n - i : ENTRIES;

		v = race_read_verb(r, INDEX_SEGMENT_TABLE_OFFSET + i * sizeof(struct index_segment),
				   (uint32_t)(k * sizeof(struct index_segment)), local);
		v.remote = r->c.control;
		rc = race_verbs_run(r, &v, 1, 1);
		for (uint64_t j = 0; j < k && !rc; j++) {
			struct index_segment s;

			memcpy(&s, table + j * sizeof(s), sizeof(s));
			account_segment(m, i + j, &s, lines, a);
		}
	}
	return rc;
}

int race_check(struct core *k, atoll_progress progress, void *arg,
	       struct atoll_index_report *report, struct atoll_index_account *out)
{
	struct race *r = race_of(k);
	struct account_marks m = {
		.heap_offset = r->c.heap_offset,
		.units = r->c.heap_size / INDEX_LINE,
	};
	int rc;

	memset(out, 0, sizeof(*out));
	m.bits = calloc(m.units / 64, sizeof(*m.bits));
	if (!m.bits)
		return -ENOMEM;
	r->marks = &m;
	rc = race_dump(k, NULL, progress, arg, report);
	r->marks = NULL;
	/* Now, for what was reachable had been handed out before. */
	if (!rc)
		rc = segments_count(r, &m, out);
	out->heap_bytes = r->c.heap_size;
	out->bad += m.outside + m.overlaps;
	free(m.bits);
	return rc;
}
