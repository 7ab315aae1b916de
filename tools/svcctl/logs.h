/* SPDX-License-Identifier: Apache-2.0 */
/* logs.h - show what a node's processes have written. */
#ifndef ATOLL_SVCCTL_LOGS_H
#define ATOLL_SVCCTL_LOGS_H

#include <stdbool.h>

/* Print the log of @name, with @json each line as an object;, what was moved aside first; with @follow go on until SIGINT. 0 or 1. */
int logs_show(const char *node, const char *run_dir, const char *name, bool follow, bool json);

#endif
