/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, events, and which device a thread uses: what libcudart and libcuda have in common. */
#include <pthread.h>
#include <stdlib.h>

#include "clients/gpu/order.h"

static __thread unsigned device;
static bool active[GPU_DEVICES_MAX]; /* somebody uses its primary context */
static unsigned generations[GPU_DEVICES_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};

unsigned order_device(void)
{
	return device;
}

void order_device_set(unsigned d)
{
	device = d;
}

unsigned order_generation(unsigned d)
{
	return __atomic_load_n(&generations[d], __ATOMIC_ACQUIRE);
}

bool order_active(unsigned d)
{
	return __atomic_load_n(&active[d], __ATOMIC_ACQUIRE);
}

void order_reset(unsigned d)
{
	__atomic_store_n(&active[d], false, __ATOMIC_RELEASE);
	__atomic_add_fetch(&generations[d], 1, __ATOMIC_ACQ_REL);
}

int order_gpu(struct gpu **g)
{
	int code = 0;

	*g = gpu_get(device, &code);
	if (*g && !order_active(device))
		__atomic_store_n(&active[device], true, __ATOMIC_RELEASE);
	return *g ? 0 : code;
}

enum {
	TABLE_MAX = 1 << 16,
	LEGACY = 1,	/* cudaStreamLegacy */
	PER_THREAD = 2, /* cudaStreamPerThread */
	NON_BLOCKING = 1,
	EVENT_NO_TIMING = 2,
	EVENT_INTERPROCESS = 4,
};

#define KIND_STREAM 0x5a1full
#define KIND_EVENT  0x5a2full

struct event {
	unsigned device, flags, generation; /* generation: of the device */
	uint32_t number;
	bool numbered, recorded;
	uint64_t mark;
};

struct entry {
	bool used;
	uint16_t life;
	unsigned generation; /* of the device */
	union {
		struct order_stream stream;
		struct event event;
	};
};

struct table {
	uint64_t kind;
	struct entry *list;
	unsigned count;
};

static struct table streams = {.kind = KIND_STREAM}, events = {.kind = KIND_EVENT};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* With the lock held. NULL: no room. */
static struct entry *entry_new(struct table *t, void **handle)
{
	struct entry *e;
	unsigned k = 0;

	while (k < t->count && t->list[k].used)
		k++;
	if (k == t->count) {
		unsigned n = t->count ? 2 * t->count : 16;
		struct entry *p = n <= TABLE_MAX ? realloc(t->list, n * sizeof(*p)) : NULL;

		if (!p)
			return NULL;
		for (unsigned i = t->count; i < n; i++)
			p[i] = (struct entry){0};
		t->list = p;
		t->count = n;
	}
	e = &t->list[k];
	*e = (struct entry){.used = true, .life = (uint16_t)(e->life + 1)};
	*handle = (void *)(uintptr_t)(t->kind << 48 | (uint64_t)e->life << 24 | k);
	return e;
}

static struct entry *entry_find(const struct table *t, const void *handle)
{
	uint64_t h = (uint64_t)(uintptr_t)handle;
	unsigned k = (unsigned)(h & 0xffffff);

	if (h >> 48 != t->kind || k >= t->count || !t->list[k].used || t->list[k].life != (h >> 24 & 0xffff))
		return NULL;
	return &t->list[k];
}

/* ------------------------------------------------------------------ streams */

static bool is_default(const void *s)
{
	return (uintptr_t)s <= PER_THREAD;
}

int order_stream_get(void *s, struct order_stream *out, uint32_t *number)
{
	const struct entry *e;
	int rc = 0;

	if (is_default(s)) {
		*out = (struct order_stream){.device = order_device()};
		if (number)
			*number = 0;
		return 0;
	}
	pthread_mutex_lock(&lock);
	e = entry_find(&streams, s);
	if (e && e->generation == order_generation(e->stream.device))
		*out = e->stream;
	else
		rc = GPUE_HANDLE;
	if (number)
		*number = 1 + (uint32_t)((uintptr_t)s & 0xffffff);
	pthread_mutex_unlock(&lock);
	return rc;
}

void order_stream_used(void *s, struct gpu *g)
{
	struct entry *e;
	uint64_t mark;

	if (is_default(s))
		return;
	mark = gpu_mark(g);
	pthread_mutex_lock(&lock);
	e = entry_find(&streams, s);
	if (e)
		e->stream.mark = mark;
	pthread_mutex_unlock(&lock);
}

int order_stream_new(void **s, unsigned flags, int priority)
{
	struct entry *e;
	struct gpu *g;
	int rc;

	if (!s || flags & ~(unsigned)NON_BLOCKING)
		return GPUE_INVALID_VALUE;
	rc = order_gpu(&g);
	if (!rc)
		rc = gpu_poll(g);
	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	e = entry_new(&streams, s);
	if (e) {
		e->generation = order_generation(order_device());
		e->stream = (struct order_stream){.device = order_device(), .flags = flags, .priority = priority};
	}
	pthread_mutex_unlock(&lock);
	return e ? 0 : GPUE_MEMORY;
}

int order_stream_destroy(void *s)
{
	struct entry *e;

	if (is_default(s))
		return GPUE_HANDLE;
	pthread_mutex_lock(&lock);
	e = entry_find(&streams, s);
	if (e)
		e->used = false;
	pthread_mutex_unlock(&lock);
	return e ? 0 : GPUE_HANDLE;
}

