/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/pages/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "services/fork-pager/pages/space_impl.h"

static bool bit(const uint64_t *map, uint64_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void bits_set(uint64_t *map, uint64_t from, uint64_t n, bool on)
{
	for (uint64_t i = from; i < from + n; i++) {
		if (on)
			map[i / 64] |= 1ull << (i % 64);
		else
			map[i / 64] &= ~(1ull << (i % 64));
	}
}

int space_new(struct space **out, struct store_index *index, const struct space_source *source,
	      unsigned window)
{
	struct space *s;
	uint64_t words;
	int rc = -ENOMEM;

	if (window < 1 || window > SPACE_WINDOW_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->npages = index->before[index->h.nextents];
	s->stats.left = s->npages;
	words = s->npages / 64 + 1;
	s->present = calloc(words, 8);
	s->coming = calloc(words, 8);
	s->touched = calloc(s->npages / TOUCHED / 64 + 1, 8);
	s->order = calloc(s->npages / TOUCHED + 1, sizeof(*s->order));
	s->source = *source;
	s->window = window;
	s->fd = -1;
	if (s->present && s->coming && s->touched && s->order) {
		s->fd = memfd_create("atoll-pages", MFD_CLOEXEC);
		rc = s->fd < 0 || ftruncate(s->fd, (off_t)index->h.cache_size) ? -errno : 0;
	}
	if (rc) {
		space_free(s);
		return rc;
	}
	s->x = *index;
	memset(index, 0, sizeof(*index));
	*out = s;
	return 0;
}

int space_new_whole(struct space **out, struct store_index *index, const struct space_source *source,
		    unsigned window, int cache_fd)
{
	int rc = space_new(out, index, source, window), fd;

	if (rc)
		return rc;
	fd = fcntl(cache_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		space_free(*out);
		*out = NULL;
		return -errno;
	}
	close((*out)->fd);
	(*out)->fd = fd;
	bits_set((*out)->present, 0, (*out)->npages, true);
	(*out)->npresent = (*out)->npages;
	return 0;
}

bool space_whole(const struct space *s)
{
	return s->npresent == s->npages;
}

int space_fd(const struct space *s)
{
	return s->fd;
}

const struct store_index *space_index(const struct space *s)
{
	return &s->x;
}

const struct space_stats *space_stats(const struct space *s)
{
	return &s->stats;
}

unsigned space_file_runs(const struct space *s, struct page_run *out, unsigned max)
{
	uint32_t i = 0, range = 0;
	unsigned n = 0;

	/* Extents know nothing of ranges, and may reach over from one into the next. */
	while (i < s->x.h.nextents && range < s->x.h.nranges) {
		const struct store_extent *e = &s->x.extents[i];
		const struct page_range *r = &s->x.ranges[range];
		uint64_t start = r->cache / PAGES_SIZE, end = start + r->length / PAGES_SIZE;
		uint64_t from = e->page > start ? e->page : start;
		uint64_t to = e->page + e->count < end ? e->page + e->count : end;
		struct page_run *last = n && n <= max ? &out[n - 1] : NULL;

		if (from < to && r->kind == PAGES_FILE) {
			if (last && last->range == range && last->page + last->count == from - start) {
				last->count += (uint32_t)(to - from);
			} else {
				if (n < max)
					out[n] = (struct page_run){range, (uint32_t)(from - start),
								   (uint32_t)(to - from)};
				n++;
			}
		}
		if (e->page + e->count <= end)
			i++;
		else
			range++;
	}
	return n;
}

/* ------------------------------------------------------------------ states of pages */

static uint64_t ordinal_of(const struct space *s, int64_t extent, uint64_t page)
{
	return s->x.before[extent] + (page - s->x.extents[extent].page);
}

static enum page_state state_at(const struct space *s, uint64_t ordinal)
{
	if (bit(s->present, ordinal))
		return STATE_PRESENT;
	return bit(s->coming, ordinal) ? STATE_COMING : STATE_ABSENT;
}

enum page_state space_state(const struct space *s, uint64_t page, uint64_t max, uint64_t *run)
{
	uint64_t alike, ordinal, n;
	int64_t e = store_index_find(&s->x, page, &alike);
	enum page_state state;

	if (alike > max)
		alike = max;
	if (e < 0) {
		*run = alike;
		return STATE_ZERO;
	}
	ordinal = ordinal_of(s, e, page);
	state = state_at(s, ordinal);
	for (n = 1; n < max && state_at(s, ordinal + n) == state; n++) {
		/* Present pages are alike over the border of extents, where no zeros lie between. */
		if (n < alike)
			continue;
		if (state != STATE_PRESENT || e + 1 >= s->x.h.nextents ||
		    s->x.extents[e + 1].page != page + n)
			break;
		e++;
		alike += s->x.extents[e].count;
	}
	*run = n;
	return state;
}

uint64_t space_present_before(const struct space *s, uint64_t page, uint64_t max)
{
	uint64_t n = 0, run;

	while (n < max && page > n && space_state(s, page - n - 1, 1, &run) == STATE_PRESENT)
		n++;
	return n;
}

/* ------------------------------------------------------------------ asking */

int space_ask(struct space *s, uint64_t page, uint64_t low, uint64_t high, uint64_t window)
{
	uint64_t run, from, to, start = page - page % window;
	int64_t e = store_index_find(&s->x, page, &run);
	const struct store_extent *x = &s->x.extents[e];
	struct fetch *f = NULL;
	int rc;

	if (s->failed[x->hop])
		return s->failed[x->hop];
	for (unsigned i = 0; i < FETCHES_MAX && !f; i++)
		if (!s->fetch[i].busy)
			f = &s->fetch[i];
	if (!f || s->source_full)
		return -EAGAIN;
	/* The window that the page is in, as far as it is one run of the store that is absent. */
	from = start > low ? start : low;
	from = from > x->page ? from : x->page;
	to = start + window < high ? start + window : high;
	to = to < x->page + x->count ? to : x->page + x->count;
	for (uint64_t p = page; p > from; p--)
		if (state_at(s, ordinal_of(s, e, p - 1)) != STATE_ABSENT)
			from = p;
	for (uint64_t p = page; p < to; p++)
		if (state_at(s, ordinal_of(s, e, p)) != STATE_ABSENT)
			to = p;
	*f = (struct fetch){.busy = true, .page = from, .ordinal = ordinal_of(s, e, from),
			    .count = (uint32_t)(to - from), .hop = x->hop};
	f->token = ++s->tokens * FETCHES_MAX + (uint64_t)(f - s->fetch);
	bits_set(s->coming, f->ordinal, f->count, true);
	rc = s->source.read(s->source.ctx, x->hop, x->store + (from - x->page), (uint32_t)(to - from), f->token);
	if (rc == 0) {
		s->stats.reads++;
		s->asked += to - from;
		return 0;
	}
	bits_set(s->coming, f->ordinal, f->count, false);
	f->busy = false;
	if (rc == -EAGAIN)
		s->source_full = true;
	else
		s->failed[x->hop] = rc;
	return rc;
}

static unsigned fetches(const struct space *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FETCHES_MAX; i++)
		n += s->fetch[i].busy;
	return n;
}

void space_ask_ahead(struct space *s, uint64_t from, uint64_t to)
{
	uint64_t run;

	for (uint64_t p = from; p < to && fetches(s) < AHEAD_FETCHES;) {
		if (space_state(s, p, to - p, &run) != STATE_ABSENT)
			p += run;
		else if (space_ask(s, p, from, to, space_large(s)))
			break;
		else
			s->stats.ahead++;
	}
}

static int cache_write(struct space *s, uint64_t page, const void *data, uint32_t count)
{
	size_t len = (size_t)count * PAGES_SIZE;
	ssize_t n = pwrite(s->fd, data, len, (off_t)(page * PAGES_SIZE));

	if (n == (ssize_t)len)
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}

static void fills_serve(struct space *s)
{
	struct fill **at = &s->fills;

	while (*at) {
		struct fill *f = *at;
		uint64_t run;
		int rc = 0;
		bool waits = false;

		/* All that can be asked for is; then the first page that is not there yet is waited for. */
		for (uint64_t p = f->page; p < f->end && !rc;) {
			enum page_state st = space_state(s, p, f->end - p, &run);

			if (st == STATE_ABSENT) {
				rc = space_ask(s, p, f->page, f->end, space_large(s));
				if (rc == -EAGAIN)
					break;
				continue;
			}
			waits |= st == STATE_COMING;
			p += run;
			if (!waits)
				f->page = p;
		}
		if (rc == -EAGAIN || (!rc && f->page < f->end)) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		f->done(f->ctx, rc);
		free(f);
	}
}

void space_serve(struct space *s, struct space_child *first)
{
	/* A source that answers at once calls back from inside: one round more, not one deeper. */
	s->progress |= !first;
	if (s->serving) {
		s->progress = true;
		return;
	}
	s->serving = true;
	if (first)
		space_child_serve(first);
	while (s->progress) {
		s->progress = false;
		for (struct space_child *c = s->children; c; c = c->next)
			space_child_serve(c);
		fills_serve(s);
	}
	s->serving = false;
}

void space_arrived(struct space *s, uint64_t token, const void *data, int rc)
{
	struct fetch *f = &s->fetch[token % FETCHES_MAX];

	if (!f->busy || f->token != token)
		return;
	f->busy = false;
	bits_set(s->coming, f->ordinal, f->count, false);
	if (!rc)
		rc = cache_write(s, f->page, data, f->count);
	if (rc) {
		s->failed[f->hop] = rc;
	} else {
		bits_set(s->present, f->ordinal, f->count, true);
		s->npresent += f->count;
		s->stats.fetched += f->count;
		s->stats.far += f->hop ? f->count : 0;
		s->stats.left -= f->count;
	}
	s->source_full = false;
	space_serve(s, NULL);
}

void space_again(struct space *s)
{
	s->source_full = false;
	space_serve(s, NULL);
}

int space_fill(struct space *s, uint64_t page, uint64_t count, void (*done)(void *ctx, int rc),
	       void *ctx)
{
	struct fill *f = calloc(1, sizeof(*f));
	uint64_t pages = s->x.h.cache_size / PAGES_SIZE;

	if (!f)
		return -ENOMEM;
	if (page > pages)
		page = pages;
	*f = (struct fill){.next = s->fills, .page = page, .done = done, .ctx = ctx};
	f->end = count > pages - page ? pages : page + count;
	s->fills = f;
	s->source_full = false; /* as it was long ago */
	space_serve(s, NULL);
	return 0;
}
