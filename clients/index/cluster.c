/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/cluster.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/index/kv.h"
#include "proto/index_directory.h"

enum {
	IDLE_NS = 500000, /* as atoll_index_idle */
};

/* A scan that goes on from member to member. */
struct scan {
	struct scan *next;
	struct atoll_index *ix;
	unsigned member;
	bool reverse;
	uint64_t limit, given;
	atoll_entry entry;
	atoll_scan_done done;
	void *arg;
};

struct cluster {
	struct index_directory directory;
	struct atoll_index *member[INDEX_MEMBERS_MAX];
	unsigned n;
	unsigned active;     /* the member of which something came last */
	unsigned last;	     /* that atoll_index_get and its like have used last */
	struct scan *scans;  /* that wait for room at their next member */
	unsigned nscans;
};

/* ------------------------------------------------------------------ open and close */

/* What keeps one member from being reached now, and is no reason to refuse the others. */
static bool passing(int rc)
{
	return index_try_again(rc) == -EAGAIN;
}

static void why_keep(struct atoll_index *m, const char *why)
{
	snprintf(m->why, sizeof(m->why), "%s", why);
}

static int directory_ask(struct atoll_index *seed, struct index_directory *d, const char **why)
{
	char text[INDEX_DIRECTORY_MAX], wrong[256] = "";
	struct proto_msg m, r;
	int rc;

	proto_request_init(&m, OP_INDEX_DIRECTORY);
	m.max_reply = INDEX_DIRECTORY_MAX;
	m.budget_us = seed->options.answer_ms * 1000;
	rc = atoll_call(seed->ep, seed->shard, &m, NULL, &r, text, (int)seed->options.answer_ms);
	if (!rc)
		rc = atoll_status_errno(r.status);
	if (rc)
		return index_fail(why, rc, "\"%s\" does not give the directory of its cluster: %s", seed->target,
				  strerror(-rc));
	if (r.length > sizeof(text) || index_directory_parse(d, text, r.length, wrong, sizeof(wrong)))
		return index_fail(why, -EPROTO, "the directory that \"%s\" gives makes no sense: %s", seed->target,
				  wrong);
	if (index_directory_id(d) != seed->told.directory || d->version != seed->told.version ||
	    seed->told.member >= d->n || (d->n > 1 && d->range != !index_hash(seed)))
		return index_fail(why, -EPROTO, "\"%s\" contradicts itself about the directory of its cluster",
				  seed->target);
	return 0;
}

static int member_open(struct atoll_index *ix, unsigned i, struct atoll_index *seed, const char **why)
{
	struct cluster *c = ix->cluster;
	struct atoll_index_options o = seed->options;
	const char *wrong = "";
	int rc;

	o.socket = seed->socket[0] ? seed->socket : NULL;
	o.name = seed->name;
	o.type = atoll_index_type(seed);
	rc = index_new(&c->member[i], c->directory.name[i], &o, why);
	if (rc)
		return rc;
	c->member[i]->in_cluster = true;
	c->member[i]->told = seed->told;
	c->member[i]->told.member = i;
	rc = index_connect(c->member[i], &wrong);
	if (!rc)
		return 0;
	why_keep(c->member[i], wrong);
	if (passing(rc))
		return 0;
	if (why)
		*why = wrong;
	return rc;
}

int cluster_open(struct atoll_index **out, struct atoll_index *seed, const char **why)
{
	struct atoll_index *ix = calloc(1, sizeof(*ix));
	struct cluster *c = calloc(1, sizeof(*c));
	int rc = 0;

	if (!ix || !c) {
		free(ix);
		free(c);
		atoll_index_close(seed);
		return index_fail(why, -ENOMEM, "no memory");
	}
	ix->cluster = c;
	rc = directory_ask(seed, &c->directory, why);
	if (rc) {
		atoll_index_close(seed);
		cluster_close(ix);
		return rc;
	}
	c->n = c->directory.n;
	seed->in_cluster = true;
	c->member[seed->told.member] = seed;
	snprintf(ix->target, sizeof(ix->target), "%s", seed->target);
	for (unsigned i = 0; i < c->n && !rc; i++)
		if (i != seed->told.member)
			rc = member_open(ix, i, seed, why);
	if (rc) {
		cluster_close(ix);
		return rc;
	}
	*out = ix;
	return 0;
}

