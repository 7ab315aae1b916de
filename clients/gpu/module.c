/* SPDX-License-Identifier: Apache-2.0 */
/* Modules, kernels, launches, events: calls with handles that are made here. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/gpu_impl.h"

#define FATBIN_MAGIC 0xba55ed50u
#define WRAPPER_MAGIC 0x466243b1u

enum {
	LEASE_FOR_VARIABLES = 16 << 20, /* asked for when a module's variables find no room, bytes */
	MODULES_MAX = 1 << 16,
};

/*
 * How large is an image that is only known by where it begins? A program vouches for it with its own
 * memory: nothing here can be checked against anything else.
 */
static uint64_t image_size(const void *image)
{
	uint32_t magic;

	memcpy(&magic, image, 4);
	if (magic == FATBIN_MAGIC) {
		const uint8_t *p = image;
		uint16_t head;
		uint64_t body;

		memcpy(&head, p + 6, 2);
		memcpy(&body, p + 8, 8);
		return body > UINT64_MAX - head ? 0 : head + body;
	}
	if (memcmp(&magic, ELFMAG, 4) == 0) {
		const Elf64_Ehdr *h = image;

		/* the section headers are the last of a cubin or object, or the segments reach further */
		uint64_t end = h->e_shoff + (uint64_t)h->e_shnum * h->e_shentsize;
		const Elf64_Phdr *p = (const void *)((const uint8_t *)image + h->e_phoff);

		for (unsigned k = 0; k < h->e_phnum; k++)
			if (p[k].p_offset + p[k].p_filesz > end)
				end = p[k].p_offset + p[k].p_filesz;
		return end;
	}
	return strlen(image) + 1;
}

int gpu_module_load(struct gpu *g, const void *image, uint64_t size, uint32_t *module)
{
	struct gpu_result_module_load r;
	struct link_answer answer;
	uint32_t handle, magic;
	int rc;

	memcpy(&magic, image, 4);
	if (magic == WRAPPER_MAGIC) /* a pointer to it is the third word */
		memcpy(&image, (const uint8_t *)image + 8, sizeof(image));
	if (!size || magic == WRAPPER_MAGIC)
		size = image_size(image);
	gpu_lock(g);
	rc = g->fault;
	snprintf(g->text, sizeof(g->text), "no room for a module");
	for (handle = 0; handle < g->modules_count && g->modules[handle].used; handle++)
		;
	if (!rc && handle == g->modules_count) {
		void *p = handle < MODULES_MAX ? realloc(g->modules, (handle + 1) * sizeof(*g->modules)) : NULL;

		if (p) {
			g->modules = p;
			g->modules[g->modules_count++] = (struct module){0};
		} else {
			rc = GPUE_MEMORY;
		}
	}
	for (int tries = 0; tries < 2 && !rc; tries++) {
		rc = image_send(g, image, size);
		if (!rc)
			rc = GPU_APPEND(g, module_load, 0, handle);
		if (!rc)
			rc = link_result(g, &answer);
		/* its variables count, too: is more to be had? */
		if (rc != GPUE_MEMORY || tries || link_lease(g, g->leased + size + LEASE_FOR_VARIABLES, NULL))
			break;
		rc = 0;
	}
	if (!rc) {
		memcpy(&r, answer.data, sizeof(r));
		g->modules[handle] = (struct module){true, r.own};
		g->used += r.own;
		*module = handle;
	} else if (rc != g->fault) {
		fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, g->text);
	}
	gpu_unlock(g);
	return rc;
}

void gpu_last_text(struct gpu *g, char *text, size_t size)
{
	gpu_lock(g);
	snprintf(text, size, "%s", g->text);
	gpu_unlock(g);
}

int gpu_module_unload(struct gpu *g, uint32_t module)
{
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && (module >= g->modules_count || !g->modules[module].used))
		rc = GPUE_HANDLE;
	if (!rc)
		rc = GPU_APPEND(g, module_unload, 0, module);
	if (!rc) {
		g->used -= g->modules[module].own;
		g->modules[module].used = false;
		link_kick(g);
	}
	gpu_unlock(g);
	return rc;
}

int gpu_kernel_get(struct gpu *g, uint32_t module, const char *name, struct gpu_kernel *k)
{
	struct link_answer answer;
	uint32_t n = (uint32_t)strnlen(name, GPU_DATA_MAX);
	int rc;

	gpu_lock(g);
	rc = g->fault;
	snprintf(g->text, sizeof(g->text), "its parameters are too many");
	k->handle = g->functions++;
	if (!rc)
		rc = GPU_APPEND(g, function_get, n, module, k->handle, name, n);
	if (!rc)
		rc = link_result(g, &answer);
	if (!rc) {
		memcpy(&k->info, answer.data, sizeof(k->info));
		n = k->info.param_count;
		if (n > GPU_KERNEL_PARAMS_MAX || answer.size != sizeof(k->info) + n * sizeof(k->params[0]))
			rc = GPUE_NOT_SUPPORTED;
		else
			memcpy(k->params, answer.data + sizeof(k->info), n * sizeof(k->params[0]));
	}
	if (rc == GPUE_NOT_SUPPORTED && rc != g->fault)
		fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, g->text);
	gpu_unlock(g);
	return rc;
}

