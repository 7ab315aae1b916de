/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linearize.h - is a history of operations on keys one that a single map could have had?
 *
 * Each operation has the time of its call and of its return, and what it returned. The history is
 * linearizable if every operation can be given one instant between the two, such that a map to
 * which they are applied in that order answers the same. Operations on different keys do not touch
 * each other, so each key is searched alone, after J. M. Wing and C. Gong, "Testing and verifying
 * concurrent objects", 1993: depth first over what may come next, never twice from one set of done
 * operations and value.
 *
 * An operation that never returned, or whose result nobody knows, may have been applied at any time
 * after its call or not at all. One that certainly was not executed does not belong in the history.
 */
#ifndef ATOLL_TESTS_LINEARIZE_H
#define ATOLL_TESTS_LINEARIZE_H

#include <stddef.h>
#include <stdint.h>

enum lin_kind {
	LIN_GET,
	LIN_PUT,
	LIN_INSERT,
	LIN_UPDATE,
	LIN_DELETE,
};

enum lin_result {
	LIN_OK,      /* found, stored, removed */
	LIN_ABSENT,  /* get, update, delete: no such key */
	LIN_PRESENT, /* insert: the key is there */
	LIN_UNKNOWN, /* may or may not have been applied, then or later */
};

#define LIN_NO_VALUE 0ull

struct lin_op {
	uint64_t key;
	uint64_t called, returned; /* times, all different; `returned` is ignored for LIN_UNKNOWN */
	uint64_t value;            /* stored, or got; not LIN_NO_VALUE */
	enum lin_kind kind;
	enum lin_result result;
};

/**
 * lin_check - search every key of a history that began with an empty map.
 * @ops: in any order; sorted here.
 * @bad_key: where it is not linearizable, a key that shows it. May be NULL.
 * Return: 1 linearizable, 0 not, -ENOMEM.
 */
int lin_check(struct lin_op *ops, size_t n, uint64_t *bad_key);

#endif
