/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/filter.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	NODES_MAX = 256,  /* of one text's tree */
	DEPTH_MAX = 64,	  /* parentheses and nots in each other */
	WORD_MAX = 128,	  /* bytes of a value */
	ANY_ENDPOINT = -1,
};

enum field {
	F_OPCODE, F_STATUS, F_POINT, F_SRC, F_DST, F_ENDPOINT, F_NODE, F_AT, F_OP, F_PAYLOAD, F_LENGTH,
	F_REQ, F_TRACE, F_BUDGET, F_LANE, F_COOKIE, F_ARG, F_ARG_NAME, F_KIND,
};

static const char *const field_names[] = {
	"opcode", "status", "point", "src",   "dst",	"endpoint", "node", "at",
	"op",	  "payload", "length", "req", "trace", "budget",   "lane", "cookie",
};

static const char *const kind_names[] = {"request", "reply", "event",  "async",
					 "verb",    "completion", "packet", "message"};
enum { KIND_MESSAGE = 7 };

enum compare { EQ, NE, LT, LE, GT, GE };

enum node_kind { N_TRUE, N_AND, N_OR, N_NOT, N_TEST };

struct node {
	enum node_kind kind;
	uint16_t left, right; /* AND, OR; NOT: left */
	enum field field;
	enum compare compare;
	uint64_t number;  /* also a node, an enum's value, an argument's number, a kind */
	int64_t endpoint; /* of an EP; which argument */
	uint8_t by_number; /* an opcode */
	char text[WORD_MAX];
};

struct tree {
	struct tree *next;
	uint16_t root;
	unsigned count;
	struct node nodes[];
};

struct filter {
	struct tree *trees; /* all must be true */
};

/* ---------------------------------------------------------------- words */

enum token { T_END, T_WORD, T_QUOTED, T_OPEN, T_CLOSE, T_AND, T_OR, T_NOT, T_COMPARE, T_BAD };

struct parser {
	const char *text;
	size_t at;	/* behind the token */
	enum token token;
	size_t start;	/* of the token */
	enum compare compare;
	char word[WORD_MAX];
	unsigned depth;
	const struct filter_names *names;
	struct filter_error *err;
	struct tree *tree;
	bool failed;
};

__attribute__((format(printf, 3, 4))) static bool fail(struct parser *p, size_t at, const char *fmt,
						       ...)
{
	va_list ap;

	if (p->failed)
		return false;
	p->failed = true;
	p->token = T_BAD;
	p->err->at = at;
	va_start(ap, fmt);
	vsnprintf(p->err->text, sizeof(p->err->text), fmt, ap);
	va_end(ap);
	return false;
}

static bool is_word(char c)
{
	return c && !isspace((unsigned char)c) && !strchr("()!=<>&|'\"", c);
}

static void next(struct parser *p)
{
	static const struct {
		char text[3];
		uint8_t token, compare;
	} signs[] = {
		{"==", T_COMPARE, EQ}, {"!=", T_COMPARE, NE}, {"<=", T_COMPARE, LE}, {">=", T_COMPARE, GE},
		{"&&", T_AND, 0},      {"||", T_OR, 0},	      {"=", T_COMPARE, EQ},  {"<", T_COMPARE, LT},
		{">", T_COMPARE, GT},  {"!", T_NOT, 0},	      {"(", T_OPEN, 0},	     {")", T_CLOSE, 0},
	};
	const char *t = p->text;
	size_t from, len;

	if (p->failed)
		return;
	while (isspace((unsigned char)t[p->at]))
		p->at++;
	p->start = p->at;
	if (!t[p->at]) {
		p->token = T_END;
		return;
	}
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		len = strlen(signs[i].text);
		if (strncmp(t + p->at, signs[i].text, len) == 0) {
			p->at += len;
			p->token = signs[i].token;
			p->compare = signs[i].compare;
			return;
		}
	}
	if (t[p->at] == '\'' || t[p->at] == '"') {
		const char *end = strchr(t + p->at + 1, t[p->at]);

		if (!end) {
			fail(p, p->start, "this quote has no end");
			return;
		}
		from = p->at + 1;
		len = (size_t)(end - t) - from;
		p->at = from + len + 1;
		p->token = T_QUOTED;
	} else if (is_word(t[p->at])) {
		from = p->at;
		while (is_word(t[p->at]))
			p->at++;
		len = p->at - from;
		p->token = T_WORD;
	} else {
		fail(p, p->start, "'%c' has no meaning here", isprint((unsigned char)t[p->at]) ? t[p->at] : '?');
		return;
	}
	if (len >= sizeof(p->word)) {
		fail(p, p->start, "a value of more than %d bytes", WORD_MAX - 1);
		return;
	}
	memcpy(p->word, t + from, len);
	p->word[len] = 0;
	if (p->token == T_WORD) {
		if (strcmp(p->word, "and") == 0)
			p->token = T_AND;
		else if (strcmp(p->word, "or") == 0)
			p->token = T_OR;
		else if (strcmp(p->word, "not") == 0)
			p->token = T_NOT;
	}
}

