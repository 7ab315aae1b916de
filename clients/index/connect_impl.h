/* SPDX-License-Identifier: Apache-2.0 */
/* connect_impl.h - what the files of the client share: the connection to one index. */
#ifndef ATOLL_CLIENTS_INDEX_CONNECT_IMPL_H
#define ATOLL_CLIENTS_INDEX_CONNECT_IMPL_H

#include "clients/index/race.h"
#include "clients/index/tree.h"
#include "ipc/endpoint.h"

struct cluster;

/* What a shard says of the cluster that it is a member of. */
struct membership {
	uint64_t directory; /* id; 0: it is alone */
	uint32_t version, member;
};

struct grant {
	struct atoll_handle handle;
	uint64_t size;
	uint32_t rights, node;
};

struct atoll_index {
	struct cluster *cluster; /* not NULL: it has no connection of its own, cluster.h */
	struct atoll_endpoint *ep;
	struct core *core; /* or NULL */
	struct atoll_region local;
	struct atoll_handle shard;
	uint32_t node;
	uint32_t lanes[CORE_LANES_MAX];
	struct grant grant[2]; /* table, control */
	bool lost;             /* something else than a verb said so */
	bool chunk_due;        /* a chunk must be asked for and there was no room */
	bool chunk_refused;    /* for want of credit: ask when there is some */

	/* who we are, or were last */
	uint32_t cid, epoch;
	uint64_t secret;

	struct atoll_index_options options;
	struct atoll_index_stats before; /* of earlier engines */
	struct core_recycle *recycle;    /* what is to be given back, when it is ripe */
	struct core_doubt *doubt;        /* of earlier engines, DOUBTS of them, the oldest are overwritten */
	uint64_t doubts;
	bool in_cluster;	 /* it is a member of one, and `told` is what its shard must say */
	struct membership told;
	char target[128], socket[108], name[64], why[256]; /* why: the last attempt to connect failed */
	uint64_t opened; /* connections so far */
};

static inline bool index_hash(const struct atoll_index *ix)
{
	return ix->core && core_engine(ix->core) == &race_engine;
}

/* connect.c, for clusters: an unconnected context; its connection; and what its end leaves. */
int index_new(struct atoll_index **out, const char *target, const struct atoll_index_options *options,
	      const char **why);
int index_connect(struct atoll_index *ix, const char **why);
void index_disconnect(struct atoll_index *ix);
/* -EAGAIN for what may pass, of a connection's errors; or @rc. */
int index_try_again(int rc);
/* Says in *why what is wrong, if @why is not NULL. Returns @rc. */
int index_fail(const char **why, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

static inline void index_stats_add(struct atoll_index_stats *to, const struct atoll_index_stats *from)
{
	uint64_t *a = (uint64_t *)(void *)to;
	const uint64_t *b = (const uint64_t *)(const void *)from;

	_Static_assert(sizeof(*to) % sizeof(*a) == 0, "counts are all of 64 bits");
	for (size_t i = 0; i < sizeof(*to) / sizeof(*a); i++)
		a[i] += b[i];
}

#endif
