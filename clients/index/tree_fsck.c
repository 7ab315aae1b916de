/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts for every byte of a tree's heap: a scan of all leaves and their blocks, a walk through the
 * nodes above them, and then the shard's table of segments. Others may go on meanwhile; what they
 * change between may be counted as in flight, or, where a leaf was merged behind the scan, twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/tree_op.h"

void tree_mark_node(struct tree *t, uint64_t at)
{
	const struct tree_fence *low = &t->view.low;

	if (!t->marks)
		return;
	t->marked++;
	account_mark(t->marks, at, INDEX_TREE_NODE);
	/* Its key may be that of the first of its children, too. */
	if (low->word && !account_marked(t->marks, index_slot_offset(low->word)))
		account_mark(t->marks, index_slot_offset(low->word), index_kv_room(low->klen, 0));
}

static int segments(struct tree *t, struct atoll_index_account *a)
{
	enum { EACH = INDEX_CLIENTS * INDEX_LINE / sizeof(struct index_segment) };
	uint64_t n = t->c.heap_size / INDEX_SEGMENT;
	uint8_t *lines = malloc(INDEX_CLIENTS * INDEX_LINE);
	int rc = lines ? tree_control_read(t, INDEX_CLIENT_TABLE_OFFSET, lines,
					   INDEX_CLIENTS * INDEX_LINE)
		       : -ENOMEM;

	for (uint64_t i = 0; i < n && !rc; i += EACH) {
		struct index_segment s[EACH];
		uint64_t k = n - i < EACH ? n - i : EACH;

		rc = tree_control_read(t, INDEX_SEGMENT_TABLE_OFFSET + i * sizeof(s[0]), s,
				       (uint32_t)(k * sizeof(s[0])));
		for (uint64_t j = 0; j < k && !rc; j++)
			account_segment(t->marks, i + j, &s[j], lines, a);
	}
	free(lines);
	return rc;
}

int tree_check(struct core *k, atoll_progress progress, void *arg,
	       struct atoll_index_report *report, struct atoll_index_account *out)
{
	struct tree *t = tree_of(k);
	struct account_marks m = {
		.heap_offset = t->c.heap_offset,
		.units = t->c.heap_size / INDEX_LINE,
	};
	struct atoll_index_repaired walked = {0};
	int rc;

	memset(out, 0, sizeof(*out));
	m.bits = calloc(m.units / 64, sizeof(*m.bits));
	if (!m.bits)
		return -ENOMEM;
	t->marks = &m;
	t->marked = 0;
	rc = tree_dump(k, NULL, progress, arg, report);
	if (!rc)
		rc = tree_walk_inner(t, &walked);
	/* Now, for what was reachable had been handed out before. */
	if (!rc)
		rc = segments(t, out);
	t->marks = NULL;
	free(m.bits);
	out->heap_bytes = t->c.heap_size;
	out->bad = m.outside + m.overlaps;
	report->subtables = t->marked;
	if (rc == -EBADMSG) { /* a node or block is damaged: what is behind it is not counted */
		report->torn++;
		report->first_bad = t->bad_at;
		rc = 0;
	}
	return rc;
}
