/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - what a supervisor says of its node at one moment, for metrics and top.
 *
 * The answer is another process's text: names that are not of the expected letters, and lines that are cut
 * short, are left out.
 */
#ifndef ATOLL_SVCCTL_SNAPSHOT_H
#define ATOLL_SVCCTL_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/counters.h"
#include "tools/svcctl/client.h"

enum { SNAPSHOT_PROCS_MAX = CONF_SERVICES_MAX + 2 };

struct snapshot_proc {
	char name[CONF_NAME_MAX + 1], state[16];
	int pid, core; /* 0, -1: none */
	unsigned restarts;
	uint64_t cpu_ns; /* of all its threads since it was started */
};

struct snapshot_counter {
	char name[40], unit[16], help[72];
	bool level;
	uint64_t value;
};

/* An endpoint, or one of its lanes. */
struct snapshot_slot {
	char name[40];
	bool lane;
	unsigned endpoint, pid, number, node, depth; /* number, node and depth: of a lane */
	uint64_t value[SLOT_VALUES];
};

struct snapshot {
	bool up; /* the supervisor answered */
	char node[CONF_NAME_MAX + 1], state[16];
	uint64_t taken_ns, uptime_ms;
	unsigned nprocs, ncounters, nslots;
	struct snapshot_proc proc[SNAPSHOT_PROCS_MAX];
	struct snapshot_counter counter[COUNTERS_MAX];
	struct snapshot_slot slot[COUNTERS_SLOTS];
};

/* Ask. A node that is down is a snapshot that says so. */
void snapshot_take(const struct target *t, struct snapshot *out);
/* Read an answer: for snapshot_take and its test. */
void snapshot_parse(char *text, struct snapshot *out);
/* The same endpoint or lane in another snapshot, or NULL. */
const struct snapshot_slot *snapshot_slot_find(const struct snapshot *s, const struct snapshot_slot *like);
/* A counter's value by its name, 0 if there is none. */
uint64_t snapshot_value(const struct snapshot *s, const char *name);

#endif
