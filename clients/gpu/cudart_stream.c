/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcudart: streams and events. A session does everything in the order in which it was asked, which
 * satisfies any order between streams; so a stream is a mark, and an event is a mark and a time.
 */
#include <stdlib.h>

#include "clients/gpu/cudart.h"

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
		struct rt_stream stream;
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

int rt_stream_get(cudaStream_t s, struct rt_stream *out, uint32_t *number)
{
	const struct entry *e;
	int rc = 0;

	if (is_default(s)) {
		*out = (struct rt_stream){.device = rt_device()};
		if (number)
			*number = 0;
		return 0;
	}
	pthread_mutex_lock(&lock);
	e = entry_find(&streams, s);
	if (e && e->generation == rt_generation(e->stream.device))
		*out = e->stream;
	else
		rc = GPUE_HANDLE;
	if (number)
		*number = 1 + (uint32_t)((uintptr_t)s & 0xffffff);
	pthread_mutex_unlock(&lock);
	return rc;
}

void rt_stream_used(cudaStream_t s, struct gpu *g)
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

static int stream_new(cudaStream_t *s, unsigned flags, int priority)
{
	struct entry *e;
	struct gpu *g;
	int rc;

	if (!s || flags & ~(unsigned)NON_BLOCKING)
		return E_INVALID_VALUE;
	rc = rt_gpu(&g);
	if (!rc)
		rc = gpu_poll(g);
	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	e = entry_new(&streams, s);
	if (e) {
		e->generation = rt_generation(rt_device());
		e->stream = (struct rt_stream){.device = rt_device(), .flags = flags, .priority = priority};
	}
	pthread_mutex_unlock(&lock);
	return e ? 0 : GPUE_MEMORY;
}

EXPORT cudaError_t cudaStreamCreate(cudaStream_t *s);
EXPORT cudaError_t cudaStreamCreate(cudaStream_t *s)
{
	return rt_set(stream_new(s, 0, 0));
}

EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
	return rt_set(stream_new(s, flags, 0));
}

EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority);
EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority)
{
	(void)priority; /* the range is 0 to 0; others are taken for the nearest, as CUDA has it */
	return rt_set(stream_new(s, flags, 0));
}

EXPORT cudaError_t cudaStreamDestroy(cudaStream_t s);
EXPORT cudaError_t cudaStreamDestroy(cudaStream_t s)
{
	struct entry *e;

	if (is_default(s))
		return rt_set(GPUE_HANDLE);
	pthread_mutex_lock(&lock);
	e = entry_find(&streams, s);
	if (e)
		e->used = false;
	pthread_mutex_unlock(&lock);
	return rt_set(e ? 0 : GPUE_HANDLE);
}

/* The connection of a stream, and its mark: of a default stream that of everything. */
static int stream_mark(cudaStream_t s, struct gpu **g, uint64_t *mark)
{
	struct rt_stream stream;
	int rc = rt_stream_get(s, &stream, NULL), code = 0;

	if (rc)
		return rc;
	*g = gpu_get(stream.device, &code);
	if (!*g)
		return code;
	*mark = is_default(s) ? gpu_mark(*g) : stream.mark;
	return 0;
}

EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t s);
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
	struct gpu *g;
	uint64_t mark;
	int rc = stream_mark(s, &g, &mark);

	if (!rc)
		rc = gpu_wait(g, mark);
	if (!rc)
		rc = gpu_late_error(g);
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamQuery(cudaStream_t s);
EXPORT cudaError_t cudaStreamQuery(cudaStream_t s)
{
	struct gpu *g;
	uint64_t mark;
	bool reached;
	int rc = stream_mark(s, &g, &mark);

	if (rc)
		return rt_set(rc);
	reached = gpu_reached(g, mark);
	rc = gpu_poll(g);
	return rt_set(rc ? rc : reached ? 0 : GPUE_NOT_READY);
}

EXPORT cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *flags);
EXPORT cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *flags)
{
	struct rt_stream stream;
	int rc = flags ? rt_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*flags = stream.flags;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority);
EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority)
{
	struct rt_stream stream;
	int rc = priority ? rt_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*priority = stream.priority;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamGetDevice(cudaStream_t s, int *d);
EXPORT cudaError_t cudaStreamGetDevice(cudaStream_t s, int *d)
{
	struct rt_stream stream;
	int rc = d ? rt_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*d = (int)stream.device;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long *id);
EXPORT cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long *id)
{
	struct rt_stream stream;
	int rc = id ? rt_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*id = (unsigned long long)(uintptr_t)s;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t s, int *status);
EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t s, int *status)
{
	struct rt_stream stream;
	int rc = status ? rt_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*status = 0; /* capture cannot begin */
	return rt_set(rc);
}

/* ------------------------------------------------------------------ events */

static int event_new(cudaEvent_t *ev, unsigned flags)
{
	struct entry *e;
	struct gpu *g;
	int rc;

	if (!ev || flags & ~7u)
		return E_INVALID_VALUE;
	if (flags & EVENT_INTERPROCESS)
		return GPUE_NOT_SUPPORTED;
	rc = rt_gpu(&g);
	if (!rc)
		rc = gpu_poll(g);
	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	e = entry_new(&events, ev);
	if (e) {
		e->generation = rt_generation(rt_device());
		e->event = (struct event){.device = rt_device(), .flags = flags};
	}
	pthread_mutex_unlock(&lock);
	return e ? 0 : GPUE_MEMORY;
}

EXPORT cudaError_t cudaEventCreate(cudaEvent_t *ev);
EXPORT cudaError_t cudaEventCreate(cudaEvent_t *ev)
{
	return rt_set(event_new(ev, 0));
}

EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ev, unsigned flags);
EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ev, unsigned flags)
{
	return rt_set(event_new(ev, flags));
}

/* Copies the event; 400. And its connection. */
static int event_get(cudaEvent_t ev, struct event *out, struct gpu **g)
{
	const struct entry *e;
	int code = 0;

	pthread_mutex_lock(&lock);
	e = entry_find(&events, ev);
	if (e)
		*out = e->event;
	if (e && e->generation != rt_generation(e->event.device))
		e = NULL;
	pthread_mutex_unlock(&lock);
	if (!e)
		return GPUE_HANDLE;
	*g = gpu_get(out->device, &code);
	return *g ? 0 : code;
}

EXPORT cudaError_t cudaEventDestroy(cudaEvent_t ev);
EXPORT cudaError_t cudaEventDestroy(cudaEvent_t ev)
{
	struct entry *e;

	pthread_mutex_lock(&lock);
	e = entry_find(&events, ev);
	if (e)
		e->used = false;
	pthread_mutex_unlock(&lock);
	return rt_set(e ? 0 : GPUE_HANDLE);
}

static int event_record(cudaEvent_t ev, cudaStream_t s)
{
	struct rt_stream stream;
	struct entry *e;
	struct event v;
	struct gpu *g;
	int rc = rt_stream_get(s, &stream, NULL);

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
	rt_stream_used(s, g);
	return 0;
}

EXPORT cudaError_t cudaEventRecord(cudaEvent_t ev, cudaStream_t s);
EXPORT cudaError_t cudaEventRecord(cudaEvent_t ev, cudaStream_t s)
{
	return rt_set(event_record(ev, s));
}

EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t ev, cudaStream_t s, unsigned flags);
EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t ev, cudaStream_t s, unsigned flags)
{
	return rt_set(flags ? E_INVALID_VALUE : event_record(ev, s)); /* external: of captures only */
}

EXPORT cudaError_t cudaEventQuery(cudaEvent_t ev);
EXPORT cudaError_t cudaEventQuery(cudaEvent_t ev)
{
	struct event v;
	struct gpu *g;
	bool reached;
	int rc = event_get(ev, &v, &g);

	if (rc)
		return rt_set(rc);
	reached = !v.recorded || gpu_reached(g, v.mark);
	rc = gpu_poll(g);
	return rt_set(rc ? rc : reached ? 0 : GPUE_NOT_READY);
}

EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t ev);
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t ev)
{
	struct event v;
	struct gpu *g;
	int rc = event_get(ev, &v, &g);

	if (!rc)
		rc = gpu_wait(g, v.recorded ? v.mark : 0);
	if (!rc)
		rc = gpu_late_error(g);
	return rt_set(rc);
}

EXPORT cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
EXPORT cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	struct event a, b;
	struct gpu *g, *other;
	int64_t ns;
	int rc = ms ? event_get(from, &a, &g) : E_INVALID_VALUE;

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
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t ev, unsigned flags);
EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t ev, unsigned flags)
{
	struct rt_stream stream;
	struct event v;
	struct gpu *g;
	int rc = rt_stream_get(s, &stream, NULL);

	if (!rc && flags)
		rc = E_INVALID_VALUE;
	if (!rc)
		rc = event_get(ev, &v, &g);
	/* On one device what comes later is done later. Another device's event is waited for here. */
	if (!rc && v.recorded && v.device != stream.device)
		rc = gpu_wait(g, v.mark);
	return rt_set(rc);
}
