/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that host and kernels use by the same address. Its pages are this process's and the device's own
 * both; what is in them goes to the device before the first thing that is asked of it, and comes back when
 * the program has waited for it. In between it is the device's: CUDA forbids the host to touch managed memory
 * while kernels run on a device that says no to concurrentManagedAccess, as these do.
 */
#include <errno.h>
#include <sys/mman.h>

#include "clients/gpu/gpu_impl.h"

enum { PAGE = 4096 };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* only one goes to or fro; before a connection's lock */

/* The device is in this process: there is one memory. */
static bool here(const struct gpu *g)
{
	return !g->ep;
}

/* Pages of the window that this process may touch from now on. */
static int open_pages(const struct gpu *g, uint64_t address, uint64_t size)
{
	uint64_t low = address / PAGE * PAGE, high = (address + size + PAGE - 1) / PAGE * PAGE;

	if (here(g) || !mprotect((void *)(uintptr_t)low, high - low, PROT_READ | PROT_WRITE))
		return 0;
	return errno == ENOMEM ? GPUE_MEMORY : GPUE_INVALID_VALUE;
}

static int add(struct gpu *g, uint64_t address, uint64_t size)
{
	int rc = open_pages(g, address, size);

	return rc ? rc : piece_add(&g->managed, &g->managed_count, &g->managed_room, address, size);
}

/* It has a value already, which only the device knows. */
int gpu_managed_variable(struct gpu *g, uint64_t address, uint64_t size)
{
	int rc;

	gpu_lock(g);
	rc = add(g, address, size);
	if (!rc && !here(g))
		rc = link_copy_out(g, (void *)(uintptr_t)address, address, size);
	gpu_unlock(g);
	return rc;
}

/* Allocations of managed memory are whole pages: what lies beside them stays out of the host's reach. */
int gpu_managed_new(struct gpu *g, uint64_t size, uint64_t *address)
{
	int rc = size > UINT64_MAX - PAGE ? GPUE_MEMORY : 0;

	size = (size + PAGE - 1) / PAGE * PAGE;
	if (!rc)
		rc = gpu_malloc_at(g, size, PAGE, address);
	if (!rc && size) {
		gpu_lock(g);
		rc = add(g, *address, size);
		gpu_unlock(g);
		if (rc)
			gpu_free(g, *address);
	}
	return rc;
}

bool gpu_is_managed(struct gpu *g, uint64_t address)
{
	bool is;

	gpu_lock(g);
	is = piece_find(g->managed, g->managed_count, address, 1);
	gpu_unlock(g);
	return is;
}

void managed_remove(struct gpu *g, uint64_t address)
{
	uint64_t size = piece_remove(g->managed, &g->managed_count, address);

	if (size && !here(g)) { /* the next who has these pages finds zeros, and none who has not finds anything */
		madvise((void *)(uintptr_t)address, size, MADV_DONTNEED);
		mprotect((void *)(uintptr_t)address, size, PROT_NONE);
	}
}

/* What others add meanwhile was not touched by the host before: a list that grows is looked at again. */
static int all(struct gpu *g, int (*copy)(struct gpu *g, const struct piece *p))
{
	int rc = 0;

	gpu_lock(g);
	for (size_t k = 0; k < g->managed_count && !rc; k++) {
		struct piece p = g->managed[k];

		rc = g->fault ? g->fault : copy(g, &p);
	}
	gpu_unlock(g);
	return rc;
}

static int push(struct gpu *g, const struct piece *p)
{
	return link_copy_in(g, p->address, (void *)(uintptr_t)p->address, p->size);
}

static int pull(struct gpu *g, const struct piece *p)
{
	return link_copy_out(g, (void *)(uintptr_t)p->address, p->address, p->size);
}

int managed_push(struct gpu *g)
{
	int rc = 0;

	if (!__atomic_load_n(&g->managed_count, __ATOMIC_RELAXED) || here(g))
		return 0;
	pthread_mutex_lock(&turn);
	if (!g->managed_away) {
		rc = all(g, push);
		g->managed_away = !rc;
	}
	pthread_mutex_unlock(&turn);
	return rc;
}

int managed_pull(struct gpu *g)
{
	int rc = 0;

	if (!__atomic_load_n(&g->managed_away, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&turn);
	if (g->managed_away) {
		rc = all(g, pull);
		g->managed_away = false;
	}
	pthread_mutex_unlock(&turn);
	return rc;
}
