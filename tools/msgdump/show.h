/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show.h - an event as a line of text for people, or as one JSON object on a line for programs.
 *
 * JSON: what always stands in it is time_ns, point, node and kind; then src, dst and where, as
 * "NODE/ENDPOINT", where they are known. Messages have opcode, name (null if unknown), req, status (of
 * answers), length, args by their names (those that the schema does not know as "argN"), payload (what
 * is kept of it, as hexadecimal digits), budget_us and trace where they are not 0. Packets have length, frame (hexadecimal digits) and text. Numbers above 2^53
 * are strings, because many readers of JSON would round them.
 */
#ifndef ATOLL_MSGDUMP_SHOW_H
#define ATOLL_MSGDUMP_SHOW_H

#include <stdio.h>

#include "tools/msgdump/event.h"

/* @start_ns: what times are counted from. */
void show_text(FILE *to, const struct event *ev, uint64_t start_ns);
void show_json(FILE *to, const struct event *ev);

#endif
