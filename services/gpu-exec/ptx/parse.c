/* SPDX-License-Identifier: Apache-2.0 */
/* Directives of a text: variables, functions and what is said about them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/parse.h"

static void refuse(struct parser *p, uint32_t line, const char *format, va_list args)
{
	struct refusal *r = p->refusal;

	if (r)
		return;
	r = p->refusal = parse_alloc(p, sizeof(*r));
	r->source = p->source;
	r->line = line;
	vsnprintf(r->text, sizeof(r->text), format, args);
}

void parse_refuse(struct parser *p, uint32_t line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	refuse(p, line, format, args);
	va_end(args);
}

void parse_fail(struct parser *p, int code, uint32_t line, const char *format, ...)
{
	va_list args;

	if (p->refuse && code == PTX_ERR_NOT_SUPPORTED) {
		va_start(args, format);
		refuse(p, line, format, args);
		va_end(args);
		longjmp(*p->refuse, 1);
	}
	if (p->error) {
		va_start(args, format);
		*p->error = (struct ptx_error){.code = code, .source = p->source, .line = line};
		vsnprintf(p->error->text, sizeof(p->error->text), format, args);
		va_end(args);
	}
	longjmp(p->fail, code);
}

void *parse_alloc(struct parser *p, size_t size)
{
	void *q = arena_alloc(&p->m->arena, size);

	if (!q)
		parse_fail(p, PTX_ERR_MEMORY, p->lex.line, "No memory for a module this large.");
	return q;
}

bool text_is(const char *at, uint32_t length, const char *what)
{
	return strlen(what) == length && memcmp(at, what, length) == 0;
}

/* ------------------------------------------------------------------------------ symbols */

uint32_t name_hash(const char *name, uint32_t length)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (uint32_t k = 0; k < length; k++)
		h = (h ^ (uint8_t)name[k]) * 16777619u;
	return h;
}

struct symbol *symbol_exact(struct parser *p, const char *name, uint32_t length, uint32_t hash)
{
	for (struct symbol *s = p->buckets[hash % SYMBOL_BUCKETS]; s; s = s->chain)
		if (s->hash == hash && s->length == length && memcmp(s->name, name, length) == 0 &&
		    s->scope != p->link_scope->id && !s->range)
			return s;
	return NULL;
}

struct symbol *symbol_find(struct parser *p, const char *name, uint32_t length)
{
	struct symbol *s = symbol_exact(p, name, length, name_hash(name, length));
	uint32_t prefix = length, hash;
	uint64_t index = 0, scale = 1;

	if (s)
		return s;
	while (prefix > 1 && name[prefix - 1] >= '0' && name[prefix - 1] <= '9' && scale < 1u << 31) {
		index += scale * (uint64_t)(name[prefix - 1] - '0');
		scale *= 10;
		prefix--;
	}
	if (prefix == length)
		return NULL;
	hash = name_hash(name, prefix);
	for (s = p->buckets[hash % SYMBOL_BUCKETS]; s; s = s->chain)
		if (s->range && s->hash == hash && s->length == prefix &&
		    memcmp(s->name, name, prefix) == 0 && index < s->count)
			return s;
	return NULL;
}

struct symbol *link_find(struct parser *p, const char *name, uint32_t length)
{
	uint32_t hash = name_hash(name, length);

	for (struct symbol *s = p->buckets[hash % SYMBOL_BUCKETS]; s; s = s->chain)
		if (s->hash == hash && s->length == length && memcmp(s->name, name, length) == 0 &&
		    s->scope == p->link_scope->id)
			return s;
	return NULL;
}

struct symbol *symbol_add(struct parser *p, struct scope *scope, const char *name, uint32_t length,
			  enum symbol_kind kind)
{
	struct symbol *s = parse_alloc(p, sizeof(*s) + length + 1);
	char *copy = (char *)(s + 1);

	memcpy(copy, name, length);
	s->name = copy;
	s->length = length;
	s->hash = name_hash(name, length);
	s->kind = (uint8_t)kind;
	s->scope = scope->id;
	s->in_scope = scope->symbols;
	scope->symbols = s;
	s->chain = p->buckets[s->hash % SYMBOL_BUCKETS];
	p->buckets[s->hash % SYMBOL_BUCKETS] = s;
	return s;
}