static void scans_end(struct atoll_index *ix)
{
	struct cluster *c = ix->cluster;

	while (c->scans) {
		struct scan *s = c->scans;

		c->scans = s->next;
		c->nscans--;
		s->done(s->arg, ATOLL_NOT_SENT, 0, s->given);
		free(s);
	}
}

void cluster_close(struct atoll_index *ix)
{
	struct cluster *c = ix->cluster;

	/* Callbacks may submit: nothing goes away before all connections have ended. */
	for (unsigned i = 0; i < c->n; i++)
		if (c->member[i])
			index_disconnect(c->member[i]);
	scans_end(ix);
	for (unsigned i = 0; i < c->n; i++)
		atoll_index_close(c->member[i]);
	free(c);
	free(ix);
}

int cluster_reconnect(struct atoll_index *ix, const char **why)
{
	struct cluster *c = ix->cluster;
	int result = 0;

	for (unsigned i = 0; i < c->n; i++) {
		const char *wrong = "";
		int rc;

		if (!atoll_index_lost(c->member[i]))
			continue;
		rc = atoll_index_reconnect(c->member[i], &wrong);
		if (!rc)
			continue;
		why_keep(c->member[i], wrong);
		if (result == 0 || result == -EAGAIN) { /* what does not pass comes first */
			result = rc;
			if (why)
				*why = c->member[i]->why;
		}
	}
	return result;
}

/* ------------------------------------------------------------------ keys */

struct atoll_index *const *cluster_members(const struct atoll_index *ix, unsigned *n)
{
	*n = ix->cluster->n;
	return ix->cluster->member;
}

unsigned cluster_member_of(const struct atoll_index *ix, const void *key, size_t klen)
{
	const struct index_directory *d = &ix->cluster->directory;

	if (klen > INDEX_KEY_MAX)
		return 0; /* which refuses it */
	return d->range ? index_directory_by_key(d, key, klen)
			: index_directory_by_place(d, kv_cluster_place(key, (uint32_t)klen));
}

struct atoll_index *cluster_route(struct atoll_index *ix, const void *key, size_t klen)
{
	const struct cluster *c = ix->cluster;
	unsigned i = cluster_member_of(ix, key, klen);

	return atoll_index_lost(c->member[i]) ? NULL : c->member[i];
}

struct atoll_index *cluster_last(const struct atoll_index *ix)
{
	return ix->cluster->member[ix->cluster->last];
}

void cluster_last_set(struct atoll_index *ix, const struct atoll_index *member)
{
	ix->cluster->last = member->told.member;
}

unsigned atoll_index_members(const struct atoll_index *ix)
{
	return ix->cluster ? ix->cluster->n : 1;
}

struct atoll_index *atoll_index_member(struct atoll_index *ix, unsigned member)
{
	if (!ix->cluster)
		return member == 0 ? ix : NULL;
	return member < ix->cluster->n ? ix->cluster->member[member] : NULL;
}

unsigned atoll_index_member_of(const struct atoll_index *ix, const void *key, size_t klen)
{
	return ix->cluster ? cluster_member_of(ix, key, klen) : 0;
}

const char *atoll_index_name(const struct atoll_index *ix)
{
	return ix->target;
}

const char *atoll_index_why(const struct atoll_index *ix)
{
	if (!atoll_index_lost(ix))
		return "";
	return ix->why[0] ? ix->why : "the connection is lost";
}

/* ------------------------------------------------------------------ progress */

bool cluster_lost(const struct atoll_index *ix)
{
	const struct cluster *c = ix->cluster;

	for (unsigned i = 0; i < c->n; i++)
		if (atoll_index_lost(c->member[i]))
			return true;
	return false;
}

unsigned cluster_pending(const struct atoll_index *ix)
{
	const struct cluster *c = ix->cluster;
	unsigned n = c->nscans;

	for (unsigned i = 0; i < c->n; i++)
		n += atoll_index_pending(c->member[i]);
	return n;
}

static void scans_retry(struct cluster *c);

