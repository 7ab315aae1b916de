/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of link.c and bulk.c: the device is in this process. Each call is done when it is asked, by the
 * same code that does it in a session's process. To compare with, to look for errors in a program without a
 * service in between, and to record what a program asks and how long the device takes for it: then each call
 * is written to the file that $ATOLL_GPU_TRACE names, for netreq.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clients/gpu/gpu_impl.h"
#include "proto/gpu_dispatch.h"
#include "services/gpu-exec/worker_impl.h"
#include "tools/netreq/trace.h"

#define WINDOW_SIZE (1ull << 36)
#define MEMORY (1ull << 30) /* bytes of a device, unless $ATOLL_GPU_LOCAL_MIB says another number */

struct local {
	struct gpu_worker w;
	struct worker_page page;
	int result; /* of the last call */
	uint32_t size;
	_Alignas(16) uint8_t out[2 * GPU_BATCH_MAX];
};

static struct local *locals[GPU_DEVICES_MAX];

static struct local *local_of(const struct gpu *g)
{
	return locals[g->index];
}

/* ------------------------------------------------------------------ recording */

static struct trace_writer *recorder;
static pid_t recording; /* the process that does: not its children */
static uint64_t recorder_ns;
static char recorder_path[4096];
static _Atomic uint64_t recorded_from_ns; /* when the part that is recorded began; 0: it is not now */
static atomic_uint threads;
static __thread unsigned thread; /* from 1 */
static __thread uint64_t left_ns; /* when this thread's last call returned */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void recorder_open(void)
{
	const char *path = getenv("ATOLL_GPU_TRACE"), *program = strrchr(program_invocation_name, '/');
	int rc;

	if (!path || recorder)
		return;
	rc = trace_create(&recorder, path, program ? program + 1 : program_invocation_name, 0);
	if (rc) {
		fprintf(stderr, "atoll-gpu: nothing is recorded: %s: %s\n", path, strerror(-rc));
		recorder = NULL;
	}
	snprintf(recorder_path, sizeof(recorder_path), "%s", path);
	recorder_ns = now_ns();
	recording = getpid();
	if (!getenv("ATOLL_GPU_TRACE_RANGE"))
		recorded_from_ns = recorder_ns;
}

void gpu_record(bool on)
{
	if (getenv("ATOLL_GPU_TRACE_RANGE"))
		recorded_from_ns = on ? now_ns() : 0;
}

/* The same once more, for Chrome's trace viewer. */
static int chrome(const char *from, const char *to)
{
	char err[256] = "";
	struct trace t;
	int rc = trace_load(&t, from, err, sizeof(err));
	FILE *f;

	if (rc)
		return rc;
	f = fopen(to, "we");
	rc = f ? trace_chrome(&t, f) : -errno;
	if (f && fclose(f) && !rc)
		rc = -errno;
	trace_free(&t);
	return rc;
}

__attribute__((destructor)) static void recorder_close(void)
{
	const char *to = getenv("ATOLL_GPU_TRACE_CHROME");
	int rc = 0;

	if (recorder && recording == getpid()) {
		rc = trace_finish(recorder, now_ns() - recorder_ns);
		if (!rc && to)
			rc = chrome(recorder_path, to);
	}
	if (rc)
		fprintf(stderr, "atoll-gpu: what was recorded is not whole: %s\n", strerror(-rc));
	recorder = NULL;
}

/* When a call begins. */
static uint64_t called(void)
{
	return recorder ? now_ns() : 0;
}

/* A call that began at @at has ended. On a device of the host all its time is the device's, or the call's own. */
static void record(const char *name, enum trace_class class, unsigned flags, uint64_t at, bool on_device,
		   uint32_t stream, uint64_t out, uint64_t in)
{
	uint64_t now, took, from = recorded_from_ns;
	int number;

	if (!recorder || recording != getpid() || !from || at < from)
		return;
	if (!thread)
		thread = 1 + atomic_fetch_add(&threads, 1) % TRACE_THREADS_MAX;
	number = trace_name(recorder, name);
	now = now_ns();
	took = now - at;
	if (number >= 0)
		trace_put(recorder, &(struct trace_call){
					    .class = (uint8_t)class,
					    .flags = (uint8_t)flags,
					    .name = (uint16_t)number,
					    .thread = (uint16_t)(thread - 1),
					    .stream = stream % TRACE_STREAMS_MAX,
					    .cpu_ns = on_device ? 0 : (uint32_t)(took < UINT32_MAX ? took : UINT32_MAX),
					    .at_ns = at - recorder_ns,
					    .gap_ns = at - (left_ns > from ? left_ns : from),
					    .device_ns = on_device ? took : 0,
					    .bytes_out = out,
					    .bytes_in = in,
				    });
	left_ns = now_ns();
}

