/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of link.c and bulk.c: the device is in this process. Each call is done when it is asked, by the
 * same code that does it in a session's process. To compare with, and to look for errors in a program
 * without a service in between.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clients/gpu/gpu_impl.h"
#include "proto/gpu_dispatch.h"
#include "services/gpu-exec/worker_impl.h"

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
	(void)seq;
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
	int rc = w->ops->copy_in(w->dev, to, from, size);

	return fault(g) ? g->fault : rc;
}

int link_copy_out(struct gpu *g, void *to, uint64_t from, uint64_t size)
{
	struct gpu_worker *w = &local_of(g)->w;
	int rc = w->ops->copy_out(w->dev, to, from, size);

	return fault(g) ? g->fault : rc;
}

int image_send(struct gpu *g, const void *image, uint64_t size)
{
	int rc = GPU_APPEND(g, image_begin, 0, size);
	struct gpu_worker *w = &local_of(g)->w;

	if (!rc && !w->image)
		return local_of(g)->result;
	if (!rc)
		memcpy(w->image, image, size);
	return rc;
}

int link_open(struct gpu *g, const char *target)
{
	const char *mib = getenv("ATOLL_GPU_LOCAL_MIB"), *cores = getenv("ATOLL_GPU_LOCAL_CORES");
	struct gpu_device_info info;
	char why[GPU_TEXT_MAX] = "";
	struct local *l = calloc(1, sizeof(*l));
	int rc;

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
	g->ring = g->open = NULL;
	g->pieces = g->variables = g->managed = NULL;
	g->managed_count = 0;
	g->managed_away = false;
	g->modules = NULL;
}
