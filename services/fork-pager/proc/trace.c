/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/trace.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/fork-pager/proc/frame.h"
#include "services/fork-pager/proc/procfs.h"

enum {
	SYSCALL_STOP = SIGTRAP | 0x80,
	GUARD_CODE = 4 << 20,  /* bytes of a mapping that are looked through */
	ENDS = 256, /* several times the children of one command */
	GUARD_BELOW = 128 + 4096 + 64, /* the red zone, and the scratch memory of capture.c */
};

#define USER_END 0x7ffffffff000ull

#define ALL_SIGNALS (~0ull)

/* Whoever waits here for a stop may get the end instead, and then nobody gets it a second time: the last ones. */
static struct {
	pid_t pid;
	int status;
} ends[ENDS];
static unsigned next_end;

static void end_note(pid_t pid, int status)
{
	ends[next_end % ENDS].pid = pid;
	ends[next_end++ % ENDS].status = status;
}

bool trace_ended(pid_t pid, int *status)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (pid > 0 && ends[i].pid == pid) {
			*status = ends[i].status;
			ends[i].pid = 0;
			return true;
		}
	return false;
}

static int wait_stop(pid_t tid, int *status)
{
	for (;;) {
		pid_t got = waitpid(tid, status, __WALL);

		if (got == tid && WIFSTOPPED(*status))
			return 0;
		if (got == tid) {
			end_note(tid, *status);
			return -ESRCH;
		}
		if (got < 0 && errno != EINTR)
			return -ESRCH;
	}
}

/* Until the stop that PTRACE_INTERRUPT asked for; signals on the way there are delivered. */
static int wait_interrupted(pid_t tid)
{
	int status, rc;

	for (;;) {
		rc = wait_stop(tid, &status);
		if (rc)
			return rc;
		if (status >> 16 == PTRACE_EVENT_STOP)
			return 0;
		/* A signal that is about to be delivered; ours is still to come. */
		if (ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0 : WSTOPSIG(status)))
			return -errno;
	}
}

static int thread_read(struct trace_thread *th)
{
	if (ptrace(PTRACE_GETREGS, th->tid, 0, &th->regs))
		return -errno;
	if (ptrace(PTRACE_GETSIGMASK, th->tid, sizeof(th->mask), &th->mask))
		return -errno;
	return 0;
}

static int thread_add(struct trace *t, pid_t tid)
{
	if (t->n == t->room) {
		unsigned room = t->room ? t->room * 2 : 8;
		struct trace_thread *more = realloc(t->threads, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->threads = more;
		t->room = room;
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0))
		return -errno;
	t->threads[t->n++] = (struct trace_thread){.tid = tid};
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return -errno;
	return 0;
}

static bool have(const struct trace *t, pid_t tid)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->threads[i].tid == tid)
			return true;
	return false;
}

/* Seize what is not yet; how many that were, or negative errno. */
static int seize_more(struct trace *t)
{
	char path[64];
	struct dirent *e;
	int found = 0, rc = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	d = opendir(path);
	if (!d)
		return -ESRCH;
	while (rc >= 0 && (e = readdir(d))) {
		pid_t tid = (pid_t)atoi(e->d_name);

		if (tid <= 0 || have(t, tid))
			continue;
		rc = thread_add(t, tid);
		if (rc == -ESRCH && !have(t, tid))
			rc = 0; /* a thread that has just ended */
		found++;
	}
	closedir(d);
	return rc < 0 ? rc : found;
}

static int stop_all(struct trace *t)
{
	unsigned stopped = 0;
	int rc = thread_add(t, t->pid);

	while (!rc) {
		for (; stopped < t->n && !rc;) {
			rc = wait_interrupted(t->threads[stopped].tid);
			if (rc == -ESRCH && stopped > 0) {
				t->threads[stopped] = t->threads[--t->n];
				rc = 0;
				continue;
			}
			stopped++;
		}
		if (rc)
			break;
		/* A thread that runs can make another; when all stand, none is new. */
		rc = seize_more(t);
		if (rc <= 0)
			break;
		rc = 0;
	}
	for (unsigned i = 0; i < t->n && !rc; i++)
		rc = thread_read(&t->threads[i]);
	return rc;
}

