/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster as a whole: the same of each member, one after the other, and the sums. */
#include <errno.h>
#include <string.h>

#include "clients/index/cluster.h"

struct walk {
	struct atoll_index *ix;
	unsigned member, n;
	atoll_entry entry;
	atoll_progress progress;
	void *arg;
	uint64_t strays; /* entries that another member should have */
};

/* As if all were as large as the one that is walked through. */
static void walk_progress(void *arg, uint64_t done, uint64_t all)
{
	const struct walk *w = arg;

	if (w->progress)
		w->progress(w->arg, w->member * all + done, w->n * all);
}

static int walk_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct walk *w = arg;

	if (cluster_member_of(w->ix, key, klen) != w->member)
		w->strays++;
	return w->entry ? w->entry(w->arg, key, klen, value, vlen) : 0;
}

static void sum(void *to, const void *from, size_t size)
{
	uint64_t *a = to;
	const uint64_t *b = from;

	for (size_t i = 0; i < size / sizeof(*a); i++)
		a[i] += b[i];
}

static void report_add(struct atoll_index_report *to, const struct atoll_index_report *r)
{
	uint64_t first = to->first_bad ? to->first_bad : r->first_bad;

	sum(to, r, sizeof(*to));
	to->first_bad = first;
}

int cluster_dump(struct atoll_index *ix, atoll_entry entry, atoll_progress progress, void *arg,
		 struct atoll_index_report *report)
{
	struct walk w = {.ix = ix, .entry = entry, .progress = progress, .arg = arg};
	struct atoll_index *const *member = cluster_members(ix, &w.n);
	int rc = cluster_lost(ix) ? -ENOTCONN : 0;

	for (w.member = 0; w.member < w.n && !rc; w.member++) {
		struct atoll_index_report r;

		w.strays = 0;
		rc = atoll_index_dump(member[w.member], walk_entry, walk_progress, &w, &r);
		r.misplaced += w.strays;
		report_add(report, &r);
	}
	return rc;
}

int cluster_check(struct atoll_index *ix, atoll_progress progress, void *arg, struct atoll_index_report *report,
		  struct atoll_index_account *out)
{
	struct walk w = {.ix = ix, .arg = arg, .progress = progress};
	struct atoll_index *const *member = cluster_members(ix, &w.n);
	int rc = cluster_lost(ix) ? -ENOTCONN : 0;

	for (w.member = 0; w.member < w.n && !rc; w.member++) {
		struct atoll_index_report r, again;
		struct atoll_index_account a;

		w.strays = 0;
		rc = atoll_index_check(member[w.member], walk_progress, &w, &r, &a);
		if (!rc)
			rc = atoll_index_dump(member[w.member], walk_entry, NULL, &w, &again);
		r.misplaced += w.strays;
		report_add(report, &r);
		sum(out, &a, sizeof(a));
	}
	return rc;
}

int cluster_repair(struct atoll_index *ix, struct atoll_index_repaired *out)
{
	int rc = cluster_lost(ix) ? -ENOTCONN : 0;
	unsigned n;
	struct atoll_index *const *member = cluster_members(ix, &n);

	for (unsigned i = 0; i < n && !rc; i++) {
		struct atoll_index_repaired r;

		rc = atoll_index_repair(member[i], &r);
		sum(out, &r, sizeof(r));
	}
	return rc;
}

int cluster_recycle(struct atoll_index *ix, struct atoll_index_recycled *out)
{
	int rc = cluster_lost(ix) ? -ENOTCONN : 0;
	unsigned n;
	struct atoll_index *const *member = cluster_members(ix, &n);

	for (unsigned i = 0; i < n && !rc; i++) {
		struct atoll_index_recycled r;

		rc = atoll_index_recycle(member[i], &r);
		sum(out, &r, sizeof(r));
	}
	return rc;
}

int cluster_deaths(struct atoll_index *ix, uint64_t *out)
{
	int rc = 0;
	unsigned n;
	struct atoll_index *const *member = cluster_members(ix, &n);

	*out = 0;
	for (unsigned i = 0; i < n && !rc; i++) {
		uint64_t deaths = 0;

		rc = atoll_index_deaths(member[i], &deaths);
		*out += deaths;
	}
	return rc;
}

int cluster_repairs(struct atoll_index *ix, uint64_t *out)
{
	int rc = 0;
	unsigned n;
	struct atoll_index *const *member = cluster_members(ix, &n);

	*out = 0;
	for (unsigned i = 0; i < n && !rc; i++) {
		uint64_t repairs = 0;

		rc = atoll_index_repairs(member[i], &repairs);
		*out += repairs;
	}
	return rc;
}

void cluster_stats(const struct atoll_index *ix, struct atoll_index_stats *out)
{
	unsigned n;
	struct atoll_index *const *member = cluster_members(ix, &n);

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < n; i++) {
		struct atoll_index_stats s;

		atoll_index_stats(member[i], &s);
		index_stats_add(out, &s);
	}
}

int cluster_shard_stat(struct atoll_index *ix, struct atoll_index_shard *out)
{
	int rc = cluster_lost(ix) ? -ENOTCONN : 0;
	unsigned n;
	struct atoll_index *const *member = cluster_members(ix, &n);

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < n && !rc; i++) {
		struct atoll_index_shard s;

		rc = atoll_index_shard_stat(member[i], &s);
		sum(out, &s, sizeof(s));
	}
	return rc;
}
