/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore_impl.h - what the files of the restorer share: the arena, the list of system calls, the descriptors.
 *
 * The arena is one shared anonymous mapping, made by the restorer at an address that is free in itself
 * and in the image, and inherited by the child at the same address: pointers in it are good on both sides.
 * It holds state, lists, structures that system calls read, signal frames, and a copy of the stub; its end
 * is where the vdso waits while everything else is unmapped.
 */
#ifndef ATOLL_FORK_RESTORE_IMPL_H
#define ATOLL_FORK_RESTORE_IMPL_H

#include "services/fork-pager/proc/restore.h"
#include "services/fork-pager/proc/stub.h"

enum {
	RESTORE_PARKING = 1 << 20, /* bytes at the arena's end for vdso, vvar and vvar_vclock */
};

/* At the arena's beginning. */
struct arena_state {
	uint32_t arrived; /* threads that stand complete; the stub adds */
	uint32_t go;	  /* the restorer: run */
	uint64_t failed;  /* address of the list entry that failed, or 0 */
	int32_t error;	  /* of the child before it entered the stub */
	int32_t uffd;	  /* number of the userfaultfd in the child, or -1 */
	char text[2048];  /* what the child says */
};

struct restore_place {
	uint64_t start, size; /* of a part of the vdso in the restorer */
};

struct restore_work {
	struct restore_child *c;
	const struct image *im;
	const struct restore_options *o;
	uint8_t *arena;
	size_t arena_size, used;
	uint64_t stub;	   /* address of its copy */
	uint64_t list;	   /* address of the first thread's */
	int high;	   /* descriptors from here on are the restorer's; this one is the userfaultfd */
	int *file_fd;	   /* [nfiles]: opened for mappings or shared memory; -1 */
	int cache_fd;	   /* dup above `high` */
	int stdio[3];	   /* dups above `high` */
	struct restore_place vdso, vvar, vclock;
	int error;
	struct box own;	   /* made here: a pid namespace alone */
	const struct box *box; /* where it lives, or NULL */
};

/* A line of the report. */
void restore_say(struct restore_report *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline struct arena_state *restore_state(struct restore_work *w)
{
	return (struct arena_state *)(void *)w->arena;
}

/* Room in the arena, zeroed, aligned to @align. NULL sets w->error. */
void *restore_room(struct restore_work *w, size_t size, size_t align);

/* restore_list.c: what each thread of the image runs. */
struct restore_list {
	struct stub_entry *entry;
	unsigned n, room;
};
struct stub_entry *restore_call(struct restore_work *w, struct restore_list *l, uint32_t op,
				uint32_t what, int64_t nr, const uint64_t args[6]);
/* 0, or negative errno. */
int restore_lists(struct restore_work *w);
/* Once the child stands: says what it was not given because the caller has no right to it. */
void restore_dropped(struct restore_work *w);

/* restore_mm.c */
int restore_mm_open(struct restore_work *w);  /* files and shared memory */
void restore_mm_list(struct restore_work *w, struct restore_list *l);
int restore_mm_places(struct restore_work *w); /* c->places */
unsigned restore_mm_calls(const struct restore_work *w); /* upper bound of its entries */
int restore_mm_fill(struct restore_work *w, pid_t pid); /* stacks, once the child has mapped them */

/* restore_files.c: in the child, before the stub. 0 or negative errno, after a line in state->text. */
int restore_files_child(struct restore_work *w);

/* restore_threads.c: signal frame of thread @i; address of what rt_sigreturn wants in rsp. */
uint64_t restore_frame(struct restore_work *w, const struct image_thread *t);

/* What an entry was for, in words. */
const char *restore_what(uint32_t what);
enum restore_what {
	WHAT_VDSO = 1,
	WHAT_UNMAP,
	WHAT_MAP,
	WHAT_REGISTER,
	WHAT_ADVICE,
	WHAT_LOCK,
	WHAT_LAYOUT,
	WHAT_TLS,
	WHAT_THREAD,
	WHAT_NAME,
	WHAT_SCHED,
	WHAT_CLOSE,
	WHAT_CREDS,
	WHAT_LIMIT,
	WHAT_SYNC,
	WHAT_RSEQ,
	WHAT_SIGNAL,
	WHAT_TIMER,
	WHAT_RETURN,
	WHAT_COUNT
};

#endif
