/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/proc/capture_impl.h"
#include "services/fork-pager/proc/procfs.h"

enum {
	SCRATCH = 4096,
	RED_ZONE = 128, /* below the stack pointer, the program's (System V ABI, x86-64) */
	CS_64 = 0x33,
	PRIO_LEAST = -20,
};

static void say(struct capture_report *r, const char *prefix, const char *format, va_list ap)
{
	size_t at = strlen(r->text), room = sizeof(r->text) - at;
	int n = snprintf(r->text + at, room, "%s", prefix);

	if (n >= 0 && (size_t)n < room) {
		vsnprintf(r->text + at + n, room - (size_t)n - 1, format, ap);
		strcat(r->text, "\n");
	}
}

bool capture_refuse(struct capture_work *w, const char *format, ...)
{
	struct capture_report *r = &w->c->report;
	va_list ap;

	va_start(ap, format);
	say(r, w->o->force ? "dropped: " : "cannot be carried: ", format, ap);
	va_end(ap);
	if (w->o->force)
		r->dropped++;
	else
		r->refused++;
	return w->o->force;
}

void capture_note(struct capture_work *w, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(&w->c->report, "", format, ap);
	va_end(ap);
}

bool capture_own_fd(const struct capture_work *w, int fd)
{
	for (unsigned i = 0; w->o->self && i < w->o->self->nfds; i++)
		if (w->o->self->fds[i] == fd)
			return true;
	return false;
}

int capture_bytes_set(struct image_bytes *b, const void *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, data, len);
	copy[len] = 0;
	free(b->data);
	b->data = copy;
	b->len = (uint32_t)len;
	return 0;
}

void *capture_grow(void **array, uint32_t *n, size_t size)
{
	uint8_t *more;

	/* Doubles at each power of two. */
	if ((*n & (*n - 1)) == 0) {
		more = realloc(*array, (*n ? *n * 2 : 1) * size);
		if (!more)
			return NULL;
		*array = more;
	}
	more = (uint8_t *)*array + *n * size;
	memset(more, 0, size);
	(*n)++;
	return more;
}

/* ------------------------------------------------------------------ while it stands */

static uint64_t auxv_value(const char *auxv, size_t len, uint64_t type)
{
	const uint64_t *a = (const uint64_t *)(const void *)auxv;

	for (size_t i = 0; i + 1 < len / 8; i += 2)
		if (a[i] == type)
			return a[i + 1];
	return 0;
}

/* A syscall instruction: in the vdso, else anywhere in its code. */
static int find_syscall(struct capture_work *w)
{
	size_t len = 0;
	char *auxv = procfs_read(&len, "/proc/%d/auxv", w->pid);
	uint64_t vdso = auxv ? auxv_value(auxv, len, AT_SYSINFO_EHDR) : 0;
	struct procfs_map m;
	const char *at;
	char *maps;
	int rc = vdso ? trace_find_syscall(&w->target, vdso, vdso + 8192) : -ENOENT;

	free(auxv);
	if (rc == 0)
		return 0;
	maps = procfs_read(NULL, "/proc/%d/maps", w->pid);
	for (at = maps; rc && procfs_map_next(&at, &m);)
		if (m.prot & 4)
			rc = trace_find_syscall(&w->target, m.start, m.end);
	free(maps);
	return rc;
}

/* Memory of the target that calls may write to; what is in it is put back. */
static int scratch_take(struct capture_work *w)
{
	uint64_t sp = w->target.threads[0].regs.rsp - RED_ZONE - SCRATCH;
	struct procfs_map m;
	const char *at;
	char *maps;

	w->scratch = sp & ~63ull;
	if (pread(w->target.mem_fd, w->saved, SCRATCH, (off_t)w->scratch) == SCRATCH &&
	    pwrite(w->target.mem_fd, w->saved, SCRATCH, (off_t)w->scratch) == SCRATCH)
		return 0;
	maps = procfs_read(NULL, "/proc/%d/maps", w->pid);
	w->scratch = 0;
	for (at = maps; procfs_map_next(&at, &m);) {
		if ((m.prot & 3) != 3 || m.shared)
			continue;
		w->scratch = m.start;
		if (pread(w->target.mem_fd, w->saved, SCRATCH, (off_t)w->scratch) == SCRATCH)
			break;
		w->scratch = 0;
	}
	free(maps);
	return w->scratch ? 0 : -EFAULT;
}