int trace_stop(struct trace *t, pid_t pid)
{
	char path[64];
	int rc;

	*t = (struct trace){.pid = pid, .mem_fd = -1};
	rc = stop_all(t);
	if (!rc) {
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		t->mem_fd = open(path, O_RDWR | O_CLOEXEC);
		if (t->mem_fd < 0)
			rc = -errno;
	}
	if (rc)
		trace_release(t);
	return rc;
}

int trace_find_syscall(struct trace *t, uint64_t start, uint64_t end)
{
	static uint8_t code[65536];
	size_t want = end - start < sizeof(code) ? end - start : sizeof(code);
	ssize_t n = pread(t->mem_fd, code, want, (off_t)start);

	for (ssize_t i = 0; i + 1 < n; i++) {
		if (code[i] == 0x0f && code[i + 1] == 0x05) {
			t->syscall_at = start + (uint64_t)i;
			return 0;
		}
	}
	return -ENOENT;
}

/* ------------------------------------------------------------------ if we are killed */

static const uint8_t call_return[] = {0x0f, 0x05, 0xc3};				    /* syscall; ret */
static const uint8_t restorer[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05}; /* mov $15, %rax; syscall */

int trace_find_guard(pid_t pid, uint64_t *syscall_at, uint64_t *restorer_at)
{
	char path[64], *maps = procfs_read(NULL, "/proc/%d/maps", pid);
	struct procfs_map m;
	uint8_t *code = malloc(GUARD_CODE);
	const char *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	*syscall_at = *restorer_at = 0;
	for (at = maps; fd >= 0 && code && !(*syscall_at && *restorer_at) && procfs_map_next(&at, &m);) {
		size_t want = m.end - m.start < GUARD_CODE ? m.end - m.start : GUARD_CODE;
		ssize_t n = (m.prot & 5) == 5 && m.start < USER_END ? pread(fd, code, want, (off_t)m.start) : 0;
		const uint8_t *found;

		if (n <= 0)
			continue;
		found = memmem(code, (size_t)n, call_return, sizeof(call_return));
		if (found && !*syscall_at)
			*syscall_at = m.start + (uint64_t)(found - code);
		found = memmem(code, (size_t)n, restorer, sizeof(restorer));
		if (found && !*restorer_at)
			*restorer_at = m.start + (uint64_t)(found - code);
	}
	if (fd >= 0)
		close(fd);
	free(code);
	free(maps);
	return *syscall_at && *restorer_at ? 0 : -ENOENT;
}

void trace_guard(struct trace *t, uint64_t syscall_at, uint64_t restorer_at)
{
	uint8_t now[sizeof(restorer)];

	if (!syscall_at || !restorer_at ||
	    pread(t->mem_fd, now, sizeof(call_return), (off_t)syscall_at) != sizeof(call_return) ||
	    memcmp(now, call_return, sizeof(call_return)) != 0 ||
	    pread(t->mem_fd, now, sizeof(restorer), (off_t)restorer_at) != sizeof(restorer) ||
	    memcmp(now, restorer, sizeof(restorer)) != 0)
		return;
	t->syscall_at = syscall_at;
	t->restorer_at = restorer_at;
}

/* What it would have after a signal handler: an interrupted call is made again. Of one whose rest only the kernel knows that is
 * lost: it begins anew. */
static void as_after_signal(struct image_regs *r)
{
	if ((int64_t)r->orig_rax < 0)
		return;
	/* ERESTARTSYS to ERESTARTNOHAND, ERESTART_RESTARTBLOCK: include/linux/errno.h */
	if (((int64_t)r->rax <= -512 && (int64_t)r->rax >= -514) || (int64_t)r->rax == -516) {
		if (r->orig_rax == SYS_restart_syscall) {
			r->rax = (uint64_t)-EINTR;
		} else {
			r->rax = r->orig_rax;
			r->rip -= 2;
		}
	}
	r->orig_rax = (uint64_t)-1;
}

