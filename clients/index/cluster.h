/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.h - an index that is spread over several shards, behind the calls of one.
 *
 * The context that the caller holds has no connection. It has one for each member of the directory
 * (proto/index_directory.h), and sends each key to the member that holds it. What happens to one of them, a loss, a
 * fence, a reconnect, an operation in doubt, is its own affair: nothing is done over two shards at once, so nothing
 * can be half done between them. A member that cannot be reached is left out, and tried again by
 * atoll_index_reconnect; all others work on.
 *
 * The shards and the client must have the same directory, or keys would be looked for where they are not: each
 * member tells its id and its own place in it when a connection to it begins, and is refused if they differ.
 */
#ifndef ATOLL_CLIENTS_INDEX_CLUSTER_H
#define ATOLL_CLIENTS_INDEX_CLUSTER_H

#include "clients/index/connect_impl.h"

struct cluster;

/**
 * cluster_open - make @seed, which is connected and says that it is a member, a cluster with all others.
 * @out: the context for the caller. @seed belongs to it, or is closed on failure. 0 or negative errno.
 */
int cluster_open(struct atoll_index **out, struct atoll_index *seed, const char **why);
void cluster_close(struct atoll_index *ix);
int cluster_reconnect(struct atoll_index *ix, const char **why);

/* The members, @n of them. */
struct atoll_index *const *cluster_members(const struct atoll_index *ix, unsigned *n);
unsigned cluster_member_of(const struct atoll_index *ix, const void *key, size_t klen);
/* The member for a key, NULL if it is lost. */
struct atoll_index *cluster_route(struct atoll_index *ix, const void *key, size_t klen);
/* The member that a call that waits has used last, which has the last ticket. */
struct atoll_index *cluster_last(const struct atoll_index *ix);
void cluster_last_set(struct atoll_index *ix, const struct atoll_index *member);

int cluster_poll(struct atoll_index *ix);
void cluster_idle(struct atoll_index *ix);
bool cluster_lost(const struct atoll_index *ix);
unsigned cluster_pending(const struct atoll_index *ix);
int cluster_scan_submit(struct atoll_index *ix, const void *from, size_t flen, bool reverse, uint64_t limit,
			atoll_entry entry, atoll_scan_done done, void *arg);
/* cluster_admin.c: the calls that look at an index as a whole. */
int cluster_dump(struct atoll_index *ix, atoll_entry entry, atoll_progress progress, void *arg,
		 struct atoll_index_report *report);
int cluster_check(struct atoll_index *ix, atoll_progress progress, void *arg, struct atoll_index_report *report,
		  struct atoll_index_account *out);
int cluster_repair(struct atoll_index *ix, struct atoll_index_repaired *out);
int cluster_recycle(struct atoll_index *ix, struct atoll_index_recycled *out);
int cluster_deaths(struct atoll_index *ix, uint64_t *out);
int cluster_repairs(struct atoll_index *ix, uint64_t *out);
void cluster_stats(const struct atoll_index *ix, struct atoll_index_stats *out);
int cluster_shard_stat(struct atoll_index *ix, struct atoll_index_shard *out);

#endif
