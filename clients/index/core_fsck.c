/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts for every byte of the heap: what has been handed out is a log, or reachable from the
 * index, or free or in flight with a living client, or was left by a dead one. Nothing reachable
 * may lie outside of what was handed out, and no two things may lie on one another.
 */
#include "clients/index/core_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int core_mark(struct core *k, struct account_marks *m, atoll_progress progress, void *arg,
	      struct atoll_index_report *report)
{
	int rc;

	k->marks = m;
	rc = k->engine->mark(k, progress, arg, report);
	k->marks = NULL;
	return rc;
}

static int segments_count(struct core *k, const struct account_marks *m,
			  struct atoll_index_account *a)
{
	enum { EACH = CORE_FETCH_MAX / sizeof(struct index_segment) };
	uint64_t n = k->c.heap_size / INDEX_SEGMENT;
	uint8_t *lines = malloc(INDEX_CLIENTS * INDEX_LINE);
	struct index_segment *s = malloc(EACH * sizeof(*s));
	int rc = lines && s ? core_fetch(k, k->c.control, INDEX_CLIENT_TABLE_OFFSET, lines,
					 INDEX_CLIENTS * INDEX_LINE)
			    : -ENOMEM;

	for (uint64_t i = 0; i < n && !rc; i += EACH) {
		uint64_t some = n - i < EACH ? n - i : EACH;

		rc = core_fetch(k, k->c.control, INDEX_SEGMENT_TABLE_OFFSET + i * sizeof(*s), s,
				(uint32_t)(some * sizeof(*s)));
		for (uint64_t j = 0; j < some && !rc; j++)
			account_segment(m, i + j, &s[j], lines, a);
	}
	free(s);
	free(lines);
	return rc;
}

int core_check(struct core *k, atoll_progress progress, void *arg, struct atoll_index_report *report,
	       struct atoll_index_account *out)
{
	struct account_marks m = {
		.heap_offset = k->c.heap_offset,
		.units = k->c.heap_size / INDEX_LINE,
	};
	int rc;

	memset(out, 0, sizeof(*out));
	m.bits = calloc(m.units / 64, sizeof(*m.bits));
	if (!m.bits)
		return -ENOMEM;
	rc = core_mark(k, &m, progress, arg, report);
	/* Now, for what was reachable had been handed out before. */
	if (!rc)
		rc = segments_count(k, &m, out);
	out->heap_bytes = k->c.heap_size;
	out->bad += m.outside + m.overlaps;
	free(m.bits);
	return rc < 0 ? rc : 0;
}
