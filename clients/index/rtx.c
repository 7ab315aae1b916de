/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/rtx.h"

#include <errno.h>
#include <string.h>

#include "clients/index/kv.h"

void rtx_begin(struct rtx *tx, struct rtx_env *env, unsigned slot, uint8_t *local,
	       uint64_t local_offset)
{
	memset(tx, 0, offsetof(struct rtx, chain));
	tx->env = env;
	tx->local = local;
	tx->local_offset = local_offset;
	tx->slot = slot;
	tx->half = 1; /* the first record goes into half 0 */
	tx->seq = ++env->seq;
	tx->word = env->ft ? index_lock_make(env->cid, env->epoch, slot, tx->seq)
			   : index_lock_make(env->cid, 0, slot, 0);
	memset(local + RTX_LOCAL_ZERO, 0, 8);
}

static struct verb *add(struct rtx *tx, enum verb_op op, uint64_t at, uint64_t local, uint32_t len)
{
	struct verb *v = &tx->chain[tx->n];

	if (tx->n == VERB_CHAIN_MAX) {
		tx->over = true;
		return NULL;
	}
	tx->n++;
	*v = (struct verb){
		.op = (uint8_t)op,
		.flags = tx->fence ? VERB_FENCE : 0,
		.len = len,
		.remote = tx->env->table,
		.remote_offset = at,
		.local = tx->env->local,
		.local_offset = local,
	};
	tx->fence = false;
	return v;
}

void rtx_lock_read(struct rtx *tx, uint64_t lock, uint64_t expect, uint64_t at,
		   uint64_t local_offset, uint32_t len)
{
	struct verb *v = add(tx, VERB_CAS, lock, tx->local_offset + RTX_LOCAL_OLD, 8);

	if (v) {
		v->compare = expect;
		v->swap = tx->word;
	}
	if (len)
		rtx_read(tx, at, local_offset, len);
}

void rtx_read(struct rtx *tx, uint64_t at, uint64_t local_offset, uint32_t len)
{
	add(tx, VERB_READ, at, local_offset, len);
}

uint64_t rtx_old(const struct rtx *tx)
{
	uint64_t old;

	memcpy(&old, tx->local + RTX_LOCAL_OLD, sizeof(old));
	return old;
}

uint32_t rtx_record_crc(const struct index_log *record, const uint8_t *image)
{
	const size_t skip = sizeof(record->crc);
	uint32_t crc = kv_crc32c(0, (const uint8_t *)record + skip, sizeof(*record) - skip);

	return record->img_len ? kv_crc32c(crc, image, record->img_len) : crc;
}

void rtx_redo(struct rtx *tx, const struct rtx_intent *intent, const uint8_t *image,
	      uint64_t image_offset, uint32_t len)
{
	struct index_log *record = (struct index_log *)(void *)(tx->local + RTX_LOCAL_RECORD);
	const struct rtx_env *env = tx->env;

	if (!env->ft)
		return;
	if (len > INDEX_LOG_IMAGE) {
		tx->over = true;
		return;
	}
	tx->half ^= 1;
	*record = (struct index_log){
		.cid = env->cid,
		.epoch = env->epoch,
		.seq = tx->seq,
		.op = intent->op,
		.level = intent->level,
		.flags = intent->flags,
		.nkey = intent->nkey,
		.img_len = len,
		.target = intent->target,
		.aux = intent->aux,
		.old8 = intent->old8,
		.new8 = intent->new8,
		.key8 = intent->key8,
	};
	record->crc = rtx_record_crc(record, image);
	if (len)
		rtx_write(tx, rtx_image_at(env->log_base, tx->slot, tx->half), image_offset, len);
	rtx_write(tx, rtx_record_at(env->log_base, tx->slot, tx->half),
		  tx->local_offset + RTX_LOCAL_RECORD, INDEX_LINE);
}

void rtx_write(struct rtx *tx, uint64_t at, uint64_t local_offset, uint32_t len)
{
	add(tx, VERB_WRITE, at, local_offset, len);
}

void rtx_unlock(struct rtx *tx, uint64_t lock)
{
	add(tx, VERB_WRITE, lock, tx->local_offset + RTX_LOCAL_ZERO, 8);
}

void rtx_fence(struct rtx *tx)
{
	tx->fence = true;
}

int rtx_commit(struct rtx *tx, struct verbs *v, uint32_t lane, uint64_t cookie)
{
	int rc = tx->over ? -EINVAL : verbs_chain_check(tx->chain, tx->n);

	if (!rc)
		rc = v->ops->post(v, lane, tx->chain, tx->n, cookie);
	if (rc != -EAGAIN)
		rtx_abort(tx);
	return rc;
}

void rtx_abort(struct rtx *tx)
{
	tx->n = 0;
	tx->fence = tx->over = false;
}

/* ------------------------------------------------------------------ repair */

enum rtx_judgement rtx_record_judge(uint64_t word, const uint8_t *slot_bytes, struct index_log *out,
				    const uint8_t **image)
{
	bool found = false;

	for (unsigned half = 0; half < 2; half++) {
		const uint8_t *img = slot_bytes + 2 * INDEX_LINE + half * INDEX_LOG_IMAGE;
		struct index_log r;

		memcpy(&r, slot_bytes + half * INDEX_LINE, sizeof(r));
		if (r.op == INDEX_LOG_NONE || r.cid != index_lock_cid(word) ||
		    r.epoch != index_lock_epoch(word) ||
		    (r.seq & 0xffffff) != index_lock_seq(word) || r.img_len > INDEX_LOG_IMAGE ||
		    r.crc != rtx_record_crc(&r, img))
			continue;
		/* Of two phases of one transaction the later one has the higher level. */
		if (found && r.level <= out->level)
			continue;
		found = true;
		*out = r;
		*image = r.img_len ? img : NULL;
	}
	return found ? RTX_REDO : RTX_NOTHING;
}

bool rtx_is_dead(const struct index_client *line, uint16_t cid, uint16_t epoch)
{
	return line->cid == cid &&
	       (line->epoch > epoch || (line->epoch == epoch && line->state == INDEX_CLIENT_DEAD));
}
