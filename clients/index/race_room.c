/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that wait for room in the heap. */
#include "clients/index/race_op.h"

/* The block is in local memory but for what its place decides. */
bool race_block_give(struct race *r, struct race_op *op)
{
	uint64_t room = index_kv_room(op->klen, op->vlen);

	op->block = heap_alloc(&r->heap, room);
	if (!op->block)
		return false;
	op->word = index_slot_make(op->place.fp, op->block, room);
	return true;
}

void race_want_block(struct race *r, struct race_op *op)
{
	struct race_queue *q = &r->want_block;

	op->state = RACE_WANT_BLOCK;
	op->next = NULL;
	if (q->tail)
		q->tail->next = op;
	else
		q->head = op;
	q->tail = op;
}

static struct race_op *queue_take(struct race_queue *q)
{
	struct race_op *op = q->head;

	if (op) {
		q->head = op->next;
		if (!q->head)
			q->tail = NULL;
	}
	return op;
}

void race_room_made(struct race *r)
{
	while (r->want_block.head && race_block_give(r, r->want_block.head))
		race_step_scan(r, queue_take(&r->want_block));
	race_split_room(r, false);
}

void race_chunk_add(struct race *r, uint64_t offset, uint64_t size)
{
	if (heap_chunk_add(&r->heap, offset, size))
		race_room_made(r);
	else
		race_chunk_none(r, ATOLL_CORRUPT, 0);
}

void race_chunk_none(struct race *r, enum atoll_result result, unsigned status)
{
	struct race_queue waiting;
	struct race_op *op;

	r->heap.chunk_asked = false;
	/* What rests in limbo will be free in a while. */
	if (result == ATOLL_NO_SPACE && r->want_block.head && reclaim_hurry(&r->reclaim))
		return;
	waiting = r->want_block;
	r->want_block = (struct race_queue){0};
	race_split_room(r, true);
	while ((op = queue_take(&waiting)))
		race_op_end(r, op, result, status);
}
