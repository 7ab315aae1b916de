/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks: a worker takes one after the other of a grid; those of a cooperative launch take turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "services/gpu-exec/ptx/exec.h"

/* One turn of each warp. 1: goes on, 0: all threads are gone, -1: fault. */
static int block_turn(struct block *b)
{
	bool did = false, compiled = atomic_load_explicit(&b->grid->jit, memory_order_acquire) == GRID_COMPILED;

	if (compiled)
		did = jit_block_turn(b);
	for (uint32_t k = 0; !compiled && k < b->warp_count; k++) {
		did |= warp_run(&b->warps[k]);
		if (atomic_load_explicit(&b->grid->stop, memory_order_relaxed))
			break;
	}
	if (atomic_load_explicit(&b->grid->stop, memory_order_relaxed))
		return -1;
	if (b->live == 0)
		return 0;
	if (b->recheck) {
		b->recheck = false;
		for (uint32_t id = 0; id < PTX_BARRIERS; id++)
			if (b->barriers[id].waiting)
				barrier_try(b, id);
		did = true;
	}
	if (!did) { /* every thread waits: a real GPU would hang */
		for (uint32_t k = 0; k < b->warp_count; k++) {
			struct warp *w = &b->warps[k];
			uint32_t bar = w->in[LANE_BAR], sync = w->in[LANE_SYNC];

			warp_spread(w);
			if (sync) {
				sync_release(w, true);
				return 1;
			}
			if (bar) {
				uint32_t l = (uint32_t)__builtin_ctz(bar);

				warp_fault(w, &b->grid->module->code[w->pc[l]], l,
					   PTX_ERR_LAUNCH_FAILED, 0,
					   "All threads of the block wait, this one at barrier %u: "
					   "nobody is left to come.",
					   w->bar[l]);
				return -1;
			}
		}
	}
	return 1;
}

static void block_free(struct block *b)
{
	if (!b)
		return;
	for (uint32_t k = 0; b->warps && k < b->warp_count; k++)
		free(b->warps[k].regs);
	free(b->warps);
	free(b->shared);
	if (b->local)
		munmap(b->local, b->local_size);
	free(b);
}

static struct block *block_new(struct grid *g, struct worker *k)
{
	struct block *b = calloc(1, sizeof(*b));
	uint64_t local = (uint64_t)g->warps * PTX_LANES * g->local_bytes;

