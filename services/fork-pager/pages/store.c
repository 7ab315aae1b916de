/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/pages/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t up(uint64_t bytes)
{
	return (bytes + PAGES_SIZE - 1) & ~(uint64_t)(PAGES_SIZE - 1);
}

static bool part_ok(uint64_t at, uint64_t len, uint64_t size)
{
	return at % PAGES_SIZE == 0 && at <= size && len <= size - at;
}

int store_header_check(const struct store_header *h, uint64_t size, const char **why)
{
	*why = NULL;
	if (h->magic != STORE_MAGIC)
		*why = "it is no snapshot";
	else if (h->version != STORE_VERSION)
		*why = "it is a snapshot of another version";
	else if (h->nranges > (1u << 20) || h->nextents > STORE_EXTENTS_MAX || h->npages >> 32 ||
		 h->nhops > STORE_HOPS_MAX || h->image_len > size || h->cache_size % PAGES_SIZE ||
		 h->cache_size >> 56)
		*why = "a count is out of range";
	else if (!part_ok(h->image_at, h->image_len, size) ||
		 !part_ok(h->ranges_at, h->nranges * sizeof(struct page_range), size) ||
		 !part_ok(h->hops_at, h->nhops * sizeof(struct store_hop), size) ||
		 !part_ok(h->extents_at, h->nextents * sizeof(struct store_extent), size) ||
		 h->npages > size / PAGES_SIZE || !part_ok(h->pages_at, h->npages * PAGES_SIZE, size))
		*why = "a part reaches past its end";
	return *why ? -EBADMSG : 0;
}

static const char *ranges_check(const struct store_index *x)
{
	uint64_t cache = 0, end = 0;

	for (uint32_t i = 0; i < x->h.nranges; i++) {
		const struct page_range *r = &x->ranges[i];

		if (r->start % PAGES_SIZE || r->length % PAGES_SIZE || r->start < end ||
		    r->length == 0 || r->length > (1ull << 56) || r->start > (1ull << 56))
			return "its ranges are not in order";
		if (r->cache != cache || r->kind > PAGES_CHILD)
			return "a range makes no sense";
		cache += r->length;
		end = r->start + r->length;
	}
	return cache == x->h.cache_size ? NULL : "its ranges have another length together";
}

static const char *hops_check(const struct store_index *x)
{
	for (uint32_t i = 0; i < x->h.nhops; i++)
		if (x->hops[i].pages_at % PAGES_SIZE || x->hops[i].pages_at >> 56 || x->hops[i].npages >> 32)
			return "an ancestor makes no sense";
	return NULL;
}

static const char *extents_check(struct store_index *x)
{
	uint64_t next = 0, sum = 0, have;

	for (uint32_t i = 0; i < x->h.nextents; i++) {
		const struct store_extent *e = &x->extents[i];
		uint64_t pages = x->h.cache_size / PAGES_SIZE;

		if (e->count == 0 || e->page < next || e->page > pages || e->count > pages - e->page)
			return "its extents are not in order";
		if (e->hop > x->h.nhops)
			return "an extent lies in an ancestor that it has not";
		have = e->hop ? x->hops[e->hop - 1].npages : x->h.npages;
		if (e->store > have || e->count > have - e->store)
			return "an extent lies outside its pages";
		x->before[i] = sum;
		sum += e->count;
		next = e->page + e->count;
	}
	x->before[x->h.nextents] = sum;
	return NULL;
}

int store_index_make(struct store_index *x, const struct store_header *h, const void *ranges,
		     const void *hops, const void *extents, const char **why)
{
	memset(x, 0, sizeof(*x));
	x->h = *h;
	x->ranges = malloc(h->nranges * sizeof(*x->ranges) + 1);
	x->hops = malloc(h->nhops * sizeof(*x->hops) + 1);
	x->extents = malloc(h->nextents * sizeof(*x->extents) + 1);
	x->before = malloc((h->nextents + 1ull) * sizeof(*x->before));
	if (!x->ranges || !x->hops || !x->extents || !x->before) {
		store_index_free(x);
		*why = "no memory";
		return -ENOMEM;
	}
	memcpy(x->ranges, ranges, h->nranges * sizeof(*x->ranges));
	if (h->nhops)
		memcpy(x->hops, hops, h->nhops * sizeof(*x->hops));
	memcpy(x->extents, extents, h->nextents * sizeof(*x->extents));
	*why = ranges_check(x);
	if (!*why)
		*why = hops_check(x);
	if (!*why)
		*why = extents_check(x);
	if (!*why)
		return 0;
	store_index_free(x);
	return -EBADMSG;
}

