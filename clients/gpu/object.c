/* SPDX-License-Identifier: Apache-2.0 */
/* Textures and surfaces: handles are made here. */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/gpu_impl.h"

enum { OBJECTS_MAX = 1 << 20 };

/* A handle that is free, from 1 on; 0: there is no more. With the lock held. */
static uint32_t handle_new(struct gpu *g)
{
	uint32_t n = 1, room;
	uint8_t *p;

	while (n < g->objects_room && g->objects[n])
		n++;
	if (n < g->objects_room)
		return n;
	room = g->objects_room ? 2 * g->objects_room : 64;
	p = room <= OBJECTS_MAX ? realloc(g->objects, room) : NULL;
	if (!p)
		return 0;
	memset(p + g->objects_room, 0, room - g->objects_room);
	n = g->objects_room ? g->objects_room : 1;
	g->objects = p;
	g->objects_room = room;
	return n;
}

static uint64_t image_bytes(const struct gpu_image *i)
{
	uint64_t slices = i->depth ? i->depth : i->layers ? i->layers : 1, rows = i->height ? i->height : 1;

	return (slices - 1) * i->slice + (rows - 1) * i->pitch + 1;
}

int gpu_object_make(struct gpu *g, const struct gpu_image *i, uint32_t *object)
{
	uint32_t border[4], handle;
	int rc;

	if (i->pitch > 1ull << 32 || i->slice > 1ull << 40 || !gpu_owns(g, i->base, image_bytes(i)))
		return GPUE_INVALID_VALUE;
	memcpy(border, i->border, sizeof(border));
	gpu_lock(g);
	rc = g->fault;
	handle = rc ? 0 : handle_new(g);
	if (!rc && !handle)
		rc = GPUE_MEMORY;
	if (!rc)
		rc = GPU_APPEND(g, object_make, 0, i->base, i->pitch, i->slice, handle, i->width, i->height, i->depth,
				i->layers, i->flags, border[0], border[1], border[2], border[3]);
	if (!rc) {
		g->objects[handle] = 1;
		*object = handle;
		link_kick(g);
	}
	gpu_unlock(g);
	return rc;
}

int gpu_object_end(struct gpu *g, uint32_t object)
{
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && (object >= g->objects_room || !g->objects[object]))
		rc = GPUE_HANDLE;
	if (!rc)
		rc = GPU_APPEND(g, object_end, 0, object);
	if (!rc) {
		g->objects[object] = 0;
		link_kick(g);
	}
	gpu_unlock(g);
	return rc;
}
