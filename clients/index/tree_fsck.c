/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a tree is reachable: a scan of all leaves and their blocks, and a walk through the nodes above
 * them. Others may go on meanwhile; what they change between may not be met, or, where a leaf was merged behind the
 * scan, be met twice.
 */
#include <errno.h>

#include "clients/index/tree_op.h"

static void word_mark(struct tree *t, uint64_t word)
{
	uint64_t at = index_slot_offset(word), room = (uint64_t)index_slot_units(word) * INDEX_LINE;
	uint64_t end = t->c.heap_offset + t->c.heap_size;

	if (word)
		account_mark(t->marks, at, at < end && room > end - at ? end - at : room);
}

/* Everything that the node names, also what means nothing any more: keys that lie in blocks are read to learn
 * that, and a child that is gone leads to where its keys are. */
static void words_mark(struct tree *t)
{
	const struct tree_view *v = &t->view;

	for (unsigned i = 0; i < v->n; i++) {
		word_mark(t, v->e[i].word);
		if (v->head.level)
			account_mark(t->marks, v->e[i].child, INDEX_TREE_NODE);
	}
	word_mark(t, v->low.word);
	word_mark(t, v->high.word);
	if (v->head.next)
		account_mark(t->marks, v->head.next, INDEX_TREE_NODE);
}

void tree_mark_node(struct tree *t, uint64_t at)
{
	const struct tree_fence *low = &t->view.low;

	if (!t->marks)
		return;
	t->marked++;
	account_mark(t->marks, at, INDEX_TREE_NODE);
	if (t->intents) {
		words_mark(t);
		return;
	}
	/* Its key may be that of the first of its children, too. */
	if (low->word && !account_marked(t->marks, index_slot_offset(low->word)))
		account_mark(t->marks, index_slot_offset(low->word), index_kv_room(low->klen, 0));
}

int tree_mark(struct core *k, atoll_progress progress, void *arg, struct atoll_index_report *report)
{
	struct tree *t = tree_of(k);
	struct atoll_index_repaired walked = {0};
	int rc;

	t->marked = 0;
	rc = tree_dump(k, NULL, progress, arg, report);
	if (!rc)
		rc = tree_walk_inner(t, &walked);
	report->subtables = t->marked;
	if (t->intents) /* much was marked twice; what is left from a split may be something else now */
		t->marks->overlaps = 0;
	if (rc != -EBADMSG)
		return rc;
	report->torn++; /* a node or block is damaged: what is behind it is not met */
	report->first_bad = t->bad_at;
	return 1;
}
