/* SPDX-License-Identifier: Apache-2.0 */
#include "services/index-shard/store.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the layout is little-endian");

uint64_t store_groups(uint64_t entries)
{
	const uint64_t slots = INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS;
	uint64_t groups = entries * 10 / (7 * slots) + 1;

	return groups < INDEX_GROUPS_MIN ? INDEX_GROUPS_MIN : groups;
}

uint32_t store_subtables(uint64_t all, unsigned *depth)
{
	unsigned d = 0;
	uint64_t each;

	while (all >> d >= INDEX_GROUPS_MAX && d < INDEX_DEPTH_MAX - INDEX_DEPTH_GROW)
		d++;
	each = (all + (1ull << d) - 1) >> d;
	*depth = d;
	return each > INDEX_GROUPS_MAX   ? INDEX_GROUPS_MAX
	       : each < INDEX_GROUPS_MIN ? INDEX_GROUPS_MIN
					 : (uint32_t)each;
}

static void store_open(struct store *s, void *table, void *control)
{
	memset(s, 0, sizeof(*s));
	s->table = table;
	s->control = control;
	s->deaths = (uint64_t *)((char *)control + INDEX_DEATHS_OFFSET);
	s->client = (struct index_client *)((char *)control + INDEX_CLIENT_TABLE_OFFSET);
	s->segment = (struct index_segment *)((char *)control + INDEX_SEGMENT_TABLE_OFFSET);
}

/* The table's region is sparse. Here, off the way of verbs, its pages come into being; on a kernel that cannot
 * do it ahead (before 5.14) they do when they are first written. */