void store_index_free(struct store_index *x)
{
	free(x->ranges);
	free(x->hops);
	free(x->extents);
	free(x->before);
	memset(x, 0, sizeof(*x));
}

int64_t store_index_find(const struct store_index *x, uint64_t page, uint64_t *run)
{
	uint32_t low = 0, high = x->h.nextents;

	/* The first extent that ends after the page. */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (x->extents[mid].page + x->extents[mid].count <= page)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == x->h.nextents) {
		*run = UINT64_MAX - page;
		return -1;
	}
	if (x->extents[low].page > page) {
		*run = x->extents[low].page - page;
		return -1;
	}
	*run = x->extents[low].page + x->extents[low].count - page;
	return low;
}

/* ------------------------------------------------------------------ copying */

enum {
	ENTRIES = 512, /* of a page table, read at once */
	COPY_RUN = 64, /* pages */
};

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define FILE_PAGE (1ull << 61) /* or shared memory (Documentation/admin-guide/mm/pagemap.rst) */

struct store_writer {
	struct page_source source;
	struct store_header h;
	uint8_t *memory;
	uint64_t room_pages, room_extents;
	uint32_t *same; /* hash table of the store's pages, number + 1 */
	uint64_t same_mask;
	/* where it has come to */
	uint32_t range;
	uint64_t page; /* of the range */
	uint64_t entry[ENTRIES];
	size_t entries, at;
	struct store_written written;
};

static bool wanted(const struct page_range *r, uint64_t entry)
{
	switch ((enum page_kind)r->kind) {
	case PAGES_NONE:
		return false;
	case PAGES_WHOLE:
		return true;
	case PAGES_ANON:
		return (entry & (PRESENT | SWAPPED)) != 0;
	case PAGES_FILE:
	case PAGES_CHILD:
		return (entry & (PRESENT | SWAPPED)) && !(entry & FILE_PAGE);
	}
	return false;
}

static ssize_t entries_read(const struct page_source *s, const struct page_range *r, uint64_t page,
			    uint64_t *entry)
{
	uint64_t left = r->length / PAGES_SIZE - page;
	size_t n = left < ENTRIES ? (size_t)left : ENTRIES;
	ssize_t got = pread(s->pagemap_fd, entry, n * 8,
			    (off_t)((r->start / PAGES_SIZE + page) * 8));

	if (got < 0)
		return -errno;
	return got == (ssize_t)(n * 8) ? (ssize_t)n : -ESRCH;
}

/* Pages that a child has not changed, from @page of @r on: at most @max that lie together. */
static int origin_of(const struct page_source *s, const struct page_range *r, uint64_t page, uint64_t max,
		     uint64_t *run, struct page_origin *out)
{
	if (!s->origin)
		return -EINVAL;
	return s->origin(s->origin_ctx, r->start + page * PAGES_SIZE, max, run, out);
}

/* How many extents tell of the pages of @entry that are not wanted. */
static int64_t origins(const struct page_source *s, const struct page_range *r, uint64_t page,
		       const uint64_t *entry, size_t n)
{
	struct page_origin o;
	int64_t found = 0;
	uint64_t run;

	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		if (wanted(r, entry[i]))
			continue;
		while (end < n && !wanted(r, entry[end]))
			end++;
		for (; i < end; i += run) {
			int rc = origin_of(s, r, page + i, end - i, &run, &o);

			if (rc)
				return rc;
			found += o.hop != 0;
		}
	}
	return found;
}

