/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h - streams, events, and which device a thread uses: what libcudart and libcuda have in common
 *
 * A session does everything in the order in which it was asked, which satisfies any order between
 * streams; so a stream is a mark, and an event is a mark and a time. Handles are numbers: a type, a
 * generation and an index into a table, so that a stale or invented one is error 400 and never a
 * pointer that is followed. All may be called from any thread; all return CUDA's error numbers.
 */
#ifndef ATOLL_CLIENTS_GPU_ORDER_H
#define ATOLL_CLIENTS_GPU_ORDER_H

#include "clients/gpu/gpu.h"

struct order_stream {
	unsigned device, flags;
	int priority;
	uint64_t mark; /* behind the last thing that was asked in it */
};

/* The calling thread's device, connected; else the error that is to be returned. */
int order_gpu(struct gpu **g);
unsigned order_device(void);
void order_device_set(unsigned device);
/* Has anybody called order_gpu for it? Then its primary context is there. */
bool order_active(unsigned device);
/* Rises when the device is reset: what was made before is void. */
unsigned order_generation(unsigned device);
void order_reset(unsigned device);

int order_stream_new(void **s, unsigned flags, int priority);
int order_stream_destroy(void *s);
/* Copies the stream's entry; 400. @number: for traces; may be NULL. */
int order_stream_get(void *s, struct order_stream *out, uint32_t *number);
/* Something was asked in it. */
void order_stream_used(void *s, struct gpu *g);
int order_stream_wait(void *s);
int order_stream_query(void *s); /* 600: not ready */
int order_stream_wait_event(void *s, void *ev, unsigned flags);

int order_event_new(void **ev, unsigned flags);
int order_event_destroy(void *ev);
int order_event_record(void *ev, void *s);
int order_event_query(void *ev);
int order_event_wait(void *ev);
int order_elapsed(float *ms, void *from, void *to);

#endif
