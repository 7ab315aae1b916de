/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/pages/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int places_reserve(struct places *p, size_t n)
{
	struct place *more;
	size_t room = p->room ? p->room : 16;

	while (room - p->n < n)
		room *= 2;
	if (room == p->room)
		return 0;
	more = realloc(p->piece, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->piece = more;
	p->room = room;
	return 0;
}

int places_add(struct places *p, const struct place *piece)
{
	if (piece->start >= piece->end || (piece->start | piece->end) % PAGES_SIZE ||
	    (p->n && piece->start < p->piece[p->n - 1].end))
		return -EINVAL;
	if (places_reserve(p, 1))
		return -ENOMEM;
	p->piece[p->n++] = *piece;
	return 0;
}

/* The first piece that ends after @addr; n if there is none. */
static size_t after(const struct places *p, uint64_t addr)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->piece[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct place *places_find(const struct places *p, uint64_t addr, uint64_t *next)
{
	size_t i = after(p, addr);

	if (i < p->n && p->piece[i].start <= addr) {
		if (next)
			*next = p->piece[i].end;
		return &p->piece[i];
	}
	if (next)
		*next = i < p->n ? p->piece[i].start : UINT64_MAX;
	return NULL;
}

static struct place part(const struct place *of, uint64_t start, uint64_t end)
{
	struct place r = *of;

	r.page += (start - of->start) / PAGES_SIZE;
	r.start = start;
	r.end = end;
	return r;
}

static void insert(struct places *p, size_t at, const struct place *piece)
{
	memmove(&p->piece[at + 1], &p->piece[at], (p->n - at) * sizeof(*piece));
	p->piece[at] = *piece;
	p->n++;
}

void places_cut(struct places *p, uint64_t start, uint64_t end)
{
	size_t i = after(p, start), k;

	if (start >= end || i == p->n || p->piece[i].start >= end)
		return;
	if (p->piece[i].start < start) {
		struct place left = part(&p->piece[i], p->piece[i].start, start);
		struct place rest = part(&p->piece[i], start, p->piece[i].end);

		p->piece[i] = left;
		i++;
		if (rest.end > end) { /* a hole in one piece */
			rest = part(&rest, end, rest.end);
			insert(p, i, &rest);
			return;
		}
	}
	for (k = i; k < p->n && p->piece[k].end <= end; k++)
		;
	if (k < p->n && p->piece[k].start < end)
		p->piece[k] = part(&p->piece[k], end, p->piece[k].end);
	memmove(&p->piece[i], &p->piece[k], (p->n - k) * sizeof(*p->piece));
	p->n -= k - i;
}

int places_put(struct places *p, const struct place *piece)
{
	if (piece->start >= piece->end)
		return 0;
	if (places_reserve(p, 2))
		return -ENOMEM;
	places_cut(p, piece->start, piece->end);
	insert(p, after(p, piece->start), piece);
	return 0;
}

/* Emptied pieces that touch are one. */
static void join(struct places *p, uint64_t addr)
{
	size_t i = after(p, addr);

	if (i > 0)
		i--;
	while (i + 1 < p->n && p->piece[i].start <= addr) {
		struct place *a = &p->piece[i], *b = a + 1;

		if (a->state != PLACE_ZERO || b->state != PLACE_ZERO || a->end != b->start) {
			i++;
			continue;
		}
		a->end = b->end;
		memmove(b, b + 1, (p->n - i - 2) * sizeof(*b));
		p->n--;
	}
}

int places_empty(struct places *p, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end;) {
		uint64_t next;
		const struct place *f = places_find(p, at, &next);
		struct place piece;

		if (next > end)
			next = end;
		if (f && f->state == PLACE_PAGES) {
			piece = part(f, at, next);
			piece.state = f->file ? PLACE_LOST : PLACE_ZERO;
			if (places_put(p, &piece))
				return -ENOMEM;
			join(p, at);
		}
		at = next;
	}
	return 0;
}

/* What is there will be told of as unmapped. */
static int due_add(struct places *due, uint64_t start, uint64_t end)
{
	return places_put(due, &(struct place){.start = start, .end = end});
}

int places_move(struct places *p, struct places *due, uint64_t from, uint64_t to, uint64_t len)
{
	struct places moved = {0};
	int rc = 0;

	if (from == to || len == 0 || from + len < from || to + len < to)
		return 0;
	for (size_t i = after(p, to); i < p->n && p->piece[i].start < to + len && !rc; i++) {
		const struct place *f = &p->piece[i];

		rc = due_add(due, f->start > to ? f->start : to, f->end < to + len ? f->end : to + len);
	}
	if (!rc)
		rc = due_add(due, from, from + len);
	for (size_t i = after(p, from); i < p->n && p->piece[i].start < from + len && !rc; i++) {
		const struct place *f = &p->piece[i];
		struct place piece = part(f, f->start > from ? f->start : from,
					  f->end < from + len ? f->end : from + len);

		piece.start += to - from;
		piece.end += to - from;
		rc = places_add(&moved, &piece);
	}
	if (!rc)
		rc = places_reserve(p, moved.n + 2);
	if (!rc) {
		places_cut(p, from, from + len);
		places_cut(p, to, to + len);
		for (size_t i = 0; i < moved.n; i++)
			insert(p, after(p, moved.piece[i].start), &moved.piece[i]);
	}
	places_free(&moved);
	return rc;
}

int places_unmap(struct places *p, struct places *due, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end;) {
		uint64_t next;
		struct places *of = places_find(due, at, &next) ? due : p;

		if (next > end)
			next = end;
		if (places_reserve(of, 1))
			return -ENOMEM;
		places_cut(of, at, next);
		at = next;
	}
	return 0;
}

int places_copy(struct places *to, const struct places *from)
{
	to->n = 0;
	if (places_reserve(to, from->n))
		return -ENOMEM;
	if (from->n)
		memcpy(to->piece, from->piece, from->n * sizeof(*from->piece));
	to->n = from->n;
	return 0;
}

void places_free(struct places *p)
{
	free(p->piece);
	memset(p, 0, sizeof(*p));
}
