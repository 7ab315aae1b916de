/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children of a space: their faults, and what they do to their memory meanwhile.
 *
 * A child that changes its memory (fork, mremap, madvise, munmap) waits in the kernel until its event has
 * been read here, and the kernel refuses to fill (EAGAIN) from before the change until then. So
 * what is known here when a fill succeeds is what holds. Of messages read together, events count before
 * faults: a fault may have been queued after an event and is told first.
 *
 * A child whose page cannot be had gets SIGBUS there; where the kernel cannot do that, it stays where it
 * is, and whoever started it is told to end it. No memory is ever let go of while its process lives: it
 * would read as something that it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/pages/ledger.h"
#include "services/fork-pager/pages/space_impl.h"

#ifndef UFFDIO_POISON /* Linux 6.6 */
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif
#define FEATURE_POISON (1ull << 14)
#define FEATURES_NEEDED                                                                            \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |           \
	 UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM)

#define USER_START 0x10000ull /* vm.mmap_min_addr */
#define USER_END 0x7ffffffff000ull /* of a 47-bit address space */

enum {
	READ_MAX = 128, /* messages at a time */
	FAULT_ROUNDS = 4,
};

uint64_t space_features(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	uint64_t want, all;
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return 0;
	all = ioctl(fd, UFFDIO_API, &api) ? 0 : api.features;
	close(fd);
	if ((all & FEATURES_NEEDED) != FEATURES_NEEDED)
		return 0;
	want = FEATURES_NEEDED | (all & FEATURE_POISON);
	/* What is offered may still be refused: events of forks take a capability. */
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0;
	api = (struct uffdio_api){.api = UFFD_API, .features = want};
	if (ioctl(fd, UFFDIO_API, &api))
		want = 0;
	close(fd);
	return want;
}

/* ------------------------------------------------------------------ filling */

/* Bytes done, or negative errno. */
static int64_t put_zero(struct space_child *c, uint64_t addr, uint64_t pages)
{
	struct uffdio_zeropage z = {.range = {addr, pages * PAGES_SIZE}};

	if (ioctl(c->uffd, UFFDIO_ZEROPAGE, &z) == 0 || z.zeropage > 0)
		return z.zeropage;
	return z.zeropage < 0 ? z.zeropage : -errno;
}

int64_t space_put_cached(struct space_child *c, uint64_t addr, uint64_t pages)
{
	struct uffdio_continue k = {.range = {addr, pages * PAGES_SIZE}};

	if (ioctl(c->uffd, UFFDIO_CONTINUE, &k) == 0 || k.mapped > 0)
		return k.mapped;
	return k.mapped < 0 ? k.mapped : -errno;
}

int space_child_put(struct space_child *c, uint64_t addr, bool zero)
{
	int64_t n = zero ? put_zero(c, addr, 1) : space_put_cached(c, addr, 1);

	return n < 0 ? (int)n : 0;
}

static void wake(struct space_child *c, uint64_t addr)
{
	struct uffdio_range r = {addr, PAGES_SIZE};

	ioctl(c->uffd, UFFDIO_WAKE, &r);
}

bool space_alive(int uffd)
{
	/* A copy that cannot succeed: nothing is registered there, and nothing can be read. */
	struct uffdio_copy k = {.dst = PAGES_SIZE, .src = PAGES_SIZE, .len = PAGES_SIZE};

	return !(ioctl(uffd, UFFDIO_COPY, &k) && errno == ESRCH);
}

static bool alive(struct space_child *c)
{
	return space_alive(c->uffd);
}

static void tell(struct space_child *c, int rc, const char *why)
{
	if (c->told || !c->lost)
		return;
	c->told = true;
	c->lost(c->ctx, rc, why);
}