/* The connection of a stream, and its mark: of a default stream that of everything. */
static int stream_mark(void *s, struct gpu **g, uint64_t *mark)
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL), code = 0;

	if (rc)
		return rc;
	*g = gpu_get(stream.device, &code);
	if (!*g)
		return code;
	*mark = is_default(s) ? gpu_mark(*g) : stream.mark;
	return 0;
}

int order_stream_wait(void *s)
{
	struct gpu *g;
	uint64_t mark;
	int rc = stream_mark(s, &g, &mark);

	if (!rc)
		rc = gpu_wait(g, mark);
	if (!rc)
		rc = gpu_late_error(g);
	return rc;
}

int order_stream_query(void *s)
{
	struct gpu *g;
	uint64_t mark;
	bool reached;
	int rc = stream_mark(s, &g, &mark);

	if (rc)
		return rc;
	reached = gpu_reached(g, mark);
	rc = gpu_poll(g);
	return rc ? rc : reached ? 0 : GPUE_NOT_READY;
}

/* ------------------------------------------------------------------ events */

int order_event_new(void **ev, unsigned flags)
{
	struct entry *e;
	struct gpu *g;
	int rc;

	if (!ev || flags & ~7u)
		return GPUE_INVALID_VALUE;
	if (flags & EVENT_INTERPROCESS)
		return GPUE_NOT_SUPPORTED;
	rc = order_gpu(&g);
	if (!rc)
		rc = gpu_poll(g);
	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	e = entry_new(&events, ev);
	if (e) {
		e->generation = order_generation(order_device());
		e->event = (struct event){.device = order_device(), .flags = flags};
	}
	pthread_mutex_unlock(&lock);
	return e ? 0 : GPUE_MEMORY;
}

/* Copies the event; 400. And its connection. */
static int event_get(void *ev, struct event *out, struct gpu **g)
{
	const struct entry *e;
	int code = 0;

	pthread_mutex_lock(&lock);
	e = entry_find(&events, ev);
	if (e)
		*out = e->event;
	if (e && e->generation != order_generation(e->event.device))
		e = NULL;
	pthread_mutex_unlock(&lock);
	if (!e)
		return GPUE_HANDLE;
	*g = gpu_get(out->device, &code);
	return *g ? 0 : code;
}

int order_event_destroy(void *ev)
{
	struct entry *e;

	pthread_mutex_lock(&lock);
	e = entry_find(&events, ev);
	if (e)
		e->used = false;
	pthread_mutex_unlock(&lock);
	return e ? 0 : GPUE_HANDLE;
}

int order_event_record(void *ev, void *s)
{
	struct order_stream stream;
	struct entry *e;
	struct event v;
	struct gpu *g;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = event_get(ev, &v, &g);
	if (!rc && stream.device != v.device)
		rc = GPUE_HANDLE;
	if (rc)
		return rc;
	if (!v.numbered)
		rc = gpu_event_new(g, &v.number);
	if (!rc)
		rc = gpu_event_record(g, v.number, &v.mark);
	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	e = entry_find(&events, ev);
	if (e) {
		e->event.number = v.number;
		e->event.numbered = e->event.recorded = true;
		e->event.mark = v.mark;
	}
	pthread_mutex_unlock(&lock);
	order_stream_used(s, g);
	return 0;
}

int order_event_query(void *ev)
{
	struct event v;
	struct gpu *g;
	bool reached;
	int rc = event_get(ev, &v, &g);

	if (rc)
		return rc;
	reached = !v.recorded || gpu_reached(g, v.mark);
	rc = gpu_poll(g);
	return rc ? rc : reached ? 0 : GPUE_NOT_READY;
}

int order_event_wait(void *ev)
{
	struct event v;
	struct gpu *g;
	int rc = event_get(ev, &v, &g);

	if (!rc)
		rc = gpu_wait(g, v.recorded ? v.mark : 0);
	if (!rc)
		rc = gpu_late_error(g);
	return rc;
}

int order_elapsed(float *ms, void *from, void *to)
{
	struct event a, b;
	struct gpu *g, *other;
	int64_t ns;
	int rc = ms ? event_get(from, &a, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		rc = event_get(to, &b, &other);
	if (!rc && (g != other || !a.recorded || !b.recorded || (a.flags | b.flags) & EVENT_NO_TIMING))
		rc = GPUE_HANDLE;
	if (!rc && (!gpu_reached(g, a.mark) || !gpu_reached(g, b.mark)))
		rc = gpu_poll(g) ? gpu_poll(g) : GPUE_NOT_READY;
	if (!rc)
		rc = gpu_event_elapsed(g, a.number, b.number, &ns);
	if (!rc)
		*ms = (float)ns / 1e6f;
	return rc;
}

int order_stream_wait_event(void *s, void *ev, unsigned flags)
{
	struct order_stream stream;
	struct event v;
	struct gpu *g;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc && flags)
		rc = GPUE_INVALID_VALUE;
	if (!rc)
		rc = event_get(ev, &v, &g);
	/* On one device what comes later is done later. Another device's event is waited for here. */
	if (!rc && v.recorded && v.device != stream.device)
		rc = gpu_wait(g, v.mark);
	return rc;
}
