/* SPDX-License-Identifier: Apache-2.0 */
/* Places against an array with a word for each page; stores written, read back, and damaged. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/fork-pager/pages/places.h"
#include "services/fork-pager/pages/space_impl.h"
#include "services/fork-pager/pages/store.h"

enum {
	PAGES = 400,
	FIRST = 16, /* address of the first page, in pages */
};

static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* ------------------------------------------------------------------ places */

struct model {
	uint64_t page[2 * PAGES]; /* + 1; 0: nothing there */
	bool file[2 * PAGES];
	uint8_t was[2 * PAGES]; /* enum place_state */
};

static void same(const struct places *p, const struct model *m)
{
	uint64_t end = 0;

	for (size_t i = 0; i < p->n; i++) {
		assert_true(p->piece[i].start >= end && p->piece[i].end > p->piece[i].start);
		end = p->piece[i].end;
	}
	for (uint64_t i = 0; i < 2 * PAGES; i++) {
		uint64_t addr = (FIRST + i) * PAGES_SIZE, next;
		const struct place *f = places_find(p, addr, &next);

		assert_true(next > addr);
		assert_int_equal(f != NULL, m->page[i] != 0);
		if (!f)
			continue;
		assert_int_equal(f->state, m->was[i]);
		if (f->state == PLACE_PAGES) {
			assert_int_equal(f->page + (addr - f->start) / PAGES_SIZE + 1, m->page[i]);
			assert_int_equal(f->file, m->file[i]);
		}
	}
}

static void test_places(void **state)
{
	static struct model m, before;
	struct places p = {0}, due = {0}, copy = {0};

	(void)state;
	for (uint64_t i = 0; i < PAGES; i += 40) {
		struct place piece = {.start = (FIRST + i) * PAGES_SIZE,
				      .end = (FIRST + i + 30) * PAGES_SIZE,
				      .page = 1000 + i, .file = i % 80 == 0};

		assert_int_equal(places_add(&p, &piece), 0);
		assert_int_equal(places_add(&p, &piece), -EINVAL);
		for (uint64_t k = i; k < i + 30; k++) {
			m.page[k] = 1000 + k + 1;
			m.file[k] = piece.file;
		}
	}
	same(&p, &m);
	for (int round = 0; round < 3000; round++) {
		uint64_t at = draw(2 * PAGES - 20), n = 1 + draw(20), to;
		uint64_t start = (FIRST + at) * PAGES_SIZE, len = n * PAGES_SIZE;

		switch (draw(4)) {
		case 0:
			assert_int_equal(places_reserve(&p, 1), 0);
			if (draw(8) == 0) {
				places_cut(&p, start, start + len);
				memset(&m.page[at], 0, n * 8);
			}
			break;
		case 1:
			if (draw(4))
				break;
			assert_int_equal(places_empty(&p, start, start + len), 0);
			for (uint64_t i = at; i < at + n; i++)
				if (m.page[i] && m.was[i] == PLACE_PAGES)
					m.was[i] = m.file[i] ? PLACE_LOST : PLACE_ZERO;
			break;
		default:
			to = draw(2 * PAGES - 20);
			if (to < at + n && at < to + n)
				break;
			assert_int_equal(places_move(&p, &due, start, (FIRST + to) * PAGES_SIZE, len), 0);
			places_free(&due);
			before = m;
			for (uint64_t i = 0; i < n; i++) {
				m.page[at + i] = 0;
				m.page[to + i] = before.page[at + i];
				m.file[to + i] = before.file[at + i];
				m.was[to + i] = before.was[at + i];
			}
		}
		for (uint64_t i = 0; i < 2 * PAGES; i++)
			if (!m.page[i])
				m.file[i] = false, m.was[i] = PLACE_PAGES;
		same(&p, &m);
	}
	assert_int_equal(places_copy(&copy, &p), 0);
	same(&copy, &m);
	places_free(&copy);
	places_free(&p);
}