/* The page cannot be had. 1: the child knows; 0: it waits for its end. */
static int lose(struct space_child *c, uint64_t addr, int rc, const char *why)
{
	struct uffdio_poison p = {.range = {addr, PAGES_SIZE}};

	c->s->stats.lost++;
	snprintf(c->s->stats.why, sizeof(c->s->stats.why), "%s%s%s", why, rc ? ": " : "",
		 rc ? strerror(-rc) : "");
	tell(c, rc ? rc : -EFAULT, c->s->stats.why);
	if (ioctl(c->uffd, UFFDIO_POISON, &p) == 0 || errno == EEXIST) {
		wake(c, addr);
		return 1;
	}
	return 0;
}

typedef int64_t (*put_fn)(struct space_child *c, uint64_t addr, uint64_t pages);

/*
 * Fills @pages from @addr on, where the fault is, and @before pages before it. A run that crosses from one
 * mapping of the child into another is refused by the kernel, and then it is the one page.
 */
static int put(struct space_child *c, put_fn fn, uint64_t addr, uint64_t before, uint64_t pages,
	       uint64_t *count)
{
	int64_t n = fn(c, addr, pages);

	if (n == -ENOENT && pages > 1)
		n = fn(c, addr, 1);
	if (n > 0) {
		*count += (uint64_t)n / PAGES_SIZE;
		n = before ? fn(c, addr - before * PAGES_SIZE, before) : 0;
		*count += n > 0 ? (uint64_t)n / PAGES_SIZE : 0;
		return 1;
	}
	switch (-n) {
	case EAGAIN:
	case ENOMEM: /* of the child's limits: it may have more later */
		c->s->stats.again++;
		return -EAGAIN;
	case ESRCH:
		return -ESRCH;
	default: /* filled by somebody else, or not there any more: let it look again */
		wake(c, addr);
		return 1;
	}
}

/* The sequence that a fault belongs to: again the same one, the next one of it, or the first of a new one. */
static struct stream *stream_of(struct space_child *c, uint64_t page)
{
	struct stream *t;

	for (unsigned i = 0; i < STREAMS; i++) {
		t = &c->stream[i];
		if (page >= t->from && page < t->end)
			return t;
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		t = &c->stream[i];
		if (page >= t->end && page < t->end + c->s->window) {
			t->ahead = t->ahead == 0 ? 1 : t->ahead * 2 < AHEAD_MAX ? t->ahead * 2 : AHEAD_MAX;
			t->from = page;
			t->end = page + 1;
			return t;
		}
	}
	t = &c->stream[c->stream_next++ % STREAMS];
	*t = (struct stream){.from = page, .end = page + 1};
	return t;
}

static void ask_ahead(struct space_child *c, const struct stream *t, const struct place *p, uint64_t page)
{
	uint64_t window = c->s->window, from = page - page % window + window;
	uint64_t end = p->page + (p->end - p->start) / PAGES_SIZE, to = from + t->ahead * window;

	if (t->ahead && from < end)
		space_ask_ahead(c->s, from, to < end ? to : end);
}

/* The child goes on with the window that it waits for; meanwhile what it will want next is asked for, and put in. */
static int put_run(struct space_child *c, const struct stream *t, const struct place *p, uint64_t addr, uint64_t before,
		   uint64_t pages)
{
	uint64_t page = p->page + (addr - p->start) / PAGES_SIZE, low = page % c->s->window;
	uint64_t first = c->s->window - low < pages ? c->s->window - low : pages;
	struct space_stats *st = &c->s->stats;
	int64_t n;
	int rc = put(c, space_put_cached, addr, before, first, &st->mapped);

	if (rc < 0)
		return rc;
	ask_ahead(c, t, p, page + pages - 1);
	n = pages > first ? space_put_cached(c, addr + first * PAGES_SIZE, pages - first) : 0;
	st->mapped += n > 0 ? (uint64_t)n / PAGES_SIZE : 0;
	return rc;
}

