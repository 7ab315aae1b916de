/* SPDX-License-Identifier: Apache-2.0 */
/* The scan that waits, on top of the one that does not. */
#include <errno.h>

#include "clients/index/atoll_index.h"

struct scan_wait {
	bool done;
	enum atoll_result result;
	int rc;
	atoll_entry entry;
	void *arg;
};

static int scan_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct scan_wait *w = arg;

	return w->entry(w->arg, key, klen, value, vlen);
}

static void scan_done(void *arg, enum atoll_result result, int rc, uint64_t entries)
{
	struct scan_wait *w = arg;

	(void)entries;
	w->done = true;
	w->result = result;
	w->rc = rc;
}

int atoll_index_scan(struct atoll_index *ix, const void *from, size_t flen, bool reverse,
		     uint64_t limit, atoll_entry entry, void *arg)
{
	struct scan_wait w = {.entry = entry, .arg = arg};
	int rc;

	while ((rc = atoll_index_scan_submit(ix, from, flen, reverse, limit, scan_entry, scan_done,
					     &w)) == -EAGAIN)
		if (atoll_index_poll(ix) == 0)
			atoll_index_idle(ix);
	if (rc)
		return rc;
	while (!w.done) {
		rc = atoll_index_poll(ix);
		if (rc == 0)
			atoll_index_idle(ix);
		else if (rc < 0)
			break;
	}
	if (!w.done)
		return -ENOTCONN;
	if (w.result == ATOLL_OK)
		return w.rc;
	return w.result == ATOLL_CORRUPT ? -EBADMSG : w.result == ATOLL_BUSY ? -EBUSY : -ENOTCONN;
}
