/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - the boundary between processes (proc/) and their pages (pages/).
 *
 * proc/ knows what a process is: it stops one, takes a copy-on-write snapshot, describes it in an image
 * (image.h), and starts a child from an image. pages/ knows what memory is: it copies a snapshot's
 * pages into a region that other nodes READ, and brings them, window by window, into the memory of
 * children. Neither includes the other; both know this header and image.h.
 *
 * Where the sides run. Whoever types `afork` traces and starts processes with his own rights, in his
 * own process; the service, which has no rights of its own, gets descriptors from him over its
 * control socket: /proc/PID/mem and /proc/PID/pagemap of a snapshot (opened by him, so the kernel
 * made its check), the userfaultfd of a child (made in the child), pidfds.
 *
 * A page's name is (range, page): `range` is an index into image.vmas, `page` counts 4 KiB from the
 * start of that range. It is the same on every node and in every child of one image.
 *
 * Who owns each byte
 *   snapshot's memory	the frozen snapshot process; only read, through mem_fd. proc/ kills it when
 *			pages/ says that the export is whole.
 *   exported region	pages/ writes it, once, then nobody. Remote pagers READ it. What is in it says
 *			store.h.
 *   page cache	a memfd per node and handle. pages/ makes it, as long as the sum of all ranges
 *			(range i at ranges[i].cache), and is its only writer; children map it MAP_PRIVATE.
 *			A page is in it whole or not at all as far as a child can see.
 *   child's memory	the child. pages/ fills what is missing through the userfaultfd; proc/ maps.
 *   layout of a child	proc/ decides (struct page_place). Changes after the start (fork, mremap,
 *			munmap, MADV_DONTNEED) reach pages/ as events of the userfaultfd.
 *
 * Contents of a page that the source does not hold: anonymous memory: zeros. A private file mapping:
 * the file's page, which the child has by mapping the same file itself; pages/ is then asked only for the
 * pages that the snapshot had changed (PAGES_FILE below).
 */
#ifndef ATOLL_FORK_PAGES_SOURCE_H
#define ATOLL_FORK_PAGES_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	PAGES_SIZE = 4096,
};

/* What a range of the snapshot is made of. */
enum page_kind {
	/* Nothing to carry: vdso, device pages, guard ranges, MADV_WIPEONFORK and _DONTFORK memory. */
	PAGES_NONE = 0,
	/* Private anonymous. Export what is present or swapped; the rest is zero. */
	PAGES_ANON = 1,
	/* Private mapping of a file that the other node is expected to have. Export only pages that the
	 * process has changed: present or swapped in pagemap with bit 61 (file page) clear. */
	PAGES_FILE = 2,
	/* Carried whole, whatever pagemap says: shared memory, deleted files, files carried by value. Pages past
	 * the end of the file (reading them fails) are not there, and faults on them are SIGBUS. */
	PAGES_WHOLE = 3,
	/* Private mapping of a page cache, in a child whose pages are filled on demand. Export what the child has of
	 * its own: present or swapped with bit 61 clear. Of the others `origin` says where they live. They are not
	 * to be read: that would wait for the pager. */
	PAGES_CHILD = 4,
};

/* One range of the snapshot: image.vmas[i], the same index. Page aligned, ascending, disjoint. */
struct page_range {
	uint64_t start;	 /* address in the snapshot, bytes */
	uint64_t length; /* bytes */
	uint64_t cache;	 /* offset of its first page in the page cache, bytes: sum of the lengths before */
	uint8_t kind;	 /* enum page_kind */
	uint8_t reserved[7];
};

/* Where pages of a child lie that it has not changed. */
struct page_origin {
	uint32_t hop;	/* 0: zeros; else 1 for the snapshot that it is a child of, 2 and more for those before */
	uint32_t store; /* the first of them, among that snapshot's pages */
	bool file;	/* changed pages of a mapped file */
};

/*
 * Capturing side: a frozen snapshot. Nothing in it changes until it is released. Reading through
 * mem_fd needs no right of its own; it fails with EIO where nothing is mapped, and returns 0 when the
 * snapshot has died.
 */
struct page_source {
	pid_t pid;	/* in the pid namespace of whoever opened it; for messages to people only */
	int mem_fd;	/* /proc/PID/mem, read only */
	int pagemap_fd; /* /proc/PID/pagemap */
	const struct page_range *ranges;
	unsigned nranges;
	/* For ranges of kind CHILD, else NULL. @run: pages from @addr on, at most @max, that lie together.
	 * 0, or -EIO: they are lost. */
	int (*origin)(void *ctx, uint64_t addr, uint64_t max, uint64_t *run, struct page_origin *out);
	void *origin_ctx;
};

/* How a range lies in a child. */
enum page_place_kind {
	/* MAP_PRIVATE of the page cache at `cache`, registered MISSING|MINOR. */
	PLACE_CACHED = 1,
	/* MAP_PRIVATE of the page cache, not registered: the whole cache was filled before (where userfaultfd is
	 * not allowed). Faults never reach the pager. Stacks that grow, where a file may not lie, are
	 * written by proc/ and have no place. */
	PLACE_FILLED = 2,
};

/*
 * Restoring side: where a piece of a range lies in a child. Several may come from one range: a
 * private file mapping has a place for each run of changed pages only.
 */
struct page_place {
	uint64_t start;	 /* address in the child, page aligned */
	uint64_t length; /* bytes */
	uint32_t range;	 /* of the image */
	uint32_t page;	 /* first page of the range that lies here */
	uint8_t kind;	 /* enum page_place_kind */
	uint8_t reserved[7];
};

/* A run of pages of one range. */
struct page_run {
	uint32_t range, page, count;
};

#endif
