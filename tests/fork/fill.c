/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fork/fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ENTRIES = 512,
};

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define FILE_PAGE (1ull << 61) /* or shared memory (Documentation/admin-guide/mm/pagemap.rst) */

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

static int run_add(struct fill *f, uint32_t range, uint32_t page)
{
	struct page_run *last = f->nruns ? &f->runs[f->nruns - 1] : NULL;

	if (last && last->range == range && last->page + last->count == page) {
		last->count++;
		return 0;
	}
	if ((f->nruns & (f->nruns - 1)) == 0) {
		unsigned room = f->nruns ? f->nruns * 2 : 1;
		struct page_run *more = realloc(f->runs, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->runs = more;
	}
	f->runs[f->nruns++] = (struct page_run){range, page, 1};
	return 0;
}

static int page_copy(struct fill *f, const struct page_source *s, uint32_t range, uint64_t page)
{
	const struct page_range *r = &s->ranges[range];
	uint8_t data[PAGES_SIZE];
	ssize_t n = pread(s->mem_fd, data, sizeof(data), (off_t)(r->start + page * PAGES_SIZE));

	if (n == 0)
		return -ESRCH;
	if (n < 0) /* nothing there, or past the end of its file */
		return 0;
	if (pwrite(f->fd, data, sizeof(data), (off_t)(r->cache + page * PAGES_SIZE)) !=
	    sizeof(data))
		return -EIO;
	f->pages++;
	return r->kind == PAGES_FILE ? run_add(f, range, (uint32_t)page) : 0;
}

static int range_copy(struct fill *f, const struct page_source *s, uint32_t range)
{
	const struct page_range *r = &s->ranges[range];
	uint64_t entry[ENTRIES], n = r->length / PAGES_SIZE;

	for (uint64_t at = 0; at < n && r->kind != PAGES_NONE; at += ENTRIES) {
		size_t count = n - at < ENTRIES ? (size_t)(n - at) : ENTRIES;
		ssize_t got = pread(s->pagemap_fd, entry, count * 8,
				    (off_t)((r->start / PAGES_SIZE + at) * 8));

		if (got != (ssize_t)(count * 8))
			return got < 0 ? -errno : -ESRCH;
		for (size_t i = 0; i < count; i++) {
			int rc = wanted(r, entry[i]) ? page_copy(f, s, range, at + i) : 0;

			if (rc)
				return rc;
		}
	}
	return 0;
}

int fill_cache(struct fill *f, const struct page_source *source)
{
	uint64_t size = 0;
	int rc = 0;

	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; i < source->nranges; i++)
		size += source->ranges[i].length;
	f->fd = memfd_create("atoll-pages", MFD_CLOEXEC);
	if (f->fd < 0 || ftruncate(f->fd, (off_t)size))
		return -errno;
	for (unsigned i = 0; i < source->nranges && !rc; i++)
		rc = range_copy(f, source, i);
	return rc;
}

void fill_free(struct fill *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->runs);
	memset(f, 0, sizeof(*f));
	f->fd = -1;
}