void scope_enter(struct parser *p)
{
	struct scope *s;

	if (++p->depth > PARSE_DEPTH_MAX)
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.line, "Braces are nested too deep.");
	s = parse_alloc(p, sizeof(*s));
	s->outer = p->scope;
	s->id = p->scope_count++;
	p->scope = s;
}

void scope_leave(struct parser *p)
{
	/* Symbols of this scope were added last in their chains, save those of the link's scope. */
	for (struct symbol *s = p->scope->symbols; s; s = s->in_scope) {
		struct symbol **at = &p->buckets[s->hash % SYMBOL_BUCKETS];

		while (*at != s)
			at = &(*at)->chain;
		*at = s->chain;
	}
	p->scope = p->scope->outer;
	p->depth--;
}

/* ------------------------------------------------------------------------------ tokens */

bool tok_is(const struct parser *p, char c)
{
	const struct token *t = &p->lex.token;

	return t->kind == TOK_PUNCT && t->punct == c && !t->twice;
}

bool tok_name(const struct parser *p, const char *name)
{
	const struct token *t = &p->lex.token;

	return (t->kind == TOK_NAME || t->kind == TOK_DOTNAME) && text_is(t->at, t->length, name);
}

bool tok_accept(struct parser *p, char c)
{
	if (!tok_is(p, c))
		return false;
	lex_next(p);
	return true;
}

static bool dot_accept(struct parser *p, const char *name)
{
	if (p->lex.token.kind != TOK_DOTNAME || !tok_name(p, name))
		return false;
	lex_next(p);
	return true;
}

void tok_expect(struct parser *p, char c)
{
	if (!tok_accept(p, c))
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
			   "'%c' is missing before '%.*s'.", c,
			   (int)(p->lex.token.length > 60 ? 60 : p->lex.token.length),
			   p->lex.token.at);
}

struct token need_name(struct parser *p)
{
	struct token t = p->lex.token;

	if (t.kind != TOK_NAME)
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "A name is missing before '%.*s'.",
			   (int)(t.length > 60 ? 60 : t.length), t.at);
	lex_next(p);
	return t;
}

/* ------------------------------------------------------------------------------ functions */

/* One of a list of parameters, up to `,` or `)`. */
static void parse_formal(struct parser *p, struct formal *n, struct token *name)
{
	unsigned type = T_NONE, vec = 1;
	uint64_t align = 0;
	bool in_reg = false, open;

	if (dot_accept(p, ".reg"))
		in_reg = true;
	else if (!dot_accept(p, ".param"))
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
			   ".param or .reg is missing before '%.*s'.", (int)p->lex.token.length,
			   p->lex.token.at);
	while (p->lex.token.kind == TOK_DOTNAME) {
		struct token t = p->lex.token;

		lex_next(p);
		if (text_is(t.at, t.length, ".align")) {
			int64_t v = parse_const(p);

			if (v <= 0 || (v & (v - 1)) || v > 4096)
				parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "An impossible alignment.");
			if (align == 0)
				align = (uint64_t)v;
		} else if (text_is(t.at, t.length, ".ptr")) {
			if (align == 0)
				align = 8;
			while (dot_accept(p, ".global") || dot_accept(p, ".const") ||
			       dot_accept(p, ".local") || dot_accept(p, ".shared"))
				;
		} else if (text_is(t.at, t.length, ".v2")) {
			vec = 2;
		} else if (text_is(t.at, t.length, ".v4")) {
			vec = 4;
		} else {
			type = parse_type_name(t.at, t.length);
			if (type == T_NONE)
				parse_fail(p, PTX_ERR_NOT_SUPPORTED, t.line,
					   "Parameters of '%.*s' are not supported.",
					   (int)t.length, t.at);
		}
	}
	if (type == T_NONE)
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line, "A parameter has no type.");
	*name = need_name(p);
	n->type = (uint8_t)type;
	n->in_reg = in_reg;
	{
		uint64_t count = parse_dims(p, &open), element = type_bytes(type) * vec;

		if (open)
			count = 0;
		if (count * element > 1u << 20)
			parse_fail(p, PTX_ERR_INVALID_PTX, name->line, "A parameter is over 1 MiB.");
		n->size = (uint32_t)(count * element);
		n->align = (uint32_t)(align > element && element ? align : element);
		if (n->align == 0)
			n->align = 1;
	}
}

