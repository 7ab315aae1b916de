/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/index/cli.h"
#include "ipc/idle.h"

struct progress {
	struct cli *c;
	uint64_t from_ns;
};

static void fsck_progress(void *arg, uint64_t done, uint64_t all)
{
	const struct progress *p = arg;

	cli_progress(p->c, "fsck", done, all, p->from_ns);
}

static int complain(struct cli *c, const char *what, int rc)
{
	if (!cli_lost(c))
		fprintf(stderr, "atoll-index: %s: %s\n", what, strerror(-rc));
	return 2;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static int repair(struct cli *c)
{
	struct atoll_index_repaired r;
	int rc = atoll_index_repair(c->ix, &r);

	if (rc)
		return complain(c, "repair", rc);
	printf("repair: %" PRIu64 " clients are dead; %" PRIu64
	       " of their inserts taken back, %" PRIu64 " of their splits finished, %" PRIu64
	       " locks freed, %" PRIu64 " traces of deletes removed\n",
	       r.dead, r.inserts, r.splits, r.locks, r.deletes);
	if (r.open)
		printf("repair: %" PRIu64 " inserts and splits of living clients were left alone\n",
		       r.open);
	return 0;
}

static void table_print(const struct atoll_index_report *r)
{
	printf("table: %" PRIu64 " entries in %" PRIu64 " slots of %" PRIu64 " subtables, %" PRIu64
	       " more were split\n",
	       r->entries, r->slots, r->subtables, r->retired);
	printf("table: torn %" PRIu64 ", duplicate %" PRIu64 ", misplaced %" PRIu64
	       ", pending %" PRIu64 "\n",
	       r->torn, r->duplicates, r->misplaced, r->pending);
}

int cli_fsck(struct cli *c)
{
	struct atoll_index_report r;
	struct atoll_index_account a;
	struct progress p = {c, clock_now_ns()};
	bool clean;
	int rc = c->repair ? repair(c) : 0;

	if (rc)
		return rc;
	rc = atoll_index_check(c->ix, fsck_progress, &p, &r, &a);
	if (rc)
		return complain(c, "fsck", rc);
	if (atoll_index_type(c->ix) == ATOLL_INDEX_TREE)
		printf("tree: %" PRIu64 " entries in %" PRIu64 " nodes, %" PRIu64 " damaged\n",
		       r.entries, r.subtables, r.torn);
	else
		table_print(&r);
	if (atoll_index_members(c->ix) > 1) {
		printf("cluster: %u members\n", atoll_index_members(c->ix));
		if (r.misplaced)
			printf("cluster: %" PRIu64 " entries are where their keys are not looked for\n", r.misplaced);
		if (r.first_bad)
			puts("cluster: fsck --shard says of each member what is damaged where");
	} else if (r.first_bad)
		printf("the first that is damaged is at offset 0x%" PRIx64 " of the table region\n",
		       r.first_bad);
	printf("heap: %.2f of %.2f MiB allocated = %.2f logs + %.2f reachable + %.2f free or in "
	       "flight with "
	       "living clients + %.2f left by the dead\n",
	       mib(a.allocated_bytes), mib(a.heap_bytes), mib(a.log_bytes), mib(a.reachable_bytes),
	       mib(a.held_bytes), mib(a.left_bytes));
	if (a.bad)
		printf("heap: %" PRIu64
		       " things lie on one another, or where nothing was handed out\n",
		       a.bad);
	clean = !r.torn && !r.duplicates && !r.misplaced && !a.bad &&
		a.allocated_bytes == a.log_bytes + a.reachable_bytes + a.held_bytes + a.left_bytes;
	puts(clean ? "clean" : "damaged");
	return clean ? 0 : 1;
}