/* Two threads: what they did is told in another order. */
static void test_order(void **state)
{
	const uint64_t a = 100 * PAGES_SIZE, b = 200 * PAGES_SIZE, c = 300 * PAGES_SIZE, n = PAGES_SIZE;
	struct place at_a = {.start = a, .end = a + n, .page = 1}, at_b = {.start = b, .end = b + n, .page = 2};
	struct place at_c = {.start = c, .end = c + n, .page = 3};
	struct places p = {0}, due = {0};

	(void)state;
	/* munmap(a), then mremap(b, a), and its own unmap of b */
	places_add(&p, &at_a);
	places_add(&p, &at_b);
	places_add(&p, &at_c);
	assert_int_equal(places_move(&p, &due, b, a, n), 0);
	assert_int_equal(places_unmap(&p, &due, a, a + n), 0);
	assert_int_equal(places_find(&p, a, NULL)->page, 2);
	/* mremap(c, b) by another thread before b's unmap was told */
	assert_int_equal(places_move(&p, &due, c, b, n), 0);
	assert_int_equal(places_unmap(&p, &due, b, b + n), 0);
	assert_int_equal(places_unmap(&p, &due, c, c + n), 0);
	assert_int_equal(places_find(&p, b, NULL)->page, 3);
	assert_int_equal(due.n, 0);
	/* and what is unmapped now is gone */
	assert_int_equal(places_unmap(&p, &due, a, b + n), 0);
	assert_int_equal(p.n, 0);
	places_free(&p);
	places_free(&due);
}

/* ------------------------------------------------------------------ stores */

struct made {
	uint8_t *memory, *pages;
	size_t size;
	struct page_range range[3];
	struct store_written written;
};

