/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top.h - what nodes do just now: rates between two looks at their counters.
 *
 * Cores and processes with the share of a core that they take, the dataplane's loop, messages and verbs, the
 * port with its losses, refusals for want of credit. A terminal of less than 72 columns gets one column of
 * figures; none is wider than it is.
 */
#ifndef ATOLL_SVCCTL_TOP_H
#define ATOLL_SVCCTL_TOP_H

#include "tools/svcctl/client.h"

/* @once: one look of @interval_ms, then end; else until SIGINT. @json: one object a node and look. Exit status: 3 if a
 * node is down at the end. */
int top_run(int n, const struct target *targets, unsigned interval_ms, bool once, bool json);

#endif