static void scratch_give(struct capture_work *w)
{
	if (w->scratch)
		pwrite(w->target.mem_fd, w->saved, SCRATCH, (off_t)w->scratch);
	w->scratch = 0;
}

static void end_task(pid_t tid)
{
	int status;

	if (tid <= 0)
		return;
	kill(tid, SIGKILL);
	/* First its end as a traced task; exit stops of a killed one are passed. */
	while (waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status))
		;
}

/* On a busy machine each turn between us and the target would cost a time slice while the target stands. Nothing of
 * the target's own is changed: the copy's page tables are made by the helper, which is ours. Not allowed is fine. */
static void precede(pid_t tid)
{
	setpriority(PRIO_PROCESS, (id_t)tid, PRIO_LEAST);
}

/*
 * A helper task that shares the target's memory and has no descriptors forks; so the copy holds nothing
 * of the target's open, is nobody's child once the helper has gone, and its parent, the target, is left without
 * a child that it does not know.
 */
static int snapshot_paused(struct capture_work *w)
{
	const uint64_t unshare_all[6] = {0, ~0u, 2 /* CLOSE_RANGE_UNSHARE */};
	struct trace helper = {.mem_fd = -1};
	pid_t tid = 0, copy = 0;
	int64_t ret = 0, number = 0;
	int rc = trace_clone(&w->target, 0, CLONE_VM | CLONE_FILES, PTRACE_O_EXITKILL, &tid, &number);

	if (rc || number < 0)
		return rc ? rc : (int)number;
	rc = trace_adopt(&helper, tid, &w->target);
	precede(tid);
	if (!rc)
		rc = trace_call(&helper, 0, SYS_close_range, unshare_all, &ret);
	if (!rc && ret == 0)
		rc = trace_clone(&helper, 0, 0, PTRACE_O_EXITKILL, &copy, &ret);
	if (!rc && ret < 0)
		rc = (int)ret;
	if (!rc)
		rc = trace_adopt(&w->snapshot, copy, &w->target);
	end_task(tid);
	trace_forget(&helper);
	if (number > 0) {
		const uint64_t reap[6] = {(uint64_t)number, 0, 0x40000000 /* __WALL */, 0};

		/* Ours was its end as its tracer; its parent reaps it. */
		trace_call(&w->target, 0, SYS_wait4, reap, &ret);
	}
	if (rc) {
		end_task(copy);
		return rc;
	}
	w->c->snapshot = copy;
	return 0;
}

static int paused(struct capture_work *w)
{
	int rc = 0;

	for (unsigned i = 0; i < w->target.n; i++)
		if (w->target.threads[i].regs.cs != CS_64) {
			capture_note(w, "cannot be carried: it is a 32-bit program");
			w->c->report.refused++;
			return -EOPNOTSUPP;
		}
	trace_guard(&w->target, w->guard[0], w->guard[1]);
	if (!w->target.restorer_at && find_syscall(w)) {
		capture_note(w, "cannot be carried: no system call instruction in its memory");
		w->c->report.refused++;
		return -EOPNOTSUPP;
	}
	rc = capture_self_paused(w);
	if (rc)
		return rc;
	capture_children_paused(w);
	rc = scratch_take(w);
	if (!rc)
		rc = capture_threads_paused(w);
	if (!rc)
		rc = capture_timers_paused(w);
	if (!rc)
		rc = capture_prctls_paused(w);
	scratch_give(w);
	if (!rc)
		rc = capture_files_paused(w);
	if (!rc && w->c->report.refused)
		rc = -EOPNOTSUPP;
	if (!rc)
		rc = snapshot_paused(w);
	return rc;
}

/* ------------------------------------------------------------------ whole */

static int kernel_thread(pid_t pid)
{
	char *status = procfs_read(NULL, "/proc/%d/status", pid);
	bool none = status && !procfs_field(status, "VmSize");

	if (!status)
		return -ESRCH;
	free(status);
	return none;
}

/* Inside a pid namespace whose /proc is another one's, a number means one process to ptrace and another one there. */
static bool proc_is_ours(void)
{
	char *to = procfs_link("/proc/self");
	bool ours = to && atoi(to) == getpid();

	free(to);
	return ours;
}

