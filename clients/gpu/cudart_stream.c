/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: streams and events, which are in order.c. */
#include "clients/gpu/cudart_graph.h"

EXPORT cudaError_t cudaStreamCreate(cudaStream_t *s);
EXPORT cudaError_t cudaStreamCreate(cudaStream_t *s)
{
	return rt_set(order_stream_new(s, 0, 0));
}

EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
	return rt_set(order_stream_new(s, flags, 0));
}

EXPORT cudaError_t cudaStreamDestroy(cudaStream_t s);
EXPORT cudaError_t cudaStreamDestroy(cudaStream_t s)
{
	return rt_set(order_stream_destroy(s));
}

EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t s);
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
	int rc = capture_forbids(s, false);

	return rt_set(rc ? rc : order_stream_wait(s));
}

EXPORT cudaError_t cudaStreamQuery(cudaStream_t s);
EXPORT cudaError_t cudaStreamQuery(cudaStream_t s)
{
	int rc = capture_forbids(s, false);

	return rt_set(rc ? rc : order_stream_query(s));
}

EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t ev, unsigned flags);
EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t ev, unsigned flags)
{
	int rc = capture_wait(s, ev);

	return rt_set(rc == NO_CAPTURE ? order_stream_wait_event(s, ev, flags) : rc);
}

EXPORT cudaError_t cudaEventCreate(cudaEvent_t *ev);
EXPORT cudaError_t cudaEventCreate(cudaEvent_t *ev)
{
	return rt_set(order_event_new(ev, 0));
}

EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ev, unsigned flags);
EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ev, unsigned flags)
{
	return rt_set(order_event_new(ev, flags));
}

EXPORT cudaError_t cudaEventDestroy(cudaEvent_t ev);
EXPORT cudaError_t cudaEventDestroy(cudaEvent_t ev)
{
	return rt_set(order_event_destroy(ev));
}

EXPORT cudaError_t cudaEventRecord(cudaEvent_t ev, cudaStream_t s);
EXPORT cudaError_t cudaEventRecord(cudaEvent_t ev, cudaStream_t s)
{
	int rc = capture_record(ev, s);

	return rt_set(rc == NO_CAPTURE ? order_event_record(ev, s) : rc);
}

EXPORT cudaError_t cudaEventQuery(cudaEvent_t ev);
EXPORT cudaError_t cudaEventQuery(cudaEvent_t ev)
{
	return rt_set(order_event_query(ev));
}

EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t ev);
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t ev)
{
	return rt_set(order_event_wait(ev));
}

EXPORT cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
EXPORT cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
	return rt_set(order_elapsed(ms, from, to));
}

EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority);
EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority)
{
	(void)priority; /* the range is 0 to 0; others are taken for the nearest, as CUDA has it */
	return rt_set(order_stream_new(s, flags, 0));
}

EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t ev, cudaStream_t s, unsigned flags);
EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t ev, cudaStream_t s, unsigned flags)
{
	return rt_set(flags ? E_INVALID_VALUE : order_event_record(ev, s)); /* external: of captures only */
}

EXPORT cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *out);
EXPORT cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *out)
{
	struct order_stream stream;
	int rc = out ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*out = stream.flags;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t s, int *out);
EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t s, int *out)
{
	struct order_stream stream;
	int rc = out ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*out = stream.priority;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamGetDevice(cudaStream_t s, int *out);
EXPORT cudaError_t cudaStreamGetDevice(cudaStream_t s, int *out)
{
	struct order_stream stream;
	int rc = out ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*out = (int)stream.device;
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long *out);
EXPORT cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long *out)
{
	struct order_stream stream;
	int rc = out ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*out = (unsigned long long)(uintptr_t)s;
	return rt_set(rc);
}

/* ------------------------------------------------------------------ functions of the host */

/* They run here and now, once everything before them is done: what comes after them then is later, too. */
EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t s, void (*function)(void *), void *user);
EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t s, void (*function)(void *), void *user)
{
	struct graph_work w = {.kind = GRAPH_HOST};
	int rc = function ? NO_CAPTURE : E_INVALID_VALUE;

	if (function) {
		w.host.function = function;
		w.host.user = user;
		rc = capture_add(s, &w);
	}
	if (rc != NO_CAPTURE)
		return rt_set(rc);
	rc = order_stream_wait(s);
	if (!rc)
		function(user);
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamAddCallback(cudaStream_t s, void (*function)(cudaStream_t, cudaError_t, void *),
					 void *user, unsigned flags);
EXPORT cudaError_t cudaStreamAddCallback(cudaStream_t s, void (*function)(cudaStream_t, cudaError_t, void *),
					 void *user, unsigned flags)
{
	int rc = function && !flags ? capture_forbids(s, false) : E_INVALID_VALUE;

	if (rc)
		return rt_set(rc);
	rc = order_stream_wait(s);

	if (rc == E_INVALID_VALUE || rc == GPUE_HANDLE)
		return rt_set(rc);
	function(s, rc, user); /* is told of an error, where a host function is not run */
	return 0;
}