/* 1: answered; 0: it waits for pages; -EAGAIN: try later; -ESRCH: the memory is gone. */
static int resolve(struct space_child *c, const struct fault *f)
{
	struct space *s = c->s;
	uint64_t next, page, run, before, most, low;
	const struct place *p = places_find(&c->places, f->addr, &next);
	struct stream *t;
	int rc;

	if (!p || p->state == PLACE_ZERO) {
		most = (next - f->addr) / PAGES_SIZE;
		return put(c, put_zero, f->addr, 0, most < ZERO_WINDOW ? most : ZERO_WINDOW,
			   &s->stats.zero);
	}
	if (p->state == PLACE_LOST)
		return lose(c, f->addr, 0, "it emptied changed pages of a mapped file");
	page = p->page + (f->addr - p->start) / PAGES_SIZE;
	most = (p->end - f->addr) / PAGES_SIZE;
	t = stream_of(c, page);
	for (int i = 0; i < FAULT_ROUNDS; i++) {
		switch (space_state(s, page, most, &run)) {
		case STATE_ZERO:
			return put(c, put_zero, f->addr, 0, run < ZERO_WINDOW ? run : ZERO_WINDOW,
				   &s->stats.zero);
		case STATE_PRESENT:
			/* The rest of the window that the page is in. */
			low = page % s->window;
			most = (f->addr - p->start) / PAGES_SIZE;
			before = space_present_before(s, page, low < most ? low : most);
			most = s->window * (1 + t->ahead) - low;
			most = run < most ? run : most;
			most = most < MAP_MAX ? most : MAP_MAX;
			s->stats.cached += i == 0;
			t->end = page + most;
			space_touched(s, page - before, before + most);
			return put_run(c, t, p, f->addr, before, most);
		case STATE_COMING:
			return 0;
		case STATE_ABSENT:
			rc = space_ask(s, page, p->page, p->page + (p->end - p->start) / PAGES_SIZE,
				       t->ahead > 1 ? space_large(s) : s->window);
			if (rc == -EAGAIN)
				return rc;
			if (rc)
				return lose(c, f->addr, rc, "a page cannot be had");
			ask_ahead(c, t, p, page);
			break;
		}
	}
	return 0;
}

static void served(struct space *s, const struct fault *f)
{
	uint64_t took = clock_now_ns() - f->since_ns;

	s->stats.latency_ns_sum += took;
	if (took > s->stats.latency_ns_max)
		s->stats.latency_ns_max = took;
}

void space_child_serve(struct space_child *c)
{
	size_t kept = 0;

	if (c->stuck)
		return;
	c->again = false;
	for (size_t i = 0; i < c->nfaults; i++) {
		int rc = c->dead ? -ESRCH : resolve(c, &c->faults[i]);

		if (rc == -ESRCH)
			c->dead = true;
		if (rc == -EAGAIN)
			c->again = true;
		if (rc == 0 || rc == -EAGAIN)
			c->faults[kept++] = c->faults[i];
		else if (rc > 0)
			served(c->s, &c->faults[i]);
	}
	c->nfaults = kept;
}

bool space_wants_again(const struct space *s)
{
	for (const struct space_child *c = s->children; c; c = c->next)
		if (c->again && !c->dead && !c->stuck)
			return true;
	return false;
}

/* ------------------------------------------------------------------ children */

static struct space_child *child_new(struct space *s)
{
	struct space_child *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->s = s;
	c->uffd = c->ledger_fd = -1;
	c->room = 16;
	c->faults = malloc(c->room * sizeof(*c->faults));
	if (c->faults)
		return c;
	free(c);
	return NULL;
}

static void child_free(struct space_child *c)
{
	if (!c)
		return;
	child_free(c->spare);
	places_free(&c->places);
	places_free(&c->due);
	ledger_free(c);
	free(c->faults);
	if (c->uffd >= 0)
		close(c->uffd);
	free(c);
}

static void child_link(struct space *s, struct space_child *c)
{
	c->id = ++s->ids;
	c->next = s->children;
	s->children = c;
	s->stats.children++;
	s->stats.children_all++;
	if (s->watch)
		s->watch(s->watch_ctx, c->uffd, c);
}

