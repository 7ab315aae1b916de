/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a child: what is mapped where, and from what. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "services/fork-pager/proc/restore_impl.h"

enum {
	COPY_CHUNK = 1 << 16,
	ADVICE_MAX = 8, /* calls a mapping at most, besides the mapping itself */
};

#define USER_END 0x7ffffffff000ull
#define CALL(op, what, nr, ...) restore_call(w, l, op, what, nr, (const uint64_t[6]){__VA_ARGS__})

static uint64_t cache_offset(const struct restore_work *w, uint32_t i)
{
	uint64_t at = 0;

	for (uint32_t k = 0; k < i; k++)
		at += w->im->vmas[k].end - w->im->vmas[k].start;
	return at;
}

static bool by_value(const struct image_vma *v, const struct image_file *f)
{
	return v->flags & IMAGE_VMA_WHOLE || f->kind != IMAGE_FILE_PATH;
}

bool restore_wants_whole(const struct image_vma *v)
{
	if (v->flags & (IMAGE_VMA_WIPEONFORK | IMAGE_VMA_DONTFORK))
		return false;
	return v->kind == IMAGE_VMA_SHARED ||
	       (v->kind == IMAGE_VMA_ANON && v->flags & IMAGE_VMA_GROWSDOWN);
}

/* ------------------------------------------------------------------ opening */

static int above(const struct restore_work *w, int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, w->high + 1);
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return high;
}

/* Is it the file that the parent had? By length and by what it begins with. */
static int file_same(struct restore_work *w, const struct image_file *f, int fd)
{
	const char *path = (const char *)f->path.data;
	uint8_t head[PAGES_SIZE];
	uint32_t crc;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size != f->size) {
		restore_say(&w->c->report, "%s is another file here: %lld bytes, not %llu", path,
			    (long long)st.st_size, (unsigned long long)f->size);
		return -ENOENT;
	}
	n = pread(fd, head, sizeof(head), 0);
	crc = image_crc32c(head, n < 0 ? 0 : (size_t)n);
	if (f->build_id.len == sizeof(crc) && memcmp(f->build_id.data, &crc, sizeof(crc)) != 0) {
		restore_say(&w->c->report, "%s is another file here: its contents differ", path);
		return -ENOENT;
	}
	return 0;
}