static int begin(struct capture_work *w)
{
	char *status;
	uint64_t tracer, tgid;

	if (!proc_is_ours()) {
		capture_note(w, "cannot be carried: /proc here is not that of this pid namespace");
		w->c->report.refused++;
		return -EOPNOTSUPP;
	}
	status = procfs_read(NULL, "/proc/%d/status", w->pid);
	if (!status)
		return -ESRCH;
	tracer = procfs_number(status, "TracerPid", 10, 0);
	tgid = procfs_number(status, "Tgid", 10, 0);
	free(status);
	if (tgid != (uint64_t)w->pid) {
		capture_note(w, "%d is a thread of process %llu", w->pid, (unsigned long long)tgid);
		return -ESRCH;
	}
	if (kernel_thread(w->pid)) {
		capture_note(w, "cannot be carried: it is a kernel thread, or has ended");
		return -EOPNOTSUPP;
	}
	if (tracer) {
		capture_note(w, "cannot be carried: it is traced by process %llu",
			     (unsigned long long)tracer);
		return -EPERM;
	}
	w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	if (w->pidfd < 0)
		return -errno;
	return capture_obstacles(w);
}

static int finish(struct capture_work *w)
{
	struct capture *c = w->c;
	const char *why = NULL;
	int rc = capture_actions(w);

	if (!rc)
		rc = capture_mm(w);
	if (!rc)
		rc = capture_identity(w);
	if (!rc && c->report.refused)
		rc = -EOPNOTSUPP;
	if (rc)
		return rc;
	if (image_check(&c->image, &why)) {
		capture_note(w, "the snapshot makes no sense: %s", why);
		return -EIO;
	}
	c->ranges = calloc(c->image.nvmas + 1, sizeof(*c->ranges));
	if (!c->ranges)
		return -ENOMEM;
	image_ranges(&c->image, c->ranges);
	c->source.ranges = c->ranges;
	c->source.nranges = c->image.nvmas;
	return 0;
}

static int source_open(struct capture *c)
{
	char path[64];

	c->source.pid = c->snapshot;
	snprintf(path, sizeof(path), "/proc/%d/mem", c->snapshot);
	c->source.mem_fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", c->snapshot);
	c->source.pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	return c->source.mem_fd < 0 || c->source.pagemap_fd < 0 ? -errno : 0;
}

int capture_take(struct capture *c, pid_t pid, const struct capture_options *o)
{
	struct capture_work w = {.c = c, .o = o, .pid = pid, .pidfd = -1};
	uint64_t start = clock_now_ns(), stopped;
	sigset_t all, before;
	int rc, nice = getpriority(PRIO_PROCESS, 0);

	memset(c, 0, sizeof(*c));
	c->source.mem_fd = c->source.pagemap_fd = -1;
	w.target.mem_fd = w.snapshot.mem_fd = -1;
	rc = begin(&w);
	if (!rc) {
		trace_find_guard(pid, &w.guard[0], &w.guard[1]);
		/* Whoever ends us now would interrupt what we are about with the target: only SIGKILL can. */
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, &before);
		precede(0);
		stopped = clock_now_ns();
		rc = trace_stop(&w.target, pid);
		if (!rc) {
			rc = paused(&w);
			trace_release(&w.target);
		}
		c->pause_ns = clock_now_ns() - stopped;
		setpriority(PRIO_PROCESS, 0, nice);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	if (!rc)
		rc = finish(&w);
	if (!rc)
		rc = source_open(c);
	trace_forget(&w.snapshot);
	if (w.pidfd >= 0)
		close(w.pidfd);
	if (rc)
		capture_release(c);
	c->total_ns = clock_now_ns() - start;
	return rc;
}

void capture_release(struct capture *c)
{
	struct capture_report report = c->report;

	end_task(c->snapshot);
	if (c->source.mem_fd >= 0)
		close(c->source.mem_fd);
	if (c->source.pagemap_fd >= 0)
		close(c->source.pagemap_fd);
	image_free(&c->image);
	free(c->ranges);
	memset(c, 0, sizeof(*c));
	c->source.mem_fd = c->source.pagemap_fd = -1;
	c->report = report;
}
