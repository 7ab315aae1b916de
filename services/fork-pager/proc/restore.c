/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/proc/procfs.h"
#include "services/fork-pager/proc/restore_impl.h"
#include "services/fork-pager/proc/trace.h"

enum {
	HIGH_MIN = 64,
	STAND_MS = 10000, /* for a child to stand complete */
	UNMAP_TRIES = 200,
};

#define ARENA_LOWEST 0x100000000ull
#define ARENA_STEP 0x4000000000ull
#define USER_END 0x7ffffffff000ull

void restore_say(struct restore_report *r, const char *format, ...)
{
	size_t at = strlen(r->text);
	va_list ap;

	va_start(ap, format);
	vsnprintf(r->text + at, sizeof(r->text) - at, format, ap);
	va_end(ap);
	at = strlen(r->text);
	snprintf(r->text + at, sizeof(r->text) - at, "\n");
	r->lines++;
}

/* ------------------------------------------------------------------ does it fit here? */

static uint64_t xfeatures_here(void)
{
	uint32_t a = 0xd, b, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return (uint64_t)d << 32 | a;
}

struct vdso {
	struct restore_place code, vvar, vclock;
	uint32_t crc;
};

/* The restorer's own; it stays where it is. */
static const struct vdso *vdso_own(void)
{
	static struct vdso own;
	char *maps = own.code.size ? NULL : procfs_read(NULL, "/proc/self/maps");
	struct procfs_map m;
	const char *at;

	for (at = maps; procfs_map_next(&at, &m);) {
		struct restore_place *p = NULL;

		if (strncmp(m.path, "[vdso]", 6) == 0) {
			p = &own.code;
			own.crc = image_crc32c((const void *)m.start, m.end - m.start);
		} else if (strncmp(m.path, "[vvar]", 6) == 0) {
			p = &own.vvar;
		} else if (strncmp(m.path, "[vvar_vclock]", 13) == 0) {
			p = &own.vclock;
		}
		if (p)
			*p = (struct restore_place){m.start, m.end - m.start};
	}
	free(maps);
	return &own;
}

/* Is it the parent's? */
static int vdso_here(struct restore_work *w)
{
	const struct image_host *h = &w->im->host;
	const struct vdso *own = vdso_own();

	w->vdso = own->code;
	w->vvar = own->vvar;
	w->vclock = own->vclock;
	if (h->vdso_size == 0)
		return 0;
	if (w->vdso.size != h->vdso_size || w->vvar.size != h->vvar_size ||
	    w->vclock.size != h->vclock_size || h->vdso_id.len != sizeof(own->crc) ||
	    memcmp(h->vdso_id.data, &own->crc, sizeof(own->crc)) != 0) {
		restore_say(&w->c->report, "the kernel here has another vdso than %.*s, where it was taken",
			    (int)h->release.len, (const char *)h->release.data);
		return -ENOEXEC;
	}
	return 0;
}

static int fits(struct restore_work *w)
{
	uint64_t missing = w->im->host.xfeatures & ~(xfeatures_here() & ~(1ull << 18)); /* AMX tiles */

	if (missing) {
		restore_say(&w->c->report, "the processor here lacks registers that it uses (%#llx)",
			    (unsigned long long)missing);
		return -ENOEXEC;
	}
	return vdso_here(w);
}

/* ------------------------------------------------------------------ the arena */

static size_t arena_need(const struct restore_work *w)
{
	const struct image *im = w->im;
	size_t n = RESTORE_PARKING + (1 << 20);

	n += restore_mm_calls(w) * (sizeof(struct stub_entry) + 64);
	for (uint32_t i = 0; i < im->nthreads; i++)
		n += 256 * sizeof(struct stub_entry) + im->threads[i].xstate.len + 8192 +
		     im->threads[i].npending * 256u;
	n += (im->npending + im->ntimers) * 512u + im->creds.ngroups * 8u * im->nthreads;
	return (n + 0xffff) & ~(size_t)0xffff;
}

static bool clear_of_image(const struct image *im, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < im->nvmas; i++)
		/* Some distance, for what grows. */
		if (start < im->vmas[i].end + (1ull << 30) && im->vmas[i].start < end + (1ull << 30))
			return false;
	return true;
}