int store_measure(const struct page_source *source, size_t image_len, unsigned nhops,
		  struct store_plan *plan)
{
	uint64_t entry[ENTRIES];

	plan->pages = plan->extents = 0;
	for (unsigned i = 0; i < source->nranges; i++) {
		const struct page_range *r = &source->ranges[i];

		if (r->kind == PAGES_WHOLE)
			plan->pages += r->length / PAGES_SIZE;
		if (r->kind == PAGES_WHOLE || r->kind == PAGES_NONE)
			continue;
		for (uint64_t page = 0; page < r->length / PAGES_SIZE; page += ENTRIES) {
			ssize_t n = entries_read(source, r, page, entry);

			if (n < 0)
				return (int)n;
			for (ssize_t k = 0; k < n; k++)
				plan->pages += wanted(r, entry[k]);
			if (r->kind == PAGES_CHILD) {
				int64_t more = origins(source, r, page, entry, (size_t)n);

				if (more < 0)
					return (int)more;
				plan->extents += (uint64_t)more;
			}
		}
	}
	plan->extents += plan->pages;
	if (plan->extents > STORE_EXTENTS_MAX)
		return -E2BIG;
	plan->size = PAGES_SIZE + up(image_len) + up(source->nranges * sizeof(struct page_range)) +
		     up(nhops * sizeof(struct store_hop)) + up(plan->extents * sizeof(struct store_extent)) +
		     plan->pages * PAGES_SIZE;
	return 0;
}

int store_write_begin(struct store_writer **out, const struct page_source *source,
		      const struct store_plan *plan, const void *image, size_t image_len,
		      const struct store_hop *hops, unsigned nhops, void *memory, size_t size)
{
	struct store_writer *w;
	uint64_t slots = 64;

	if (nhops > STORE_HOPS_MAX)
		return -EMLINK;
	if (size < plan->size || source->nranges > (1u << 20))
		return -ENOSPC;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->source = *source;
	w->memory = memory;
	w->room_pages = plan->pages;
	w->room_extents = plan->extents;
	while (slots < w->room_pages * 2)
		slots *= 2;
	w->same = calloc(slots, sizeof(*w->same));
	if (!w->same) {
		free(w);
		return -ENOMEM;
	}
	w->same_mask = slots - 1;
	w->h = (struct store_header){
		.magic = STORE_MAGIC,
		.version = STORE_VERSION,
		.image_at = PAGES_SIZE,
		.image_len = image_len,
		.ranges_at = PAGES_SIZE + up(image_len),
		.nranges = source->nranges,
		.nhops = nhops,
	};
	w->h.hops_at = w->h.ranges_at + up(source->nranges * sizeof(struct page_range));
	w->h.extents_at = w->h.hops_at + up(nhops * sizeof(struct store_hop));
	w->h.pages_at = w->h.extents_at + up(w->room_extents * sizeof(struct store_extent));
	for (unsigned i = 0; i < source->nranges; i++)
		w->h.cache_size += source->ranges[i].length;
	memcpy(w->memory + w->h.image_at, image, image_len);
	memcpy(w->memory + w->h.ranges_at, source->ranges,
	       source->nranges * sizeof(struct page_range));
	if (nhops)
		memcpy(w->memory + w->h.hops_at, hops, nhops * sizeof(*hops));
	*out = w;
	return 0;
}

/* A run of wanted pages; those that cannot be read are not there, or past the end of a file. */
static int run_keep(const struct page_source *s, uint64_t addr, size_t pages, int to)
{
	static uint8_t data[COPY_RUN * PAGES_SIZE];

	while (pages) {
		size_t n = pages < COPY_RUN ? pages : COPY_RUN;
		ssize_t got = pread(s->mem_fd, data, n * PAGES_SIZE, (off_t)addr);

		if (got == 0)
			return -ESRCH;
		if (got > 0 && pwrite(to, data, (size_t)got, (off_t)addr) != got)
			return errno ? -errno : -ENOSPC;
		n = got < PAGES_SIZE ? 1 : (size_t)got / PAGES_SIZE;
		addr += n * PAGES_SIZE;
		pages -= n;
	}
	return 0;
}

