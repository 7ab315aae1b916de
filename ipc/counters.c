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
