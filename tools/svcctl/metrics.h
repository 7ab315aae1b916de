/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - counters in the text format of Prometheus, version 0.0.4.
 *
 * A counter "links.tx" of "messages" becomes atoll_links_tx_messages_total, with the label node; a unit that the
 * name has already is not said twice; what is not a sum has no _total; times are in seconds. HELP is the
 * counter's own description.
 */
#ifndef ATOLL_SVCCTL_METRICS_H
#define ATOLL_SVCCTL_METRICS_H

#include <stdint.h>

#include "tools/svcctl/client.h"

/* All of @targets, once. Allocated; NULL without memory. */
char *metrics_text(int n, const struct target *targets);
/* Serve them at http://127.0.0.1:@port/metrics until SIGINT or SIGTERM; 0: a port that is free, which is said. The
 * exit status. */
int metrics_serve(int n, const struct target *targets, uint16_t port);

#endif