int gpu_variable_get(struct gpu *g, uint32_t module, const char *name, uint64_t *address, uint64_t *size)
{
	struct gpu_result_variable_get r;
	struct link_answer answer;
	uint32_t n = (uint32_t)strnlen(name, GPU_DATA_MAX);
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc)
		rc = GPU_APPEND(g, variable_get, n, module, name, n);
	if (!rc)
		rc = link_result(g, &answer);
	if (!rc) {
		memcpy(&r, answer.data, sizeof(r));
		*address = r.address;
		*size = r.size;
		/* asked for twice: it is there already */
		if (piece_add(&g->variables, &g->variables_count, &g->variables_room, r.address, r.size) ==
		    GPUE_MEMORY)
			rc = GPUE_MEMORY;
	}
	gpu_unlock(g);
	return rc;
}

/* ------------------------------------------------------------------ launches */

static int geometry_check(const struct gpu *g, const struct gpu_kernel *k, const struct gpu_geometry *l)
{
	uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];

	for (unsigned d = 0; d < 3; d++)
		if (l->grid[d] == 0 || l->grid[d] > g->info.grid_max[d] || l->block[d] == 0 ||
		    l->block[d] > g->info.block_max[d])
			return GPUE_CONFIGURATION;
	if (threads > g->info.threads_block)
		return GPUE_CONFIGURATION;
	if (threads > k->info.max_threads)
		return GPUE_OUT_OF_RESOURCES;
	if ((uint64_t)l->shared + k->info.shared_bytes > g->info.shared_block_optin)
		return GPUE_INVALID_VALUE;
	if (l->cooperative && (uint64_t)l->grid[0] * l->grid[1] * l->grid[2] >
				      (uint64_t)g->info.multiprocessors *
					      gpu_occupancy(&g->info, k, (unsigned)threads, l->shared))
		return GPUE_TOO_LARGE;
	return 0;
}

static int launch(struct gpu *g, const struct gpu_kernel *k, const struct gpu_geometry *l,
		  const void *params, uint32_t n)
{
	return GPU_APPEND(g, launch, n, k->handle, l->cooperative ? 1u : 0u, l->grid[0], l->grid[1],
			  l->grid[2], l->block[0], l->block[1], l->block[2], l->shared, l->stream, params, n);
}

int gpu_launch(struct gpu *g, const struct gpu_kernel *k, const struct gpu_geometry *l,
	       const void *params, uint32_t params_size)
{
	int rc = geometry_check(g, k, l);

	if (!rc && params_size < k->info.param_bytes)
		rc = GPUE_INVALID_VALUE;
	if (!rc && k->info.param_bytes > GPU_DATA_MAX)
		rc = GPUE_NOT_SUPPORTED;
	if (!rc)
		rc = managed_push(g);
	if (rc)
		return rc;
	gpu_lock(g);
	rc = launch(g, k, l, params, k->info.param_bytes);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}

int gpu_launch_args(struct gpu *g, const struct gpu_kernel *k, const struct gpu_geometry *l, void **args)
{
	uint8_t params[GPU_DATA_MAX];

	if (k->info.param_bytes > sizeof(params))
		return GPUE_NOT_SUPPORTED;
	memset(params, 0, k->info.param_bytes);
	for (unsigned i = 0; i < k->info.param_count; i++)
		memcpy(params + k->params[i][0], args[i], k->params[i][1]);
	return gpu_launch(g, k, l, params, k->info.param_bytes);
}

/* ------------------------------------------------------------------ order and time */

uint64_t gpu_mark(struct gpu *g)
{
	uint64_t mark;

	gpu_lock(g);
	mark = g->next - 1;
	if (g->open && !g->open->length)
		mark--;
	gpu_unlock(g);
	return mark;
}

bool gpu_reached(struct gpu *g, uint64_t mark)
{
	bool is;

	gpu_lock(g);
	link_poll(g); /* sends what is to be sent, unless enough is on the way: then it goes with what comes after it */
	is = g->done >= mark;
	link_answered("query");
	gpu_unlock(g);
	if (is)
		managed_pull(g);
	return is;
}

int gpu_event_new(struct gpu *g, uint32_t *event)
{
	gpu_lock(g);
	*event = g->events++;
	gpu_unlock(g);
	return g->fault;
}

int gpu_event_record(struct gpu *g, uint32_t event, uint64_t *mark)
{
	int rc;

	gpu_lock(g);
	rc = GPU_APPEND(g, event_record, 0, event);
	if (!rc)
		*mark = g->open->seq;
	gpu_unlock(g);
	return rc;
}

int gpu_event_elapsed(struct gpu *g, uint32_t from, uint32_t to, int64_t *ns)
{
	struct gpu_result_event_elapsed r;
	struct link_answer answer;
	int rc;

	gpu_lock(g);
	rc = GPU_APPEND(g, event_elapsed, 0, from, to);
	if (!rc)
		rc = link_result(g, &answer);
	if (!rc) {
		memcpy(&r, answer.data, sizeof(r));
		*ns = (int64_t)r.ns;
	}
	gpu_unlock(g);
	return rc;
}
