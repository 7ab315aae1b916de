/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/gpu_impl.h"

/* Index of the first piece that ends above @address. */
static size_t piece_after(const struct piece *list, size_t n, uint64_t address)
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

int piece_add(struct piece **list, size_t *n, size_t *room, uint64_t address, uint64_t size)
{
	size_t at = piece_after(*list, *n, address);

	if (at < *n && (*list)[at].address < address + size)
		return GPUE_INVALID_VALUE;
	if (*n == *room) {
		size_t more = *room ? 2 * *room : 64;
		struct piece *p = realloc(*list, more * sizeof(*p));

		if (!p)
			return GPUE_MEMORY;
		*list = p;
		*room = more;
	}
	memmove(*list + at + 1, *list + at, (*n - at) * sizeof(**list));
	(*list)[at] = (struct piece){address, size};
	++*n;
	return 0;
}

uint64_t piece_remove(struct piece *list, size_t *n, uint64_t address)
{
	size_t at = piece_after(list, *n, address);
	uint64_t size;

	if (at == *n || list[at].address != address)
		return 0;
	size = list[at].size;
	memmove(list + at, list + at + 1, (--*n - at) * sizeof(*list));
	return size;
}

const struct piece *piece_find(const struct piece *list, size_t n, uint64_t address, uint64_t size)
{
	size_t at = piece_after(list, n, address);

	if (at == n || list[at].address > address || size > list[at].size - (address - list[at].address))
		return NULL;
	return &list[at];
}

/* A gap from @from on that ends at or below @end. */
static uint64_t gap(const struct piece *list, size_t n, uint64_t from, uint64_t end, uint64_t size)
{
	for (size_t k = piece_after(list, n, from); from < end; k++) {
		uint64_t up = k < n && list[k].address < end ? list[k].address : end;

		if (up > from && size <= up - from)
			return from;
		if (k >= n)
			break;
		if (list[k].address + list[k].size > from)
			from = list[k].address + list[k].size;
	}
	return 0;
}

uint64_t piece_fit(const struct piece *list, size_t n, uint64_t base, uint64_t end, uint64_t *from,
		   uint64_t size)
{
	uint64_t at = *from >= base && *from < end ? gap(list, n, *from, end, size) : 0;

	if (!at)
		at = gap(list, n, base, end, size);
	if (at)
		*from = at + size;
	return at;
}