static void child_unlink(struct space_child *c)
{
	struct space *s = c->s;

	for (struct space_child **at = &s->children; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	s->stats.children--;
	if (s->forget)
		s->forget(s->watch_ctx, c->uffd);
	child_free(c);
}

/* Memory of a child's child: extents say which of it was a file's. */
static int add_parts(struct space_child *c, const struct place *all)
{
	const struct store_index *x = &c->s->x;
	struct place piece = *all;
	int rc = 0;

	while (!rc && piece.start < all->end) {
		uint64_t left = (all->end - piece.start) / PAGES_SIZE, n = 0, run;

		for (bool first = true; n < left; first = false) {
			int64_t e = store_index_find(x, piece.page + n, &run);
			bool file = e >= 0 && x->extents[e].flags & STORE_EXTENT_FILE;

			if (!first && file != piece.file)
				break;
			piece.file = file;
			n += run < left - n ? run : left - n;
		}
		piece.end = piece.start + n * PAGES_SIZE;
		rc = places_add(&c->places, &piece);
		piece.start = piece.end;
		piece.page += n;
	}
	return rc;
}

int space_child_add(struct space *s, int uffd, const struct page_place *places, unsigned n,
		    space_child_lost lost, void *ctx, struct space_child **out)
{
	struct space_child *c = child_new(s);
	uint64_t pages = s->x.h.cache_size / PAGES_SIZE;
	int rc = c ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !rc; i++) {
		const struct page_place *p = &places[i];
		const struct page_range *r = p->range < s->x.h.nranges ? &s->x.ranges[p->range] : NULL;
		struct place piece;

		if (p->kind == PLACE_FILLED)
			continue;
		if (p->kind != PLACE_CACHED || !r || p->length == 0 || p->length > r->length ||
		    p->page > (r->length - p->length) / PAGES_SIZE ||
		    p->start > UINT64_MAX - p->length) {
			rc = -EINVAL;
			break;
		}
		piece = (struct place){.start = p->start, .end = p->start + p->length,
				       .page = r->cache / PAGES_SIZE + p->page,
				       .file = r->kind != PAGES_ANON};
		if (piece.page + p->length / PAGES_SIZE > pages)
			rc = -EINVAL;
		else if (r->kind == PAGES_CHILD)
			rc = add_parts(c, &piece);
		else
			rc = places_add(&c->places, &piece);
	}
	if (rc) {
		close(uffd);
		child_free(c);
		return rc;
	}
	c->uffd = uffd;
	c->root = true;
	c->lost = lost;
	c->ctx = ctx;
	child_link(s, c);
	*out = c;
	return 0;
}

int space_child_take(struct space *s, int uffd, const struct places *p, const struct places *due,
		     space_child_lost lost, void *ctx)
{
	struct uffdio_range all = {USER_START, USER_END - USER_START};
	struct space_child *c = child_new(s);

	if (!c || places_copy(&c->places, p) || places_copy(&c->due, due)) {
		child_free(c);
		close(uffd);
		return -ENOMEM;
	}
	c->uffd = uffd;
	c->lost = lost;
	c->ctx = ctx;
	child_link(s, c);
	/* Who asked the other one, and had no answer, asks again. */
	ioctl(uffd, UFFDIO_WAKE, &all);
	return 0;
}

uint64_t space_child_id(const struct space_child *c)
{
	return c->id;
}

struct space_child *space_unkept(const struct space *s, const struct space_child *c)
{
	struct space_child *k = c ? c->next : s->children;

	while (k && (k->ledger || !k->lost || k->dead || k->stuck))
		k = k->next;
	return k;
}

void space_child_end(struct space_child *c)
{
	struct space *s = c->s;

	c->lost = NULL;
	/* Forks of it tell nobody any more. */
	for (struct space_child *k = s->children; k; k = k->next)
		if (k != c && k->lost && k->ctx == c->ctx && !k->root)
			k->lost = NULL;
	if (!alive(c)) {
		child_unlink(c);
	} else {
		/* Another process has its memory still: vfork, or CLONE_VM. */
		c->root = false;
	}
	space_sweep(s);
}

void *space_child_owner(const struct space_child *c, bool *fork)
{
	*fork = !c->root;
	return c->lost ? c->ctx : NULL;
}