	if (!b)
		return NULL;
	b->grid = g;
	b->worker = k;
	b->warp_count = g->warps;
	b->warps = calloc(g->warps, sizeof(*b->warps));
	b->shared = aligned_alloc(1024, ((size_t)g->shared_total + 2047) / 1024 * 1024);
	if (local) {
		b->local = mmap(NULL, local, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (b->local == MAP_FAILED)
			b->local = NULL;
		else
			b->local_size = local;
	}
	if (!b->warps || !b->shared || (local && !b->local)) {
		block_free(b);
		return NULL;
	}
	memset(b->shared, 0, ((size_t)g->shared_total + 2047) / 1024 * 1024);
	for (uint32_t n = 0; n < g->warps; n++) {
		struct warp *w = &b->warps[n];

		w->frames_room = g->function->registers;
		w->regs = calloc(w->frames_room * PTX_LANES, sizeof(*w->regs));
		if (!w->regs) {
			block_free(b);
			return NULL;
		}
		w->columns = g->module->columns;
		w->block = b;
		w->worker = k;
		w->grid = g;
		w->index = n;
		for (uint32_t l = 0; l < PTX_LANES; l++) {
			uint32_t t = n * PTX_LANES + l;

			if (t >= g->threads)
				break;
			w->present |= 1u << l;
			w->tid[0][l] = t % g->launch->block[0];
			w->tid[1][l] = t / g->launch->block[0] % g->launch->block[1];
			w->tid[2][l] = t / g->launch->block[0] / g->launch->block[1];
		}
	}
	return b;
}

static void block_begin(struct block *b, uint64_t number)
{
	struct grid *g = b->grid;

	b->ctaid[0] = (uint32_t)(number % g->launch->grid[0]);
	b->ctaid[1] = (uint32_t)(number / g->launch->grid[0] % g->launch->grid[1]);
	b->ctaid[2] = (uint32_t)(number / g->launch->grid[0] / g->launch->grid[1]);
	b->live = g->threads;
	b->recheck = false;
	for (unsigned k = 0; k < PTX_BARRIERS; k++)
		b->barriers[k] = (struct barrier){.all_true = true};
	for (uint32_t n = 0; n < b->warp_count; n++) {
		struct warp *w = &b->warps[n];

		w->exited = w->skip = 0;
		w->recheck = false;
		w->flat = w->whole = true;
		w->at = g->function->first;
		w->group_frame = w->group_local = 0;
		w->frame = w->regs;
		for (unsigned k = 0; k < LANE_STATES; k++)
			w->in[k] = 0;
		w->in[LANE_RUN] = w->present;
	}
}

static bool grid_cancelled(struct grid *g)
{
	if (g->launch->cancel && atomic_load_explicit(g->launch->cancel, memory_order_relaxed)) {
		pthread_mutex_lock(&g->lock);
		if (g->fault.code == 0) {
			g->fault.code = PTX_ERR_CANCELLED;
			snprintf(g->fault.text, sizeof(g->fault.text),
				 "Kernel %.120s was cancelled.", g->function->info.name);
		}
		pthread_mutex_unlock(&g->lock);
		atomic_store(&g->stop, 1);
	}
	return atomic_load(&g->stop);
}

static void grid_no_memory(struct grid *g)
{
	pthread_mutex_lock(&g->lock);
	if (g->fault.code == 0) {
		g->fault.code = PTX_ERR_MEMORY;
		snprintf(g->fault.text, sizeof(g->fault.text),
			 "No memory on the host for a block of kernel %.120s.",
			 g->function->info.name);
	}
	pthread_mutex_unlock(&g->lock);
	atomic_store(&g->stop, 1);
}

/* Blocks one after the other. */
enum { GROUPS_NS = 2000000 }; /* measured: what it takes to compile an instruction for groups */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A block began to run @since. Once a kernel has run for as long as compiling it for groups takes, it is. */
static void compile_groups(struct grid *g, uint64_t since)
{
	struct ptx_function *f = (struct ptx_function *)(uintptr_t)g->function;
	uint64_t pays = (uint64_t)(f->end - f->first) * GROUPS_NS;

	if (atomic_load_explicit(&g->jit, memory_order_relaxed) != GRID_COMPILED ||
	    atomic_fetch_add(&f->compiled_ns, now_ns() - since) < pays || atomic_exchange(&f->grown, true))
		return;
	jit_prepare(g->module, f, true);
}

static void work_plain(struct grid *g, struct worker *k)
{
	struct block *b = NULL;
	bool watched = g->grows && !atomic_load(&g->function->grown);
	uint64_t since = 0;

	while (!grid_cancelled(g)) {
		uint64_t number = atomic_fetch_add(&g->next_block, 1);

		if (number >= g->blocks)
			break;
		if (!b && !(b = block_new(g, k))) {
			grid_no_memory(g);
			break;
		}
		if (watched)
			since = now_ns();
		block_begin(b, number);
		while (block_turn(b) == 1 && !grid_cancelled(g))
			;
		if (watched)
			compile_groups(g, since);
	}
	block_free(b);
}

/* All blocks that this thread could get are resident and take turns. */
static void work_cooperative(struct grid *g, struct worker *k)
{
	struct block **list = calloc(g->blocks, sizeof(struct block *));
	uint64_t count = 0;

	if (!list) {
		grid_no_memory(g);
		return;
	}
	for (bool more = true; (more || count) && !grid_cancelled(g);) {
		uint64_t number = more ? atomic_fetch_add(&g->next_block, 1) : g->blocks;

		more = number < g->blocks;
		if (more) {
			struct block *b = block_new(g, k);

			if (!b) {
				grid_no_memory(g);
				break;
			}
			block_begin(b, number);
			list[count++] = b;
		}
		for (uint64_t n = 0; n < count;) {
			int rc = block_turn(list[n]);

			if (rc < 0)
				break;
			if (rc == 0) {
				block_free(list[n]);
				list[n] = list[--count];
			} else {
				n++;
			}
		}
	}
	for (uint64_t n = 0; n < count; n++)
		block_free(list[n]);
	free(list);
}

void grid_work(struct grid *g)
{
	struct worker k = {.grid = g, .epoch = UINT64_MAX};

	if (g->launch->cooperative)
		work_cooperative(g, &k);
	else
		work_plain(g, &k);
	free(k.sites);
	atomic_fetch_add(&g->instructions, k.instructions);
}
