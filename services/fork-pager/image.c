/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "services/fork-pager/codec.h"
#include "services/fork-pager/pages/source.h"

enum {
	SMALL_MAX = 4096,  /* names, identities */
	AUXV_MAX = 2048,
	FILTER_MAX = 32768, /* 4096 instructions of 8 bytes */
	PRIO = 1 << 20,
};

#define USER_END 0x7ffffffff000ull /* of a 47-bit address space */

/* CRC-32C, bit-reflected polynomial 0x82f63b78 (RFC 3720, appendix B.4). */
uint32_t image_crc32c(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = ~0u, table[16];

	for (uint32_t i = 0; i < 16; i++) {
		uint32_t v = i;

		for (unsigned k = 0; k < 4; k++)
			v = v & 1 ? v >> 1 ^ 0x82f63b78u : v >> 1;
		table[i] = v;
	}
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

/* ------------------------------------------------------------------ records */

static void code_host(struct codec *c, struct image_host *h)
{
	uint64_t monotonic = (uint64_t)h->monotonic_ns, boottime = (uint64_t)h->boottime_ns;

	codec_u64(c, &h->xfeatures, UINT64_MAX);
	codec_u32(c, &h->xstate_size, IMAGE_XSTATE_MAX);
	codec_u64(c, &h->vdso_size, 1 << 20);
	codec_u64(c, &h->vvar_size, 1 << 20);
	codec_u64(c, &h->vclock_size, 1 << 20);
	codec_bytes(c, &h->vdso_id, 64);
	codec_bytes(c, &h->release, 256);
	codec_u64(c, &monotonic, INT64_MAX);
	codec_u64(c, &boottime, INT64_MAX);
	h->monotonic_ns = (int64_t)monotonic;
	h->boottime_ns = (int64_t)boottime;
}

static void code_mm(struct codec *c, struct image_mm *m)
{
	uint64_t *const v[] = {&m->start_code, &m->end_code,  &m->start_data, &m->end_data,
			       &m->start_brk,  &m->brk,	      &m->start_stack, &m->arg_start,
			       &m->arg_end,    &m->env_start, &m->env_end};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		codec_u64(c, v[i], USER_END);
	codec_bytes(c, &m->auxv, AUXV_MAX);
	codec_i32(c, &m->exe, IMAGE_NONE, INT32_MAX);
}

/* Addresses as the distance from the end of the one before, in pages: two bytes mostly. */
static void code_vma(struct codec *c, struct image_vma *v, uint64_t before)
{
	uint64_t gap = (v->start - before) / PAGES_SIZE, pages = (v->end - v->start) / PAGES_SIZE;
	uint64_t offset = v->offset / PAGES_SIZE;

	codec_u64(c, &gap, (USER_END - before) / PAGES_SIZE);
	v->start = before + gap * PAGES_SIZE;
	codec_u64(c, &pages, (USER_END - v->start) / PAGES_SIZE);
	v->end = v->start + pages * PAGES_SIZE;
	codec_u8(c, &v->prot, 7);
	codec_u8(c, &v->kind, IMAGE_VMA_VCLOCK);
	codec_u32(c, &v->flags, UINT32_MAX);
	codec_i32(c, &v->file, IMAGE_NONE, INT32_MAX);
	codec_u64(c, &offset, INT64_MAX / PAGES_SIZE);
	v->offset = offset * PAGES_SIZE;
	codec_bytes(c, &v->name, 256);
}

static void code_watch(struct codec *c, struct image_watch *w)
{
	codec_i32(c, &w->fd, 0, INT32_MAX);
	codec_u32(c, &w->events, UINT32_MAX);
	codec_u64(c, &w->data, UINT64_MAX);
	codec_bytes(c, &w->path, IMAGE_PATH_MAX);
}

static void code_file(struct codec *c, struct image_file *f)
{
	codec_u8(c, &f->kind, IMAGE_FILE_DROPPED);
	codec_u32(c, &f->flags, UINT32_MAX);
	codec_u64(c, &f->position, INT64_MAX);
	codec_u64(c, &f->size, INT64_MAX);
	codec_u64(c, &f->mtime_ns, UINT64_MAX);
	codec_u64(c, &f->ino, UINT64_MAX);
	codec_u64(c, &f->dev, UINT64_MAX);
	codec_u32(c, &f->mode, UINT32_MAX);
	codec_bytes(c, &f->path, IMAGE_PATH_MAX);
	codec_bytes(c, &f->build_id, 64);
	codec_bytes(c, &f->data, IMAGE_DATA_MAX);
	codec_bool(c, &f->deleted);
	codec_u64(c, &f->count, UINT64_MAX);
	codec_u64(c, &f->mask, UINT64_MAX);
	codec_u32(c, &f->clock, 16);
	codec_u64(c, &f->value_ns, INT64_MAX);
	codec_u64(c, &f->interval_ns, INT64_MAX);
	codec_u32(c, &f->seals, UINT32_MAX);
	codec_array(c, (void **)&f->watches, &f->nwatches, IMAGE_WATCHES_MAX, sizeof(*f->watches));
	for (uint32_t i = 0; i < f->nwatches; i++)
		code_watch(c, &f->watches[i]);
}

static void code_fd(struct codec *c, struct image_fd *f)
{
	codec_i32(c, &f->fd, 0, 1 << 20);
	codec_i32(c, &f->file, 0, INT32_MAX);
	codec_bool(c, &f->cloexec);
}

static void code_pending(struct codec *c, struct image_pending **p, uint32_t *n)
{
	codec_array(c, (void **)p, n, IMAGE_PENDING_MAX, sizeof(**p));
	for (uint32_t i = 0; i < *n; i++)
		codec_raw(c, (*p)[i].info, IMAGE_SIGINFO);
}

static void code_thread(struct codec *c, struct image_thread *t)
{
	uint64_t *r = (uint64_t *)(void *)&t->regs;

	codec_i32(c, &t->tid, 1, 1 << 22);
	for (unsigned i = 0; i < sizeof(t->regs) / sizeof(*r); i++)
		codec_u64(c, &r[i], UINT64_MAX);
	codec_sparse(c, &t->xstate, IMAGE_XSTATE_MAX);
	codec_u64(c, &t->sigmask, UINT64_MAX);
	codec_u64(c, &t->altstack_sp, UINT64_MAX);
	codec_u64(c, &t->altstack_size, UINT64_MAX);
	codec_u32(c, &t->altstack_flags, UINT32_MAX);
	codec_u64(c, &t->robust_list, UINT64_MAX);
	codec_u64(c, &t->robust_len, 4096);
	codec_u64(c, &t->rseq, UINT64_MAX);
	codec_u64(c, &t->rseq_len, 4096);
	codec_u32(c, &t->rseq_sig, UINT32_MAX);
	codec_u64(c, &t->clear_tid, UINT64_MAX);
	codec_i32(c, &t->nice, -20, 19);
	codec_i32(c, &t->policy, 0, PRIO);
	codec_i32(c, &t->priority, 0, 99);
	for (unsigned i = 0; i < 16; i++)
		codec_u64(c, &t->affinity[i], UINT64_MAX);
	codec_raw(c, t->comm, sizeof(t->comm));
	code_pending(c, &t->pending, &t->npending);
}

static void code_action(struct codec *c, struct image_sigaction *a)
{
	codec_u64(c, &a->handler, UINT64_MAX);
	codec_u64(c, &a->flags, UINT64_MAX);
	codec_u64(c, &a->restorer, UINT64_MAX);
	codec_u64(c, &a->mask, UINT64_MAX);
}

static void code_timer(struct codec *c, struct image_timer *t)
{
	codec_i32(c, &t->id, 0, INT32_MAX);
	codec_i32(c, &t->clock, INT32_MIN, INT32_MAX);
	codec_i32(c, &t->notify, 0, 7);
	codec_i32(c, &t->signal, 0, IMAGE_SIGNALS);
	codec_i32(c, &t->tid, 0, 1 << 22);
	codec_u64(c, &t->value, UINT64_MAX);
	codec_u64(c, &t->value_ns, INT64_MAX);
	codec_u64(c, &t->interval_ns, INT64_MAX);
}

static void code_creds(struct codec *c, struct image_creds *k)
{
	uint64_t *const caps[] = {&k->cap_effective, &k->cap_permitted, &k->cap_inheritable,
				  &k->cap_bounding, &k->cap_ambient};

	for (unsigned i = 0; i < 4; i++) {
		codec_u32(c, &k->uid[i], UINT32_MAX);
		codec_u32(c, &k->gid[i], UINT32_MAX);
	}
	codec_array(c, (void **)&k->groups, &k->ngroups, IMAGE_GROUPS_MAX, sizeof(*k->groups));
	for (uint32_t i = 0; i < k->ngroups; i++)
		codec_u32(c, &k->groups[i], UINT32_MAX);
	for (unsigned i = 0; i < 5; i++)
		codec_u64(c, caps[i], UINT64_MAX);
	codec_u32(c, &k->securebits, UINT32_MAX);
	codec_bool(c, &k->no_new_privs);
}

static void code_rest(struct codec *c, struct image *im)
{
	uint32_t *const v[] = {&im->pdeathsig, &im->dumpable, &im->timerslack_ns,
			       &im->oom_score_adj, &im->thp_disable, &im->subreaper};

	for (unsigned i = 0; i < IMAGE_LIMITS; i++) {
		codec_u64(c, &im->limits[i].soft, UINT64_MAX);
		codec_u64(c, &im->limits[i].hard, UINT64_MAX);
	}
	codec_bytes(c, &im->cwd, IMAGE_PATH_MAX);
	codec_bytes(c, &im->root, IMAGE_PATH_MAX);
	codec_bytes(c, &im->cgroup, SMALL_MAX);
	codec_u32(c, &im->umask, 0777);
	codec_i32(c, &im->pgid, 0, 1 << 22);
	codec_i32(c, &im->sid, 0, 1 << 22);
	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		codec_u32(c, v[i], UINT32_MAX);
	codec_array(c, (void **)&im->filters, &im->nfilters, IMAGE_FILTERS_MAX,
		    sizeof(*im->filters));
	for (uint32_t i = 0; i < im->nfilters; i++)
		codec_bytes(c, &im->filters[i], FILTER_MAX);
	codec_u64(c, &im->hook, USER_END);
}

#define EACH(c, im, array, n, max, code)                                                          \
	do {                                                                                      \
		codec_array(c, (void **)&(im)->array, &(im)->n, max, sizeof(*(im)->array));       \
		for (uint32_t i_ = 0; i_ < (im)->n; i_++)                                         \
			code(c, &(im)->array[i_]);                                                \
	} while (0)

static void code_image(struct codec *c, struct image *im)
{
	code_host(c, &im->host);
	code_mm(c, &im->mm);
	codec_array(c, (void **)&im->vmas, &im->nvmas, IMAGE_VMAS_MAX, sizeof(*im->vmas));
	for (uint32_t i = 0; i < im->nvmas; i++)
		code_vma(c, &im->vmas[i], i ? im->vmas[i - 1].end : 0);
	EACH(c, im, files, nfiles, IMAGE_FDS_MAX * 2, code_file);
	EACH(c, im, fds, nfds, IMAGE_FDS_MAX, code_fd);
	EACH(c, im, threads, nthreads, IMAGE_THREADS_MAX, code_thread);
	for (unsigned i = 0; i < IMAGE_SIGNALS; i++)
		code_action(c, &im->actions[i]);
	code_pending(c, &im->pending, &im->npending);
	for (unsigned i = 0; i < 3; i++) {
		codec_u64(c, &im->itimers[i].value_us, INT64_MAX);
		codec_u64(c, &im->itimers[i].interval_us, INT64_MAX);
	}
	EACH(c, im, timers, ntimers, IMAGE_TIMERS_MAX, code_timer);
	code_creds(c, &im->creds);
	code_rest(c, im);
}

/* ------------------------------------------------------------------ what must hold */

static bool file_good(const struct image *im, int32_t file)
{
	return file >= 0 && (uint32_t)file < im->nfiles;
}

static const char *check_vmas(const struct image *im)
{
	uint64_t before = PAGES_SIZE, vdso = 0, vvar = 0, vclock = 0;

	for (uint32_t i = 0; i < im->nvmas; i++) {
		const struct image_vma *v = &im->vmas[i];

		if (v->start < before || v->end <= v->start || v->end > USER_END ||
		    v->start % PAGES_SIZE || v->end % PAGES_SIZE || v->offset % PAGES_SIZE)
			return "mappings do not ascend in user space";
		before = v->end;
		switch ((enum image_vma_kind)v->kind) {
		case IMAGE_VMA_ANON:
			if (v->file != IMAGE_NONE)
				return "anonymous memory with a file";
			break;
		case IMAGE_VMA_FILE:
		case IMAGE_VMA_SHARED:
			if (!file_good(im, v->file))
				return "a mapping of a file that is not there";
			if (v->offset > INT64_MAX - (v->end - v->start))
				return "a mapping past the end of any file";
			break;
		case IMAGE_VMA_VDSO:
			vdso += v->end - v->start;
			break;
		case IMAGE_VMA_VVAR:
			vvar += v->end - v->start;
			break;
		case IMAGE_VMA_VCLOCK:
			vclock += v->end - v->start;
			break;
		default:
			return "a mapping of no known kind";
		}
	}
	if (vdso != im->host.vdso_size || vvar != im->host.vvar_size ||
	    vclock != im->host.vclock_size)
		return "the size of the vdso is not that of its mapping";
	return NULL;
}

static const char *check_files(const struct image *im)
{
	int32_t before = -1;

	for (uint32_t i = 0; i < im->nfiles; i++) {
		const struct image_file *f = &im->files[i];

		if (f->kind < IMAGE_FILE_PATH)
			return "a file of no known kind";
		if (f->path.len && memchr(f->path.data, 0, f->path.len))
			return "a path with a zero in it";
		if ((f->kind == IMAGE_FILE_PATH || f->kind == IMAGE_FILE_DIR ||
		     f->kind == IMAGE_FILE_DEVICE) &&
		    (f->path.len == 0 || f->path.data[0] != '/'))
			return "a file without an absolute path";
	}
	for (uint32_t i = 0; i < im->nfds; i++) {
		if (im->fds[i].fd <= before || !file_good(im, im->fds[i].file))
			return "descriptors do not ascend or have no file";
		before = im->fds[i].fd;
	}
	return NULL;
}

static const char *check_threads(const struct image *im)
{
	if (im->nthreads == 0)
		return "no thread";
	for (uint32_t i = 0; i < im->nthreads; i++) {
		const struct image_thread *t = &im->threads[i];

		if (t->xstate.len < 576 || t->xstate.len % 8)
			return "extended registers of an odd size";
		if (t->comm[sizeof(t->comm) - 1])
			return "a name that does not end";
		for (uint32_t k = 0; k < i; k++)
			if (im->threads[k].tid == t->tid)
				return "two threads with one number";
	}
	return NULL;
}

int image_check(const struct image *im, const char **why)
{
	*why = check_vmas(im);
	if (!*why)
		*why = check_files(im);
	if (!*why)
		*why = check_threads(im);
	if (!*why && im->mm.exe != IMAGE_NONE && !file_good(im, im->mm.exe))
		*why = "no executable";
	if (!*why && im->mm.auxv.len % 16)
		*why = "an auxiliary vector of an odd size";
	for (uint32_t i = 0; i < im->nfilters && !*why; i++)
		if (im->filters[i].len == 0 || im->filters[i].len % 8)
			*why = "a system call filter of an odd size";
	for (uint32_t i = 0; i < 3 && !*why; i++)
		if (im->itimers[i].value_us > INT64_MAX / 1000)
			*why = "a timer too far away";
	return *why ? -EINVAL : 0;
}

/* ------------------------------------------------------------------ whole */

static void put32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int image_encode(const struct image *im, uint8_t **out, size_t *len)
{
	struct codec c = {0};
	const char *why;
	uint8_t head[IMAGE_HEADER] = {0};
	struct image copy = *im; /* the codec takes what it may write to */

	if (image_check(im, &why))
		return -EINVAL;
	codec_raw(&c, head, sizeof(head));
	code_image(&c, &copy);
	if (!c.error && c.len > IMAGE_MAX)
		c.error = -E2BIG;
	if (c.error) {
		free(c.out);
		return c.error;
	}
	put32(head, IMAGE_MAGIC);
	put32(head + 4, IMAGE_VERSION | IMAGE_HEADER << 16);
	put32(head + 8, (uint32_t)(c.len - IMAGE_HEADER));
	put32(head + 12, image_crc32c(c.out + IMAGE_HEADER, c.len - IMAGE_HEADER));
	put32(head + 28, image_crc32c(head, 28));
	memcpy(c.out, head, sizeof(head));
	*out = c.out;
	*len = c.len;
	return 0;
}

static int head_check(const uint8_t *p, size_t len, const char **why)
{
	static const uint8_t zero[12];
	uint32_t body;

	*why = "it is no descriptor of a process";
	if (len < IMAGE_HEADER || len > IMAGE_MAX || get32(p) != IMAGE_MAGIC)
		return -EBADMSG;
	*why = "its header is damaged";
	if (get32(p + 28) != image_crc32c(p, 28))
		return -EBADMSG;
	*why = "it is of another version";
	if (get32(p + 4) != (IMAGE_VERSION | IMAGE_HEADER << 16) || memcmp(p + 16, zero, 12) != 0)
		return -EPROTO;
	body = get32(p + 8);
	*why = "its length is not what it says";
	if (body != len - IMAGE_HEADER)
		return -EBADMSG;
	*why = "it is damaged";
	return get32(p + 12) == image_crc32c(p + IMAGE_HEADER, body) ? 0 : -EBADMSG;
}

int image_decode(struct image *im, const void *data, size_t len, const char **why)
{
	struct codec c = {.reading = true, .in = data, .at = IMAGE_HEADER, .end = len};
	int rc = head_check(data, len, why);

	memset(im, 0, sizeof(*im));
	if (rc)
		return rc;
	code_image(&c, im);
	if (!c.error && c.at != c.end)
		codec_fail(&c, -EBADMSG, "it does not end where it says");
	rc = c.error;
	*why = c.why;
	if (!rc && image_check(im, why))
		rc = -EBADMSG;
	if (rc)
		image_free(im);
	return rc;
}

static void bytes_free(struct image_bytes *b)
{
	free(b->data);
}

void image_free(struct image *im)
{
	bytes_free(&im->host.vdso_id);
	bytes_free(&im->host.release);
	bytes_free(&im->mm.auxv);
	for (uint32_t i = 0; im->vmas && i < im->nvmas; i++)
		bytes_free(&im->vmas[i].name);
	free(im->vmas);
	for (uint32_t i = 0; im->files && i < im->nfiles; i++) {
		struct image_file *f = &im->files[i];

		bytes_free(&f->path);
		bytes_free(&f->build_id);
		bytes_free(&f->data);
		for (uint32_t k = 0; f->watches && k < f->nwatches; k++)
			bytes_free(&f->watches[k].path);
		free(f->watches);
	}
	free(im->files);
	free(im->fds);
	for (uint32_t i = 0; im->threads && i < im->nthreads; i++) {
		bytes_free(&im->threads[i].xstate);
		free(im->threads[i].pending);
	}
	free(im->threads);
	free(im->pending);
	free(im->timers);
	free(im->creds.groups);
	bytes_free(&im->cwd);
	bytes_free(&im->root);
	bytes_free(&im->cgroup);
	for (uint32_t i = 0; im->filters && i < im->nfilters; i++)
		bytes_free(&im->filters[i]);
	free(im->filters);
	memset(im, 0, sizeof(*im));
}

static uint8_t page_kind(const struct image_vma *v)
{
	if (v->flags & (IMAGE_VMA_WIPEONFORK | IMAGE_VMA_DONTFORK))
		return PAGES_NONE;
	switch ((enum image_vma_kind)v->kind) {
	case IMAGE_VMA_ANON:
		return v->flags & IMAGE_VMA_WHOLE ? PAGES_WHOLE : v->flags & IMAGE_VMA_CHILD ? PAGES_CHILD : PAGES_ANON;
	case IMAGE_VMA_FILE:
		return v->flags & IMAGE_VMA_WHOLE ? PAGES_WHOLE : PAGES_FILE;
	case IMAGE_VMA_SHARED:
		return PAGES_WHOLE;
	case IMAGE_VMA_VDSO:
	case IMAGE_VMA_VVAR:
	case IMAGE_VMA_VCLOCK:
		break;
	}
	return PAGES_NONE;
}

uint64_t image_ranges(const struct image *im, struct page_range *out)
{
	uint64_t cache = 0;

	for (uint32_t i = 0; i < im->nvmas; i++) {
		const struct image_vma *v = &im->vmas[i];

		out[i] = (struct page_range){.start = v->start,
					     .length = v->end - v->start,
					     .cache = cache,
					     .kind = page_kind(v)};
		cache += out[i].length;
	}
	return cache;
}
