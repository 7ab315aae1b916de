/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race.h - operations on a table in RACE's layout, by verbs alone.
 *
 * The engine of core.h for an index of type hash. Operations run side by side, each a small state machine:
 *
 *	get	READ both combined buckets | READ the block
 *	update	WRITE block, READ both | READ block with the fingerprint | CAS old -> new
 *	delete	READ both | READ block with the fingerprint | CAS old -> tomb; and unwaited, CAS tomb -> 0
 *	insert	WRITE block, READ both | CAS 0 -> PEND, READ both | CAS PEND -> live
 *	put	update where the key is there, insert where it is not
 *	split	CAS lock | WRITE record | READ all | FAA each slot | READ all | READ keys | WRITE
 *		halves
 *
 * With the slot cache (race_cache.c) a get that hits takes one round trip, an update or delete two.
 *
 * A bar is a round trip. A fingerprint that turns out to be another key's costs one more.
 *
 * Why an insert is right: two clients that insert the same key into different slots must not both
 * succeed, and a get that reads the slots one after the other must not miss a put that has ended.
 * Each puts its word with PEND, which no reader sees, and then reads both buckets again. Of two
 * such inserts the one whose CAS came later sees the other: it is in a READ after its own CAS. If it
 * sees a committed copy, or PEND in a slot before its own, it withdraws (CAS PEND -> 0) and starts
 * again; if it sees PEND in a slot after its own it waits until that one has withdrawn or
 * committed. So at most one commits, and it commits by one CAS after which every READ sees it.
 * tests/unit/test_insert_model.c checks the protocol over all interleavings.
 *
 * A client that died leaves at most a block without a slot, or PEND. Whoever is held up by PEND
 * learns its owner from the block's header, looks at the owner's line of the client table, and
 * tells its shard that it suspects it. When the line says that the owner is fenced off, and only
 * then, the word is removed (CAS PEND -> 0): no verb of the owner can come later.
 *
 * How an operation ends when a verb fails: only a lost answer to the one CAS that publishes makes
 * it IN_DOUBT, and race_doubt_resolve tells later whether it happened. A lost answer to anything earlier leaves nothing that anybody sees, so it was not
 * executed. Nothing that changes the table is ever sent twice, but for a verb that was certainly
 * not executed.
 *
 * Chains obey ipc/verbs.h without fences. An operation has one chain out at a time, and operations
 * need no order among each other, so they may share lanes as they like.
 */
#ifndef ATOLL_CLIENTS_INDEX_RACE_H
#define ATOLL_CLIENTS_INDEX_RACE_H

#include "clients/index/core.h"

extern const struct core_engine race_engine;

int race_repairs(struct core *k, uint64_t *out);

#endif
