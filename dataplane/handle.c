/* SPDX-License-Identifier: Apache-2.0 */
/* Handles, which only the dataplane can make, and regions. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/dp_impl.h"

int handle_new(struct dp_endpoint *ep, const struct dp_handle *h, struct atoll_handle *out)
{
	uint32_t slot = ep->free_handle;
	struct dp_handle *e;
	uint32_t gen;

	if (slot != DP_NONE) {
		ep->free_handle = ep->handles[slot].index;
	} else {
		if (ep->nhandles + 1 >= DP_HANDLES_MAX)
			return -ENOSPC;
		slot = ++ep->nhandles; /* slot 0 is the dataplane */
	}
	e = &ep->handles[slot];
	gen = e->gen + 1;
	*e = *h;
	e->gen = gen;
	e->again = 0;
	out->slot = slot;
	out->gen = gen;
	return 0;
}

struct dp_handle *handle_get(struct dp_endpoint *ep, uint32_t slot, uint32_t gen)
{
	struct dp_handle *h;

	if (slot == 0 || slot >= DP_HANDLES_MAX)
		return NULL;
	h = &ep->handles[slot];
	return h->object && h->gen == gen ? h : NULL;
}

void handle_free(struct dp_endpoint *ep, uint32_t slot)
{
	ep->handles[slot].object = 0;
	ep->handles[slot].index = ep->free_handle;
	ep->free_handle = slot;
}

struct dp_region *region_get(struct dp *dp, uint32_t index, uint32_t gen)
{
	struct dp_region *r = index < DP_REGIONS_MAX ? &dp->regions[index] : NULL;

	return r && r->used && !r->closing && r->gen == gen ? r : NULL;
}

static void region_end(struct dp *dp, struct dp_region *r)
{
	r->used = r->closing = false;
	dp->counters[DPC_REGIONS]--;
	if (dp->conf.region_unused)
		dp->conf.region_unused(dp->conf.arg, r->key, r->base, r->size);
}

void region_put(struct dp *dp, uint32_t index)
{
	struct dp_region *r = &dp->regions[index];

	if (--r->refs == 0 && r->closing)
		region_end(dp, r);
}

int dp_region_add(struct dp *dp, uint32_t endpoint, uint32_t epoch, uint64_t key, void *base,
		  uint64_t size, struct atoll_handle *out)
{
	struct dp_endpoint *ep = endpoint_get(dp, endpoint, epoch);
	struct dp_handle h = {.object = OBJECT_REGION,
			      .rights = RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC | RIGHT_GRANT,
			      .node = dp->conf.node,
			      .size = size};
	struct dp_region *r;
	uint32_t i;
	int rc;

	if (!ep)
		return -ENOENT;
	for (i = 0; i < DP_REGIONS_MAX && dp->regions[i].used; i++)
		;
	if (i == DP_REGIONS_MAX)
		return -ENOSPC;
	r = &dp->regions[i];
	h.index = i;
	h.id = (r->gen + 1) & 0xfffff;
	rc = handle_new(ep, &h, out);
	if (rc)
		return rc;
	r->gen = h.id;
	r->endpoint = endpoint;
	r->epoch = epoch;
	r->refs = 0;
	r->base = base;
	r->size = size;
	r->key = key;
	r->used = true;
	r->closing = false;
	r->own_slot = out->slot;
	memset(r->exported, 0, sizeof(r->exported));
	dp->counters[DPC_REGIONS]++;
	return 0;
}

static void region_close(struct dp *dp, struct dp_region *r)
{
	struct dp_endpoint *ep = endpoint_get(dp, r->endpoint, r->epoch);

	if (r->closing)
		return;
	r->closing = true;
	if (ep)
		handle_free(ep, r->own_slot);
	if (dp->roce)
		roce_memory_revoke(dp->roce, r->base, r->size);
	if (r->refs == 0)
		region_end(dp, r);
}

int dp_region_close(struct dp *dp, uint64_t key)
{
	for (unsigned i = 0; i < DP_REGIONS_MAX; i++)
		if (dp->regions[i].used && dp->regions[i].key == key) {
			region_close(dp, &dp->regions[i]);
			return 0;
		}
	return -ENOENT;
}

void regions_of_close(struct dp *dp, uint32_t endpoint, uint32_t epoch)
{
	for (unsigned i = 0; i < DP_REGIONS_MAX; i++) {
		struct dp_region *r = &dp->regions[i];

		if (r->used && r->endpoint == endpoint && r->epoch == epoch)
			region_close(dp, r);
	}
}

uint8_t region_revoke(struct dp *dp, struct dp_endpoint *ep, struct atoll_handle h, uint32_t *gen)
{
	struct dp_handle *e = handle_get(ep, h.slot, h.gen);
	struct dp_region *r;

	if (!e || e->object != OBJECT_REGION || e->node != dp->conf.node)
		return STATUS_BAD_HANDLE;
	r = region_get(dp, e->index, e->id);
	if (!r)
		return STATUS_BAD_HANDLE;
	if (r->endpoint != ep->index || r->epoch != ep->epoch)
		return STATUS_NO_RIGHT;
	r->gen = e->id = (r->gen + 1) & 0xfffff;
	memset(r->exported, 0, sizeof(r->exported));
	if (dp->roce)
		roce_memory_revoke(dp->roce, r->base, r->size);
	dp_count(dp, DPC_REVOKES);
	*gen = r->gen;
	return STATUS_OK;
}
