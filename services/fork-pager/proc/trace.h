/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - another process, stopped: its registers, and system calls put into it.
 *
 * All threads are seized and interrupted; nothing is sent to them that they could notice. A call is put
 * into a stopped thread by pointing it at a `syscall` instruction of its own (the vdso has one), and its
 * registers are put back afterwards in a stop from which the kernel restarts what it had interrupted, as after
 * a signal without handler.
 *
 * Should the tracer be killed meanwhile, the kernel lets the thread go on from where it is. So, where the program has the code
 * for it (every C library has), its stack pointer is at a return address that leads to rt_sigreturn and to a frame with
 * all that it had: the call that was put into it ends, and it goes on as if a signal had been handled. The frame lies below the red zone,
 * as that of a signal would.
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
	uint64_t guard;		      /* address in its memory of a return address and a frame with them; 0: none */
	uint8_t *under;		      /* what was there before */
};

struct trace {
	pid_t pid;
	struct trace_thread *threads; /* [0] is the first thread */
	unsigned n, room;
	int mem_fd;	     /* /proc/PID/mem, read and write */
	unsigned long options; /* that its tasks keep: those of trace_adopt end with us */
	uint64_t syscall_at; /* address of a syscall instruction in it */
	uint64_t restorer_at; /* address of a call of rt_sigreturn in it, if the one above is followed by a return; else 0 */
};

/* Stop all threads of @pid. 0; -ESRCH; -EPERM (not ours to trace, or traced already); -EIO. On failure it
 * runs as before. */
int trace_stop(struct trace *t, pid_t pid);
/* A syscall instruction between @start and @end of its memory: sets syscall_at. 0 or -ENOENT. */
int trace_find_syscall(struct trace *t, uint64_t start, uint64_t end);
/* The same, with what makes the program survive our end: "syscall; ret", and the C library's call of rt_sigreturn. Looked for in a running
 * program, before it is stopped; trace_guard sees whether it is still there. */
int trace_find_guard(pid_t pid, uint64_t *syscall_at, uint64_t *restorer_at);
void trace_guard(struct trace *t, uint64_t syscall_at, uint64_t restorer_at);
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

/* Has a child of ours ended while one of these waited for it? Then it has been waited for, and this is how it ended. */
bool trace_ended(pid_t pid, int *status);

#endif