static int arena_make(struct restore_work *w)
{
	size_t len = (size_t)(stub_end - stub_begin);
	void *p;

	w->arena_size = arena_need(w);
	for (uint64_t at = ARENA_LOWEST; at < USER_END - w->arena_size; at += ARENA_STEP) {
		if (!clear_of_image(w->im, at, at + w->arena_size))
			continue;
		p = mmap((void *)at, w->arena_size, PROT_READ | PROT_WRITE | PROT_EXEC,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			continue;
		w->arena = p;
		w->used = sizeof(struct arena_state);
		p = restore_room(w, len, 64);
		if (!p)
			return w->error;
		memcpy(p, stub_begin, len);
		w->stub = (uint64_t)p;
		restore_state(w)->uffd = -1;
		return 0;
	}
	return -ENOMEM;
}

/* ------------------------------------------------------------------ the child, before the stub */

static void actions(const struct image *im)
{
	for (unsigned sig = 1; sig <= IMAGE_SIGNALS; sig++) {
		const struct image_sigaction *a = &im->actions[sig - 1];
		const uint64_t k[4] = {a->handler, a->flags, a->restorer, a->mask};

		syscall(SYS_rt_sigaction, sig, k, NULL, 8);
	}
}

static int make_uffd(struct restore_work *w)
{
	struct uffdio_api api = {.api = UFFD_API, .features = w->o->uffd_features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -errno;
	if (fd != w->high && dup3(fd, w->high, O_CLOEXEC) < 0)
		return -errno;
	if (fd != w->high)
		close(fd);
	restore_state(w)->uffd = w->high;
	return 0;
}

/* glibc has registered one for this thread, in memory that goes away. */
static void rseq_drop(void)
{
	if (__rseq_size) {
		void *area = (uint8_t *)__builtin_thread_pointer() + __rseq_offset;

		syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
	}
}

static _Noreturn void child_fail(struct restore_work *w, int rc)
{
	restore_state(w)->error = rc;
	_exit(125);
}

static _Noreturn void child(struct restore_work *w)
{
	const struct image *im = w->im;
	int rc = w->box ? box_enter(w->box) : 0;

	if (rc) {
		struct arena_state *st = restore_state(w);

		snprintf(st->text, sizeof(st->text), "it does not get into its namespaces: %s\n", strerror(-rc));
		child_fail(w, rc);
	}
	if (im->sid)
		setsid();
	else if (im->pgid)
		setpgid(0, 0);
	rc = restore_files_child(w);
	if (rc)
		child_fail(w, rc);
	if (w->o->uffd_features) {
		rc = make_uffd(w);
		if (rc)
			child_fail(w, rc);
	}
	if (im->cwd.len && chdir((const char *)im->cwd.data)) {
		struct arena_state *st = restore_state(w);

		snprintf(st->text, sizeof(st->text), "its directory %.500s: %s\n",
			 (const char *)im->cwd.data, strerror(errno));
		child_fail(w, -ENOENT);
	}
	umask((mode_t)im->umask);
	actions(im);
	rseq_drop();
	__asm__ volatile("mov %0, %%r12\n\tjmp *%1" : : "r"(w->list), "r"(w->stub) : "r12", "memory");
	__builtin_unreachable();
}

/* ------------------------------------------------------------------ making it */

static pid_t clone_with(uint64_t flags, pid_t *tid, int *pidfd)
{
	struct clone_args a = {.flags = flags | CLONE_PIDFD, .exit_signal = SIGCHLD,
			       .pidfd = (uint64_t)pidfd};

	if (tid) {
		a.set_tid = (uint64_t)tid;
		a.set_tid_size = 1;
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

static int box_own(struct restore_work *w)
{
	const struct box_options o = {.pid_only = true};
	char why[160];
	int rc = box_make(&w->own, &o, why, sizeof(why));

	if (rc)
		restore_say(&w->c->report, "no pid namespace: %s", strerror(-rc));
	else
		w->box = &w->own;
	return rc;
}

static int child_make(struct restore_work *w)
{
	pid_t tid = w->im->threads[0].tid;
	sigset_t all, before;
	int own = -1, rc = 0;

	w->box = w->o->box;
	if (!w->box && w->o->same_pids)
		rc = box_own(w);
	if (!rc && w->box) {
		own = open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
		if (own < 0 || setns(w->box->pidfd, CLONE_NEWPID))
			rc = -errno;
	}
	if (!rc) {
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, &before);
		w->c->pid = clone_with(0, w->box ? &tid : NULL, &w->c->pidfd);
		if (w->c->pid == 0)
			child(w);
		rc = w->c->pid < 0 ? -errno : 0;
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (rc) {
			w->c->pid = 0;
			restore_say(&w->c->report, "process %d cannot be made: %s", tid,
				    strerror(-rc));
		}
	}
	if (own >= 0) {
		if (setns(own, CLONE_NEWPID) && !rc)
			rc = -errno;
		close(own);
	}
	if (!rc && w->box) {
		rc = box_add(w->box, w->c->pid);
		if (rc)
			restore_say(&w->c->report, "it does not get into its control group: %s", strerror(-rc));
	}
	return rc;
}

static int stand_failed(struct restore_work *w)
{
	const struct arena_state *st = restore_state(w);
	const struct stub_entry *e = (const struct stub_entry *)st->failed;

	if (st->text[0])
		restore_say(&w->c->report, "%s", st->text);
	if (e) {
		restore_say(&w->c->report, "%s failed: %s (%#llx)", restore_what(e->what),
			    strerror((int)-e->result), (unsigned long long)e->arg[0]);
		return (int)e->result;
	}
	if (st->error)
		return st->error;
	restore_say(&w->c->report, "the child ended before it stood complete");
	return -ECHILD;
}

/* Raising it takes nothing, lowering it CAP_SYS_RESOURCE. */
static void oom_set(struct restore_work *w)
{
	int want = (int)w->im->oom_score_adj - OOM_BIAS;
	char path[64], text[16];
	int fd, n;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", w->c->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = fd < 0 ? -1 : (int)read(fd, text, sizeof(text) - 1);
	if (n > 0)
		text[n] = 0;
	if (n <= 0 || atoi(text) != want) {
		n = snprintf(text, sizeof(text), "%d", want);
		if (fd < 0 || pwrite(fd, text, (size_t)n, 0) != n)
			restore_say(&w->c->report, "not carried: oom_score_adj %d: %s", want, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
}

/* Until all threads have arrived. */
static int stand(struct restore_work *w)
{
	struct arena_state *st = restore_state(w);
	uint64_t until = clock_now_ns() + STAND_MS * 1000000ull;
	const struct timespec tick = {0, 2000000};
	struct pollfd p = {.fd = w->c->pidfd, .events = POLLIN};

	for (;;) {
		uint32_t arrived = __atomic_load_n(&st->arrived, __ATOMIC_ACQUIRE);

		if (arrived == w->im->nthreads)
			return 0;
		if (poll(&p, 1, 0) > 0)
			return stand_failed(w);
		if (clock_now_ns() > until)
			return -ETIMEDOUT;
		syscall(SYS_futex, &st->arrived, FUTEX_WAIT, arrived, &tick, NULL, 0);
	}
}

static int prepare(struct restore_work *w)
{
	const struct image *im = w->im;
	int rc;

	w->high = HIGH_MIN;
	if (im->nfds && im->fds[im->nfds - 1].fd >= w->high)
		w->high = im->fds[im->nfds - 1].fd + 1;
	w->file_fd = malloc((im->nfiles + 1) * sizeof(int));
	if (!w->file_fd)
		return -ENOMEM;
	for (uint32_t i = 0; i < im->nfiles; i++)
		w->file_fd[i] = -1;
	w->cache_fd = fcntl(w->o->cache_fd, F_DUPFD_CLOEXEC, w->high + 1);
	if (w->cache_fd < 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		int fd = w->o->stdio[i] >= 0 ? w->o->stdio[i] : i;

		w->stdio[i] = fcntl(fd, F_DUPFD_CLOEXEC, w->high + 1);
		if (w->stdio[i] < 0)
			w->stdio[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	}
	rc = restore_mm_open(w);
	if (!rc && im->mm.exe != IMAGE_NONE && w->file_fd[im->mm.exe] < 0) {
		int fd = box_open(w->o->box, (const char *)im->files[im->mm.exe].path.data, O_RDONLY);

		w->file_fd[im->mm.exe] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, w->high + 1);
		if (fd >= 0)
			close(fd);
	}
	if (!rc)
		rc = arena_make(w);
	if (!rc)
		rc = restore_lists(w);
	return rc;
}

static void close_files(struct restore_work *w)
{
	for (uint32_t i = 0; w->file_fd && i < w->im->nfiles; i++)
		if (w->file_fd[i] >= 0)
			close(w->file_fd[i]);
	free(w->file_fd);
	w->file_fd = NULL;
	if (w->cache_fd >= 0)
		close(w->cache_fd);
	w->cache_fd = -1;
	for (unsigned i = 0; i < 3; i++) {
		if (w->stdio[i] >= 0)
			close(w->stdio[i]);
		w->stdio[i] = -1;
	}
}

int restore_build(struct restore_child *c, const struct image *im, const struct restore_options *o)
{
	struct restore_work *w = calloc(1, sizeof(*w));
	const char *why;
	int rc;

	memset(c, 0, sizeof(*c));
	c->pidfd = c->uffd = -1;
	if (!w)
		return -ENOMEM;
	*w = (struct restore_work){.c = c, .im = im, .o = o, .cache_fd = -1,
				   .stdio = {-1, -1, -1}, .own = {.pidfd = -1, .root = -1}};
	c->priv = w;
	rc = image_check(im, &why);
	if (rc)
		restore_say(&c->report, "the descriptor makes no sense: %s", why);
	if (!rc)
		rc = fits(w);
	if (!rc)
		rc = prepare(w);
	if (!rc)
		rc = child_make(w);
	if (!rc)
		rc = stand(w);
	if (!rc) {
		oom_set(w);
		restore_dropped(w);
		if (restore_state(w)->text[0]) /* what it found out about its descriptors */
			restore_say(&c->report, "%s", restore_state(w)->text);
	}
	if (!rc)
		rc = restore_mm_places(w);
	if (!rc && o->filled)
		rc = o->filled(o->filled_ctx);
	if (!rc)
		rc = restore_mm_fill(w, c->pid);
	if (!rc && o->uffd_features) {
		c->uffd = (int)syscall(SYS_pidfd_getfd, c->pidfd, w->high, 0);
		if (c->uffd < 0)
			rc = -errno;
	}
	close_files(w);
	if (rc)
		restore_free(c);
	return rc;
}

/* ------------------------------------------------------------------ running */

static bool inside(const struct restore_work *w, const struct trace *t)
{
	uint64_t start = (uint64_t)w->arena, end = start + w->arena_size;

	for (unsigned i = 0; i < t->n; i++)
		if (t->threads[i].regs.rip >= start && t->threads[i].regs.rip < end)
			return true;
	return false;
}

static uint64_t vdso_start(const struct image *im)
{
	for (uint32_t i = 0; i < im->nvmas; i++)
		if (im->vmas[i].kind == IMAGE_VMA_VDSO)
			return im->vmas[i].start;
	return 0;
}

/* The stub goes, once no thread is in it any more. */
static int unmap_stub(struct restore_work *w)
{
	const uint64_t args[6] = {(uint64_t)w->arena, w->arena_size};
	uint64_t vdso = vdso_start(w->im);
	struct trace t;
	int64_t ret = -1;
	int rc = -EAGAIN;

	for (unsigned i = 0; i < UNMAP_TRIES && rc == -EAGAIN; i++) {
		rc = trace_stop(&t, w->c->pid);
		if (rc)
			return rc;
		if (inside(w, &t))
			rc = -EAGAIN;
		else if (!vdso || trace_find_syscall(&t, vdso, vdso + 8192))
			rc = -ENOENT;
		else
			rc = trace_call(&t, 0, SYS_munmap, args, &ret);
		trace_release(&t);
		if (rc == -EAGAIN)
			usleep(200);
	}
	return rc ? rc : (int)ret;
}

int restore_run(struct restore_child *c)
{
	struct restore_work *w = c->priv;
	struct arena_state *st = restore_state(w);
	int rc;

	__atomic_store_n(&st->go, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &st->go, FUTEX_WAKE, IMAGE_THREADS_MAX, NULL, NULL, 0);
	rc = unmap_stub(w);
	/* One that has ended already has unmapped everything. */
	return rc && poll(&(struct pollfd){.fd = c->pidfd, .events = POLLIN}, 1, 0) > 0 ? 0 : rc;
}

void restore_kill(struct restore_child *c)
{
	const struct restore_work *w = c->priv;

	if (c->pid > 0)
		kill(c->pid, SIGKILL);
	if (w && w->box && w->box->init > 0)
		kill(w->box->init, SIGKILL);
}

void restore_free(struct restore_child *c)
{
	struct restore_work *w = c->priv;

	if (!w)
		return;
	close_files(w);
	if (c->pid > 0 && (!w->arena || !restore_state(w)->go)) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		c->pid = 0;
	}
	if (c->pid == 0)
		box_free(&w->own);
	if (w->arena)
		munmap(w->arena, w->arena_size);
	if (c->uffd >= 0)
		close(c->uffd);
	if (c->pidfd >= 0)
		close(c->pidfd);
	free(c->places);
	free(w);
	c->priv = c->places = NULL;
	c->pidfd = c->uffd = -1;
}
