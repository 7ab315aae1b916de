/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stub.h - the program that a child runs while it has no memory of its own yet: a list of system calls.
 *
 * It is position-independent, has no stack and no data but the list (register r12). It runs in the child, in
 * one copy a thread. List and state lie in the arena, which the child shares with the restorer.
 *
 * Who writes what: the restorer writes the list before the child is made, and `go`; the stub writes
 * results, `arrived` and `failed`.
 */
#ifndef ATOLL_FORK_STUB_H
#define ATOLL_FORK_STUB_H

#ifdef __ASSEMBLER__
#define STUB_NR 0
#define STUB_OP 8
#define STUB_ARG 16
#define STUB_RESULT 64
#define STUB_NEXT 72
#define STUB_SIZE 96
#define STUB_OP_CALL 0
#define STUB_OP_OPTIONAL 1
#define STUB_OP_CLONE 2
#define STUB_OP_ARRIVE 3
#define STUB_OP_WAIT 4
#define STUB_OP_RETURN 5
#else

#include <stddef.h>
#include <stdint.h>

enum stub_op {
	STUB_OP_CALL = 0,     /* a failure ends the child */
	STUB_OP_OPTIONAL = 1, /* a failure is noted in the result */
	STUB_OP_CLONE = 2,    /* the new thread goes on at `next` */
	STUB_OP_ARRIVE = 3,   /* add 1 to the word at arg[0], and wake who waits for it */
	STUB_OP_WAIT = 4,     /* until the word at arg[0] is not 0 */
	STUB_OP_RETURN = 5,   /* rt_sigreturn with the frame at arg[0] */
};

struct stub_entry {
	int64_t nr;
	uint32_t op; /* enum stub_op */
	uint32_t what; /* for messages: enum of the restorer */
	uint64_t arg[6];
	int64_t result;
	uint64_t next;	 /* CLONE: address of the new thread's list */
	uint64_t failed; /* address of a word that gets the address of the entry that failed */
	uint64_t reserved;
};

_Static_assert(offsetof(struct stub_entry, op) == 8, "stub.S");
_Static_assert(offsetof(struct stub_entry, arg) == 16, "stub.S");
_Static_assert(offsetof(struct stub_entry, result) == 64, "stub.S");
_Static_assert(offsetof(struct stub_entry, next) == 72, "stub.S");
_Static_assert(offsetof(struct stub_entry, failed) == 80, "stub.S");
_Static_assert(sizeof(struct stub_entry) == 96, "stub.S");

extern const char stub_begin[], stub_end[];

#endif
#endif
