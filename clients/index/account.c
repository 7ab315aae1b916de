/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/account.h"

#include <string.h>

#include "clients/index/rtx.h"

enum {
	UNITS = INDEX_SEGMENT / INDEX_LINE, /* of a segment */
	WORDS = UNITS / 64,
};

bool account_marked(const struct account_marks *m, uint64_t at)
{
	uint64_t i = (at - m->heap_offset) / INDEX_LINE;

	return at >= m->heap_offset && i < m->units && m->bits[i / 64] >> i % 64 & 1;
}

void account_mark(struct account_marks *m, uint64_t at, uint64_t room)
{
	uint64_t from = (at - m->heap_offset) / INDEX_LINE;
	uint64_t to = from + (room + INDEX_LINE - 1) / INDEX_LINE;
	bool twice = false;

	if (at < m->heap_offset || to > m->units) {
		m->outside++;
		return;
	}
	for (uint64_t i = from; i < to; i++) {
		twice |= m->bits[i / 64] >> i % 64 & 1;
		m->bits[i / 64] |= 1ull << i % 64;
	}
	m->overlaps += twice;
}

void account_segment(const struct account_marks *m, uint64_t i, const struct index_segment *s,
			  const uint8_t *lines, struct atoll_index_account *a)
{
	uint64_t reachable = 0;
	struct index_client line;

	a->allocated_bytes += s->cid ? (uint64_t)INDEX_SEGMENT : 0;
	for (uint64_t w = 0; w < WORDS; w++)
		reachable += (uint64_t)__builtin_popcountll(m->bits[i * WORDS + w]) * INDEX_LINE;
	if (s->cid == 0 || s->cid >= INDEX_CLIENTS || s->run == INDEX_RUN_LOG) {
		a->log_bytes += s->cid ? (uint64_t)INDEX_SEGMENT : 0;
		a->bad += reachable != 0; /* where nobody may have put it */
		return;
	}
	memcpy(&line, lines + (size_t)s->cid * INDEX_LINE, sizeof(line));
	a->reachable_bytes += reachable;
	if (rtx_is_dead(&line, s->cid, s->epoch))
		a->left_bytes += INDEX_SEGMENT - reachable;
	else
		a->held_bytes += INDEX_SEGMENT - reachable;
}
