/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - a snapshot's pages and its image in one piece of memory, which other nodes READ.
 *
 *	header | image | ranges | hops | extents | pages
 *
 * Written once, by store_write, then never changed. A page of zeros is not in it, and pages that are
 * the same are in it once. An extent says where a run of pages of the page cache lies among the pages of
 * the store; what no extent tells of is zero. All parts begin at multiples of 4 KiB.
 *
 * The snapshot of a child has only what the child has changed. The rest lies in the stores of its ancestors, where it
 * is READ: the table of hops says where those are, and an extent names the one that it means.
 *
 * The reader may be on another node and believes nothing: store_index_check bounds every number
 * before it is used.
 */
#ifndef ATOLL_FORK_STORE_H
#define ATOLL_FORK_STORE_H

#include <stddef.h>

#include "services/fork-pager/pages/source.h"

enum {
	STORE_MAGIC = 0x53524641, /* "AFRS" */
	STORE_VERSION = 2,
	STORE_EXTENTS_MAX = 1 << 26,
	STORE_HOPS_MAX = 15,
};

/* At the beginning of the store; the whole of it is written last. */
struct store_header {
	uint32_t magic, version;
	uint64_t image_at, image_len;	 /* bytes */
	uint64_t ranges_at, hops_at, extents_at, pages_at; /* bytes */
	uint32_t nranges, nextents, nhops, reserved;
	uint64_t npages;     /* in the store */
	uint64_t cache_size; /* bytes: sum of all ranges */
};
_Static_assert(sizeof(struct store_header) == 88, "store layout");

/* An ancestor: hop 1 is the snapshot that the parent was a child of. The right to READ it is in here. */
struct store_hop {
	uint32_t node, slot, epoch, reserved; /* of its handle */
	uint64_t secret[2];
	uint64_t pages_at; /* bytes, in its store */
	uint64_t npages;
};
_Static_assert(sizeof(struct store_hop) == 48, "store layout");

enum store_extent_flag {
	STORE_EXTENT_FILE = 1 << 0, /* changed pages of a mapped file, in a range of kind CHILD */
};

/* A run of pages, ascending and disjoint by `page`. */
struct store_extent {
	uint64_t page;	/* of the page cache */
	uint32_t count; /* pages */
	uint32_t store; /* first of the store's pages, or of those of an ancestor */
	uint16_t hop;	/* 0: of this store */
	uint16_t flags; /* enum store_extent_flag */
	uint32_t reserved;
};
_Static_assert(sizeof(struct store_extent) == 24, "store layout");

/* A checked copy of header, ranges, hops and extents. */
struct store_index {
	struct store_header h;
	struct page_range *ranges;
	struct store_hop *hops;
	struct store_extent *extents;
	uint64_t *before; /* [nextents + 1]: pages in the extents before */
};

/* Pages that a snapshot will need at most, so that memory for it can be had: bytes of a store. */
struct store_plan {
	uint64_t pages;	  /* that may have to be carried */
	uint64_t extents; /* that may be needed */
	uint64_t size;	  /* bytes */
};

/**
 * store_measure - look through a snapshot's page tables.
 * Return: 0; -ESRCH the snapshot has died; -EIO pages of it are lost; other negative errno.
 */
int store_measure(const struct page_source *source, size_t image_len, unsigned nhops,
		  struct store_plan *plan);

/**
 * store_copy - what of a snapshot has to be carried, into memory files of one's own.
 *
 * Reading a process's memory may take as long as whoever serves that memory likes, and that is to be
 * whoever prepares it, and not the pager, which reads the copies.
 * @mem_fd, @pagemap_fd: get pages and entries, at the offsets that they have in /proc/PID/mem and pagemap.
 * Return: 0, -ESRCH the snapshot has died, other negative errno.
 */
int store_copy(const struct page_source *source, int mem_fd, int pagemap_fd);

struct store_writer;

/**
 * store_write_begin - start to copy into @memory (zeros, @size bytes, page aligned).
 * @hops: ancestors, STORE_HOPS_MAX at most; copied.
 * Return: 0, -ENOMEM, -ENOSPC (@size is smaller than planned), -EMLINK (too many ancestors).
 */
int store_write_begin(struct store_writer **out, const struct page_source *source,
		      const struct store_plan *plan, const void *image, size_t image_len,
		      const struct store_hop *hops, unsigned nhops, void *memory, size_t size);
/* Copy up to @pages more. 1: there is more; 0: the store is whole; negative errno: it will not be. */
int store_write_some(struct store_writer *w, uint64_t pages);
struct store_written {
	uint64_t looked_at, zero, same, stored; /* pages */
	uint64_t elsewhere;			/* pages that lie with an ancestor */
	uint64_t size;				/* bytes used */
};
void store_written(const struct store_writer *w, struct store_written *out);
void store_write_end(struct store_writer *w);

/**
 * store_header_check - do the numbers of a header fit a store of @size bytes?
 * @why: static text. Return: 0 or -EBADMSG.
 */
int store_header_check(const struct store_header *h, uint64_t size, const char **why);

/**
 * store_index_make - take what was read from a store.
 * @h: checked. @ranges, @hops, @extents: as they lie in it; copied.
 * Return: 0, -EBADMSG, -ENOMEM.
 */
int store_index_make(struct store_index *x, const struct store_header *h, const void *ranges,
		     const void *hops, const void *extents, const char **why);
void store_index_free(struct store_index *x);

/**
 * store_index_find - where is a page of the page cache?
 * @run: gets how many pages from it on are alike: in the same extent, or zero.
 * Return: extent number, or -1: zeros.
 */
int64_t store_index_find(const struct store_index *x, uint64_t page, uint64_t *run);

#endif