/* ---------------------------------------------------------------- values */

/* * and ?, in time that no pattern can blow up: only the last star is ever tried again. */
static bool glob(const char *pattern, const char *text)
{
	const char *star = NULL, *from = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			from = text;
		} else if (*pattern == *text || *pattern == '?') {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == 0;
}

static bool number(const char *text, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*out = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
	return !errno && *end == 0;
}

static int by_name(const struct proto_enum *e, const char *name)
{
	for (unsigned i = 0; i < e->count; i++)
		if (strcasecmp(e->values[i].name, name) == 0)
			return (int)e->values[i].value;
	return -1;
}

static bool names_of(struct parser *p, size_t at, const char *what, const struct proto_enum *e,
		     struct node *n)
{
	uint64_t v;
	int found = by_name(e, p->word);

	if (found >= 0)
		n->number = (uint64_t)found;
	else if (number(p->word, &v))
		n->number = v;
	else
		return fail(p, at, "there is no %s '%s'", what, p->word);
	return true;
}

static int node_of(struct parser *p, const char *name)
{
	uint64_t v;
	int n = -1;

	if (number(name, &v))
		return v <= PROTO_NODE_MAX ? (int)v : -1;
	if (p->names && p->names->node)
		n = p->names->node(p->names->arg, name);
	/* node1, as a record's text has it; node-b, as people say it */
	if (n < 0 && strncmp(name, "node", 4) == 0 && name[4 + (name[4] == '-')])
		return node_of(p, name + 4 + (name[4] == '-'));
	return n;
}

static bool endpoint(struct parser *p, size_t at, struct node *n, bool with_endpoint)
{
	char name[WORD_MAX], *slash;
	uint64_t v = 0;
	int node;

	memcpy(name, p->word, sizeof(name));
	slash = strchr(name, '/');
	n->endpoint = ANY_ENDPOINT;
	if (slash) {
		*slash = 0;
		if (!with_endpoint)
			return fail(p, at, "a node's number or name alone is wanted, not '%s'", p->word);
		if (!number(slash + 1, &v) || v > 0xffffff)
			return fail(p, at + (size_t)(slash - name) + 1, "'%s' is no endpoint's number",
				    slash + 1);
		n->endpoint = (int64_t)v;
	}
	node = node_of(p, name);
	if (node < 0)
		return fail(p, at, "no node '%s' is known: its number does, too", name);
	n->number = (uint64_t)node;
	return true;
}

static bool opcode(struct parser *p, size_t at, struct node *n)
{
	uint64_t v;

	if (number(p->word, &v)) {
		n->by_number = 1;
		n->number = v;
		return true;
	}
	for (unsigned i = 0; i < proto_ops_count; i++)
		if (glob(p->word, proto_ops[i].name))
			return true;
	return fail(p, at, "no opcode is called '%s'; its number does, too", p->word);
}

