/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/verbs.h"

#include <errno.h>

int verbs_chain_check(const struct verb *chain, unsigned n)
{
	int reads = 0;

	if (n == 0 || n > VERB_CHAIN_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		const struct verb *v = &chain[i];
		int atomic = v->op == VERB_CAS || v->op == VERB_FAA;

		if (v->op < VERB_READ || v->op > VERB_FAA || (v->flags & ~VERB_FENCE) || v->reserved)
			return -EINVAL;
		if (v->len == 0 || v->len > VERB_LENGTH_MAX)
			return -EINVAL;
		if (atomic && (v->len != 8 || (v->remote_offset & 7) || (v->local_offset & 7)))
			return -EINVAL;
		if (v->flags & VERB_FENCE)
			reads = 0;
		if (reads && v->op != VERB_READ)
			return -EINVAL;
		if (v->op != VERB_WRITE)
			reads = 1;
	}
	return 0;
}