int cluster_poll(struct atoll_index *ix)
{
	struct cluster *c = ix->cluster;
	bool lost = false;
	int n = 0;

	for (unsigned i = 0; i < c->n; i++) {
		int rc = atoll_index_poll(c->member[i]);

		if (rc > 0) {
			n += rc;
			c->active = i;
		}
		lost |= rc < 0;
	}
	if (c->scans)
		scans_retry(c);
	return n == 0 && lost && cluster_pending(ix) == 0 ? -ENOTCONN : n;
}

/* Waits for any of the members: as atoll_idle does for one. */
void cluster_idle(struct atoll_index *ix)
{
	struct cluster *c = ix->cluster;
	struct atoll_endpoint *active = c->member[c->active]->ep;
	struct timespec ts = {.tv_nsec = IDLE_NS};
	struct pollfd p[2 * INDEX_MEMBERS_MAX];
	bool sleep = true;
	unsigned ready = 0, n = 0;

	for (unsigned i = 0; i < c->n; i++)
		if (c->member[i]->ep)
			atoll_flush(c->member[i]->ep);
	/* Pause or yield once, not once for each. */
	for (unsigned i = 0; i < c->n && !active; i++)
		active = c->member[i]->ep;
	if (!active) {
		nanosleep(&ts, NULL);
		return;
	}
	if (!atoll_idle_wants_sleep(active))
		return;
	for (; ready < c->n && sleep; ready++) {
		struct atoll_endpoint *ep = c->member[ready]->ep;
		int fds[2], k;

		if (!ep)
			continue;
		sleep = atoll_sleep_begin(ep);
		if (!sleep)
			break;
		k = atoll_wait_fds(ep, fds);
		for (int f = 0; f < k; f++)
			p[n++] = (struct pollfd){.fd = fds[f], .events = POLLIN};
	}
	if (sleep)
		ppoll(p, n, &ts, NULL);
	for (unsigned i = 0; i < ready; i++)
		if (c->member[i]->ep)
			atoll_sleep_end(c->member[i]->ep);
}

/* ------------------------------------------------------------------ scans */

static int scan_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct scan *s = arg;

	return s->entry(s->arg, key, klen, value, vlen);
}

static void scan_end(struct scan *s, enum atoll_result result, int rc)
{
	s->done(s->arg, result, rc, s->given);
	free(s);
}

static void scan_done(void *arg, enum atoll_result result, int rc, uint64_t entries);

static int scan_go(struct scan *s, const void *from, size_t flen)
{
	return atoll_index_scan_submit(s->ix->cluster->member[s->member], from, flen, s->reverse,
				       s->limit ? s->limit - s->given : 0, scan_entry, scan_done, s);
}

/* At the next member, from its end. */
static void scan_next(struct scan *s)
{
	struct cluster *c = s->ix->cluster;
	int rc = scan_go(s, NULL, 0);

	if (rc == -EAGAIN) {
		s->next = c->scans;
		c->scans = s;
		c->nscans++;
	} else if (rc) {
		scan_end(s, rc == -ENOTCONN ? ATOLL_NOT_SENT : ATOLL_REFUSED, 0);
	}
}

static void scan_done(void *arg, enum atoll_result result, int rc, uint64_t entries)
{
	struct scan *s = arg;

	s->given += entries;
	if (result != ATOLL_OK || rc || (s->limit && s->given >= s->limit) ||
	    s->member == (s->reverse ? 0 : s->ix->cluster->n - 1)) {
		scan_end(s, result, rc);
		return;
	}
	s->member += s->reverse ? -1u : 1u;
	scan_next(s);
}

static void scans_retry(struct cluster *c)
{
	struct scan *list = c->scans;

	c->scans = NULL;
	c->nscans = 0;
	while (list) {
		struct scan *s = list;

		list = s->next;
		scan_next(s);
	}
}

int cluster_scan_submit(struct atoll_index *ix, const void *from, size_t flen, bool reverse, uint64_t limit,
			atoll_entry entry, atoll_scan_done done, void *arg)
{
	struct cluster *c = ix->cluster;
	struct scan *s;
	int rc;

	if (flen > INDEX_KEY_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct scan){.ix = ix, .reverse = reverse, .limit = limit, .entry = entry, .done = done, .arg = arg};
	if (c->directory.range)
		s->member = flen ? index_directory_by_key(&c->directory, from, flen) : reverse ? c->n - 1 : 0;
	rc = scan_go(s, from, flen);
	if (rc)
		free(s);
	return rc;
}
