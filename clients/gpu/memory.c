/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory: given out here, within what the service leases; and copies. */
#include <string.h>

#include "clients/gpu/gpu_impl.h"

enum {
	GRAIN = 512,		   /* services/gpu-exec counts in it, too */
	LEASE_STEP = 64 << 20,	   /* bytes that are asked for beyond what is needed */
};

/* ------------------------------------------------------------------ allocation */

/* 0, or 2: the device has not as much. */
static int lease(struct gpu *g, uint64_t size)
{
	uint64_t need, more = 0;
	int rc;

	if (size <= g->leased - g->used)
		return 0;
	if (size > g->quota - g->used)
		return GPUE_MEMORY;
	need = g->used + size;
	rc = g->quota - need > LEASE_STEP ? link_lease(g, need + LEASE_STEP, &more) : GPUE_MEMORY;
	if (rc == GPUE_MEMORY)
		rc = link_lease(g, need, &more);
	return rc;
}

int gpu_malloc(struct gpu *g, uint64_t size, uint64_t *address)
{
	return gpu_malloc_at(g, size, GRAIN, address);
}

int gpu_malloc_at(struct gpu *g, uint64_t size, uint64_t align, uint64_t *address)
{
	uint64_t at;
	int rc;

	*address = 0;
	if (size > UINT64_MAX - GRAIN - align)
		return GPUE_MEMORY;
	size = (size + GRAIN - 1) / GRAIN * GRAIN;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && size) {
		rc = lease(g, size);
		at = rc ? 0 : piece_fit(g->pieces, g->pieces_count, g->window_base, g->heap_end, &g->next_fit,
					size + align - GRAIN);
		at = (at + align - 1) / align * align;
		if (!rc && !at)
			rc = GPUE_MEMORY; /* too many pieces: no range is left */
		if (!rc)
			rc = piece_add(&g->pieces, &g->pieces_count, &g->pieces_room, at, size);
		if (!rc)
			rc = GPU_APPEND(g, mem_map, 0, at, size);
		if (!rc) {
			g->used += size;
			*address = at;
		}
	}
	gpu_unlock(g);
	return rc;
}

int gpu_free(struct gpu *g, uint64_t address)
{
	uint64_t size;
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc) {
		size = piece_remove(g->pieces, &g->pieces_count, address);
		rc = size ? GPU_APPEND(g, mem_unmap, 0, address) : GPUE_INVALID_VALUE;
		g->used -= size;
		managed_remove(g, address);
	}
	gpu_unlock(g);
	return rc;
}

int gpu_memory(struct gpu *g, uint64_t *free_bytes, uint64_t *total_bytes)
{
	uint64_t more = 0;
	int rc;

	gpu_lock(g);
	rc = g->fault ? g->fault : link_lease(g, 0, &more);
	*free_bytes = g->leased - g->used + more;
	*total_bytes = g->quota;
	gpu_unlock(g);
	return rc;
}

static bool owns(const struct gpu *g, uint64_t address, uint64_t size)
{
	return piece_find(g->pieces, g->pieces_count, address, size) ||
	       piece_find(g->variables, g->variables_count, address, size);
}

bool gpu_owns(struct gpu *g, uint64_t address, uint64_t size)
{
	bool is;

	gpu_lock(g);
	is = owns(g, address, size);
	gpu_unlock(g);
	return is;
}

/* ------------------------------------------------------------------ copies */

int gpu_copy_to_device(struct gpu *g, uint64_t to, const void *from, uint64_t size)
{
	int rc;

	rc = managed_push(g);
	if (rc)
		return rc;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && size && !owns(g, to, size))
		rc = GPUE_INVALID_VALUE;
	if (!rc && size)
		rc = link_copy_in(g, to, from, size);
	gpu_unlock(g);
	return rc;
}

int gpu_copy_to_host(struct gpu *g, void *to, uint64_t from, uint64_t size)
{
	int rc;

	rc = managed_push(g);
	if (rc)
		return rc;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && size && !owns(g, from, size))
		rc = GPUE_INVALID_VALUE;
	if (!rc && size)
		rc = link_copy_out(g, to, from, size);
	gpu_unlock(g);
	return rc;
}

int gpu_copy_on_device(struct gpu *g, uint64_t to, uint64_t from, uint64_t size)
{
	int rc;

	rc = managed_push(g);
	if (rc)
		return rc;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && size && (!owns(g, to, size) || !owns(g, from, size)))
		rc = GPUE_INVALID_VALUE;
	if (!rc && size)
		rc = GPU_APPEND(g, copy, 0, to, from, size);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}

/* All of the rows are one range that is this device's. */
static bool owns_rows(const struct gpu *g, uint64_t at, uint64_t pitch, uint64_t width, uint64_t height)
{
	uint64_t n;

	return !__builtin_mul_overflow(pitch, height - 1, &n) && !__builtin_add_overflow(n, width, &n) &&
	       owns(g, at, n);
}

int gpu_copy_rows_on_device(struct gpu *g, uint64_t to, uint64_t to_pitch, uint64_t from,
			    uint64_t from_pitch, uint64_t width, uint64_t height)
{
	int rc;

	rc = managed_push(g);
	if (rc)
		return rc;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && width && height &&
	    (width > to_pitch || width > from_pitch || !owns_rows(g, to, to_pitch, width, height) ||
	     !owns_rows(g, from, from_pitch, width, height)))
		rc = GPUE_INVALID_VALUE;
	if (!rc && width && height)
		rc = GPU_APPEND(g, copy_rows, 0, to, to_pitch, from, from_pitch, width, height);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}

int gpu_fill(struct gpu *g, uint64_t to, uint64_t pitch, uint32_t value, uint32_t element,
	     uint64_t width, uint64_t height)
{
	uint64_t bytes;
	int rc;

	rc = managed_push(g);
	if (rc)
		return rc;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && width && height &&
	    (to % element || __builtin_mul_overflow(width, element, &bytes) ||
	     (height > 1 && bytes > pitch) || !owns_rows(g, to, pitch, bytes, height)))
		rc = GPUE_INVALID_VALUE;
	if (!rc && width && height)
		rc = GPU_APPEND(g, fill, 0, to, pitch, width, height, value, element);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}
