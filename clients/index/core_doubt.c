/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that ended in doubt: what is needed to find out later, and who may. Traces are the engine's. */
#include "clients/index/core_op.h"

#include <errno.h>

uint64_t core_doubt_add(struct core *k, const struct core_doubt *d)
{
	struct core_doubt *to = &k->doubt[k->ndoubts];

	if (k->c.ft_off || k->ndoubts == CORE_OPS_MAX)
		return 0;
	*to = *d;
	to->ticket = k->c.tickets + ++k->ndoubts;
	to->log_base = k->c.log_base;
	to->cid = k->c.cid;
	to->epoch = k->c.epoch;
	return to->ticket;
}

unsigned core_doubts(const struct core *k, const struct core_doubt **out)
{
	*out = k->doubt;
	return k->ndoubts;
}

int core_doubt_resolve(struct core *k, const struct core_doubt *d, bool *happened)
{
	struct index_client line;
	int rc = core_quiet(k);

	if (!rc)
		rc = k->engine->resolve(k, d, happened);
	if (!rc)
		rc = core_fetch(k, k->c.control,
				INDEX_CLIENT_TABLE_OFFSET + (uint64_t)d->cid * INDEX_LINE, &line,
				sizeof(line));
	/* The traces are his who has the number now. */
	if (!rc && (line.cid != d->cid || line.epoch != d->epoch))
		return -ESTALE;
	/* Not fenced off, so it may still happen: the caller has not reconnected. */
	if (!rc && line.state != INDEX_CLIENT_DEAD)
		return -EAGAIN;
	return rc;
}