struct formal_list {
	struct formal *list;
	struct token *names;
	unsigned count, room;
};

static void parse_formals(struct parser *p, struct formal_list *l)
{
	tok_expect(p, '(');
	while (!tok_is(p, ')')) {
		if (l->count == l->room) {
			unsigned room = l->room ? 2 * l->room : 8;
			struct formal *list = parse_alloc(p, room * sizeof(*list));
			struct token *names = parse_alloc(p, room * sizeof(*names));

			if (room > 1u << 16)
				parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
					   "Too many parameters.");
			if (l->count) {
				memcpy(list, l->list, l->count * sizeof(*list));
				memcpy(names, l->names, l->count * sizeof(*names));
			}
			*l = (struct formal_list){list, names, l->count, room};
		}
		parse_formal(p, &l->list[l->count], &l->names[l->count]);
		l->count++;
		if (!tok_accept(p, ','))
			break;
	}
	tok_expect(p, ')');
}

static void parse_limits(struct parser *p, struct ptx_function_info *info)
{
	while (p->lex.token.kind == TOK_DOTNAME) {
		struct token t = p->lex.token;
		uint64_t n[3] = {1, 1, 1};

		lex_next(p);
		if (text_is(t.at, t.length, ".pragma")) {
			while (p->lex.token.kind == TOK_STRING) {
				lex_next(p);
				tok_accept(p, ',');
			}
			tok_expect(p, ';');
			continue;
		}
		if (text_is(t.at, t.length, ".noreturn") ||
		    text_is(t.at, t.length, ".explicitcluster") ||
		    text_is(t.at, t.length, ".blocksareclusters") ||
		    text_is(t.at, t.length, ".unique"))
			continue;
		if (text_is(t.at, t.length, ".attribute")) {
			skip_attribute(p);
			continue;
		}
		for (unsigned k = 0; k < 3 && p->lex.token.kind == TOK_INT; k++) {
			n[k] = (uint64_t)parse_const(p);
			if (n[k] > UINT32_MAX || (k < 2 && !tok_accept(p, ',')))
				break;
		}
		if (n[0] > UINT32_MAX || n[1] > 65536 || n[2] > 65536)
			parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "An impossible limit.");
		if (text_is(t.at, t.length, ".maxntid")) {
			uint64_t most = n[0] * n[1] * n[2];

			info->max_threads = most && most < 1024 ? (uint32_t)most : 1024;
		} else if (text_is(t.at, t.length, ".reqntid")) {
			uint64_t most = n[0] * n[1] * n[2];

			info->max_threads = most && most < 1024 ? (uint32_t)most : 1024;
			for (unsigned k = 0; k < 3; k++)
				info->required[k] = (uint32_t)n[k];
		} else if (text_is(t.at, t.length, ".minnctapersm")) {
			info->min_blocks = (uint32_t)n[0];
		} else if (text_is(t.at, t.length, ".reqnctapercluster") ||
			   text_is(t.at, t.length, ".reqnctapercluster")) {
			if (n[0] * n[1] * n[2] != 1)
				parse_refuse(p, t.line, "Clusters of more than one block are not supported.");
		} else if (!text_is(t.at, t.length, ".maxnreg") &&
			   !text_is(t.at, t.length, ".maxnctapersm") &&
			   !text_is(t.at, t.length, ".maxclusterrank") &&
			   !text_is(t.at, t.length, ".abi_preserve") &&
			   !text_is(t.at, t.length, ".abi_preserve_control")) {
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, t.line,
				   "The directive '%.*s' is not supported.", (int)t.length, t.at);
		}
	}
}

static struct ptx_function *func_symbol(struct parser *p, const struct token *name, bool linked)
{
	struct symbol *s =
		symbol_exact(p, name->at, name->length, name_hash(name->at, name->length));
	struct symbol *shared = linked ? link_find(p, name->at, name->length) : NULL;

