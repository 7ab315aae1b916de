/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - strings in JSON output. What is not printable ASCII is escaped byte by byte. */
#ifndef ATOLL_SVCCTL_JSON_H
#define ATOLL_SVCCTL_JSON_H

#include <stddef.h>
#include <stdio.h>

/* @s in quotes, at most @max bytes of it. */
void json_string(FILE *f, const char *s, size_t max);
/* @before, then "key": "value". */
void json_member(FILE *f, const char *before, const char *key, const char *value);

#endif