int store_copy(const struct page_source *source, int mem_fd, int pagemap_fd)
{
	uint64_t entry[ENTRIES];

	if (ftruncate(mem_fd, 1ll << 47) || ftruncate(pagemap_fd, (1ll << 47) / PAGES_SIZE * 8))
		return -errno;
	for (unsigned i = 0; i < source->nranges; i++) {
		const struct page_range *r = &source->ranges[i];

		if (r->kind == PAGES_NONE)
			continue;
		for (uint64_t page = 0; page < r->length / PAGES_SIZE; page += ENTRIES) {
			uint64_t first = r->start / PAGES_SIZE + page;
			ssize_t n = entries_read(source, r, page, entry);
			int rc = 0;

			if (n < 0)
				return (int)n;
			for (ssize_t k = 0, end; k < n && !rc; k = end) {
				bool want = wanted(r, entry[k]);

				for (end = k + 1; end < n && wanted(r, entry[end]) == want; end++)
					;
				if (!want)
					continue;
				rc = pwrite(pagemap_fd, entry + k, (size_t)(end - k) * 8, (off_t)(first + (uint64_t)k) * 8) ==
						     (end - k) * 8
					     ? run_keep(source, (first + (uint64_t)k) * PAGES_SIZE, (size_t)(end - k), mem_fd)
					     : -ENOSPC;
			}
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* Of a page, by eight-byte words; 0 is that of zeros alone. */
static uint64_t page_hash(const uint8_t *page)
{
	uint64_t h = 0, any = 0;

	for (size_t i = 0; i < PAGES_SIZE; i += 8) {
		uint64_t v;

		memcpy(&v, page + i, 8);
		any |= v;
		h = (h ^ v) * 0x9e3779b97f4a7c15ull; /* 2^64 over the golden ratio */
		h ^= h >> 29;
	}
	return any ? h | 1 : 0;
}

static int extent_add(struct store_writer *w, const struct store_extent *x)
{
	struct store_extent *e = (struct store_extent *)(void *)(w->memory + w->h.extents_at);
	struct store_extent *last = w->h.nextents ? &e[w->h.nextents - 1] : NULL;

	if (last && last->page + last->count == x->page && last->store + last->count == x->store &&
	    last->hop == x->hop && last->flags == x->flags) {
		last->count += x->count;
		return 0;
	}
	if (w->h.nextents == w->room_extents)
		return -ENOSPC;
	e[w->h.nextents++] = *x;
	return 0;
}

/* Is the page at the writer's place one of a mapped file, in the parent or in what that was forked from? */
static int of_file(struct store_writer *w, uint64_t page, bool *file)
{
	const struct page_range *r = &w->source.ranges[w->range];
	struct page_origin o;
	uint64_t run;
	int rc;

	*file = r->kind == PAGES_FILE;
	if (r->kind != PAGES_CHILD)
		return 0;
	rc = origin_of(&w->source, r, page, 1, &run, &o);
	*file = o.file;
	return rc;
}

/* @page: of the range that the writer is in. */
static int page_add(struct store_writer *w, uint64_t page, const uint8_t *data)
{
	uint64_t hash = page_hash(data), at;
	uint8_t *pages = w->memory + w->h.pages_at;
	struct store_extent x = {.page = w->source.ranges[w->range].cache / PAGES_SIZE + page, .count = 1};
	bool file;
	int rc = of_file(w, page, &file);

	if (rc)
		return rc;
	if (file && w->source.ranges[w->range].kind == PAGES_CHILD)
		x.flags = STORE_EXTENT_FILE;
	w->written.looked_at++;
	if (hash == 0) {
		w->written.zero++;
		/* A changed page of a file is told of even if it is zero: else the file's would be seen. */
		if (!file)
			return 0;
	}
	for (at = hash & w->same_mask; w->same[at]; at = (at + 1) & w->same_mask)
		if (memcmp(pages + (w->same[at] - 1ull) * PAGES_SIZE, data, PAGES_SIZE) == 0) {
			w->written.same++;
			x.store = w->same[at] - 1;
			return extent_add(w, &x);
		}
	if (w->h.npages == w->room_pages)
		return -ENOSPC;
	memcpy(pages + w->h.npages * PAGES_SIZE, data, PAGES_SIZE);
	w->same[at] = (uint32_t)++w->h.npages;
	w->written.stored++;
	x.store = (uint32_t)w->h.npages - 1;
	return extent_add(w, &x);
}

/* Pages that the child has not changed: from where the writer is to the next that it has. */
static int unchanged(struct store_writer *w, const struct page_range *r, uint64_t count)
{
	struct page_origin o;
	uint64_t run;

	while (count) {
		int rc = origin_of(&w->source, r, w->page, count, &run, &o);

		if (!rc && o.hop)
			rc = extent_add(w, &(struct store_extent){
						  .page = r->cache / PAGES_SIZE + w->page,
						  .count = (uint32_t)run,
						  .store = o.store,
						  .hop = (uint16_t)o.hop,
						  .flags = o.file ? STORE_EXTENT_FILE : 0});
		if (rc)
			return rc;
		w->written.elsewhere += o.hop ? run : 0;
		w->page += run;
		w->at += run;
		count -= run;
	}
	return 0;
}

/* A run of wanted pages of one range; pages that cannot be read are not there, or past the end of a file. */
static int run_copy(struct store_writer *w, const struct page_range *r, size_t run)
{
	static _Thread_local uint8_t data[COPY_RUN * PAGES_SIZE];
	off_t from = (off_t)(r->start + w->page * PAGES_SIZE);
	ssize_t n = pread(w->source.mem_fd, data, run * PAGES_SIZE, from);
	int rc = 0;

	if (n == 0)
		return -ESRCH;
	if (n > 0 && n % PAGES_SIZE == 0) {
		run = (size_t)n / PAGES_SIZE;
		for (size_t i = 0; i < run && !rc; i++)
			rc = page_add(w, w->page + i, data + i * PAGES_SIZE);
	} else if (pread(w->source.mem_fd, data, PAGES_SIZE, from) == PAGES_SIZE) {
		run = 1;
		rc = page_add(w, w->page, data);
	} else {
		run = 1;
	}
	w->page += run;
	w->at += run;
	return rc;
}

static void finish(struct store_writer *w)
{
	w->written.size = w->h.pages_at + w->h.npages * PAGES_SIZE;
	memcpy(w->memory, &w->h, sizeof(w->h));
}

int store_write_some(struct store_writer *w, uint64_t pages)
{
	while (w->range < w->source.nranges) {
		const struct page_range *r = &w->source.ranges[w->range];
		size_t run = 0;
		int rc;

		if (r->kind == PAGES_NONE || w->page == r->length / PAGES_SIZE) {
			w->range++;
			w->page = w->entries = w->at = 0;
			continue;
		}
		if (w->at == w->entries) {
			ssize_t n = entries_read(&w->source, r, w->page, w->entry);

			if (n < 0)
				return (int)n;
			w->entries = (size_t)n;
			w->at = 0;
			if (pages == 0)
				return 1;
			pages--; /* looking costs something, too */
		}
		while (w->at + run < w->entries && !wanted(r, w->entry[w->at + run]))
			run++;
		if (r->kind == PAGES_CHILD) {
			rc = unchanged(w, r, run);
			if (rc)
				return rc;
		} else {
			w->at += run;
			w->page += run;
		}
		run = 0;
		while (w->at + run < w->entries && run < COPY_RUN && wanted(r, w->entry[w->at + run]))
			run++;
		if (run == 0)
			continue;
		rc = run_copy(w, r, run);
		if (rc)
			return rc;
		if (pages <= run)
			return 1;
		pages -= run;
	}
	finish(w);
	return 0;
}

void store_written(const struct store_writer *w, struct store_written *out)
{
	*out = w->written;
}

void store_write_end(struct store_writer *w)
{
	if (w)
		free(w->same);
	free(w);
}