static bool value(struct parser *p, struct node *n)
{
	size_t at = p->start;
	int v;

	memcpy(n->text, p->word, sizeof(n->text));
	if (n->compare > NE && n->field < F_LENGTH)
		return fail(p, at, "%s has no order: = and != alone compare it", field_names[n->field]);
	switch (n->field) {
	case F_OPCODE:
		return opcode(p, at, n);
	case F_STATUS:
		return names_of(p, at, "status", &proto_enum_status, n);
	case F_OP:
		return names_of(p, at, "verb", &proto_enum_verb_op, n);
	case F_POINT:
		v = event_point_find(p->word);
		if (v < 0)
			return fail(p, at, "there is no point '%s'", p->word);
		n->number = (uint64_t)v;
		return true;
	case F_SRC:
	case F_DST:
	case F_ENDPOINT:
		return endpoint(p, at, n, true);
	case F_NODE:
	case F_AT:
		return endpoint(p, at, n, false);
	case F_PAYLOAD:
		return true;
	default:
		if (!number(p->word, &n->number))
			return fail(p, at, "'%s' is no number", p->word);
		return true;
	}
}

/* ---------------------------------------------------------------- the tree */

static uint16_t node_add(struct parser *p, struct node n)
{
	if (p->tree->count == NODES_MAX) {
		fail(p, p->start, "more than %d tests", NODES_MAX / 2);
		return 0;
	}
	p->tree->nodes[p->tree->count] = n;
	return (uint16_t)p->tree->count++;
}

/* The field that the word names. */
static bool field(struct parser *p, struct node *n)
{
	uint64_t v;

	for (unsigned i = 0; i < sizeof(field_names) / sizeof(field_names[0]); i++)
		if (strcmp(p->word, field_names[i]) == 0) {
			n->field = (enum field)i;
			return true;
		}
	if (strncmp(p->word, "arg.", 4) == 0 && p->word[4]) {
		n->field = F_ARG_NAME;
		return true;
	}
	if (strncmp(p->word, "arg", 3) == 0 && number(p->word + 3, &v)) {
		if (v >= PROTO_ARGS_MAX)
			return fail(p, p->start, "arguments are numbered from 0 to %d", PROTO_ARGS_MAX - 1);
		n->field = F_ARG;
		n->endpoint = (int64_t)v;
		return true;
	}
	return fail(p, p->start, "'%s' is no field; msgdump --help lists them", p->word);
}

static bool arg_name(struct parser *p, size_t at, const char *name)
{
	for (unsigned i = 0; i < proto_ops_count; i++)
		for (int reply = 0; reply < 2; reply++) {
			const struct proto_body *b = reply ? &proto_ops[i].reply : &proto_ops[i].request;

			for (unsigned k = 0; k < b->nargs; k++)
				if (strcmp(b->args[k].name, name) == 0)
					return true;
		}
	return fail(p, at, "no opcode has an argument '%s'", name);
}

