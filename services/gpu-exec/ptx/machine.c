/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: what memory may be used, threads that help with grids, launches, objects. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/exec.h"

#define THREADS_OF_A_MULTIPROCESSOR 2048u
#define BLOCKS_OF_A_MULTIPROCESSOR  32u
#define SHARED_OF_A_BLOCK	    (227u << 10)
#define HEAP_BYTES		    (64u << 20)
#define DYNAMIC_ALIGN		    128u /* what TMA and vectors may ask of dynamic shared memory */

/* ------------------------------------------------------------------------------ ranges */

/* The last range that begins at or below @at; -1: none. */
static int64_t range_below(const struct ptx_machine *m, uint64_t at)
{
	int64_t low = -1, high = m->range_count;

	while (high - low > 1) {
		int64_t mid = (low + high) / 2;

		if (m->ranges[mid].base <= at)
			low = mid;
		else
			high = mid;
	}
	return low;
}

bool machine_range_find(struct ptx_machine *m, uint64_t at, uint64_t bytes, struct range *found)
{
	int64_t n;
	bool in = false;

	pthread_rwlock_rdlock(&m->ranges_lock);
	n = range_below(m, at);
	if (n >= 0) {
		uint64_t from = at - m->ranges[n].base;

		in = from < m->ranges[n].size && bytes <= m->ranges[n].size - from;
		*found = m->ranges[n];
	}
	pthread_rwlock_unlock(&m->ranges_lock);
	return in;
}

int ptx_range_add(struct ptx_machine *m, const void *base, uint64_t size, unsigned flags)
{
	uint64_t at = (uint64_t)(uintptr_t)base;
	int64_t n;
	int rc = 0;

	if (at == 0 || size == 0 || at + size < at)
		return -EINVAL;
	pthread_rwlock_wrlock(&m->ranges_lock);
	n = range_below(m, at);
	if ((n >= 0 && at - m->ranges[n].base < m->ranges[n].size) ||
	    (n + 1 < (int64_t)m->range_count && m->ranges[n + 1].base - at < size)) {
		rc = -EEXIST;
		goto out;
	}
	if (m->range_count == m->range_room) {
		unsigned room = m->range_room ? 2 * m->range_room : 64;
		struct range *list = realloc(m->ranges, room * sizeof(*list));

		if (!list) {
			rc = -ENOMEM;
			goto out;
		}
		m->ranges = list;
		m->range_room = room;
	}
	memmove(&m->ranges[n + 2], &m->ranges[n + 1],
		(size_t)((int64_t)m->range_count - n - 1) * sizeof(*m->ranges));
	m->ranges[n + 1] = (struct range){at, size, flags};
	m->range_count++;
	atomic_fetch_add(&m->ranges_epoch, 1);
out:
	pthread_rwlock_unlock(&m->ranges_lock);
	return rc;
}

int ptx_range_remove(struct ptx_machine *m, const void *base)
{
	uint64_t at = (uint64_t)(uintptr_t)base;
	int64_t n;
	int rc = -ENOENT;

	pthread_rwlock_wrlock(&m->ranges_lock);
	n = range_below(m, at);
	if (n >= 0 && m->ranges[n].base == at) {
		m->range_count--;
		memmove(&m->ranges[n], &m->ranges[n + 1],
			(size_t)((int64_t)m->range_count - n) * sizeof(*m->ranges));
		atomic_fetch_add(&m->ranges_epoch, 1);
		rc = 0;
	}
	pthread_rwlock_unlock(&m->ranges_lock);
	return rc;
}

bool ptx_range_contains(struct ptx_machine *m, const void *base, uint64_t size)
{
	struct range r;

	return machine_range_find(m, (uint64_t)(uintptr_t)base, size, &r);
}

/* ------------------------------------------------------------------------------ threads */

static void *helper(void *arg)
{
	struct ptx_machine *m = arg;

	pthread_mutex_lock(&m->pool_lock);
	while (!m->stopping) {
		struct grid *g = m->grids;

		while (g && (g->helpers >= g->helpers_max || atomic_load(&g->next_block) >= g->blocks ||
			     atomic_load(&g->stop)))
			g = g->next;
		if (!g) {
			pthread_cond_wait(&m->pool_wake, &m->pool_lock);
			continue;
		}
		g->helpers++;
		pthread_mutex_unlock(&m->pool_lock);
		grid_work(g);
		pthread_mutex_lock(&m->pool_lock);
		g->helpers--;
		g->helpers_max = 0; /* there is no more to take */
		pthread_cond_broadcast(&g->done);
	}
	pthread_mutex_unlock(&m->pool_lock);
	return NULL;
}