	if ((s && s->kind != SYM_FUNC) || (shared && shared->kind != SYM_FUNC))
		parse_fail(p, PTX_ERR_INVALID_PTX, name->line,
			   "'%.*s' was declared as something else.", (int)name->length, name->at);
	if (!s) {
		s = symbol_add(p, p->scope, name->at, name->length, SYM_FUNC);
		s->func = shared ? shared->func : NULL;
	}
	if (!s->func) {
		struct ptx_function *f = parse_alloc(p, sizeof(*f));

		f->info.name = s->name;
		f->module = p->m;
		f->line = name->line;
		f->source = p->source;
		*p->m->function_tail = f;
		p->m->function_tail = &f->next;
		s->func = f;
	}
	if (linked && !shared)
		symbol_add(p, p->link_scope, name->at, name->length, SYM_FUNC)->func = s->func;
	return s->func;
}

/* Offsets of what is passed in memory: in the parameter block of a kernel, else in the frame. */
static uint64_t formals_place(struct formal_list *l, uint64_t at)
{
	for (unsigned k = 0; k < l->count; k++) {
		struct formal *n = &l->list[k];

		if (n->in_reg)
			continue;
		at = (at + n->align - 1) / n->align * n->align;
		n->offset = (uint32_t)at;
		at += n->size;
	}
	return at;
}

static void formals_declare(struct parser *p, const struct formal_list *l, bool entry)
{
	for (unsigned k = 0; k < l->count; k++) {
		struct formal *n = &l->list[k];
		const struct token *t = &l->names[k];
		struct symbol *s;

		if (text_is(t->at, t->length, "_"))
			continue;
		if (n->in_reg) {
			s = symbol_add(p, p->scope, t->at, t->length, SYM_REG);
			s->type = n->type;
			s->count = 1;
			s->first = (uint32_t)reg_new(p, n->type);
			n->reg = (int32_t)s->first;
			continue;
		}
		s = symbol_add(p, p->scope, t->at, t->length, SYM_PARAM);
		s->type = n->type;
		s->offset = n->offset;
		s->size = n->size;
		s->known = entry; /* lies in the launch's block, else in the frame */
	}
}

/* Behind the brace that ends the body that begins here. */
static void body_skip(struct parser *p)
{
	unsigned depth = 0;

	do {
		if (tok_is(p, '{'))
			depth++;
		else if (tok_is(p, '}'))
			depth--;
		else if (p->lex.token.kind == TOK_END)
			tok_expect(p, '}');
		lex_next(p);
	} while (depth);
}

/* Leaves nothing of a body that was begun but that the function cannot be run. */
static void body_refuse(struct parser *p, struct ptx_function *f, struct constant_reloc *relocs)
{
	p->refusal->function = f;
	f->refused = p->refusal;
	p->m->code_count = f->first;
	p->m->constant_relocs = relocs;
	p->branches = NULL;
	p->regs = p->regs < HIDDEN_REGISTERS ? p->regs : HIDDEN_REGISTERS;
	f->callee_count = 0;
	f->has_calls = f->calls_indirect = false;
	p->stmt_line = p->refusal->line;
	emit(p, K_PLAIN, OP_OTHER, run_refused)->ref = (void *)(uintptr_t)f->refused;
	body_end(p, f);
}

/* The body, or a note why it cannot be run. */
static void body_read(struct parser *p, struct ptx_function *f)
{
	struct constant_reloc *relocs = p->m->constant_relocs;
	struct lexer begin = p->lex;
	struct scope *scope = p->scope;
	uint32_t depth = p->depth;
	jmp_buf at;

	f->first = p->m->code_count;
	p->refuse = &at;
	if (setjmp(at) == 0) {
		parse_body(p, f);
	} else {
		while (p->scope != scope)
			scope_leave(p);
		p->depth = depth;
		p->lex = begin;
		body_skip(p);
	}
	p->refuse = NULL;
	if (p->refusal)
		body_refuse(p, f, relocs);
	p->refusal = NULL;
}