void link_answered(const char *name)
{
	record(name, TRACE_LOCAL, 0, called(), false, 0, 0, 0);
}

static void record_call(const struct gpu_call *head, const uint8_t *call, uint64_t at, uint32_t gives)
{
	const struct gpu_call_desc *d = &gpu_call_descs[head->id];
	bool launch = head->id == GPU_CALL_LAUNCH;
	struct gpu_call_launch l = {0};

	if (launch)
		memcpy(&l, call + sizeof(*head), sizeof(l));
	record(d->name, d->sync ? TRACE_SYNC : TRACE_ASYNC, d->sync ? TRACE_WAITS_ALL : 0, at,
	       launch || head->id == GPU_CALL_COPY || head->id == GPU_CALL_COPY_ROWS || head->id == GPU_CALL_FILL,
	       l.stream, head->size, gives);
}

/* ------------------------------------------------------------------ calls */

static int fault(struct gpu *g)
{
	struct local *l = local_of(g);
	char text[GPU_TEXT_MAX];
	int rc = l->w.ops->fault(l->w.dev, text);

	if (rc && !g->fault) {
		fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, text);
		g->fault = rc;
	}
	return g->fault;
}

void link_lose(struct gpu *g, const char *why)
{
	fprintf(stderr, "atoll-gpu: %s is lost: %s\n", g->name, why);
	g->fault = GPUE_UNAVAILABLE;
	g->lost = true;
}

int link_poll(struct gpu *g)
{
	(void)g;
	return 0;
}

void link_idle(struct gpu *g)
{
	(void)g;
}

int link_room(struct gpu *g, uint32_t bytes, uint8_t **at, uint32_t *room)
{
	(void)bytes;
	if (g->fault)
		return g->fault;
	*at = g->open->calls;
	*room = GPU_BATCH_MAX;
	return 0;
}

void link_append(struct gpu *g, uint32_t bytes)
{
	struct local *l = local_of(g);
	struct gpu_call head;
	uint64_t at = called();

	memcpy(&head, g->open->calls, sizeof(head));
	l->size = 0;
	l->w.text[0] = 0;
	l->result = bytes && gpu_call_check(g->open->calls, bytes) == bytes
			    ? gpu_dispatch(&l->w, g->open->calls, l->out, &l->size)
			    : GPUE_INVALID_VALUE;
	g->calls++;
	g->open->seq = g->next;
	g->done = g->next++;
	g->printed = l->w.printed_size > 0;
	if (recorder && head.id < GPU_CALLS && head.id)
		record_call(&head, g->open->calls, at, l->size);
	if (!l->result)
		return;
	snprintf(g->text, sizeof(g->text), "%s", l->w.text);
	if (gpu_error_sticky(l->result)) {
		fault(g);
	} else if (!gpu_call_descs[head.id].sync) { /* who waits for a call is told by its result */
		if (!g->late)
			g->late = l->result;
		if (g->text[0])
			fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, g->text);
	}
}

void link_flush(struct gpu *g)
{
	(void)g;
}

void link_kick(struct gpu *g)
{
	(void)g;
}

int link_wait(struct gpu *g, uint64_t seq)
{
	static uint64_t waited; /* a program that waits twice for the same waits once */
	uint64_t at = called();
	bool waits = __atomic_exchange_n(&waited, seq, __ATOMIC_RELAXED) != seq;

	record("sync", waits ? TRACE_SYNC : TRACE_LOCAL, waits ? TRACE_WAITS_ALL : 0, at, false, 0, 0, 0);
	return g->fault;
}

int link_result(struct gpu *g, struct link_answer *answer)
{
	struct local *l = local_of(g);

	answer->result = l->result;
	answer->size = l->result ? 0 : l->size;
	memcpy(answer->data, l->out, answer->size);
	return g->fault ? g->fault : l->result;
}