int ptx_machine_create(const struct ptx_machine_config *config, struct ptx_machine **machine)
{
	struct ptx_machine *m = calloc(1, sizeof(*m));

	*machine = NULL;
	if (!m)
		return -ENOMEM;
	if (config)
		m->config = *config;
	if (m->config.cores == 0)
		m->config.cores = 1;
	if (m->config.multiprocessors == 0)
		m->config.multiprocessors = m->config.cores;
	if (m->config.compute_capability == 0)
		m->config.compute_capability = 90;
	if (m->config.heap_bytes == 0)
		m->config.heap_bytes = HEAP_BYTES;
	if (m->config.stack_bytes == 0)
		m->config.stack_bytes = 1024;
	if (m->config.shared_bytes_max == 0)
		m->config.shared_bytes_max = SHARED_OF_A_BLOCK;
	pthread_rwlock_init(&m->ranges_lock, NULL);
	pthread_mutex_init(&m->print_lock, NULL);
	pthread_mutex_init(&m->heap_lock, NULL);
	pthread_mutex_init(&m->objects_lock, NULL);
	pthread_mutex_init(&m->pool_lock, NULL);
	pthread_cond_init(&m->pool_wake, NULL);
	m->threads = calloc(m->config.cores, sizeof(*m->threads));
	if (!m->threads) {
		ptx_machine_destroy(m);
		return -ENOMEM;
	}
	for (unsigned k = 1; k < m->config.cores; k++) {
		if (pthread_create(&m->threads[m->thread_count], NULL, helper, m)) {
			ptx_machine_destroy(m);
			return -EAGAIN;
		}
		m->thread_count++;
	}
	*machine = m;
	return 0;
}

void ptx_machine_destroy(struct ptx_machine *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->pool_lock);
	m->stopping = true;
	pthread_cond_broadcast(&m->pool_wake);
	pthread_mutex_unlock(&m->pool_lock);
	for (unsigned k = 0; k < m->thread_count; k++)
		pthread_join(m->threads[k], NULL);
	heap_destroy(m);
	pthread_rwlock_destroy(&m->ranges_lock);
	pthread_mutex_destroy(&m->print_lock);
	pthread_mutex_destroy(&m->heap_lock);
	pthread_mutex_destroy(&m->objects_lock);
	pthread_mutex_destroy(&m->pool_lock);
	pthread_cond_destroy(&m->pool_wake);
	free(m->threads);
	free(m->ranges);
	free(m->objects);
	free(m);
}

const char *ptx_executor_name(void)
{
	const char *name = jit_name();

	return name ? name : "interpreter";
}

/* ------------------------------------------------------------------------------ launches */

static int refuse(struct ptx_fault *fault, int code, const char *text)
{
	if (fault) {
		*fault = (struct ptx_fault){.code = code};
		snprintf(fault->text, sizeof(fault->text), "%s", text);
	}
	return code;
}

static uint32_t dynamic_at(const struct ptx_function *f)
{
	return (f->info.shared_bytes + DYNAMIC_ALIGN - 1) / DYNAMIC_ALIGN * DYNAMIC_ALIGN;
}

unsigned ptx_function_occupancy(const struct ptx_machine *m, const struct ptx_function *f,
				uint32_t block_threads, uint32_t shared_bytes)
{
	uint64_t shared = (uint64_t)f->info.shared_bytes + shared_bytes;
	uint32_t warps = (block_threads + PTX_LANES - 1) / PTX_LANES;
	unsigned n;

	if (block_threads == 0 || block_threads > f->info.max_threads ||
	    shared > m->config.shared_bytes_max)
		return 0;
	n = THREADS_OF_A_MULTIPROCESSOR / (warps * PTX_LANES);
	if (n > BLOCKS_OF_A_MULTIPROCESSOR)
		n = BLOCKS_OF_A_MULTIPROCESSOR;
	if (shared && m->config.shared_bytes_max / shared < n)
		n = (unsigned)(m->config.shared_bytes_max / shared);
	return n;
}

int ptx_launch_check(const struct ptx_machine *m, const struct ptx_launch *l,
		     struct ptx_fault *fault)
{
	const struct ptx_function *f = l->function;
	const uint32_t *b = l->block, *g = l->grid;

	if (!f || !f->info.entry)
		return refuse(fault, PTX_ERR_INVALID_VALUE, "What is launched is no kernel.");
	if (f->refused)
		return refuse(fault, PTX_ERR_NOT_SUPPORTED, f->refused->text);
	if (l->params_size < f->info.param_bytes || (f->info.param_bytes && !l->params))
		return refuse(fault, PTX_ERR_INVALID_VALUE, "The parameters are too few bytes.");
	if (g[0] == 0 || g[1] == 0 || g[2] == 0 || b[0] == 0 || b[1] == 0 || b[2] == 0)
		return refuse(fault, PTX_ERR_CONFIGURATION, "A dimension of grid or block is 0.");
	if (g[0] > INT32_MAX || g[1] > 65535 || g[2] > 65535 || b[0] > 1024 || b[1] > 1024 ||
	    b[2] > 64 || (uint64_t)b[0] * b[1] * b[2] > 1024)
		return refuse(fault, PTX_ERR_CONFIGURATION, "Grid or block are too large.");
	if (f->info.required[0] && (b[0] != f->info.required[0] || b[1] != f->info.required[1] ||
				    b[2] != f->info.required[2]))
		return refuse(fault, PTX_ERR_CONFIGURATION,
			      "The kernel was compiled for blocks of another shape.");
	if (b[0] * b[1] * b[2] > f->info.max_threads)
		return refuse(fault, PTX_ERR_OUT_OF_RESOURCES,
			      "The kernel was compiled for blocks of fewer threads.");
	if ((uint64_t)dynamic_at(f) + l->shared_bytes >
	    (uint64_t)m->config.shared_bytes_max + DYNAMIC_ALIGN)
		return refuse(fault, PTX_ERR_INVALID_VALUE, "Shared memory is over the limit.");
	if (l->cooperative &&
	    (uint64_t)g[0] * g[1] * g[2] >
		    (uint64_t)m->config.multiprocessors *
			    ptx_function_occupancy(m, f, b[0] * b[1] * b[2], l->shared_bytes))
		return refuse(fault, PTX_ERR_TOO_LARGE,
			      "Not all blocks of the cooperative launch can be resident.");
	return PTX_OK;
}

