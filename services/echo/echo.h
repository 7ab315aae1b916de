/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo.h - the service that sends back what it gets: the worked example of docs/adding-a-service.md and
 * the null service of the benchmarks.
 *
 * echo.echo is answered in its handler; echo.delay later, from a timer, which is all there is to a deferred
 * completion: keep the request, answer it by its req_id.
 */
#ifndef ATOLL_SERVICES_ECHO_H
#define ATOLL_SERVICES_ECHO_H

#include "ipc/service.h"

enum { ECHO_DELAYED_MAX = 1024 }; /* requests that wait at once; one more is answered LIMIT */

struct echo_delayed {
	struct proto_msg request;
	uint64_t due_ns;
};

/* A heap of waiting requests, the next to answer first. */
struct echo {
	struct echo_delayed heap[ECHO_DELAYED_MAX];
	uint32_t count;
};

/* The table for service_main; a struct echo is made by its init, or set as the service's state. */
extern const struct service_ops echo_ops;

#endif
