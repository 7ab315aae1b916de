/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime gives to kernels: printf, assert, malloc and free. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "services/gpu-exec/ptx/lanes.h"

#define PRINT_MAX  4096u /* bytes that one call prints */
#define STRING_MAX 1024u

int builtin_find(const char *name)
{
	static const struct {
		const char *name;
		int id;
	} names[] = {{"vprintf", BUILTIN_VPRINTF},
		     {"__assertfail", BUILTIN_ASSERTFAIL},
		     {"malloc", BUILTIN_MALLOC},
		     {"free", BUILTIN_FREE}};

	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (strcmp(name, names[k].name) == 0)
			return names[k].id;
	return BUILTIN_NONE;
}

/* ------------------------------------------------------------------------------ heap */

/* Pieces of the heap in the order of their addresses; first fit. */
struct piece {
	uint64_t at, size;
	bool used;
};

struct heap {
	uint8_t *memory;
	uint64_t size;
	struct piece *pieces;
	unsigned count, room;
};

static struct heap *heap_get(struct ptx_machine *m)
{
	struct heap *h = m->heap;

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->size = (m->config.heap_bytes + 4095) & ~UINT64_C(4095);
	h->memory = mmap(NULL, h->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	h->room = 64;
	h->pieces = malloc(h->room * sizeof(*h->pieces));
	if (h->memory == MAP_FAILED || !h->pieces || ptx_range_add(m, h->memory, h->size, 0)) {
		if (h->memory != MAP_FAILED)
			munmap(h->memory, h->size);
		free(h->pieces);
		free(h);
		return NULL;
	}
	h->pieces[0] = (struct piece){0, h->size, false};
	h->count = 1;
	m->heap = h;
	return h;
}

static bool heap_split(struct heap *h, unsigned k, uint64_t size)
{
	if (h->pieces[k].size == size)
		return true;
	if (h->count == h->room) {
		struct piece *list = realloc(h->pieces, 2 * h->room * sizeof(*list));

		if (!list)
			return false;
		h->pieces = list;
		h->room *= 2;
	}
	memmove(&h->pieces[k + 1], &h->pieces[k], (h->count - k) * sizeof(*h->pieces));
	h->count++;
	h->pieces[k].size = size;
	h->pieces[k + 1].at += size;
	h->pieces[k + 1].size -= size;
	return true;
}

void *heap_alloc(struct ptx_machine *m, uint64_t size)
{
	struct heap *h;
	void *p = NULL;

	if (size == 0 || size > UINT64_C(1) << 40)
		return NULL;
	size = (size + 15) & ~UINT64_C(15);
	pthread_mutex_lock(&m->heap_lock);
	h = heap_get(m);
	for (unsigned k = 0; h && k < h->count; k++)
		if (!h->pieces[k].used && h->pieces[k].size >= size) {
			if (heap_split(h, k, size)) {
				h->pieces[k].used = true;
				p = h->memory + h->pieces[k].at;
			}
			break;
		}
	pthread_mutex_unlock(&m->heap_lock);
	return p;
}

static void heap_merge(struct heap *h, unsigned k)
{
	if (k + 1 >= h->count || h->pieces[k].used || h->pieces[k + 1].used)
		return;
	h->pieces[k].size += h->pieces[k + 1].size;
	h->count--;
	memmove(&h->pieces[k + 1], &h->pieces[k + 2], (h->count - k - 1) * sizeof(*h->pieces));
}

int heap_free(struct ptx_machine *m, uint64_t address)
{
	struct heap *h;
	int rc = -EINVAL;

	if (address == 0)
		return 0;
	pthread_mutex_lock(&m->heap_lock);
	h = m->heap;
	if (h && address - (uint64_t)(uintptr_t)h->memory < h->size) {
		uint64_t at = address - (uint64_t)(uintptr_t)h->memory;
		unsigned low = 0, high = h->count;

		while (high - low > 1) {
			unsigned mid = (low + high) / 2;

			if (h->pieces[mid].at <= at)
				low = mid;
			else
				high = mid;
		}
		if (h->pieces[low].at == at && h->pieces[low].used) {
			h->pieces[low].used = false;
			heap_merge(h, low);
			if (low)
				heap_merge(h, low - 1);
			rc = 0;
		}
	}
	pthread_mutex_unlock(&m->heap_lock);
	return rc;
}

void heap_destroy(struct ptx_machine *m)
{
	if (!m->heap)
		return;
	ptx_range_remove(m, m->heap->memory);
	munmap(m->heap->memory, m->heap->size);
	free(m->heap->pieces);
	free(m->heap);
	m->heap = NULL;
}

/* ------------------------------------------------------------------------------ printf */

static void peek_string(struct warp *w, uint64_t at, char *out, size_t room)
{
	uint64_t extent = mem_extent(w, at), n = 0;

	while (n < extent && n + 1 < room && ((const char *)(uintptr_t)at)[n]) {
		out[n] = ((const char *)(uintptr_t)at)[n];
		n++;
	}
	out[n] = 0;
}

struct print {
	struct warp *w;
	char out[PRINT_MAX];
	size_t used;
	uint64_t args; /* where the next argument is */
};

static bool next_arg(struct print *p, unsigned bytes, uint64_t *v)
{
	const uint8_t *from;

	p->args = (p->args + bytes - 1) & ~(uint64_t)(bytes - 1);
	from = mem_peek(p->w, p->args, bytes, false);
	*v = 0;
	if (!from)
		return false;
	memcpy(v, from, bytes);
	p->args += bytes;
	return true;
}

static void put(struct print *p, const char *text, size_t n)
{
	if (n > sizeof(p->out) - p->used)
		n = sizeof(p->out) - p->used;
	memcpy(p->out + p->used, text, n);
	p->used += n;
}

/* One conversion, rebuilt from checked parts; returns the rest of the format. */
static const char *convert(struct print *p, const char *at)
{
	char spec[48] = "%", text[STRING_MAX + 64], string[STRING_MAX];
	size_t n = 1;
	unsigned longs = 0;
	uint64_t v;
	int len;

	while (*at && strchr("-+ #0", *at) && n < 8)
		spec[n++] = *at++;
	for (unsigned part = 0; part < 2; part++) {
		if (part) {
			if (*at != '.')
				break;
			spec[n++] = *at++;
		}
		if (*at == '*') {
			int k;

			at++;
			if (!next_arg(p, 4, &v))
				return at;
			k = S32(v);
			k = k < -500 ? -500 : k > 500 ? 500 : k;
			n += (size_t)snprintf(spec + n, 8, "%d", k);
		} else {
			unsigned k = 0;

			while (*at >= '0' && *at <= '9')
				k = (k * 10 + (unsigned)(*at++ - '0')) % 10000;
			if (k || part)
				n += (size_t)snprintf(spec + n, 8, "%u", k > 500 ? 500 : k);
		}
	}
	for (; *at && strchr("lhjzt", *at); at++)
		longs += *at == 'l' || *at == 'j' || *at == 'z' || *at == 't';
	switch (*at) {
	case 'd':
	case 'i':
	case 'u':
	case 'x':
	case 'X':
	case 'o':
		if (!next_arg(p, longs ? 8 : 4, &v))
			return at + 1;
		if (!longs && (*at == 'd' || *at == 'i'))
			v = (uint64_t)S32(v);
		memcpy(spec + n, "ll", 2);
		spec[n + 2] = *at;
		spec[n + 3] = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		len = snprintf(text, sizeof(text), spec, (unsigned long long)v);
		break;
	case 'c':
		if (!next_arg(p, 4, &v))
			return at + 1;
		spec[n] = 'c';
		spec[n + 1] = 0;
		len = snprintf(text, sizeof(text), spec, (int)A8(v));
		break;
	case 'f':
	case 'F':
	case 'e':
	case 'E':
	case 'g':
	case 'G':
	case 'a':
	case 'A':
		if (!next_arg(p, 8, &v))
			return at + 1;
		spec[n] = *at;
		spec[n + 1] = 0;
		len = snprintf(text, sizeof(text), spec, f64_of(v));
		break;
	case 's':
		if (!next_arg(p, 8, &v))
			return at + 1;
		peek_string(p->w, v, string, sizeof(string));
		spec[n] = 's';
		spec[n + 1] = 0;
		len = snprintf(text, sizeof(text), spec, string);
#pragma GCC diagnostic pop
		break;
	case 'p':
		if (!next_arg(p, 8, &v))
			return at + 1;
		len = snprintf(text, sizeof(text), "0x%llx", (unsigned long long)v);
		break;
	case '%':
		text[0] = '%';
		len = 1;
		break;
	default: /* printed as it stands */
		put(p, spec, n);
		return at;
	}
	if (len > 0)
		put(p, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
	return at + 1;
}

static uint64_t print_call(struct warp *w, uint64_t format, uint64_t args)
{
	struct ptx_machine *m = w->grid->machine;
	struct print p = {.w = w, .args = args};
	char text[PRINT_MAX];
	const char *at = text;

	peek_string(w, format, text, sizeof(text));
	while (*at) {
		const char *percent = strchr(at, '%');

		if (!percent) {
			put(&p, at, strlen(at));
			break;
		}
		put(&p, at, (size_t)(percent - at));
		at = convert(&p, percent + 1);
	}
	if (m->config.print) {
		pthread_mutex_lock(&m->print_lock);
		m->config.print(m->config.user, p.out, p.used);
		pthread_mutex_unlock(&m->print_lock);
	}
	return p.used;
}

/* ------------------------------------------------------------------------------ calls */

static uint64_t arg_value(struct warp *w, const struct call_site *s, unsigned k, uint32_t l)
{
	const struct call_arg *a;
	uint64_t v = 0;

	if (k >= s->arg_count)
		return 0;
	a = &s->args[k];
	if (a->reg != PTX_NONE)
		return op_col(w, a->reg)[l];
	memcpy(&v,
	       w->block->local + ((uint64_t)w->index * PTX_LANES + l) * w->grid->local_bytes +
		       w->group_local + a->from,
	       a->size < 8 ? a->size : 8);
	return v;
}

static void result_set(struct warp *w, const struct call_site *s, uint32_t l, uint64_t v)
{
	const struct call_arg *a = &s->rets[0];

	if (s->ret_count == 0 || a->size == 0)
		return;
	if (a->reg != PTX_NONE)
		op_col(w, a->reg)[l] = v;
	else
		memcpy(w->block->local + ((uint64_t)w->index * PTX_LANES + l) * w->grid->local_bytes +
			       w->group_local + a->from,
		       &v, a->size < 8 ? a->size : 8);
}

int builtin_call(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct call_site *s = i->ref;

	FOR_LANES(mask, l)
	{
		uint64_t a = arg_value(w, s, 0, l), b = arg_value(w, s, 1, l);

		switch (s->callee->builtin) {
		case BUILTIN_VPRINTF:
			result_set(w, s, l, print_call(w, a, b));
			break;
		case BUILTIN_ASSERTFAIL: {
			char what[120], file[80], name[80];

			peek_string(w, a, what, sizeof(what));
			peek_string(w, b, file, sizeof(file));
			peek_string(w, arg_value(w, s, 3, l), name, sizeof(name));
			return warp_fault(w, i, l, PTX_ERR_ASSERT, 0,
					  "%s:%u: %s: Assertion `%s` failed.", file,
					  A32(arg_value(w, s, 2, l)), name, what);
		}
		case BUILTIN_MALLOC:
			result_set(w, s, l, (uint64_t)(uintptr_t)heap_alloc(w->grid->machine, a));
			break;
		default:
			if (heap_free(w->grid->machine, a))
				return warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, a,
						  "free of 0x%llx, which malloc did not give.",
						  (unsigned long long)a);
		}
	}
	return 0;
}
