/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs that are waited for: what walks and repairs poll the provider with, while no operation is
 * in flight. Heartbeats go on.
 */
#include "clients/index/race_op.h"

#include <errno.h>

#define WAIT_COOKIE UINT64_MAX /* of no operation */

static int chain_end(struct race *r, const struct verb_completion *done)
{
	for (unsigned i = 0; i < done->count && i < VERB_CHAIN_MAX; i++) {
		unsigned status = done->status[i];

		if (status != STATUS_OK) {
			r->lost |= core_status_lost(status);
			return core_status_lost(status) ? -ENOTCONN : -EIO;
		}
	}
	return 0;
}

int race_quiet(const struct race *r)
{
	if (r->active || r->split.state != RACE_SPLIT_IDLE)
		return -EBUSY;
	return r->lost || r->gone ? -ENOTCONN : 0;
}

int race_verbs_run(struct race *r, const struct verb *v, unsigned n, unsigned each)
{
	struct verbs *p = r->c.verbs;
	unsigned posted = 0, out = 0;
	int failed = 0;

	while (posted < n || out) {
		struct verb_completion done;
		int rc = 0;

		while (posted < n && rc == 0) {
			unsigned k = n - posted < each ? n - posted : each;

			rc = p->ops->post(p, r->lane[0], v + posted, k, WAIT_COOKIE);
			posted += rc == 0 ? k : 0;
			out += rc == 0;
		}
		if (rc && rc != -EAGAIN) {
			failed = rc;
			posted = n;
		}
		p->ops->flush(p);
		rc = p->ops->poll(p, &done, 1);
		if (rc < 0) {
			r->gone = true;
			return -ENOTCONN;
		}
		if (rc == 0)
			p->ops->idle(p);
		else if (done.cookie != WAIT_COOKIE)
			core_complete((struct core *)r, &done); /* a heartbeat, or of an earlier time */
		core_beat((struct core *)r);
		if (rc == 0 || done.cookie != WAIT_COOKIE)
			continue;
		out--;
		rc = chain_end(r, &done);
		if (rc) {
			failed = failed ? failed : rc;
			posted = n;
		}
	}
	return failed;
}

struct verb race_read_verb(const struct race *r, uint64_t at, uint32_t len, uint64_t local)
{
	return (struct verb){
		.op = VERB_READ,
		.len = len,
		.remote = r->c.table,
		.remote_offset = at,
		.local = r->c.local,
		.local_offset = local,
	};
}