static bool present(const struct store *s, uint64_t offset, uint64_t size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
	uintptr_t from = ((uintptr_t)s->table + offset) & ~page;
	uintptr_t to = ((uintptr_t)s->table + offset + size + page) & ~page;

	return madvise((void *)from, to - from, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

static void super_write(struct index_super *at, uint64_t magic, const struct index_super *super)
{
	*at = *super;
	__atomic_store_n(&at->magic, magic, __ATOMIC_RELEASE);
}

void store_format(struct store *s, void *table, void *control, uint32_t groups, unsigned depth,
		  uint64_t segments, uint64_t table_id)
{
	struct index_super super = {
		.version = INDEX_VERSION,
		.groups = groups,
		.table_id = table_id,
		.table_offset = INDEX_SUPER_SIZE,
		.heap_offset = index_heap_offset(groups, depth),
		.heap_size = segments * INDEX_SEGMENT,
		.depth = depth,
		.type = INDEX_TYPE_HASH,
	};

	store_open(s, table, control);
	s->segments = segments;
	*(uint64_t *)(void *)((char *)table + INDEX_RECLAIM_OFFSET) = 1; /* 0 would be no pin */
	for (uint32_t i = 0; i < 1u << depth; i++) {
		struct index_subtable *t = (void *)((char *)table + INDEX_SUPER_SIZE +
						    i * index_subtable_size(groups));

		t->prefix = i;
		t->depth = depth;
	}
	super_write(s->control, INDEX_CONTROL_MAGIC, &super);
	super_write(s->table, INDEX_TABLE_MAGIC, &super);
	present(s, 0, super.heap_offset); /* else, without memory, when they are first written */
}

void store_format_tree(struct store *s, void *table, void *control, uint64_t segments,
		       uint64_t table_id)
{
	struct index_super super = {
		.version = INDEX_VERSION,
		.table_id = table_id,
		.table_offset = INDEX_TREE_HEAP_OFFSET,
		.heap_offset = INDEX_TREE_HEAP_OFFSET,
		.heap_size = segments * INDEX_SEGMENT,
		.type = INDEX_TYPE_TREE,
	};

	store_open(s, table, control);
	s->segments = segments;
	super_write(s->control, INDEX_CONTROL_MAGIC, &super);
	super_write(s->table, INDEX_TABLE_MAGIC, &super);
}

/* Is what lies before the heap as the type has it? */
static bool shape_good(const struct index_super *t, uint64_t segments, uint64_t table_size)
{
	switch (t->type) {
	case INDEX_TYPE_HASH:
		return t->groups >= INDEX_GROUPS_MIN && t->groups <= INDEX_GROUPS_MAX &&
		       t->depth <= INDEX_DEPTH_MAX && t->table_offset == INDEX_SUPER_SIZE &&
		       t->heap_offset == index_heap_offset(t->groups, t->depth) &&
		       index_table_region_size(t->groups, t->depth, segments) <= table_size;
	case INDEX_TYPE_TREE:
		return t->groups == 0 && t->depth == 0 &&
		       t->table_offset == INDEX_TREE_HEAP_OFFSET &&
		       t->heap_offset == INDEX_TREE_HEAP_OFFSET &&
		       index_tree_region_size(segments) <= table_size;
	default:
		return false;
	}
}

static const char *super_check(const struct index_super *t, uint64_t table_size,
			       const struct index_super *c, uint64_t control_size)
{
	uint64_t segments = t->heap_size / INDEX_SEGMENT;

	if (t->magic != INDEX_TABLE_MAGIC || c->magic != INDEX_CONTROL_MAGIC)
		return "they hold no index";
	if (t->version != INDEX_VERSION || c->version != INDEX_VERSION)
		return "their layout is of another version";
	if (t->table_id != c->table_id || t->groups != c->groups || t->heap_size != c->heap_size ||
	    t->type != c->type)
		return "they are of two different indexes";
	if (t->heap_size % INDEX_SEGMENT || segments == 0 || segments > UINT32_MAX ||
	    !shape_good(t, segments, table_size) ||
	    index_control_region_size(segments) > control_size)
		return "their superblock makes no sense";
	return NULL;
}

const char *store_adopt(struct store *s, void *table, uint64_t table_size, void *control,
			uint64_t control_size)
{
	const char *why;

	if (table_size < INDEX_SUPER_SIZE || control_size < INDEX_SUPER_SIZE)
		return "they are too small";
	why = super_check(table, table_size, control, control_size);
	if (why)
		return why;
	store_open(s, table, control);
	s->segments = s->table->heap_size / INDEX_SEGMENT;
	for (uint64_t i = 0; i < s->segments; i++) {
		if (s->segment[i].cid >= INDEX_CLIENTS)
			return "their segment table makes no sense";
		if (s->segment[i].cid && s->segment[i].run == INDEX_RUN_LOG)
			s->logs++;
		else if (s->segment[i].cid)
			s->used = i + 1;
	}
	if (s->used + s->logs > s->segments)
		return "their segment table makes no sense";
	for (unsigned c = 1; c < INDEX_CLIENTS; c++) {
		const struct index_client *k = &s->client[c];

		if (k->state > INDEX_CLIENT_DEAD || (k->state && k->cid != c))
			return "their client table makes no sense";
	}
	for (unsigned c = 1; c < INDEX_CLIENTS; c++)
		if (s->client[c].state)
			store_client_set(s, (uint16_t)c, s->client[c].epoch, INDEX_CLIENT_DEAD);
	return NULL;
}

uint64_t store_chunk(struct store *s, uint16_t cid, uint16_t epoch, unsigned segments,
		     uint64_t *offset)
{
	uint64_t left = s->segments - s->used - s->logs, run = segments < left ? segments : left;

	if (run && !present(s, s->table->heap_offset + s->used * INDEX_SEGMENT, run * INDEX_SEGMENT))
		return 0; /* the machine has no memory left */
	for (uint64_t i = run; i-- > 0;)
		s->segment[s->used + i] = (struct index_segment){
			.cid = cid, .epoch = epoch, .run = i == 0 ? (uint32_t)run : 0};
	*offset = s->table->heap_offset + s->used * INDEX_SEGMENT;
	s->used += run;
	return run * INDEX_SEGMENT;
}

uint64_t store_log(struct store *s, uint16_t cid)
{
	struct index_client *k = &s->client[cid];

	if (!k->log_base) {
		uint64_t at = s->segments - 1 - s->logs;

		if (s->used + s->logs >= s->segments ||
		    !present(s, s->table->heap_offset + at * INDEX_SEGMENT, INDEX_SEGMENT))
			return 0;
		s->segment[at] = (struct index_segment){.cid = cid, .run = INDEX_RUN_LOG};
		s->logs++;
		k->log_base = s->table->heap_offset + at * INDEX_SEGMENT;
	}
	return k->log_base;
}

uint64_t store_beat(const struct store *s, uint16_t cid)
{
	uint64_t at = s->client[cid].log_base;

	if (!at)
		return 0;
	return __atomic_load_n(
		(const uint64_t *)(const void *)((const char *)s->table + at + INDEX_BEAT),
		__ATOMIC_RELAXED);
}

bool store_log_open(const struct store *s, uint16_t cid)
{
	const struct index_client *k = &s->client[cid];
	uint64_t end = s->table->heap_offset + s->table->heap_size;

	if (!k->log_base)
		return false;
	for (unsigned i = 0; i < INDEX_LOG_SLOTS; i++) {
		for (unsigned half = 0; half < 2; half++) {
			struct index_log r;
			uint64_t lock = 0;

			memcpy(&r,
			       (const char *)s->table + k->log_base + i * INDEX_LOG_SLOT +
				       half * INDEX_LINE,
			       sizeof(r));
			if (r.op == INDEX_LOG_NONE || r.cid != cid || r.epoch != k->epoch)
				continue;
			if (r.op != INDEX_LOG_HASH_SPLIT || r.target > end - INDEX_LINE)
				return true;
			memcpy(&lock, (const char *)s->table + r.target, sizeof(lock));
			if (lock == index_lock_make(cid, r.epoch, i, r.seq))
				return true;
		}
	}
	return false;
}

void store_client_set(struct store *s, uint16_t cid, uint16_t epoch, enum index_client_state state)
{
	uint64_t word = (uint64_t)state << 32 | (uint64_t)epoch << 16 | cid;

	/* The line is private until this store has made it whole; see index_layout.h. */
	__atomic_store_n((uint64_t *)(void *)&s->client[cid], word, __ATOMIC_RELEASE);
	if (state == INDEX_CLIENT_ALIVE) {
		uint64_t e = __atomic_load_n(
			(const uint64_t *)(const void *)((const char *)s->table + INDEX_RECLAIM_OFFSET),
			__ATOMIC_ACQUIRE);

		/* Nobody else writes it: the number's last client has been fenced off, this one does not
		 * know yet that it is one. */
		__atomic_store_n((uint64_t *)(void *)((char *)s->table +
						      index_pin_at(s->table->heap_offset,
								   s->table->heap_size, cid)),
				 (uint64_t)epoch << 48 | (e & INDEX_PIN_EPOCH_MASK), __ATOMIC_RELEASE);
	}
	if (state == INDEX_CLIENT_DEAD)
		__atomic_fetch_add(s->deaths, 1, __ATOMIC_RELEASE);
}
