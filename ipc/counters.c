/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/counters.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "proto/atoll_proto.h"

void counters_format(struct counters_page *page, const struct counter_info *info, uint32_t count)
{
	if (count > COUNTERS_MAX)
		count = COUNTERS_MAX;
	page->major = PROTO_MAJOR;
	page->count = count;
	page->pid = (uint32_t)getpid();
	page->started_ns = clock_now_ns();
	memcpy(page->info, info, count * sizeof(*info));
	__atomic_store_n(&page->magic, COUNTERS_MAGIC, __ATOMIC_RELEASE);
}

int counters_check(const struct counters_page *page, size_t size)
{
	if (size < sizeof(*page) ||
	    __atomic_load_n(&page->magic, __ATOMIC_ACQUIRE) != COUNTERS_MAGIC ||
	    page->major != PROTO_MAJOR || page->count > COUNTERS_MAX)
		return -EPROTO;
	return 0;
}

bool counters_slot_read(const struct counters_page *page, uint32_t i, struct counters_slot *out)
{
	const struct counters_slot *s = &page->slot[i];

	for (unsigned tries = 0; tries < 8; tries++) {
		uint32_t before = __atomic_load_n(&s->version, __ATOMIC_ACQUIRE);

		memcpy(out, s, sizeof(*out));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(before & 1) && __atomic_load_n(&s->version, __ATOMIC_RELAXED) == before) {
			out->name[sizeof(out->name) - 1] = 0;
			return out->kind == SLOT_ENDPOINT || out->kind == SLOT_LANE;
		}
	}
	return false;
}

void counters_slot_write(struct counters_slot *slot, const struct counters_slot *s)
{
	uint32_t version = slot->version;

	__atomic_store_n(&slot->version, version | 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(&slot->kind, &s->kind, sizeof(*s) - offsetof(struct counters_slot, kind));
	__atomic_store_n(&slot->version, (version | 1) + 1, __ATOMIC_RELEASE);
}
