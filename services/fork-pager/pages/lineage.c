/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot of a child: which of the processes that are served here it is, and where the pages lie that it has
 * never changed.
 *
 * The kernel told of the snapshot as of any fork, by a userfaultfd without a name. Which one is its own is found out by
 * putting a page into each that may be, as a fault would, and looking into the page table of the snapshot: only its own
 * descriptor can have changed it. A page that is put into another one is no harm: it belongs there.
 */
#include <errno.h>
#include <unistd.h>

#include "services/fork-pager/pages/space_impl.h"

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)

enum {
	ENTRIES = 512, /* of a page table, read at once */
	PROBES = 8,    /* pages of one process */
};

enum verdict {
	IS_IT,
	IS_NOT,
	UNKNOWN,	/* it has all its pages: nothing can be put into it */
	WANTS_PAGE,	/* what is missing of it is not here yet */
};

static bool there(int pagemap_fd, uint64_t addr)
{
	uint64_t entry = 0;

	return pread(pagemap_fd, &entry, sizeof(entry), (off_t)(addr / PAGES_SIZE * 8)) == sizeof(entry) &&
	       entry & (PRESENT | SWAPPED);
}

/* A page that the snapshot lacks, put into @c. */
static enum verdict try(struct space_child *c, int pagemap_fd, const struct place *p, uint64_t addr)
{
	uint64_t page = p->page + (addr - p->start) / PAGES_SIZE, run;
	enum page_state state = p->state == PLACE_ZERO ? STATE_ZERO : space_state(c->s, page, 1, &run);

	if (state == STATE_COMING)
		return WANTS_PAGE;
	if (state == STATE_ABSENT)
		return space_ask(c->s, page, p->page, p->page + (p->end - p->start) / PAGES_SIZE, c->s->window) == 0 || space_state(c->s, page, 1, &run) != STATE_ABSENT
			       ? WANTS_PAGE
			       : UNKNOWN;
	switch (space_child_put(c, addr, state == STATE_ZERO)) {
	case 0:
		return there(pagemap_fd, addr) ? IS_IT : IS_NOT;
	case -EEXIST: /* this one has it, the snapshot has not */
	case -ESRCH:
		return IS_NOT;
	default: /* not a page of it any more */
		return UNKNOWN;
	}
}

static enum verdict judge(struct space_child *c, int pagemap_fd)
{
	uint64_t entry[ENTRIES];
	enum verdict best = UNKNOWN, got;
	unsigned probes = 0;

	for (size_t i = 0; i < c->places.n; i++) {
		const struct place p = c->places.piece[i];

		if (p.state == PLACE_LOST)
			continue;
		for (uint64_t a = p.start; a < p.end; a += ENTRIES * PAGES_SIZE) {
			uint64_t left = (p.end - a) / PAGES_SIZE, n = left < ENTRIES ? left : ENTRIES;

			if (pread(pagemap_fd, entry, n * 8, (off_t)(a / PAGES_SIZE * 8)) != (ssize_t)(n * 8))
				return IS_NOT;
			for (uint64_t k = 0; k < n; k++) {
				if (entry[k] & (PRESENT | SWAPPED))
					continue;
				got = try(c, pagemap_fd, &p, a + k * PAGES_SIZE);
				if (got == IS_IT || got == IS_NOT)
					return got;
				best = got == WANTS_PAGE ? got : best;
				if (++probes == PROBES)
					return best;
			}
		}
	}
	return best;
}

int space_lineage(struct space *s, int pagemap_fd, struct places *out, struct space_child **left)
{
	int rc = -ENOENT;

	for (struct space_child *c = s->children; c; c = c->next) {
		if (c->root || c->dead || c->stuck)
			continue;
		switch (judge(c, pagemap_fd)) {
		case IS_IT:
			return places_copy(out, &c->places);
		case IS_NOT:
			break;
		case UNKNOWN:
			if (rc == -ENOENT)
				rc = -EEXIST;
			else if (rc == -EEXIST)
				rc = -ENOTUNIQ;
			*left = c;
			break;
		case WANTS_PAGE:
			return -EAGAIN;
		}
	}
	return rc;
}

int space_lineage_take(const struct space_child *c, struct places *out)
{
	return places_copy(out, &c->places);
}

int space_origin(const struct space *s, const struct places *p, uint64_t addr, uint64_t max, uint64_t *run,
		 struct page_origin *out)
{
	uint64_t next, page, alike, n;
	const struct place *k = places_find(p, addr, &next);
	int64_t e;

	*out = (struct page_origin){.file = k && k->file};
	n = (next - addr) / PAGES_SIZE;
	*run = n < max ? n : max;
	if (k && k->state == PLACE_LOST)
		return -EIO;
	if (!k || k->state == PLACE_ZERO)
		return 0;
	page = k->page + (addr - k->start) / PAGES_SIZE;
	e = store_index_find(&s->x, page, &alike);
	*run = alike < *run ? alike : *run;
	if (e < 0)
		return 0;
	out->hop = s->x.extents[e].hop + 1u;
	out->store = s->x.extents[e].store + (uint32_t)(page - s->x.extents[e].page);
	return 0;
}
