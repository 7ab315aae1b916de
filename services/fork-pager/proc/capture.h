/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture.h - a copy-on-write snapshot of a running process, and its image.
 *
 * The target is stopped with PTRACE_SEIZE and PTRACE_INTERRUPT, all its threads; what can only be
 * seen while it stands still is read (registers, positions, what is in pipes, timers); a system call is put into its
 * first thread that makes a helper task sharing its memory, and one into the helper that forks. Then the
 * target runs on: its pause ends here. The rest (handlers, mappings, which pages there are) is read from
 * the snapshot, which never runs an instruction of the program: it stands in ptrace-stop, and is killed by
 * the kernel when its tracer ends (PTRACE_O_EXITKILL).
 *
 * Interrupted system calls of the target are restarted by the kernel as after any signal without handler.
 *
 * The rights are those of the caller: the kernel's ptrace check decides. The thread that calls
 * capture_take is the tracer, and the only one that may call capture_release.
 */
#ifndef ATOLL_FORK_CAPTURE_H
#define ATOLL_FORK_CAPTURE_H

#include "services/fork-pager/image.h"
#include "services/fork-pager/pages/source.h"

/* Reasons why a process cannot be carried, a line each. */
struct capture_report {
	char text[8192]; /* "descriptor 5: established TCP socket; ...\n" */
	unsigned refused; /* lines that refuse */
	unsigned dropped; /* lines that --force has dropped */
};

/*
 * The target asked for it itself: one of its threads waits in read(2) of fds[0]. In a child that call returns
 * -CAPTURE_IS_CHILD, which no read of a socket does; fds are not there, and so neither are watches of them; and
 * child processes of the target that run the same program as the caller are its helpers, not its own.
 */
struct capture_self {
	pid_t thread;
	const int *fds;
	unsigned nfds;
};
enum { CAPTURE_IS_CHILD = 10 /* ECHILD */ };

struct capture_options {
	bool force;	    /* drop what cannot be carried, and say so in the report */
	bool carry_files;   /* mapped files by value, for nodes that do not have them */
	const struct capture_self *self; /* NULL: it does not know */
};

struct capture {
	struct image image;
	struct page_source source; /* ranges are `ranges`; descriptors go to pages/ */
	struct page_range *ranges;
	pid_t snapshot;		/* frozen; ours to kill */
	uint64_t pause_ns;	/* how long the target stood still */
	uint64_t total_ns;
	struct capture_report report;
};

/**
 * capture_take - snapshot a process.
 * Return: 0; -ESRCH no such process; -EPERM (not ours to trace, or traced by somebody); -EBUSY (o->self: the thread does
 * not wait yet); -EOPNOTSUPP (it has what
 * cannot be carried: report.text says all of it; kernel thread; 32-bit program); -EAGAIN (it cannot fork:
 * limits); -EIO. In every case the target runs on as if nothing had been.
 */
int capture_take(struct capture *c, pid_t pid, const struct capture_options *o);
/* Kill the snapshot (once the export is whole), reap it, free. Safe after a failed capture_take. */
void capture_release(struct capture *c);

#endif