static uint16_t test(struct parser *p)
{
	struct node n = {.kind = N_TEST};
	char name[WORD_MAX];
	size_t at = p->start;
	bool compared = false;

	for (unsigned i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
		if (strcmp(p->word, kind_names[i]) == 0) {
			n.field = F_KIND;
			n.number = i;
			next(p);
			return node_add(p, n);
		}
	if (!field(p, &n))
		return 0;
	memcpy(name, p->word, sizeof(name));
	if (n.field == F_ARG_NAME && !arg_name(p, at + 4, name + 4))
		return 0;
	next(p);
	if (p->token == T_COMPARE) {
		n.compare = p->compare;
		compared = true;
		next(p);
	}
	if (p->token != T_WORD && p->token != T_QUOTED) {
		fail(p, p->start, "a value is missing after '%s'%s", name, compared ? " and its sign" : "");
		return 0;
	}
	if (!value(p, &n))
		return 0;
	if (n.field == F_ARG_NAME)
		memcpy(n.text, name + 4, sizeof(n.text) - 4);
	next(p);
	return node_add(p, n);
}

static uint16_t either(struct parser *p);

static uint16_t negated(struct parser *p)
{
	struct node n = {.kind = N_NOT};
	uint16_t inner;

	if (p->failed)
		return 0;
	if (p->depth == DEPTH_MAX) {
		fail(p, p->start, "nested more than %d deep", DEPTH_MAX);
		return 0;
	}
	switch (p->token) {
	case T_NOT:
		p->depth++;
		next(p);
		n.left = negated(p);
		p->depth--;
		return node_add(p, n);
	case T_OPEN:
		p->depth++;
		next(p);
		inner = either(p);
		p->depth--;
		if (p->token != T_CLOSE) {
			fail(p, p->start, "a ')' is missing");
			return 0;
		}
		next(p);
		return inner;
	case T_WORD:
		return test(p);
	case T_END:
		fail(p, p->start, "a test is missing at the end");
		return 0;
	default:
		fail(p, p->start, "a field's name is wanted here");
		return 0;
	}
}

static uint16_t all(struct parser *p)
{
	uint16_t left = negated(p);

	while (p->token == T_AND) {
		struct node n = {.kind = N_AND, .left = left};

		next(p);
		n.right = negated(p);
		left = node_add(p, n);
	}
	return left;
}

static uint16_t either(struct parser *p)
{
	uint16_t left = all(p);

	while (p->token == T_OR) {
		struct node n = {.kind = N_OR, .left = left};

		next(p);
		n.right = all(p);
		left = node_add(p, n);
	}
	return left;
}

struct filter *filter_new(void)
{
	return calloc(1, sizeof(struct filter));
}

void filter_free(struct filter *f)
{
	struct tree *next_tree;

	if (!f)
		return;
	for (struct tree *t = f->trees; t; t = next_tree) {
		next_tree = t->next;
		free(t);
	}
	free(f);
}

int filter_and(struct filter *f, const char *text, const struct filter_names *names,
	       struct filter_error *err)
{
	struct parser p = {.text = text, .names = names, .err = err};
	struct tree *small;

	p.tree = calloc(1, sizeof(*p.tree) + NODES_MAX * sizeof(struct node));
	if (!p.tree)
		return -ENOMEM;
	next(&p);
	p.tree->root = p.token == T_END ? node_add(&p, (struct node){.kind = N_TRUE}) : either(&p);
	if (!p.failed && p.token != T_END)
		fail(&p, p.start, "'and' or 'or' is missing before this");
	if (p.failed) {
		free(p.tree);
		return -EINVAL;
	}
	small = realloc(p.tree, sizeof(*p.tree) + p.tree->count * sizeof(struct node));
	if (small)
		p.tree = small;
	p.tree->next = f->trees;
	f->trees = p.tree;
	return 0;
}

/* ---------------------------------------------------------------- evaluation */

static bool compared(enum compare how, uint64_t a, uint64_t b)
{
	switch (how) {
	case EQ:
		return a == b;
	case NE:
		return a != b;
	case LT:
		return a < b;
	case LE:
		return a <= b;
	case GT:
		return a > b;
	case GE:
		return a >= b;
	}
	return false;
}

static bool is_endpoint(const struct node *n, uint32_t ep)
{
	return ep >> 24 == n->number && (n->endpoint == ANY_ENDPOINT || (ep & 0xffffff) == n->endpoint);
}

/* = : one of them is it; != : there are some, and none is it. */
static bool endpoints(const struct node *n, const uint32_t *eps, unsigned count)
{
	bool any = false, is = false;

	for (unsigned i = 0; i < count; i++)
		if (eps[i]) {
			any = true;
			is |= is_endpoint(n, eps[i]);
		}
	return any && (n->compare == EQ ? is : !is);
}

static bool status_is(const struct node *n, const struct event *ev)
{
	if (ev->kind == EVENT_MESSAGE)
		return (ev->msg.flags & MESSAGE_FLAG_REPLY) &&
		       compared(n->compare, ev->msg.status, n->number);
	if (ev->kind != EVENT_COMPLETION)
		return false;
	for (unsigned i = 0; i < ev->completion.count && i < PROTO_CHAIN_MAX; i++)
		if (compared(n->compare, ev->completion.status[i], n->number))
			return true;
	return false;
}

static bool payload_is(const struct node *n, const struct event *ev)
{
	char text[sizeof(ev->data) + 1];

	if (ev->kind != EVENT_MESSAGE || !ev->captured)
		return false;
	memcpy(text, ev->data, ev->captured);
	text[ev->captured] = 0;
	return glob(n->text, text) == (n->compare == EQ);
}

static bool arg_is(const struct node *n, const struct event *ev)
{
	const struct proto_body *b = proto_msg_body(&ev->msg);

	for (unsigned i = 0; b && i < b->nargs; i++)
		if (strcmp(b->args[i].name, n->text) == 0)
			return compared(n->compare, ev->msg.arg[i], n->number);
	return false;
}

static bool kind_is(const struct node *n, const struct event *ev)
{
	if (n->number == KIND_MESSAGE)
		return ev->kind == EVENT_MESSAGE;
	return strcmp(event_kind_name(ev), kind_names[n->number]) == 0;
}

static bool test_match(const struct node *n, const struct event *ev)
{
	const struct proto_msg *m = ev->kind == EVENT_MESSAGE ? &ev->msg : NULL;
	const struct proto_verb *v = ev->kind == EVENT_VERB ? &ev->verb : NULL;
	const struct proto_completion *c = ev->kind == EVENT_COMPLETION ? &ev->completion : NULL;
	const uint32_t eps[3] = {ev->src, ev->dst, ev->where};
	const char *name;

	switch (n->field) {
	case F_KIND:
		return kind_is(n, ev);
	case F_OPCODE:
		if (!m)
			return false;
		if (n->by_number)
			return compared(n->compare, m->opcode, n->number);
		name = proto_op_name(m->opcode);
		return (name && glob(n->text, name)) == (n->compare == EQ);
	case F_STATUS:
		return status_is(n, ev);
	case F_POINT:
		return compared(n->compare, ev->point, n->number);
	case F_SRC:
		return endpoints(n, &eps[0], 1);
	case F_DST:
		return endpoints(n, &eps[1], 1);
	case F_ENDPOINT:
	case F_NODE:
		return endpoints(n, eps, 3);
	case F_AT:
		return compared(n->compare, ev->node, n->number);
	case F_OP:
		return v && compared(n->compare, v->op, n->number);
	case F_PAYLOAD:
		return payload_is(n, ev);
	case F_LENGTH:
		return ev->kind != EVENT_COMPLETION &&
		       compared(n->compare, m ? m->length : v ? v->len : ev->packet_length, n->number);
	case F_REQ:
		return m && compared(n->compare, m->req_id, n->number);
	case F_TRACE:
		return m && compared(n->compare, m->trace_id, n->number);
	case F_BUDGET:
		return m && compared(n->compare, m->budget_us, n->number);
	case F_LANE:
		return (v || c) && compared(n->compare, v ? v->lane : c->lane, n->number);
	case F_COOKIE:
		return (v || c) && compared(n->compare, v ? v->cookie : c->cookie, n->number);
	case F_ARG:
		return m && compared(n->compare, m->arg[n->endpoint], n->number);
	case F_ARG_NAME:
		return m && arg_is(n, ev);
	}
	return false;
}

/* Its depth is that of the text, or a chain of at most NODES_MAX ands. */
static bool match(const struct tree *t, uint16_t at, const struct event *ev)
{
	const struct node *n = &t->nodes[at];

	switch (n->kind) {
	case N_TRUE:
		return true;
	case N_AND:
		return match(t, n->left, ev) && match(t, n->right, ev);
	case N_OR:
		return match(t, n->left, ev) || match(t, n->right, ev);
	case N_NOT:
		return !match(t, n->left, ev);
	case N_TEST:
		return test_match(n, ev);
	}
	return false;
}

bool filter_match(const struct filter *f, const struct event *ev)
{
	for (const struct tree *t = f->trees; t; t = t->next)
		if (!match(t, t->root, ev))
			return false;
	return true;
}