/* Of one return address with its frame. Two lie below each other: the thread's own, and one that ends a task, for what is cloned from it. */
static size_t guard_len(void)
{
	return (sizeof(uint64_t) + frame_size() + 15) & ~(size_t)15;
}

static void guard_set(struct trace *t, struct trace_thread *th)
{
	uint8_t xstate[IMAGE_XSTATE_MAX], *both;
	struct iovec iov = {xstate, sizeof(xstate)};
	size_t one = guard_len(), len = 2 * one;
	uint64_t base = ((th->regs.rsp - GUARD_BELOW - len) & ~15ull) - 8;
	struct image_regs r, end = {.rip = t->syscall_at, .rax = SYS_exit, .rsp = base, .eflags = 0x202};

	if (!t->restorer_at || ptrace(PTRACE_GETREGSET, th->tid, NT_X86_XSTATE, &iov))
		return;
	both = calloc(1, len);
	th->under = malloc(len);
	memcpy(&r, &th->regs, sizeof(r));
	as_after_signal(&r);
	if (both && th->under && pread(t->mem_fd, th->under, len, (off_t)base) == (ssize_t)len) {
		memcpy(both, &t->restorer_at, sizeof(uint64_t));
		frame_write(both + 8, base + 8, &end, xstate, iov.iov_len, ALL_SIGNALS, 0, 0, FRAME_KEEP_ALTSTACK);
		memcpy(both + one, &t->restorer_at, sizeof(uint64_t));
		frame_write(both + one + 8, base + one + 8, &r, xstate, iov.iov_len, th->mask, 0, 0, FRAME_KEEP_ALTSTACK);
		if (pwrite(t->mem_fd, both, len, (off_t)base) == (ssize_t)len)
			th->guard = base + one;
		else
			pwrite(t->mem_fd, th->under, len, (off_t)base);
	}
	free(both);
}

/* Where that cannot be written any more it stays: below its stack, where a signal would have written, too. */
static void guard_drop(struct trace *t, struct trace_thread *th)
{
	if (th->guard)
		pwrite(t->mem_fd, th->under, 2 * guard_len(), (off_t)(th->guard - guard_len()));
	th->guard = 0;
}

/* ------------------------------------------------------------------ calls */

/* Signals that come while a call is under way wait until it is over. Not before its registers lead back to what they were. */
static int call_begin(const struct trace *t, struct trace_thread *th, const struct user_regs_struct *r, unsigned long options)
{
	uint64_t all = ALL_SIGNALS;

	if (ptrace(PTRACE_SETREGS, th->tid, 0, r))
		return -errno;
	if (!th->used) {
		th->used = true;
		if (ptrace(PTRACE_SETSIGMASK, th->tid, sizeof(all), &all))
			return -errno;
	}
	if (ptrace(PTRACE_SETOPTIONS, th->tid, 0, PTRACE_O_TRACESYSGOOD | t->options | options))
		return -errno;
	return 0;
}

/* To the next stop of a system call; other stops are passed. */
static int step(pid_t tid, pid_t *child)
{
	unsigned long message;
	int status, rc;

	if (ptrace(PTRACE_SYSCALL, tid, 0, 0))
		return -errno;
	for (;;) {
		rc = wait_stop(tid, &status);
		if (rc)
			return rc;
		if (WSTOPSIG(status) == SYSCALL_STOP)
			return 0;
		if (child && (status >> 16 == PTRACE_EVENT_CLONE ||
			      status >> 16 == PTRACE_EVENT_FORK)) {
			if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &message))
				return -errno;
			*child = (pid_t)message;
		}
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0))
			return -errno;
	}
}

