/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/gpu_dispatch.h"
#include "services/gpu-exec/worker_impl.h"

_Static_assert((int)GPU_PARAMS_MAX <= (int)GPU_DATA_MAX, "the parameters of a launch fit one call");

/* The socket is large enough for what the service lets be on the way; it waits only for a service that is slow. */
static void answer(const struct gpu_worker *w, struct worker_head *h, const void *payload)
{
	struct iovec v[2] = {{h, sizeof(*h)}, {(void *)(uintptr_t)payload, h->length}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = h->length ? 2 : 1};

	while (sendmsg(w->conf.socket, &m, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(1); /* the service is gone */
	atomic_fetch_add_explicit(&w->conf.page->answers, 1, memory_order_release);
}

enum { BUCKET_NS = 20000000 }; /* a session that was idle may have so much at once, beyond its share */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * A token bucket of device time: @from to @to was used, the share of the time since the last look has come
 * in. Who has used more than there was waits until that is made up for.
 */
static void share_take(struct gpu_worker *w, uint64_t from, uint64_t to)
{
	static int64_t tokens = BUCKET_NS;
	static uint64_t looked;
	int64_t in = looked ? (int64_t)((to - looked) * w->conf.share / 100) : 0;
	uint64_t wait;
	struct timespec ts;

	atomic_fetch_add_explicit(&w->conf.page->busy_ns, to - from, memory_order_relaxed);
	if (!w->conf.share || w->conf.share >= 100)
		return;
	looked = to;
	tokens = tokens + in > BUCKET_NS ? BUCKET_NS : tokens + in;
	tokens -= (int64_t)(to - from);
	if (tokens >= 0)
		return;
	wait = (uint64_t)-tokens * 100 / w->conf.share;
	ts = (struct timespec){.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* Does a batch. What of it is wrong ends nothing but the call. */
static void batch(struct gpu_worker *w, const uint8_t *calls, struct worker_head *h)
{
	static _Alignas(16) uint8_t out[2 * WORKER_PAYLOAD_MAX];
	static char text[GPU_TEXT_MAX];
	struct worker_page *page = w->conf.page;
	uint32_t at = 0, size, n = 0;
	uint64_t from = now_ns();
	int rc = 0, first = 0;

	text[0] = 0;
	while (at < h->length) {
		n = 0;
		w->text[0] = 0;
		size = gpu_call_check(calls + at, h->length - at);
		rc = size ? gpu_dispatch(w, calls + at, out, &n) : GPU_INVALID_VALUE;
		if (rc && !first) {
			first = rc;
			memcpy(text, w->text, sizeof(text));
		}
		if (!size) /* where the next one begins cannot be known */
			break;
		at += size;
		atomic_fetch_add_explicit(&page->calls, 1, memory_order_relaxed);
	}
	h->kind = WORKER_ANSWER;
	h->a[0] = (uint64_t)first;
	h->a[1] = w->printed_size ? 2 : 0;
	h->a[2] = (uint64_t)rc;
	h->length = rc ? 0 : n;
	w->ops->sync(w->dev); /* what is answered has been done; `fault` says if it went wrong */
	rc = w->ops->fault(w->dev, w->text);
	if (rc) {
		h->a[0] = (uint64_t)rc;
		h->a[1] |= 1;
		if (!text[0])
			memcpy(text, w->text, sizeof(text));
		atomic_store_explicit(&page->error, (uint64_t)rc, memory_order_relaxed);
	}
	if (h->a[0]) {
		h->length = (uint32_t)strnlen(text, sizeof(text));
		memcpy(out, text, h->length);
	}
	atomic_store_explicit(&page->used, w->ops->used(w->dev), memory_order_relaxed);
	share_take(w, from, now_ns());
	answer(w, h, out);
}

static int device_open(struct gpu_worker *w)
{
	struct worker_head h = {.kind = WORKER_READY};
	char why[GPU_TEXT_MAX] = "";
	int rc;

	w->conf.device.print = worker_print;
	w->conf.device.user = w;
	rc = w->ops->open(&w->conf.device, &w->dev, why);
	h.a[0] = (uint64_t)(int64_t)rc;
	h.a[1] = (uint64_t)getpid();
	h.length = (uint32_t)strnlen(why, sizeof(why));
	answer(w, &h, why);
	return rc;
}

void worker_run(const struct worker_conf *conf)
{
	static _Alignas(16) uint8_t buffer[sizeof(struct worker_head) + WORKER_PAYLOAD_MAX];
	static struct gpu_worker w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "gpu-session");
	signal(SIGTERM, SIG_DFL);
	w.conf = *conf;
	w.ops = conf->ops;
	if (device_open(&w))
		_exit(0);
	for (;;) {
		struct worker_head h;
		ssize_t n = recv(conf->socket, buffer, sizeof(buffer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(h))
			_exit(0); /* the service ended the session */
		memcpy(&h, buffer, sizeof(h));
		if (h.length != (size_t)n - sizeof(h))
			_exit(1);
		if (h.kind == WORKER_LIMIT)
			w.ops->limit(w.dev, h.a[0]);
		else if (h.kind == WORKER_BATCH)
			batch(&w, buffer + sizeof(h), &h);
	}
}
