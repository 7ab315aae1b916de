/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs that are waited for: what walks and repairs poll the provider with, while no operation is
 * in flight. Heartbeats go on.
 */
#include "clients/index/core_op.h"

#include <errno.h>
#include <string.h>

#define WAIT_COOKIE UINT64_MAX /* of no operation */

static int chain_end(struct core *k, const struct verb_completion *done)
{
	for (unsigned i = 0; i < done->count && i < VERB_CHAIN_MAX; i++) {
		unsigned status = done->status[i];

		if (status != STATUS_OK) {
			k->lost |= core_status_lost(status);
			return core_status_lost(status) ? -ENOTCONN : -EIO;
		}
	}
	return 0;
}

int core_quiet(const struct core *k)
{
	if (k->active || core_restructuring(k))
		return -EBUSY;
	return core_lost(k) ? -ENOTCONN : 0;
}

int core_verbs_run(struct core *k, const struct verb *v, unsigned n, unsigned each)
{
	struct verbs *p = k->c.verbs;
	unsigned posted = 0, out = 0;
	int failed = 0;

	while (posted < n || out) {
		struct verb_completion done;
		int rc = 0;

		while (posted < n && rc == 0) {
			unsigned some = n - posted < each ? n - posted : each;

			rc = p->ops->post(p, k->lane[0], v + posted, some, WAIT_COOKIE);
			posted += rc == 0 ? some : 0;
			out += rc == 0;
		}
		if (rc && rc != -EAGAIN) {
			failed = rc;
			posted = n;
		}
		p->ops->flush(p);
		rc = p->ops->poll(p, &done, 1);
		if (rc < 0) {
			k->gone = true;
			return -ENOTCONN;
		}
		if (rc == 0)
			p->ops->idle(p);
		else if (done.cookie != WAIT_COOKIE)
			core_complete(k, &done); /* a heartbeat, or of an earlier time */
		core_beat(k);
		if (rc == 0 || done.cookie != WAIT_COOKIE)
			continue;
		out--;
		rc = chain_end(k, &done);
		if (rc) {
			failed = failed ? failed : rc;
			posted = n;
		}
	}
	return failed;
}

struct verb core_read_verb(const struct core *k, uint64_t at, uint32_t len, uint64_t local)
{
	return (struct verb){
		.op = VERB_READ,
		.len = len,
		.remote = k->c.table,
		.remote_offset = at,
		.local = k->c.local,
		.local_offset = local,
	};
}

int core_fetch(struct core *k, struct atoll_handle region, uint64_t at, void *out, uint32_t len)
{
	struct verb v = core_read_verb(k, at, len, k->local_offset + CORE_LOCAL_FETCH);
	int rc;

	v.remote = region;
	rc = core_verbs_run(k, &v, 1, 1);
	if (!rc)
		memcpy(out, k->local + CORE_LOCAL_FETCH, len);
	return rc;
}

int core_deaths(struct core *k, uint64_t *out)
{
	int rc = core_quiet(k);

	return rc ? rc : core_fetch(k, k->c.control, INDEX_DEATHS_OFFSET, out, sizeof(*out));
}
