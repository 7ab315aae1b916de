/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a tree's dead clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tree_rig.h"

#include "tests/unit/recycle_play.h"

/* Some with keys that do not fit into fences, or into entries. */
static void rig_begin(struct rig *g, uint64_t seed)
{
	rig_open(g, seed, CLIENTS, 2);
	rig_keys(g, KEYS, seed % 3 == 0 ? 300 : seed % 3 == 1 ? 48 : 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_worker_dies),
		cmocka_unit_test(test_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