/* Of this process: a range with pages of its own, zero, alike and untouched ones, one of nothing, one of zeros. */
static void made_make(struct made *m)
{
	uint8_t *base = mmap(NULL, 30 * PAGES_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct page_source s = {.mem_fd = open("/proc/self/mem", O_RDONLY),
				.pagemap_fd = open("/proc/self/pagemap", O_RDONLY)};
	struct store_writer *w;
	struct store_plan plan;
	int rc;

	assert_ptr_not_equal(base, MAP_FAILED);
	m->pages = base;
	for (unsigned i = 0; i < 10; i++)
		if (i != 3)
			memset(base + i * PAGES_SIZE, i == 4 ? 0 : i >= 7 ? 7 : (int)i + 1, PAGES_SIZE);
	memset(base + 20 * PAGES_SIZE, 0, 10 * PAGES_SIZE);
	m->range[0] = (struct page_range){(uint64_t)base, 10 * PAGES_SIZE, 0, PAGES_ANON, {0}};
	m->range[1] = (struct page_range){(uint64_t)base + 10 * PAGES_SIZE, 10 * PAGES_SIZE,
					  10 * PAGES_SIZE, PAGES_NONE, {0}};
	m->range[2] = (struct page_range){(uint64_t)base + 20 * PAGES_SIZE, 10 * PAGES_SIZE,
					  20 * PAGES_SIZE, PAGES_WHOLE, {0}};
	s.ranges = m->range;
	s.nranges = 3;
	assert_int_equal(store_measure(&s, 5, 0, &plan), 0);
	assert_int_equal(plan.pages, 19);
	m->size = plan.size;
	m->memory = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(store_write_begin(&w, &s, &plan, "image", 5, NULL, 0, m->memory, PAGES_SIZE), -ENOSPC);
	assert_int_equal(store_write_begin(&w, &s, &plan, "image", 5, NULL, 0, m->memory, m->size), 0);
	do
		rc = store_write_some(w, 3);
	while (rc == 1);
	assert_int_equal(rc, 0);
	store_written(w, &m->written);
	store_write_end(w);
	close(s.mem_fd);
	close(s.pagemap_fd);
}

static int index_of(const struct made *m, struct store_index *x)
{
	const struct store_header *h = (const struct store_header *)(void *)m->memory;
	const char *why;

	if (store_header_check(h, m->size, &why))
		return -1;
	return store_index_make(x, h, m->memory + h->ranges_at, m->memory + h->hops_at, m->memory + h->extents_at, &why);
}

static void test_store(void **state)
{
	struct store_index x;
	struct made m;

	(void)state;
	made_make(&m);
	assert_int_equal(m.written.looked_at, 19);
	assert_int_equal(m.written.zero, 11);
	assert_int_equal(m.written.same, 3);
	assert_int_equal(m.written.stored, 5);
	assert_true(m.written.size <= m.size);
	assert_int_equal(index_of(&m, &x), 0);
	assert_memory_equal(m.memory + x.h.image_at, "image", 5);
	for (uint64_t page = 0; page < 30; page++) {
		uint64_t run;
		int64_t e = store_index_find(&x, page, &run);
		const struct store_extent *t = &x.extents[e < 0 ? 0 : e];

		assert_true(run > 0);
		if (page >= 10 || page == 3 || page == 4) {
			assert_int_equal(e, -1);
			continue;
		}
		assert_true(e >= 0 && page >= t->page && page + run == t->page + t->count);
		assert_memory_equal(m.memory + x.h.pages_at + (t->store + page - t->page) * PAGES_SIZE,
				    m.pages + page * PAGES_SIZE, PAGES_SIZE);
	}
	store_index_free(&x);
	munmap(m.memory, m.size);
}

/* Whatever is written over header, ranges and extents: refused, or everything lies inside. */
static void test_store_damaged(void **state)
{
	struct store_index x;
	struct made m;
	uint8_t *whole;
	unsigned taken = 0;

	(void)state;
	made_make(&m);
	whole = malloc(m.size);
	memcpy(whole, m.memory, m.size);
	for (int round = 0; round < 20000; round++) {
		const struct store_header *h = (const struct store_header *)(void *)m.memory;
		const struct store_header *good = (const struct store_header *)(void *)whole;
		const size_t parts[3][2] = {{0, sizeof(*h)},
					    {good->ranges_at, 3 * sizeof(struct page_range)},
					    {good->extents_at,
					     good->nextents * sizeof(struct store_extent)}};
		unsigned part = draw(3), hits = 1 + draw(3);

		memcpy(m.memory, whole, m.size);
		for (unsigned i = 0; i < hits; i++)
			m.memory[parts[part][0] + draw((uint32_t)parts[part][1])] ^=
				draw(2) ? (uint8_t)draw(256) : (uint8_t)(1u << draw(8));
		if (index_of(&m, &x))
			continue;
		taken++;
		for (uint32_t i = 0; i < x.h.nextents; i++) {
			const struct store_extent *t = &x.extents[i];

			assert_true((t->page + t->count) * PAGES_SIZE <= x.h.cache_size);
			assert_true(x.h.pages_at + (t->store + (uint64_t)t->count) * PAGES_SIZE <= m.size);
		}
		store_index_free(&x);
	}
	assert_true(taken < 20000);
	free(whole);
	munmap(m.memory, m.size);
}

/* ------------------------------------------------------------------ reads ahead */

enum { WINDOW = 32, SPACE_PAGES = 1000 };

struct asked {
	unsigned n;
	uint64_t next, token[FETCHES_MAX];
	unsigned room;
};

static int read_later(void *ctx, unsigned hop, uint64_t store, uint32_t count, uint64_t token)
{
	struct asked *a = ctx;

	assert_int_equal(hop, 0);
	if (a->n == a->room)
		return -EAGAIN;
	assert_int_equal(store, a->next);
	assert_true(count > 0 && count <= WINDOW);
	a->next = store + count;
	a->token[a->n++] = token;
	return 0;
}

/* In order, each page once, no more at once than there is room for, and nothing is lost by that. */
static void test_ahead(void **state)
{
	static uint8_t data[WINDOW * PAGES_SIZE];
	struct asked a = {.room = FETCHES_MAX};
	const struct space_source source = {read_later, &a, 0};
	struct page_range range = {.start = 1 << 20, .length = SPACE_PAGES * PAGES_SIZE, .kind = PAGES_ANON};
	struct store_extent extent[2] = {{.page = 10, .count = 100}, {.page = 200, .count = 800, .store = 100}};
	const struct store_header h = {.magic = STORE_MAGIC, .version = STORE_VERSION, .nranges = 1, .nextents = 2,
				       .npages = 900, .cache_size = range.length};
	struct store_index x;
	struct space *s;
	const char *why;
	unsigned arrived = 0;
	uint64_t run;

	(void)state;
	assert_int_equal(store_index_make(&x, &h, &range, NULL, extent, &why), 0);
	assert_int_equal(space_new(&s, &x, &source, WINDOW), 0);
	space_ask_ahead(s, 0, SPACE_PAGES);
	assert_int_equal(a.n, AHEAD_FETCHES);
	space_ask_ahead(s, 0, SPACE_PAGES);
	assert_int_equal(a.n, AHEAD_FETCHES);
	a.room = a.n;
	while (arrived < a.n) {
		space_arrived(s, a.token[arrived++], data, 0);
		space_ask_ahead(s, 0, SPACE_PAGES); /* no room */
		a.room++;
		space_again(s);
		space_ask_ahead(s, 0, SPACE_PAGES);
	}
	assert_int_equal(a.next, 900);
	assert_int_equal(space_stats(s)->fetched, 900);
	assert_int_equal(space_stats(s)->ahead, a.n);
	for (uint64_t page = 0; page < SPACE_PAGES; page += run) {
		bool zero = page < 10 || (page >= 110 && page < 200);

		assert_int_equal(space_state(s, page, SPACE_PAGES - page, &run), zero ? STATE_ZERO : STATE_PRESENT);
	}
	space_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_store_damaged),
		cmocka_unit_test(test_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