static void parse_function(struct parser *p, bool entry, bool external, bool visible, bool weak)
{
	struct formal_list results = {0}, formals = {0};
	struct ptx_function_info info = {.max_threads = 1024};
	struct ptx_function *f;
	struct token name;
	uint64_t bytes;

	while (!entry && p->lex.token.kind == TOK_DOTNAME && dot_accept(p, ".attribute"))
		skip_attribute(p);
	if (!entry && tok_is(p, '('))
		parse_formals(p, &results);
	name = need_name(p);
	if (tok_is(p, '('))
		parse_formals(p, &formals);
	p->refusal = NULL;
	parse_limits(p, &info);
	f = func_symbol(p, &name, external || visible || weak);
	f->info.entry = entry;
	if (!f->formals && !f->results) {
		f->formals = formals.list;
		f->results = results.list;
		f->formal_count = formals.count;
		f->result_count = results.count;
	}
	bytes = formals_place(&results, 0);
	bytes = formals_place(&formals, bytes);
	if (bytes > 1u << 20)
		parse_fail(p, PTX_ERR_INVALID_PTX, name.line, "Parameters are over 1 MiB.");
	if (tok_accept(p, ';'))
		return;
	if (f->defined && (f->weak || weak)) { /* the first stands */
		body_skip(p);
		return;
	}
	if (f->defined)
		parse_fail(p, PTX_ERR_INVALID_PTX, name.line, "'%s' is defined twice.", f->info.name);
	info.name = f->info.name;
	info.entry = entry;
	info.ptx_version = p->version;
	info.target = p->target;
	f->info = info;
	f->defined = true;
	f->weak = weak;
	f->line = name.line;
	f->source = p->source;
	f->formals = formals.list;
	f->results = results.list;
	f->formal_count = formals.count;
	f->result_count = results.count;
	if (entry) {
		struct ptx_param *list = parse_alloc(p, (formals.count + 1) * sizeof(*list));

		for (unsigned k = 0; k < formals.count; k++)
			list[k] = (struct ptx_param){formals.list[k].offset, formals.list[k].size,
						     formals.list[k].align};
		f->info.params = list;
		f->info.param_count = formals.count;
		f->info.param_bytes = (uint32_t)bytes;
	}
	p->f = f;
	p->regs = 0;
	p->frame = entry ? 0 : bytes;
	p->branches = NULL;
	for (unsigned k = 0; k < HIDDEN_REGISTERS; k++)
		reg_new(p, T_B64);
	scope_enter(p);
	formals_declare(p, &results, entry);
	formals_declare(p, &formals, entry);
	body_read(p, f);
	scope_leave(p);
	p->f = NULL;
}

struct ptx_function *parse_prototype(struct parser *p, const char *name, uint32_t length)
{
	struct formal_list results = {0}, formals = {0};
	struct ptx_function *f = parse_alloc(p, sizeof(*f));

	(void)name;
	(void)length;
	if (tok_is(p, '('))
		parse_formals(p, &results);
	need_name(p); /* _ */
	if (tok_is(p, '('))
		parse_formals(p, &formals);
	parse_limits(p, &f->info);
	tok_expect(p, ';');
	formals_place(&formals, formals_place(&results, 0));
	f->formals = formals.list;
	f->results = results.list;
	f->formal_count = formals.count;
	f->result_count = results.count;
	return f;
}

/* ------------------------------------------------------------------------------ the text */

static void skip_line(struct parser *p)
{
	struct lexer *x = &p->lex;

	/* The token after the directive may have begun another line already. */
	while (x->token.kind != TOK_END && x->token.at < x->at &&
	       memchr(x->token.at, '\n', (size_t)(x->at - x->token.at)))
		break;
	while (x->at < x->end && *x->at != '\n')
		x->at++;
	lex_next(p);
}