void space_sweep(struct space *s)
{
	for (struct space_child *c = s->children, *next; c; c = next) {
		next = c->next;
		if (c->root)
			continue;
		if (c->dead || !alive(c))
			child_unlink(c);
	}
}

void space_watch(struct space *s, void (*watch)(void *ctx, int fd, struct space_child *c),
		 void (*forget)(void *ctx, int fd), void *ctx)
{
	s->watch = watch;
	s->forget = forget;
	s->watch_ctx = ctx;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	while (s->children)
		child_unlink(s->children);
	while (s->fills) {
		struct fill *f = s->fills;

		s->fills = f->next;
		f->done(f->ctx, -ECANCELED);
		free(f);
	}
	if (s->fd >= 0)
		close(s->fd);
	store_index_free(&s->x);
	free(s->present);
	free(s->coming);
	free(s->touched);
	free(s->order);
	free(s);
}

/* ------------------------------------------------------------------ messages */

/* Everything that one message may need, so that what it says cannot be lost. */
static bool ready(struct space_child *c)
{
	if (!c->spare)
		c->spare = child_new(c->s);
	if (!c->spare || places_reserve(&c->spare->places, c->places.n + 4) ||
	    places_reserve(&c->places, 4))
		return false;
	if (c->nfaults == c->room) {
		struct fault *more = realloc(c->faults, c->room * 2 * sizeof(*more));

		if (!more)
			return false;
		c->faults = more;
		c->room *= 2;
	}
	return true;
}

static void forked(struct space_child *c, int uffd)
{
	struct space_child *k = c->spare;

	c->spare = NULL;
	k->uffd = uffd;
	k->lost = c->lost;
	k->ctx = c->ctx;
	places_copy(&k->places, &c->places); /* has room */
	child_link(c->s, k);
	c->s->stats.forks++;
}

static void message(struct space_child *c, const struct uffd_msg *m)
{
	struct space_stats *st = &c->s->stats;
	int rc = 0;

	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		st->faults++;
		c->faults[c->nfaults++] = (struct fault){
			.addr = m->arg.pagefault.address & ~(uint64_t)(PAGES_SIZE - 1),
			.since_ns = clock_now_ns(),
			.write = m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE,
		};
		break;
	case UFFD_EVENT_FORK:
		forked(c, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMAP:
		st->moves++;
		rc = places_move(&c->places, &c->due, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
		st->empties++;
		rc = places_empty(&c->places, m->arg.remove.start, m->arg.remove.end);
		break;
	case UFFD_EVENT_UNMAP:
		st->unmaps++;
		rc = places_unmap(&c->places, &c->due, m->arg.remove.start, m->arg.remove.end);
		break;
	default:
		rc = -EPROTO;
	}
	if (rc) {
		c->stuck = true;
		tell(c, rc, "a change of its memory could not be followed");
	}
}

/* O_NONBLOCK of it is its owner's as well as ours, so it is said with each call, where the kernel knows how (Linux 6.10). */
ssize_t space_message_read(int fd, void *m)
{
	static bool old;
	struct iovec v = {m, sizeof(struct uffd_msg)};
	ssize_t n = -1;

	if (!old)
		n = preadv2(fd, &v, 1, -1, RWF_NOWAIT);
	if (n < 0 && (old || errno == EOPNOTSUPP || errno == ESPIPE)) {
		old = true;
		n = read(fd, m, sizeof(struct uffd_msg));
	}
	return n;
}

void space_child_ready(struct space_child *c)
{
	struct uffd_msg m;

	for (unsigned i = 0; i < READ_MAX && !c->dead && !c->stuck; i++) {
		ssize_t n;

		if (!ready(c)) {
			tell(c, -ENOMEM, "the pager has no memory");
			c->stuck = true;
			break;
		}
		n = ledger_event(c, &m);
		if (n == sizeof(m)) {
			message(c, &m);
			ledger_write(c, &m);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* A fork whose descriptor does not fit waits in the kernel, and is ended with its parent. */
		if (n < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
			tell(c, -errno, "the pager has no descriptor left for a fork of it");
		break;
	}
	space_serve(c->s, c);
}