int link_lease(struct gpu *g, uint64_t bytes, uint64_t *more)
{
	if (more)
		*more = 0; /* all of it is there from the beginning */
	return bytes > g->leased ? GPUE_MEMORY : 0;
}

int link_copy_in(struct gpu *g, uint64_t to, const void *from, uint64_t size)
{
	struct gpu_worker *w = &local_of(g)->w;
	uint64_t at = called();
	int rc = w->ops->copy_in(w->dev, to, from, size);

	record("copy_in", TRACE_ASYNC, TRACE_COPY, at, true, 0, size, 0);

	return fault(g) ? g->fault : rc;
}

int link_copy_out(struct gpu *g, void *to, uint64_t from, uint64_t size)
{
	struct gpu_worker *w = &local_of(g)->w;
	uint64_t at = called();
	int rc = w->ops->copy_out(w->dev, to, from, size);

	record("copy_out", TRACE_SYNC, TRACE_COPY | TRACE_WAITS_ALL, at, true, 0, 0, size);

	return fault(g) ? g->fault : rc;
}

int image_send(struct gpu *g, const void *image, uint64_t size)
{
	int rc = GPU_APPEND(g, image_begin, 0, size);
	struct gpu_worker *w = &local_of(g)->w;

	if (!rc && !w->image)
		return local_of(g)->result;
	if (!rc) {
		uint64_t at = called();

		memcpy(w->image, image, size);
		record("image", TRACE_ASYNC, TRACE_COPY, at, false, 0, size, 0);
	}
	return rc;
}

int link_open(struct gpu *g, const char *target)
{
	const char *mib = getenv("ATOLL_GPU_LOCAL_MIB"), *cores = getenv("ATOLL_GPU_LOCAL_CORES");
	struct gpu_device_info info;
	char why[GPU_TEXT_MAX] = "";
	struct local *l = calloc(1, sizeof(*l));
	int rc;

	recorder_open();
	snprintf(g->name, sizeof(g->name), "%s", target);
	g->ring = calloc(1, sizeof(*g->ring));
	if (!l || !g->ring) {
		free(l);
		return GPUE_MEMORY;
	}
	locals[g->index] = l;
	g->open = g->ring;
	g->first = g->next = 1;
	l->w.ops = gpu_device_find(target);
	if (!l->w.ops) {
		fprintf(stderr, "atoll-gpu: there is no device \"%s\" in this process; there are cpu, interpreter and null\n",
			target);
		return GPUE_NO_DEVICE;
	}
	l->w.conf = (struct worker_conf){
		.ops = l->w.ops,
		.page = &l->page,
		.device = {.limit = mib ? strtoull(mib, NULL, 10) << 20 : MEMORY,
			   .window_size = WINDOW_SIZE,
			   .cores = cores ? (unsigned)strtoul(cores, NULL, 10) : 1,
			   .print = worker_print,
			   .user = &l->w},
	};
	rc = l->w.ops->open(&l->w.conf.device, &l->w.dev, why);
	if (rc) {
		fprintf(stderr, "atoll-gpu: device %s: %s\n", target, why[0] ? why : strerror(-rc));
		return GPUE_UNAVAILABLE;
	}
	l->w.ops->info(l->w.dev, &info);
	g->window_base = info.window_base;
	g->window_size = info.window_size;
	g->quota = g->leased = info.memory;
	return 0;
}

void link_close(struct gpu *g)
{
	struct local *l = local_of(g);

	pinned_drop_all(g);
	if (l) {
		if (l->w.dev)
			l->w.ops->close(l->w.dev);
		free(l->w.modules);
		free(l->w.functions);
		free(l->w.events);
		free(l->w.image);
		free(l->w.printed);
		free(l);
	}
	locals[g->index] = NULL;
	free(g->ring);
	free(g->pieces);
	free(g->managed);
	free(g->variables);
	free(g->modules);
	free(g->objects);
	g->objects = NULL;
	g->objects_room = 0;
	g->ring = g->open = NULL;
	g->pieces = g->variables = g->managed = NULL;
	g->managed_count = 0;
	g->managed_away = false;
	g->modules = NULL;
}
