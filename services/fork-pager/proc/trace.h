/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - another process, stopped: its registers, and system calls put into it.
 *
 * All threads are seized and interrupted; nothing is sent to them that they could notice. A call is put
 * into a stopped thread by pointing it at a `syscall` instruction of its own (the vdso has one), and its
 * registers are put back afterwards in a stop from which the kernel restarts what it had interrupted, as after
 * a signal without handler.
 */
#ifndef ATOLL_FORK_TRACE_H
#define ATOLL_FORK_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct trace_thread {
	pid_t tid;
	struct user_regs_struct regs; /* as it was stopped */
	uint64_t mask;		      /* its blocked signals */
	bool used;		      /* calls were put into it: registers and mask are to be put back */
};

struct trace {
	pid_t pid;
	struct trace_thread *threads; /* [0] is the first thread */
	unsigned n, room;
	int mem_fd;	     /* /proc/PID/mem, read and write */
	uint64_t syscall_at; /* address of a syscall instruction in it */
};

/* Stop all threads of @pid. 0; -ESRCH; -EPERM (not ours to trace, or traced already); -EIO. On failure it
 * runs as before. */
int trace_stop(struct trace *t, pid_t pid);
/* A syscall instruction between @start and @end of its memory: sets syscall_at. 0 or -ENOENT. */
int trace_find_syscall(struct trace *t, uint64_t start, uint64_t end);
/* Put one system call into thread @i and wait for its end: its value, or a negative errno of it, in *@ret.
 * 0, or negative errno if the thread could not be driven. */
int trace_call(struct trace *t, unsigned i, long nr, const uint64_t args[6], int64_t *ret);
/* As trace_call, for a clone: @child is stopped, and traced by us with @options. */
int trace_clone(struct trace *t, unsigned i, uint64_t flags, unsigned long options, pid_t *child,
		int64_t *ret);
/* Let go of all threads, with everything put back. */
void trace_release(struct trace *t);

/* A single task that trace_clone made, as a trace of its own: not stopped by us, but stopped. */
int trace_adopt(struct trace *t, pid_t tid, const struct trace *from);
/* Forget a trace without letting its tasks go (they have been killed, or stay stopped). */
void trace_forget(struct trace *t);

#endif
