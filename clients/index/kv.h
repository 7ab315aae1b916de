/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv.h - where a key may stand, and how its block is made and checked.
 *
 * Part of the layout that all clients of a table share (proto/index_layout.h): the hash is
 * XXH3 with 128 bits and seed 0. Of its low half, bits 0-31, the uppermost first, choose the subtable, bits 32-39
 * are the fingerprint, bits 40 and 41 choose the side of the two combined buckets; the two halves
 * of its high half choose the groups, by multiplication. The second group differs from the first,
 * so the two combined buckets never share a line.
 */
#ifndef ATOLL_CLIENTS_INDEX_KV_H
#define ATOLL_CLIENTS_INDEX_KV_H

#include "proto/index_layout.h"

struct kv_place {
	uint64_t hash[2];
	uint64_t combined[2]; /* bytes from the first group of the subtable */
	uint32_t prefix;      /* chooses the subtable, upper bits first */
	uint8_t fp;
};

/* @groups: INDEX_GROUPS_MIN to INDEX_GROUPS_MAX. */
void kv_place(struct kv_place *out, const void *key, uint32_t klen, uint32_t groups);

/* Which of INDEX_PLACES slots of a cluster a key has: bits 42 to 51 of the low half of its hash, which nothing
 * within a shard depends on. */
unsigned kv_cluster_place(const void *key, uint32_t klen);

/* CRC-32C of @len bytes; @before: of what came before them, 0 at first. */
uint32_t kv_crc32c(uint32_t before, const void *data, size_t len);

/* Directory half of a key's hash. */
uint32_t kv_prefix(const void *key, uint32_t klen);

/* Sets the checksum of a block whose header, key and value are in place. */
void kv_seal(struct index_kv *kv);

/* Are length and checksum those of a whole block in @size bytes? */
bool kv_whole(const struct index_kv *kv, uint64_t size);

/* Does the block, of which at least header and klen bytes are there, hold this key? */
bool kv_key_is(const struct index_kv *kv, const void *key, uint32_t klen);

static inline const uint8_t *kv_key(const struct index_kv *kv)
{
	return (const uint8_t *)(kv + 1);
}

static inline const uint8_t *kv_value(const struct index_kv *kv)
{
	return (const uint8_t *)(kv + 1) + kv->klen;
}

#endif