static int open_path(struct restore_work *w, const struct image_file *f)
{
	int fd = above(w, box_open(w->o->box, (const char *)f->path.data, O_RDONLY));
	int rc;

	if (fd < 0) {
		rc = -errno;
		restore_say(&w->c->report, "%s cannot be opened: %s", (const char *)f->path.data,
			    strerror(errno));
		return rc;
	}
	rc = file_same(w, f, fd);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static int copy_in(int from, uint64_t at, int to, uint64_t offset, uint64_t len)
{
	static uint8_t buffer[COPY_CHUNK];

	while (len) {
		size_t chunk = len < sizeof(buffer) ? len : sizeof(buffer);
		ssize_t n = pread(from, buffer, chunk, (off_t)at);

		if (n <= 0 || pwrite(to, buffer, (size_t)n, (off_t)offset) != n)
			return n < 0 ? -errno : -EIO;
		at += (uint64_t)n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Shared memory begins a life of its own here: a memfd with what was in it. */
static int make_shared(struct restore_work *w, const struct image_vma *v, uint32_t i, int *fd)
{
	struct stat st;
	uint64_t end = v->offset + (v->end - v->start);
	int rc = w->o->filled ? w->o->filled(w->o->filled_ctx) : 0;

	if (rc)
		return rc;
	if (*fd < 0)
		*fd = above(w, memfd_create("atoll-shared", MFD_CLOEXEC));
	if (*fd < 0 || fstat(*fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < end && ftruncate(*fd, (off_t)end))
		return -errno;
	return copy_in(w->cache_fd, cache_offset(w, i), *fd, v->offset, v->end - v->start);
}

int restore_mm_open(struct restore_work *w)
{
	const struct image *im = w->im;

	for (uint32_t i = 0; i < im->nvmas; i++) {
		const struct image_vma *v = &im->vmas[i];
		int *fd, rc = 0;

		if (v->file == IMAGE_NONE)
			continue;
		fd = &w->file_fd[v->file];
		if (v->kind == IMAGE_VMA_SHARED)
			rc = make_shared(w, v, i, fd);
		else if (*fd < 0 && !by_value(v, &im->files[v->file]))
			rc = *fd = open_path(w, &im->files[v->file]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ------------------------------------------------------------------ the list */

static void call_map(struct restore_work *w, struct restore_list *l, uint64_t start, uint64_t len,
		     int prot, int flags, int fd, uint64_t offset)
{
	CALL(STUB_OP_CALL, WHAT_MAP, SYS_mmap, start, len, (uint64_t)prot,
	     (uint64_t)(flags | MAP_FIXED), (uint64_t)(int64_t)fd, offset);
}

static void call_register(struct restore_work *w, struct restore_list *l, uint64_t start,
			  uint64_t len)
{
	struct uffdio_register *r = restore_room(w, sizeof(*r), 8);

	if (!w->o->uffd_features || !r)
		return;
	r->range.start = start;
	r->range.len = len;
	r->mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR;
	CALL(STUB_OP_CALL, WHAT_REGISTER, SYS_ioctl, (uint64_t)w->high, UFFDIO_REGISTER,
	     (uint64_t)r);
}

static void advice(struct restore_work *w, struct restore_list *l, const struct image_vma *v)
{
	static const struct {
		uint32_t flag;
		int advice;
	} list[] = {
		{IMAGE_VMA_HUGEPAGE, MADV_HUGEPAGE},	 {IMAGE_VMA_NOHUGEPAGE, MADV_NOHUGEPAGE},
		{IMAGE_VMA_DONTDUMP, MADV_DONTDUMP},	 {IMAGE_VMA_WIPEONFORK, MADV_WIPEONFORK},
		{IMAGE_VMA_SEQUENTIAL, MADV_SEQUENTIAL}, {IMAGE_VMA_RANDOM, MADV_RANDOM},
		{IMAGE_VMA_MERGEABLE, MADV_MERGEABLE},
	};
	uint64_t len = v->end - v->start;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (v->flags & list[i].flag)
			CALL(STUB_OP_OPTIONAL, WHAT_ADVICE, SYS_madvise, v->start, len,
			     (uint64_t)list[i].advice);
	if (v->flags & IMAGE_VMA_LOCKED)
		CALL(STUB_OP_OPTIONAL, WHAT_LOCK, SYS_mlock2, v->start, len, MLOCK_ONFAULT);
	if (v->name.len) {
		char *name = restore_room(w, v->name.len + 1, 8);

		if (name)
			memcpy(name, v->name.data, v->name.len);
		CALL(STUB_OP_OPTIONAL, WHAT_NAME, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME,
		     v->start, len, (uint64_t)name);
	}
}

static void anonymous(struct restore_work *w, struct restore_list *l, const struct image_vma *v,
		      uint32_t i)
{
	uint64_t len = v->end - v->start;
	int flags = MAP_PRIVATE | (v->flags & IMAGE_VMA_NORESERVE ? MAP_NORESERVE : 0);

	if (v->flags & (IMAGE_VMA_GROWSDOWN | IMAGE_VMA_WIPEONFORK)) {
		if (v->flags & IMAGE_VMA_GROWSDOWN)
			flags |= MAP_GROWSDOWN | MAP_STACK;
		call_map(w, l, v->start, len, v->prot, flags | MAP_ANONYMOUS, -1, 0);
		return;
	}
	call_map(w, l, v->start, len, v->prot, flags, w->cache_fd, cache_offset(w, i));
	call_register(w, l, v->start, len);
}

static void of_file(struct restore_work *w, struct restore_list *l, const struct image_vma *v,
		    uint32_t i)
{
	uint64_t len = v->end - v->start, base = cache_offset(w, i);

	if (by_value(v, &w->im->files[v->file])) {
		call_map(w, l, v->start, len, v->prot, MAP_PRIVATE, w->cache_fd, base);
		call_register(w, l, v->start, len);
		return;
	}
	call_map(w, l, v->start, len, v->prot, MAP_PRIVATE, w->file_fd[v->file], v->offset);
	for (unsigned k = 0; k < w->o->nruns; k++) {
		const struct page_run *r = &w->o->runs[k];
		uint64_t at = (uint64_t)r->page * PAGES_SIZE, n = (uint64_t)r->count * PAGES_SIZE;

		if (r->range != i || at >= len || n > len - at)
			continue;
		call_map(w, l, v->start + at, n, v->prot, MAP_PRIVATE, w->cache_fd, base + at);
		call_register(w, l, v->start + at, n);
	}
}

static void move(struct restore_work *w, struct restore_list *l, uint64_t from, uint64_t to,
		 uint64_t size)
{
	if (size)
		CALL(STUB_OP_CALL, WHAT_VDSO, SYS_mremap, from, size, size,
		     MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

static uint64_t start_of(const struct image *im, uint8_t kind)
{
	for (uint32_t i = 0; i < im->nvmas; i++)
		if (im->vmas[i].kind == kind)
			return im->vmas[i].start;
	return 0;
}

static void layout(struct restore_work *w, struct restore_list *l)
{
	const struct image_mm *m = &w->im->mm;
	struct prctl_mm_map *p = restore_room(w, sizeof(*p), 8);
	uint8_t *auxv = restore_room(w, m->auxv.len + 16, 8);
	int exe = m->exe == IMAGE_NONE ? -1 : w->file_fd[m->exe];

	if (!p || !auxv)
		return;
	memcpy(auxv, m->auxv.data, m->auxv.len);
	*p = (struct prctl_mm_map){
		.start_code = m->start_code, .end_code = m->end_code,
		.start_data = m->start_data, .end_data = m->end_data,
		.start_brk = m->start_brk,   .brk = m->brk,
		.start_stack = m->start_stack, .arg_start = m->arg_start,
		.arg_end = m->arg_end,	     .env_start = m->env_start,
		.env_end = m->env_end,	     .auxv = (void *)auxv,
		.auxv_size = m->auxv.len,    .exe_fd = (uint32_t)exe,
	};
	CALL(exe < 0 ? STUB_OP_CALL : STUB_OP_OPTIONAL, WHAT_LAYOUT, SYS_prctl, PR_SET_MM,
	     PR_SET_MM_MAP, (uint64_t)p, sizeof(*p));
	if (exe >= 0) {
		/* Without the right to say which file it runs, all but that. */
		struct prctl_mm_map *q = restore_room(w, sizeof(*q), 8);

		if (!q)
			return;
		*q = *p;
		q->exe_fd = (uint32_t)-1;
		CALL(STUB_OP_CALL, WHAT_LAYOUT, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, (uint64_t)q,
		     sizeof(*q));
	}
}

void restore_mm_list(struct restore_work *w, struct restore_list *l)
{
	const struct image *im = w->im;
	uint64_t arena = (uint64_t)w->arena, arena_end = arena + w->arena_size;
	uint64_t parking = arena_end - RESTORE_PARKING;
	const struct {
		struct restore_place from;
		uint64_t to;
	} parts[] = {{w->vvar, start_of(im, IMAGE_VMA_VVAR)},
		     {w->vclock, start_of(im, IMAGE_VMA_VCLOCK)},
		     {w->vdso, start_of(im, IMAGE_VMA_VDSO)}};

	for (unsigned i = 0, at = 0; i < 3; at += (unsigned)parts[i].from.size, i++)
		if (parts[i].to)
			move(w, l, parts[i].from.start, parking + at, parts[i].from.size);
	CALL(STUB_OP_CALL, WHAT_UNMAP, SYS_munmap, 0, arena);
	CALL(STUB_OP_CALL, WHAT_UNMAP, SYS_munmap, arena_end, USER_END - arena_end);
	for (unsigned i = 0, at = 0; i < 3; at += (unsigned)parts[i].from.size, i++)
		if (parts[i].to)
			move(w, l, parking + at, parts[i].to, parts[i].from.size);
	for (uint32_t i = 0; i < im->nvmas; i++) {
		const struct image_vma *v = &im->vmas[i];

		switch ((enum image_vma_kind)v->kind) {
		case IMAGE_VMA_ANON:
			anonymous(w, l, v, i);
			break;
		case IMAGE_VMA_FILE:
			of_file(w, l, v, i);
			break;
		case IMAGE_VMA_SHARED:
			call_map(w, l, v->start, v->end - v->start, v->prot, MAP_SHARED,
				 w->file_fd[v->file], v->offset);
			break;
		case IMAGE_VMA_VDSO:
		case IMAGE_VMA_VVAR:
		case IMAGE_VMA_VCLOCK:
			continue;
		}
		advice(w, l, v);
	}
	layout(w, l);
}

unsigned restore_mm_calls(const struct restore_work *w)
{
	return w->im->nvmas * (2 + ADVICE_MAX) + w->o->nruns * 2 + 16;
}

/* ------------------------------------------------------------------ places, and what is copied at once */

int restore_mm_places(struct restore_work *w)
{
	const struct image *im = w->im;
	struct restore_child *c = w->c;
	uint8_t kind = w->o->uffd_features ? PLACE_CACHED : PLACE_FILLED;

	c->places = calloc(im->nvmas + w->o->nruns + 1, sizeof(*c->places));
	if (!c->places)
		return -ENOMEM;
	for (uint32_t i = 0; i < im->nvmas; i++) {
		const struct image_vma *v = &im->vmas[i];
		bool whole = v->kind == IMAGE_VMA_ANON
				     ? !(v->flags & (IMAGE_VMA_GROWSDOWN | IMAGE_VMA_WIPEONFORK))
				     : v->kind == IMAGE_VMA_FILE &&
					       by_value(v, &im->files[v->file]);

		if (whole)
			c->places[c->nplaces++] = (struct page_place){
				.start = v->start, .length = v->end - v->start, .range = i,
				.kind = kind};
		for (unsigned k = 0; !whole && v->kind == IMAGE_VMA_FILE && k < w->o->nruns; k++) {
			const struct page_run *r = &w->o->runs[k];

			if (r->range == i)
				c->places[c->nplaces++] = (struct page_place){
					.start = v->start + (uint64_t)r->page * PAGES_SIZE,
					.length = (uint64_t)r->count * PAGES_SIZE,
					.range = i, .page = r->page, .kind = kind};
		}
	}
	return 0;
}

/* Memory that grows downwards cannot be a mapping of the cache. */
int restore_mm_fill(struct restore_work *w, pid_t pid)
{
	static uint8_t page[PAGES_SIZE];
	static const uint8_t zero[PAGES_SIZE];
	char path[64];
	int mem, rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (mem < 0)
		return -errno;
	for (uint32_t i = 0; i < w->im->nvmas && !rc; i++) {
		const struct image_vma *v = &w->im->vmas[i];
		uint64_t at = cache_offset(w, i);

		if (v->kind != IMAGE_VMA_ANON || !(v->flags & IMAGE_VMA_GROWSDOWN) ||
		    v->flags & IMAGE_VMA_WIPEONFORK)
			continue;
		for (uint64_t a = v->start; a < v->end && !rc; a += PAGES_SIZE, at += PAGES_SIZE) {
			if (pread(w->cache_fd, page, sizeof(page), (off_t)at) != sizeof(page))
				rc = -EIO;
			else if (memcmp(page, zero, sizeof(page)) != 0 &&
				 pwrite(mem, page, sizeof(page), (off_t)a) != sizeof(page))
				rc = -errno;
		}
	}
	close(mem);
	return rc;
}
