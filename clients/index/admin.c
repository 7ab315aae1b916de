/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls that look at an index as a whole: dump, scan, check, repair, recycle, statistics. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/cluster.h"
#include "proto/index_layout.h"

int atoll_index_dump(struct atoll_index *ix, atoll_entry entry, atoll_progress progress, void *arg,
		     struct atoll_index_report *report)
{
	memset(report, 0, sizeof(*report));
	if (ix->cluster)
		return cluster_dump(ix, entry, progress, arg, report);
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	return core_dump(ix->core, entry, progress, arg, report);
}

enum atoll_index_type atoll_index_type(const struct atoll_index *ix)
{
	if (ix->cluster) {
		unsigned n;
		struct atoll_index *const *member = cluster_members(ix, &n);

		for (unsigned i = 0; i < n; i++)
			if (member[i]->core)
				return atoll_index_type(member[i]);
		return atoll_index_type(member[0]);
	}
	return !ix->core ? ix->options.type : index_hash(ix) ? ATOLL_INDEX_HASH : ATOLL_INDEX_TREE;
}

int atoll_index_scan_submit(struct atoll_index *ix, const void *from, size_t flen, bool reverse,
			    uint64_t limit, atoll_entry entry, atoll_scan_done done, void *arg)
{
	if (ix->cluster)
		return cluster_scan_submit(ix, from, flen, reverse, limit, entry, done, arg);
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	return index_hash(ix) ? -EOPNOTSUPP
			      : tree_scan(ix->core, from, flen, reverse, limit, entry, done, arg);
}

int atoll_index_check(struct atoll_index *ix, atoll_progress progress, void *arg,
		      struct atoll_index_report *report, struct atoll_index_account *out)
{
	memset(out, 0, sizeof(*out));
	memset(report, 0, sizeof(*report));
	if (ix->cluster)
		return cluster_check(ix, progress, arg, report, out);
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	return core_check(ix->core, progress, arg, report, out);
}

int atoll_index_repair(struct atoll_index *ix, struct atoll_index_repaired *out)
{
	memset(out, 0, sizeof(*out));
	if (ix->cluster)
		return cluster_repair(ix, out);
	return atoll_index_lost(ix) ? -ENOTCONN : core_repair(ix->core, out);
}

/* 1: taken; 0: not his any more; -EAGAIN: later; or negative errno. */
static int give_back(struct atoll_index *ix, const struct core_recycled *s)
{
	struct proto_msg m, r;
	int rc;

	proto_request_init(&m, OP_INDEX_RECYCLE);
	m.arg[ARG_INDEX_RECYCLE_CID] = s->cid;
	m.arg[ARG_INDEX_RECYCLE_EPOCH] = s->epoch;
	m.arg[ARG_INDEX_RECYCLE_SEGMENT] = s->number;
	m.nargs = 3;
	m.length = INDEX_MAP_SIZE;
	m.budget_us = ix->options.answer_ms * 1000;
	rc = atoll_call(ix->ep, ix->shard, &m, s->map, &r, NULL, (int)ix->options.answer_ms);
	if (rc)
		return rc;
	return r.status == STATUS_OK ? 1 : r.status == STATUS_NOT_FOUND ? 0 : atoll_status_errno(r.status);
}

int atoll_index_recycle(struct atoll_index *ix, struct atoll_index_recycled *out)
{
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (ix->cluster)
		return cluster_recycle(ix, out);
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	if (!ix->recycle)
		rc = core_recycle_find(ix->core, &ix->recycle);
	if (rc || !ix->recycle)
		return rc;
	out->waiting = ix->recycle->n;
	if (!core_recycle_ripe(ix->core, ix->recycle))
		return 0;
	out->waiting = 0;
	for (unsigned i = 0; i < ix->recycle->n; i++) {
		const struct core_recycled *s = &ix->recycle->segment[i];

		rc = give_back(ix, s);
		if (rc < 0 && rc != -EAGAIN)
			break;
		out->later += rc < 0;
		out->given += rc > 0;
		for (unsigned w = 0; w < INDEX_MAP_SIZE / 8 && rc > 0; w++)
			out->bytes += (64 - (unsigned)__builtin_popcountll(s->map[w])) * INDEX_LINE;
	}
	free(ix->recycle);
	ix->recycle = NULL;
	return rc < 0 && rc != -EAGAIN ? rc : 0;
}

int atoll_index_deaths(struct atoll_index *ix, uint64_t *out)
{
	if (ix->cluster)
		return cluster_deaths(ix, out);
	return atoll_index_lost(ix) ? -ENOTCONN : core_deaths(ix->core, out);
}

int atoll_index_repairs(struct atoll_index *ix, uint64_t *out)
{
	if (ix->cluster)
		return cluster_repairs(ix, out);
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	return index_hash(ix) ? race_repairs(ix->core, out) : -EOPNOTSUPP;
}

void atoll_index_stats(const struct atoll_index *ix, struct atoll_index_stats *out)
{
	if (ix->cluster) {
		cluster_stats(ix, out);
		return;
	}
	*out = ix->before;
	if (ix->core)
		index_stats_add(out, core_stats(ix->core));
}

int atoll_index_shard_stat(struct atoll_index *ix, struct atoll_index_shard *out)
{
	struct proto_msg m, r;
	int rc;

	memset(out, 0, sizeof(*out));
	if (ix->cluster)
		return cluster_shard_stat(ix, out);
	if (atoll_index_lost(ix))
		return -ENOTCONN;
	if (core_pending(ix->core))
		return -EBUSY;
	proto_request_init(&m, OP_INDEX_STAT);
	rc = atoll_call(ix->ep, ix->shard, &m, NULL, &r, NULL, (int)ix->options.answer_ms);
	if (!rc)
		rc = atoll_status_errno(r.status);
	if (rc)
		return rc;
	out->clients = r.arg[REPLY_INDEX_STAT_CLIENTS];
	out->dead = r.arg[REPLY_INDEX_STAT_DEAD];
	out->heap_used = r.arg[REPLY_INDEX_STAT_CHUNKS_USED] * INDEX_SEGMENT;
	out->heap_size = r.arg[REPLY_INDEX_STAT_CHUNKS] * INDEX_SEGMENT;
	return 0;
}

void atoll_index_identity(const struct atoll_index *ix, unsigned *cid, unsigned *epoch)
{
	*cid = ix->cid;
	*epoch = ix->epoch;
}