/* .version, .target, .file, .loc, .section: true if the current token was one. */
static bool parse_header(struct parser *p)
{
	struct token t = p->lex.token;

	if (text_is(t.at, t.length, ".version")) {
		double v;
		int64_t major;

		lex_next(p);
		if (p->lex.token.kind != TOK_FLOAT || p->lex.token.float_bits)
			parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "A version is like 8.4.");
		memcpy(&v, &p->lex.token.value, 8);
		if (!(v >= 1 && v < 1000))
			parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "An impossible version.");
		major = (int64_t)(v * 10 + 0.5);
		p->version = (unsigned)major;
		if (p->version > PTX_VERSION_MAX)
			parse_fail(p, PTX_ERR_PTX_VERSION, t.line,
				   "This is PTX %u.%u; up to %u.%u is known.", p->version / 10,
				   p->version % 10, PTX_VERSION_MAX / 10, PTX_VERSION_MAX % 10);
		lex_next(p);
	} else if (text_is(t.at, t.length, ".target")) {
		lex_next(p);
		do {
			struct token n = need_name(p);

			if (n.length > 3 && memcmp(n.at, "sm_", 3) == 0) {
				p->target = 0;
				for (uint32_t k = 3; k < n.length && n.at[k] >= '0' && n.at[k] <= '9';
				     k++)
					p->target = (p->target * 10 + (unsigned)(n.at[k] - '0')) % 1000;
			}
		} while (tok_accept(p, ','));
	} else if (text_is(t.at, t.length, ".address_size")) {
		lex_next(p);
		if (parse_const(p) != 64)
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, t.line,
				   "Only .address_size 64 is supported.");
	} else if (text_is(t.at, t.length, ".file") || text_is(t.at, t.length, ".loc")) {
		skip_line(p);
	} else if (text_is(t.at, t.length, ".pragma")) {
		while (!tok_is(p, ';') && p->lex.token.kind != TOK_END)
			lex_next(p);
		tok_expect(p, ';');
	} else if (text_is(t.at, t.length, ".section")) {
		while (!tok_is(p, '}') && p->lex.token.kind != TOK_END)
			lex_next(p);
		tok_expect(p, '}');
	} else {
		return false;
	}
	return true;
}

static void parse_item(struct parser *p)
{
	struct token t = p->lex.token;
	bool link[4] = {false, false, false, false};
	static const struct {
		const char *name;
		enum ptx_space space;
	} spaces[] = {{".global", SP_GLOBAL}, {".const", SP_CONST}, {".shared", SP_SHARED},
		      {".local", SP_LOCAL}};

	if (tok_accept(p, ';'))
		return;
	if (t.kind != TOK_DOTNAME)
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "A directive is missing before '%.*s'.",
			   (int)(t.length > 60 ? 60 : t.length), t.at);
	if (parse_header(p))
		return;
	for (unsigned k = 0; k < 4;)
		if (dot_accept(p, linkages[k])) {
			link[k] = true;
			k = 0;
		} else {
			k++;
		}
	if (p->version == 0)
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, ".version must come first.");
	for (unsigned k = 0; k < sizeof(spaces) / sizeof(spaces[0]); k++)
		if (dot_accept(p, spaces[k].name)) {
			parse_var_decl(p, spaces[k].space, link[0], link[2] || link[3], link[1],
				       false);
			return;
		}
	if (dot_accept(p, ".func"))
		parse_function(p, false, link[0], link[1], link[2]);
	else if (dot_accept(p, ".entry"))
		parse_function(p, true, link[0], link[1], link[2]);
	else if (dot_accept(p, ".alias"))
		parse_fail(p, PTX_ERR_NOT_SUPPORTED, t.line, ".alias is not supported.");
	else
		parse_fail(p, PTX_ERR_NOT_SUPPORTED, p->lex.token.line,
			   "The directive '%.*s' is not supported.",
			   (int)(p->lex.token.length > 60 ? 60 : p->lex.token.length),
			   p->lex.token.at);
}

void parse_text(struct parser *p, const struct ptx_source *source, unsigned index)
{
	const char *nul = memchr(source->text, 0, source->size);

	p->source = index;
	p->version = p->target = 0;
	p->depth = 0;
	p->lex = (struct lexer){.text = source->text,
				.end = nul ? nul : source->text + source->size,
				.at = source->text,
				.line = 1};
	scope_enter(p);
	lex_next(p);
	while (p->lex.token.kind != TOK_END)
		parse_item(p);
	if (p->version == 0)
		parse_fail(p, PTX_ERR_INVALID_PTX, 1, "The text is empty.");
	scope_leave(p);
}
