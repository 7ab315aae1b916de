/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - which records are wanted: a small language, parsed once and evaluated for each record.
 *
 *	expr  := and { ("or" | "||") and }
 *	and   := not { ("and" | "&&") not }
 *	not   := ("not" | "!") not | "(" expr ")" | test
 *	test  := KIND | FIELD [ "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" ] VALUE
 *
 * KIND is request, reply, event, async, verb, completion, packet, or message (none of the last three). Without
 * an operator, "=" is meant. FIELD is one of
 *
 *	opcode GLOB	name of the opcode, or its number
 *	status NAME	of an answer or of any verb of a completion, in either case of letters
 *	point NAME	from-ring, to-ring, to-link, from-link, verb, completion, refused,
 *			packet-in, packet-out
 *	src, dst EP	who sent it, who gets it
 *	endpoint EP	sender, receiver, or on whose ring it is
 *	node NODE	sender's, receiver's, or that of the link
 *	at NODE		that saw it
 *	op NAME		of a verb: READ, WRITE, CAS, FAA
 *	payload GLOB	what is kept of the payload, as text
 *	length, req, trace, budget, lane, cookie, argN, arg.NAME	numbers; 0x for hexadecimal
 *
 * NODE is a number or a name, EP is NODE or NODE/ENDPOINT. A value with blanks or signs in it stands
 * in quotes, '...' or "...". A test of a field that a record does not have is false, also with "!=".
 *
 * The parser trusts nothing: text of any length and bytes gives a filter or an error with a position.
 */
#ifndef ATOLL_MSGDUMP_FILTER_H
#define ATOLL_MSGDUMP_FILTER_H

#include "tools/msgdump/event.h"

struct filter;

/* Where names of nodes come from. @node: the number of a name, or negative. May be NULL. */
struct filter_names {
	int (*node)(void *arg, const char *name);
	void *arg;
};

struct filter_error {
	size_t at; /* byte of the text, from 0 */
	char text[160];
};

/* A filter that every record passes. NULL without memory. */
struct filter *filter_new(void);
void filter_free(struct filter *f);

/**
 * filter_and - narrow a filter: a record must now pass @text, too
 * Return: 0; -EINVAL, and then *@err says what is wrong and where, and @f is as before; -ENOMEM.
 */
int filter_and(struct filter *f, const char *text, const struct filter_names *names,
	       struct filter_error *err);

bool filter_match(const struct filter *f, const struct event *ev);

#endif
