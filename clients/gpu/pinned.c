/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned memory of the host: regions, which verbs reach without a copy in between. */
#include <stdlib.h>

#include "clients/gpu/gpu_impl.h"

enum { REGION_MIN = 64 << 10 }; /* less is ordinary memory: a region is too much for it, bytes */

struct pinned {
	void *base;
	uint64_t size;
	bool is_region;
	struct atoll_region region;
	struct pinned *next;
};

int gpu_host_alloc(struct gpu *g, uint64_t size, void **p)
{
	struct pinned *n = calloc(1, sizeof(*n));
	char err[256];
	int rc;

	*p = NULL;
	if (!n || size == 0 || size > SIZE_MAX - 4096) {
		free(n);
		return size ? GPUE_MEMORY : GPUE_INVALID_VALUE;
	}
	size = (size + 4095) / 4096 * 4096;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && g->ep && size >= REGION_MIN)
		n->is_region = atoll_region_alloc(g->ep, size, 0, &n->region, err, sizeof(err)) == 0;
	n->size = size;
	/* as many regions as a user may have, or none in this process: then copies take the longer way */
	n->base = n->is_region ? n->region.base : rc ? NULL : aligned_alloc(4096, size);
	if (n->base) {
		n->next = g->pinned;
		g->pinned = n;
		*p = n->base;
	} else {
		free(n);
		rc = rc ? rc : GPUE_MEMORY;
	}
	gpu_unlock(g);
	return rc;
}

static void drop(struct gpu *g, struct pinned *n)
{
	if (!n->is_region)
		free(n->base);
	else if (g->ep)
		atoll_region_free(g->ep, &n->region);
	free(n);
}

int gpu_host_free(struct gpu *g, void *p)
{
	struct pinned *n = NULL;

	gpu_lock(g);
	for (struct pinned **at = &g->pinned; *at && !n; at = &(*at)->next)
		if ((*at)->base == p) {
			n = *at;
			*at = n->next;
			break;
		}
	if (n)
		drop(g, n);
	gpu_unlock(g);
	return n ? 0 : GPUE_INVALID_VALUE;
}

void pinned_drop_all(struct gpu *g)
{
	while (g->pinned) {
		struct pinned *n = g->pinned;

		g->pinned = n->next;
		drop(g, n);
	}
}

bool pinned_find(const struct gpu *g, const void *p, uint64_t size, struct atoll_handle *region, uint64_t *offset)
{
	for (const struct pinned *n = g->pinned; n; n = n->next) {
		uint64_t at = (uint64_t)(uintptr_t)p - (uint64_t)(uintptr_t)n->base;

		if (at >= n->size || size > n->size - at)
			continue;
		*region = n->region.handle;
		*offset = at;
		return n->is_region;
	}
	return false;
}