static int drive(struct trace *t, unsigned i, long nr, const uint64_t a[6], unsigned long options,
		 pid_t *child, int64_t *ret)
{
	struct trace_thread *th = &t->threads[i];
	struct user_regs_struct r = th->regs;
	int rc;

	if (!th->used && !th->guard)
		guard_set(t, th);
	if (th->guard)
		r.rsp = th->guard;
	r.rax = (uint64_t)nr;
	r.orig_rax = (uint64_t)-1;
	r.rdi = a[0];
	r.rsi = a[1];
	r.rdx = a[2];
	r.r10 = a[3];
	r.r8 = a[4];
	r.r9 = a[5];
	r.rip = t->syscall_at;
	rc = call_begin(t, th, &r, options);
	if (!rc)
		rc = step(th->tid, child); /* it enters */
	if (!rc)
		rc = step(th->tid, child); /* it leaves */
	if (!rc && ptrace(PTRACE_GETREGS, th->tid, 0, &r))
		rc = -errno;
	if (!rc)
		*ret = (int64_t)r.rax;
	return rc;
}

int trace_call(struct trace *t, unsigned i, long nr, const uint64_t args[6], int64_t *ret)
{
	return drive(t, i, nr, args, 0, NULL, ret);
}

int trace_clone(struct trace *t, unsigned i, uint64_t flags, unsigned long options, pid_t *child,
		int64_t *ret)
{
	struct trace_thread *th = &t->threads[i];
	uint64_t args[6] = {flags};
	int status, rc;

	if (!th->used)
		guard_set(t, th);
	/* One that we lose before it is ours alone ends by itself; else the program ends with us rather than have it run in its memory. */
	if (th->guard)
		args[1] = th->guard - guard_len();
	*child = 0;
	rc = drive(t, i, SYS_clone, args, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | (th->guard ? 0 : options), child, ret);
	if (rc)
		return rc;
	if (*ret < 0 || *child == 0)
		return *ret < 0 ? 0 : -EIO;
	return wait_stop(*child, &status);
}

/* Into a stop inside the kernel's signal code: from there interrupted calls are restarted. */
static void put_back(struct trace *t, struct trace_thread *th)
{
	ptrace(PTRACE_SETOPTIONS, th->tid, 0, 0);
	if (ptrace(PTRACE_INTERRUPT, th->tid, 0, 0) || ptrace(PTRACE_CONT, th->tid, 0, 0) ||
	    wait_interrupted(th->tid))
		return;
	ptrace(PTRACE_SETSIGMASK, th->tid, sizeof(th->mask), &th->mask);
	ptrace(PTRACE_SETREGS, th->tid, 0, &th->regs);
	guard_drop(t, th);
}

void trace_release(struct trace *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->threads[i].used)
			put_back(t, &t->threads[i]);
		ptrace(PTRACE_DETACH, t->threads[i].tid, 0, 0);
	}
	trace_forget(t);
}

int trace_adopt(struct trace *t, pid_t tid, const struct trace *from)
{
	char path[64];
	int rc;

	*t = (struct trace){.pid = tid, .mem_fd = -1, .syscall_at = from->syscall_at, .options = PTRACE_O_EXITKILL};
	if (ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_EXITKILL))
		return -errno;
	t->threads = calloc(1, sizeof(*t->threads));
	if (!t->threads)
		return -ENOMEM;
	t->room = t->n = 1;
	t->threads[0] = (struct trace_thread){.tid = tid, .used = true};
	rc = thread_read(&t->threads[0]);
	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	t->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (t->mem_fd < 0 && !rc)
		rc = -errno;
	return rc;
}

void trace_forget(struct trace *t)
{
	for (unsigned i = 0; i < t->n; i++)
		free(t->threads[i].under);
	free(t->threads);
	if (t->mem_fd >= 0)
		close(t->mem_fd);
	*t = (struct trace){.mem_fd = -1};
}