static void grid_share(struct ptx_machine *m, struct grid *g)
{
	pthread_mutex_lock(&m->pool_lock);
	g->next = m->grids;
	m->grids = g;
	pthread_cond_broadcast(&m->pool_wake);
	pthread_mutex_unlock(&m->pool_lock);
}

static void grid_unshare(struct ptx_machine *m, struct grid *g)
{
	pthread_mutex_lock(&m->pool_lock);
	g->helpers_max = 0;
	for (struct grid **at = &m->grids; *at; at = &(*at)->next)
		if (*at == g) {
			*at = g->next;
			break;
		}
	while (g->helpers)
		pthread_cond_wait(&g->done, &m->pool_lock);
	pthread_mutex_unlock(&m->pool_lock);
}

enum { INTERPRETED_PER_COMPILED = 4000 }; /* measured: warp instructions, by the interpreter, in the time of one compiled */

/*
 * How a launch begins. To compile an instruction takes as long as to interpret some thousands: a kernel
 * that runs shortly is better not compiled, and what earlier launches have interpreted counts.
 */
static uint8_t jit_state(const struct ptx_function *f, unsigned executor, uint64_t *at)
{
	uint64_t pays = (uint64_t)(f->end - f->first) * INTERPRETED_PER_COMPILED,
		 was = atomic_load_explicit(&f->interpreted, memory_order_relaxed);

	if (executor == PTX_EXEC_INTERPRETER)
		return GRID_INTERPRETED;
	if (executor != PTX_EXEC_DEFAULT || was >= pays || jit_ready(f->module, f))
		return jit_prepare(f->module, f, executor == PTX_EXEC_GROUPS) ? GRID_COMPILED : GRID_INTERPRETED;
	*at = pays - was;
	return jit_name() ? GRID_LATER : GRID_INTERPRETED;
}

int ptx_launch(struct ptx_machine *m, const struct ptx_launch *launch, struct ptx_fault *fault)
{
	static _Atomic uint64_t ids;
	const struct ptx_function *f = launch->function;
	unsigned executor = launch->executor ? launch->executor : m->config.executor;
	unsigned cores = launch->cores && launch->cores < m->config.cores ? launch->cores
									  : m->config.cores;
	struct ptx_launch copy = *launch;
	struct grid *g;
	int rc = ptx_launch_check(m, launch, fault);

	if (rc)
		return rc;
	g = aligned_alloc(64, (sizeof(*g) + 63) / 64 * 64);
	if (!g)
		return refuse(fault, PTX_ERR_MEMORY, "No memory on the host.");
	*g = (struct grid){.machine = m,
			   .function = f,
			   .module = f->module,
			   .launch = &copy,
			   .param_bytes = f->info.param_bytes,
			   .shared_static = f->info.shared_bytes,
			   .shared_dynamic_at = dynamic_at(f),
			   .local_bytes = f->info.local_bytes,
			   .threads = launch->block[0] * launch->block[1] * launch->block[2],
			   .blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2],
			   .helpers_max = cores - 1,
			   .grid_id = atomic_fetch_add(&ids, 1)};
	g->shared_total = g->shared_dynamic_at + launch->shared_bytes;
	g->warps = (g->threads + PTX_LANES - 1) / PTX_LANES;
	g->params = aligned_alloc(64, (g->param_bytes + 127u) / 64 * 64);
	if (!g->params) {
		free(g);
		return refuse(fault, PTX_ERR_MEMORY, "No memory on the host.");
	}
	if (g->param_bytes)
		memcpy(g->params, launch->params, g->param_bytes);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->done, NULL);
	g->jit = jit_state(f, executor, &g->jit_at);
	g->grows = executor == PTX_EXEC_DEFAULT;
	if (g->helpers_max && g->blocks > 1) {
		grid_share(m, g);
		grid_work(g);
		grid_unshare(m, g);
	} else {
		grid_work(g);
	}
	rc = g->fault.code;
	if (g->jit != GRID_COMPILED)
		atomic_fetch_add(&((struct ptx_function *)(uintptr_t)f)->interpreted,
				 atomic_load(&g->instructions));
	if (fault)
		*fault = g->fault;
	if (launch->instructions)
		*launch->instructions += atomic_load(&g->instructions);
	pthread_mutex_destroy(&g->lock);
	pthread_cond_destroy(&g->done);
	free(g->params);
	free(g);
	return rc;
}
