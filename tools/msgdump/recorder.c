/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An entry as one of a trace. */
static void widen(const struct recorder *r, const struct proto_recorder_entry *e,
		  struct proto_trace_entry *out)
{
	uint8_t slots = 1;

	memset(out, 0, sizeof(*out));
	out->magic = PROTO_TRACE_ENTRY_MAGIC;
	out->point = e->point;
	out->node = r->head.node;
	out->endpoint = e->endpoint;
	out->time_ns = e->time_ns;
	memcpy(out->slot0, e->record, sizeof(e->record));
	memcpy(out->slot0 + offsetof(struct proto_message, slots), &slots, 1);
}

int recorder_parse(struct recorder *r, const void *memory, size_t size)
{
	const uint8_t *from = (const uint8_t *)memory + sizeof(r->head);
	struct proto_recorder_entry *copy;
	uint32_t n, mask, start = 0;

	memset(r, 0, sizeof(*r));
	if (size < sizeof(r->head))
		return -EPROTO;
	memcpy(&r->head, memory, sizeof(r->head));
	n = r->head.entries;
	if (r->head.magic != PROTO_RECORDER_HEAD_MAGIC || r->head.major != PROTO_MAJOR || n == 0 ||
	    n > RECORDER_ENTRIES_MAX || (n & (n - 1)) || size - sizeof(r->head) < n * sizeof(*copy))
		return -EPROTO;
	mask = n - 1;
	copy = malloc(n * sizeof(*copy));
	r->entries = calloc(n, sizeof(*r->entries));
	if (!copy || !r->entries) {
		free(copy);
		recorder_free(r);
		return -ENOMEM;
	}
	memcpy(copy, from, n * sizeof(*copy));
	/* the newest is the one that the next does not follow; behind it the oldest begins */
	for (uint32_t i = 0; i < n; i++)
		if (copy[i].point && copy[(i + 1) & mask].seq != (uint16_t)(copy[i].seq + 1))
			start = i + 1;
	for (uint32_t k = 0; k < n; k++) {
		const struct proto_recorder_entry *e = &copy[(start + k) & mask];

		/* never written, or just being written: the oldest, if anything follows it */
		if (!e->point || ((e->seq - 1u) & mask) != ((start + k) & mask))
			continue;
		if (k == 0 && r->head.entries > 1 && copy[(start + 1) & mask].point)
			continue;
		widen(r, e, &r->entries[r->count++]);
	}
	free(copy);
	return 0;
}

void recorder_free(struct recorder *r)
{
	free(r->entries);
	r->entries = NULL;
	r->count = 0;
}
