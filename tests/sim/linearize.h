/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linearize.h - could this history of one key have come from a single register?
 *
 * The checker of Wing and Gong, one key at a time, in the form that walks through the history once
 * and keeps every state that is still possible: a value, and which of the open operations have taken
 * effect. An operation takes effect at one instant between its begin and its end. When one ends, the
 * states in which it has not taken effect, or could not have ended as it did, are given up; when
 * none is left the history is wrong.
 *
 * Of an operation whose result nobody knows (its client died, or it ended in doubt) either nothing or
 * all happens, between its begin and its end. Its end is when it was certain to happen no more: when
 * the client had been fenced off; UINT64_MAX where nobody knows. An operation that certainly did
 * not happen is left out of the history.
 */
#ifndef ATOLL_TESTS_SIM_LINEARIZE_H
#define ATOLL_TESTS_SIM_LINEARIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LIN_OPEN_MAX = 64 }; /* operations open at one time */

enum lin_kind { LIN_GET, LIN_PUT, LIN_INSERT, LIN_UPDATE, LIN_DELETE };

struct lin_op {
	uint64_t begin, end; /* begin < end; an end and a begin at one time overlap */
	uint64_t value;	     /* that was written, or that a get returned; 0 is "not there" */
	enum lin_kind kind;
	bool known; /* the result is known */
	bool done;  /* it was OK: false is "not there" for update and delete, "there" for insert */
};

/**
 * lin_check - check one key's history
 * @ops: in any order
 * @initial: value before the first, 0 none
 * @bad: set to the operation at whose end no state was left; may be NULL
 * Return: 1 it is linearizable; 0 it is not; -ENOMEM; -E2BIG more than LIN_OPEN_MAX were open.
 */
int lin_check(const struct lin_op *ops, size_t n, uint64_t initial, size_t *bad);

#endif
