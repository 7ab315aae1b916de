/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/extents.h"

#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/device.h"

size_t extent_after(const struct extent *list, size_t n, uint64_t address)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (list[mid].address + list[mid].size > address)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

int extent_add(struct extent **list, size_t *n, size_t *room, uint64_t address, uint64_t size)
{
	size_t at = extent_after(*list, *n, address);

	if (at < *n && (*list)[at].address < address + size)
		return GPU_INVALID_VALUE;
	if (*n == *room) {
		size_t more = *room ? 2 * *room : 64;
		struct extent *p = realloc(*list, more * sizeof(*p));

		if (!p)
			return GPU_OUT_OF_MEMORY;
		*list = p;
		*room = more;
	}
	memmove(*list + at + 1, *list + at, (*n - at) * sizeof(**list));
	(*list)[at] = (struct extent){address, size};
	++*n;
	return 0;
}

uint64_t extent_remove(struct extent *list, size_t *n, uint64_t address)
{
	size_t at = extent_after(list, *n, address);
	uint64_t size;

	if (at == *n || list[at].address != address)
		return 0;
	size = list[at].size;
	memmove(list + at, list + at + 1, (--*n - at) * sizeof(*list));
	return size;
}
