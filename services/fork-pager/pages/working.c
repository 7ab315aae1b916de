/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done before anybody asks: pages that earlier children of a snapshot have wanted are put into later ones, and what
 * nobody has wanted yet is fetched in the background, so that children need the other node no more.
 *
 * Both are hints: a page that cannot be put or fetched now comes when the child faults on it, and only then is
 * anything said to be lost.
 */
#include <errno.h>

#include "services/fork-pager/pages/space_impl.h"

enum {
	BACK_FETCHES = 4, /* reads under way beyond which the background waits for what children want */
	BACK_PAUSE_NS = 1000000,
};

void space_touched(struct space *s, uint64_t page, uint64_t count)
{
	uint64_t run, ordinal;

	for (uint64_t p = page, end = page + count; p < end; p += run) {
		int64_t e = store_index_find(&s->x, p, &run);

		if (run > end - p)
			run = end - p;
		if (e < 0)
			continue;
		ordinal = s->x.before[e] + (p - s->x.extents[e].page);
		for (uint64_t g = ordinal / TOUCHED; g <= (ordinal + run - 1) / TOUCHED; g++) {
			if (s->touched[g / 64] >> (g % 64) & 1)
				continue;
			s->touched[g / 64] |= 1ull << (g % 64);
			s->order[s->norder++] = (uint32_t)g;
			s->stats.working += TOUCHED;
		}
	}
}

void space_child_replay(struct space_child *c)
{
	c->replay = c->s->norder;
}

/* Which extent holds an ordinal that one of them holds. */
static uint32_t extent_of(const struct store_index *x, uint64_t ordinal)
{
	uint32_t low = 0, high = x->h.nextents - 1;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (x->before[mid + 1] <= ordinal)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Where a page lies in a child, and how many after it lie there, too. */
static bool address_of(const struct space_child *c, uint64_t page, uint64_t *addr, uint64_t *run)
{
	for (size_t i = 0; i < c->places.n; i++) {
		const struct place *p = &c->places.piece[i];
		uint64_t pages = (p->end - p->start) / PAGES_SIZE;

		if (p->state != PLACE_PAGES || page < p->page || page - p->page >= pages)
			continue;
		*addr = p->start + (page - p->page) * PAGES_SIZE;
		*run = pages - (page - p->page);
		return true;
	}
	return false;
}

/* Puts in what of [page, page + count) is present. 0; -EAGAIN: the child changes its memory; -ESRCH. */
static int replay_run(struct space_child *c, uint64_t page, uint64_t count)
{
	struct space *s = c->s;
	uint64_t addr, run, lies;

	for (uint64_t end = page + count; page < end; page += run) {
		enum page_state state = space_state(s, page, end - page, &run);
		int64_t n;

		if (state == STATE_ABSENT)
			space_ask_ahead(s, page, page + run);
		if (state != STATE_PRESENT)
			continue;
		if (!address_of(c, page, &addr, &lies)) {
			run = 1;
			continue;
		}
		run = run < lies ? run : lies;
		n = space_put_cached(c, addr, run);
		if (n == -EAGAIN || n == -ESRCH)
			return (int)n;
		/* One that is there already, or a mapping that ends: on with the next one. */
		run = n > 0 ? (uint64_t)n / PAGES_SIZE : 1;
		s->stats.replayed += n > 0 ? run : 0;
	}
	return 0;
}

static void replay_some(struct space_child *c)
{
	struct space *s = c->s;
	uint64_t first = s->order[c->replayed], n = 1, ordinal, end;
	int rc = 0;

	/* Groups that follow each other are one. */
	while (n < MAP_MAX / TOUCHED && c->replayed + n < c->replay && s->order[c->replayed + n] == first + n)
		n++;
	ordinal = first * TOUCHED;
	end = ordinal + n * TOUCHED < s->npages ? ordinal + n * TOUCHED : s->npages;
	while (ordinal < end && !rc) {
		uint32_t e = extent_of(&s->x, ordinal);
		uint64_t count = s->x.before[e + 1] < end ? s->x.before[e + 1] - ordinal : end - ordinal;

		rc = replay_run(c, s->x.extents[e].page + (ordinal - s->x.before[e]), count);
		ordinal += count;
	}
	if (rc == -ESRCH)
		c->dead = true;
	if (rc != -EAGAIN)
		c->replayed += (uint32_t)n;
}

void space_background(struct space *s, uint64_t rate)
{
	s->back_rate = rate;
	s->back_ns = 0;
	s->back_extent = 0;
}

static unsigned fetches(const struct space *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FETCHES_MAX; i++)
		n += s->fetch[i].busy;
	return n;
}

/* Some more of what is absent; false: nothing is. */
static bool back_some(struct space *s, uint64_t now)
{
	while (s->back_extent < s->x.h.nextents) {
		const struct store_extent *e = &s->x.extents[s->back_extent];
		uint64_t run;

		for (uint64_t p = e->page, end = p + e->count; p < end; p += run) {
			uint64_t before = s->asked, most;
			int rc;

			if (space_state(s, p, end - p, &run) != STATE_ABSENT)
				continue;
			most = run < space_large(s) ? run : space_large(s);
			rc = space_ask(s, p, e->page, end, most);
			if (rc == -EAGAIN)
				return true;
			if (rc) /* its node is gone */
				break;
			s->stats.behind += s->asked - before;
			s->back_ns = now + (s->asked - before) * PAGES_SIZE * 1000000000ull / s->back_rate;
			return true;
		}
		s->back_extent++;
	}
	return false;
}

bool space_step(struct space *s, uint64_t now, uint64_t *next)
{
	bool more = false;

	for (struct space_child *c = s->children; c; c = c->next) {
		if (c->dead || c->stuck || c->replayed >= c->replay)
			continue;
		replay_some(c);
		more |= c->replayed < c->replay;
	}
	if (!s->back_rate)
		return more;
	if (now >= s->back_ns) {
		s->back_ns = now + BACK_PAUSE_NS;
		if (fetches(s) < BACK_FETCHES && !back_some(s, now))
			s->back_rate = 0;
	}
	if (s->back_rate && s->back_ns < *next)
		*next = s->back_ns;
	return more;
}
