/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of functions: declarations, labels, statements with their operands. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/parse.h"

#define FRAME_REGISTERS_MAX (1u << 20)

void stmt_fail(struct parser *p, int code, const char *format, ...)
{
	char why[200];
	const char *end = p->stmt_at;
	int length;
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	while (end < p->lex.end && *end != ';' && *end != '\n' && end - p->stmt_at < 120)
		end++;
	length = (int)(end - p->stmt_at);
	parse_fail(p, code, p->stmt_line, "%s: %.*s", why, length, p->stmt_at);
}

int32_t reg_new(struct parser *p, unsigned type)
{
	if (p->regs == p->reg_room) {
		uint32_t room = p->reg_room ? 2 * p->reg_room : 256;
		uint8_t *types;

		if (room > FRAME_REGISTERS_MAX)
			parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.line,
				   "A function has over a million registers.");
		types = parse_alloc(p, room);
		if (p->regs)
			memcpy(types, p->reg_types, p->regs);
		p->reg_types = types;
		p->reg_room = room;
	}
	p->reg_types[p->regs] = (uint8_t)type;
	return (int32_t)p->regs++;
}

static void parse_reg_decl(struct parser *p)
{
	unsigned type = T_NONE, vec = 1;

	while (p->lex.token.kind == TOK_DOTNAME) {
		struct token t = p->lex.token;

		lex_next(p);
		if (text_is(t.at, t.length, ".v2") || text_is(t.at, t.length, ".v4"))
			vec = (unsigned)(t.at[2] - '0');
		else
			type = parse_type_name(t.at, t.length);
	}
	if (type == T_NONE || vec != 1)
		parse_fail(p, PTX_ERR_NOT_SUPPORTED, p->lex.token.line,
			   "Registers of this type are not supported.");
	do {
		struct token t = p->lex.token;
		struct symbol *s;
		uint32_t count = 1;
		bool range = false;

		if (t.kind != TOK_NAME)
			parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "A register has no name.");
		lex_next(p);
		if (tok_accept(p, '<')) {
			int64_t n = parse_const(p);

			if (n < 0 || n > FRAME_REGISTERS_MAX)
				parse_fail(p, PTX_ERR_INVALID_PTX, t.line,
					   "A range of registers has an impossible size.");
			tok_expect(p, '>');
			count = (uint32_t)n;
			range = true;
		}
		s = symbol_add(p, p->scope, t.at, t.length, SYM_REG);
		s->type = (uint8_t)type;
		s->range = range;
		s->first = p->regs;
		s->count = count;
		/* b128 needs two columns. */
		for (uint32_t k = 0; k < count * (type == T_B128 ? 2 : 1); k++)
			reg_new(p, type);
	} while (tok_accept(p, ','));
	tok_expect(p, ';');
}

/* ------------------------------------------------------------------------------ operands */

static struct symbol *register_find(struct parser *p, const char *at, uint32_t length, int32_t *reg)
{
	struct symbol *s = symbol_find(p, at, length);

	if (s && s->kind == SYM_REG) {
		uint32_t index = 0;

		if (s->range) {
			for (uint32_t k = s->length; k < length; k++)
				index = index * 10 + (uint32_t)(at[k] - '0');
			if (s->type == T_B128)
				index *= 2;
		}
		*reg = (int32_t)(s->first + index);
	}
	return s;
}

static void parse_operand(struct parser *p, struct operand *o, unsigned depth);

static void parse_list(struct parser *p, struct operand *o, unsigned depth)
{
	struct operand list[64];
	uint32_t n = 0;

	tok_expect(p, '{');
	while (!tok_is(p, '}')) {
		if (n == 64 || depth > 2)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "A list is too long or too deep");
		parse_operand(p, &list[n], depth + 1);
		n++;
		if (!tok_accept(p, ','))
			break;
	}
	tok_expect(p, '}');
	o->kind = OPD_VEC;
	o->count = n;
	o->list = parse_alloc(p, (n + 1) * sizeof(*list));
	memcpy(o->list, list, n * sizeof(*list));
}

static void parse_name(struct parser *p, struct operand *o)
{
	struct token t = p->lex.token;
	struct symbol *s;
	int sreg;

	lex_next(p);
	if (text_is(t.at, t.length, "_")) {
		o->kind = OPD_SINK;
		return;
	}
	if (text_is(t.at, t.length, "WARP_SZ")) {
		o->kind = OPD_INT;
		o->value = PTX_LANES;
		return;
	}
	s = register_find(p, t.at, t.length, &o->reg);
	if (s && s->kind == SYM_REG) {
		o->kind = OPD_REG;
		o->type = s->type;
		return;
	}
	if (s && (s->kind == SYM_VAR || s->kind == SYM_PARAM || s->kind == SYM_FUNC ||
		  s->kind == SYM_LABEL || s->kind == SYM_TARGETS)) {
		o->kind = OPD_SYM;
		o->sym = s;
		return;
	}
	sreg = sreg_find(t.at, t.length);
	if (sreg >= 0) {
		o->kind = OPD_SREG;
		o->sreg = (uint8_t)sreg;
		return;
	}
	stmt_fail(p, t.at[0] == '%' ? PTX_ERR_NOT_SUPPORTED : PTX_ERR_INVALID_PTX,
		  "'%.*s' is not known", (int)(t.length > 80 ? 80 : t.length), t.at);
}

static void parse_memory(struct parser *p, struct operand *o, unsigned depth)
{
	tok_expect(p, '[');
	o->kind = OPD_MEM;
	o->reg = PTX_NONE;
	if (p->lex.token.kind == TOK_NAME) {
		struct operand base = {.reg = PTX_NONE, .pair = PTX_NONE};

		parse_name(p, &base);
		if (base.kind == OPD_REG) {
			o->reg = base.reg;
			o->type = base.type;
		} else if (base.kind == OPD_SYM) {
			o->sym = base.sym;
		} else {
			stmt_fail(p, PTX_ERR_INVALID_PTX, "This is no address");
		}
	} else {
		o->offset = parse_const(p);
	}
	if (tok_accept(p, '+'))
		o->offset += parse_const(p);
	else if (tok_is(p, '-'))
		o->offset += parse_const(p);
	if (tok_accept(p, ',')) { /* a texture's coordinates, maybe after a sampler */
		struct operand *list;

		if (depth)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "An address within an address");
		list = parse_alloc(p, 2 * sizeof(*list));
		do {
			if (o->count == 2)
				stmt_fail(p, PTX_ERR_INVALID_PTX, "An address has too many parts");
			parse_operand(p, &list[o->count], depth + 1);
			o->count++;
		} while (tok_accept(p, ','));
		o->list = list;
	}
	tok_expect(p, ']');
}

static void parse_number(struct parser *p, struct operand *o)
{
	bool negative = false;

	if (tok_is(p, '-')) { /* a float with a sign, or an expression */
		struct lexer saved = p->lex;

		lex_next(p);
		if (p->lex.token.kind == TOK_FLOAT)
			negative = true;
		else
			p->lex = saved;
	}
	if (p->lex.token.kind == TOK_FLOAT) {
		o->kind = OPD_FLOAT;
		o->value = p->lex.token.value;
		o->float_bits = p->lex.token.float_bits;
		if (negative)
			o->value ^= o->float_bits == 32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63;
		lex_next(p);
		return;
	}
	o->kind = OPD_INT;
	o->value = (uint64_t)parse_const(p);
}

static void parse_operand(struct parser *p, struct operand *o, unsigned depth)
{
	*o = (struct operand){.reg = PTX_NONE, .pair = PTX_NONE};
	if (tok_is(p, '[')) {
		parse_memory(p, o, depth);
	} else if (tok_is(p, '{')) {
		parse_list(p, o, depth);
	} else if (tok_is(p, '!')) {
		struct lexer saved = p->lex;

		lex_next(p);
		if (p->lex.token.kind == TOK_NAME) {
			parse_name(p, o);
			o->neg = true;
			if (o->kind != OPD_REG || o->type != T_PRED)
				stmt_fail(p, PTX_ERR_INVALID_PTX, "'!' is for predicates");
		} else {
			p->lex = saved;
			parse_number(p, o);
		}
	} else if (p->lex.token.kind == TOK_NAME && !tok_name(p, "WARP_SZ")) {
		parse_name(p, o);
		if (o->kind == OPD_SYM && (tok_is(p, '+') || tok_is(p, '-')))
			o->offset = parse_const(p);
	} else {
		parse_number(p, o);
	}
	if (tok_accept(p, '|')) {
		struct operand second = {.reg = PTX_NONE, .pair = PTX_NONE};

		if (p->lex.token.kind != TOK_NAME || (o->kind != OPD_REG && o->kind != OPD_SINK))
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'|' is followed by no register");
		parse_name(p, &second);
		if (second.kind != OPD_REG && second.kind != OPD_SINK)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'|' is followed by no register");
		o->pair = second.reg;
		o->pair_sink = second.kind == OPD_SINK;
	}
}

/* ------------------------------------------------------------------------------ branches */

static struct symbol *label_of(struct parser *p)
{
	struct token t = p->lex.token;
	struct symbol *s;

	if (t.kind != TOK_NAME)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A label is missing");
	lex_next(p);
	s = symbol_find(p, t.at, t.length);
	if (!s) {
		/*
		 * Not seen yet: it belongs to the function, unless a scope in it has it. Labels in
		 * scopes of inline assembly are resolved when the scope ends, see below.
		 */
		s = symbol_add(p, p->scope, t.at, t.length, SYM_LABEL);
		s->code = UINT32_MAX;
	}
	if (s->kind != SYM_LABEL)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "'%.*s' is no label", (int)t.length, t.at);
	return s;
}

static void branch_pend(struct parser *p, uint32_t code, struct symbol *label, uint32_t *target)
{
	struct pending_branch *b = parse_alloc(p, sizeof(*b));

	*b = (struct pending_branch){p->branches, code, label, target, p->stmt_line};
	p->branches = b;
}

static void set_guard(struct parser *p, const struct stmt *s, struct insn *i)
{
	(void)p;
	if (i->guard != PTX_NONE) /* it has one by what it is a part of */
		return;
	i->guard = s->guard;
	i->guard_neg = s->guard_neg;
}

static void parse_bra(struct parser *p, struct stmt *s)
{
	struct symbol *label = label_of(p);
	struct insn *i = emit(p, K_BRA, OP_OTHER, NULL);

	has(s, "uni");
	set_guard(p, s, i);
	branch_pend(p, p->m->code_count - 1, label, NULL);
}

static void parse_brx(struct parser *p, struct stmt *s)
{
	struct operand index;
	struct symbol *table;
	struct insn *i;

	if (!has(s, "idx"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	has(s, "uni");
	parse_operand(p, &index, 0);
	tok_expect(p, ',');
	if (p->lex.token.kind != TOK_NAME)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A list of labels is missing");
	table = symbol_find(p, p->lex.token.at, p->lex.token.length);
	if (!table || table->kind != SYM_TARGETS)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "This is no list of labels");
	lex_next(p);
	{
		int32_t reg = opd_value(p, &index, T_U32);

		i = emit(p, K_BRX, OP_OTHER, NULL);
		i->o[0] = reg;
		i->ref = table->table;
	}
	set_guard(p, s, i);
}

/* `name: .branchtargets a, b;` and its like, after the colon. */
static bool parse_labelled(struct parser *p, const struct token *t)
{
	if (tok_name(p, ".branchtargets")) {
		struct symbol *s = symbol_add(p, p->scope, t->at, t->length, SYM_TARGETS);
		struct branch_table *table = parse_alloc(p, sizeof(*table));
		struct symbol *labels[1024];
		unsigned n = 0;

		p->stmt_at = t->at;
		p->stmt_line = t->line;
		lex_next(p);
		do {
			if (n == 1024)
				stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "More than 1024 labels");
			labels[n++] = label_of(p);
		} while (tok_accept(p, ','));
		tok_expect(p, ';');
		table->count = n;
		table->targets = parse_alloc(p, n * sizeof(uint32_t));
		for (unsigned k = 0; k < n; k++)
			branch_pend(p, 0, labels[k], &table->targets[k]);
		s->table = table;
		return true;
	}
	if (tok_name(p, ".callprototype")) {
		struct symbol *s = symbol_add(p, p->scope, t->at, t->length, SYM_PROTO);

		lex_next(p);
		s->proto = parse_prototype(p, t->at, t->length);
		return true;
	}
	if (tok_name(p, ".calltargets")) {
		symbol_add(p, p->scope, t->at, t->length, SYM_CALLTARGETS);
		while (!tok_is(p, ';') && p->lex.token.kind != TOK_END)
			lex_next(p);
		tok_expect(p, ';');
		return true;
	}
	return false;
}

static void label_define(struct parser *p, const struct token *t)
{
	struct symbol *s = symbol_find(p, t->at, t->length);

	if (s && s->kind == SYM_LABEL && s->code == UINT32_MAX) {
		s->code = p->m->code_count;
		return;
	}
	if (s && s->scope == p->scope->id)
		parse_fail(p, PTX_ERR_INVALID_PTX, t->line, "'%.*s' is defined twice.",
			   (int)t->length, t->at);
	s = symbol_add(p, p->scope, t->at, t->length, SYM_LABEL);
	s->code = p->m->code_count;
}

/* Labels used in an inner scope and not defined there belong to the outer one. */
static void body_scope_leave(struct parser *p)
{
	struct scope *inner = p->scope;

	scope_leave(p);
	for (struct symbol *s = inner->symbols; s; s = s->in_scope) {
		struct symbol *outer;

		if (s->kind != SYM_LABEL || s->code != UINT32_MAX)
			continue;
		outer = symbol_find(p, s->name, s->length);
		if (!outer) {
			outer = symbol_add(p, p->scope, s->name, s->length, SYM_LABEL);
			outer->code = UINT32_MAX;
		}
		for (struct pending_branch *b = p->branches; b; b = b->next)
			if (b->label == s)
				b->label = outer;
	}
}

/* ------------------------------------------------------------------------------ calls */

static void call_arg(struct parser *p, const struct operand *o, const struct formal *n,
		     struct call_arg *a, bool result)
{
	*a = (struct call_arg){.reg = PTX_NONE, .size = n->size};
	if (o->kind == OPD_SYM && (o->sym->kind == SYM_VAR || o->sym->kind == SYM_PARAM)) {
		if (o->sym->kind == SYM_VAR && o->sym->var->space != SP_FRAME)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' is no .param variable", o->sym->name);
		if (o->sym->kind == SYM_PARAM && o->sym->known)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED,
				  "A kernel's parameter is passed on as it is");
		a->from = (uint32_t)(o->sym->kind == SYM_VAR ? o->sym->var->offset : o->sym->offset);
		if ((o->sym->kind == SYM_VAR ? o->sym->var->size : o->sym->size) < n->size)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' is smaller than the parameter",
				  o->sym->name);
		return;
	}
	if (result && o->kind == OPD_REG)
		a->reg = o->reg;
	else if (result && o->kind == OPD_SINK)
		a->size = 0;
	else if (!result)
		a->reg = opd_value(p, o, n->type);
	else
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A result has no place");
}

static unsigned call_list(struct parser *p, struct operand *list, unsigned room)
{
	unsigned n = 0;

	tok_expect(p, '(');
	while (!tok_is(p, ')')) {
		if (n == room)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "More than %u arguments", room);
		parse_operand(p, &list[n++], 0);
		if (!tok_accept(p, ','))
			break;
	}
	tok_expect(p, ')');
	return n;
}

static void callee_note(struct parser *p, struct ptx_function *callee)
{
	struct ptx_function *f = p->f;

	for (unsigned k = 0; k < f->callee_count; k++)
		if (f->callees[k] == callee)
			return;
	if (f->callee_count == f->callee_room) {
		unsigned room = f->callee_room ? 2 * f->callee_room : 8;
		struct ptx_function **list = parse_alloc(p, room * sizeof(*list));

		if (f->callee_count)
			memcpy(list, f->callees, f->callee_count * sizeof(*list));
		f->callees = list;
		f->callee_room = room;
	}
	f->callees[f->callee_count++] = callee;
}

static void parse_call(struct parser *p, struct stmt *s)
{
	struct operand rets[8], args[256], target;
	unsigned ret_count = 0, arg_count = 0;
	struct ptx_function *shape;
	struct call_site *site = parse_alloc(p, sizeof(*site));
	struct insn *i;
	int32_t reg = PTX_NONE;

	has(s, "uni");
	if (tok_is(p, '(')) {
		ret_count = call_list(p, rets, 8);
		tok_expect(p, ',');
	}
	parse_operand(p, &target, 0);
	if (tok_accept(p, ',')) {
		if (tok_is(p, '(')) {
			arg_count = call_list(p, args, 256);
			tok_accept(p, ',');
		}
	}
	if (target.kind == OPD_SYM && target.sym->kind == SYM_FUNC) {
		shape = site->callee = target.sym->func;
		callee_note(p, shape);
	} else if (target.kind == OPD_REG) {
		struct symbol *proto = NULL;

		if (p->lex.token.kind == TOK_NAME) {
			proto = symbol_find(p, p->lex.token.at, p->lex.token.length);
			lex_next(p);
		}
		if (!proto || proto->kind != SYM_PROTO)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED,
				  "A call through a register needs a .callprototype");
		shape = proto->proto;
		reg = target.reg;
		p->f->calls_indirect = true;
	} else {
		stmt_fail(p, PTX_ERR_INVALID_PTX, "What is called is no function");
	}
	p->f->has_calls = true;
	if (shape->formal_count != arg_count || shape->result_count < ret_count)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The function has %u parameters and %u results",
			  shape->formal_count, shape->result_count);
	site->args = parse_alloc(p, (arg_count + 1) * sizeof(*site->args));
	site->rets = parse_alloc(p, (ret_count + 1) * sizeof(*site->rets));
	site->arg_count = arg_count;
	site->ret_count = ret_count;
	for (unsigned k = 0; k < arg_count; k++)
		call_arg(p, &args[k], &shape->formals[k], &site->args[k], false);
	for (unsigned k = 0; k < ret_count; k++)
		call_arg(p, &rets[k], &shape->results[k], &site->rets[k], true);
	i = emit(p, site->callee ? K_CALL : K_CALLI, OP_OTHER, NULL);
	i->o[0] = reg;
	i->ref = site;
	i->x = (const int32_t *)(const void *)p->f; /* the caller, for the size of its frame */
	set_guard(p, s, i);
}

/* ------------------------------------------------------------------------------ statements */

static void split_opcode(struct parser *p, struct stmt *s)
{
	const char *at = s->at, *end = s->at + s->length;

	while (at < end) {
		const char *dot = at;

		while (dot < end && *dot != '.')
			dot++;
		if (s->parts == STMT_PARTS || dot - at > 63)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "An opcode this long is not known");
		s->part[s->parts] = at;
		s->part_length[s->parts++] = (uint8_t)(dot - at);
		at = dot + 1;
	}
	s->used = 1;
}

static void parse_statement(struct parser *p)
{
	struct stmt s = {.guard = PTX_NONE};
	struct token t = p->lex.token;

	p->stmt_at = t.at;
	p->stmt_line = t.line;
	if (tok_accept(p, '@')) {
		struct symbol *guard;

		s.guard_neg = tok_accept(p, '!');
		t = p->lex.token;
		guard = t.kind == TOK_NAME ? register_find(p, t.at, t.length, &s.guard) : NULL;
		if (!guard || guard->kind != SYM_REG || guard->type != T_PRED)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'@' is followed by no predicate");
		lex_next(p);
		t = p->lex.token;
	}
	if (t.kind != TOK_NAME)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "An instruction is missing");
	s.at = t.at;
	s.length = t.length;
	s.line = p->stmt_line;
	split_opcode(p, &s);
	lex_next(p);
	if (text_is(s.part[0], s.part_length[0], "bra")) {
		parse_bra(p, &s);
	} else if (text_is(s.part[0], s.part_length[0], "brx")) {
		parse_brx(p, &s);
	} else if (text_is(s.part[0], s.part_length[0], "call")) {
		parse_call(p, &s);
	} else {
		uint32_t first = p->m->code_count;

		while (!tok_is(p, ';') && p->lex.token.kind != TOK_END) {
			if (s.operands == STMT_OPERANDS)
				stmt_fail(p, PTX_ERR_INVALID_PTX, "Too many operands");
			parse_operand(p, &s.operand[s.operands++], 0);
			if (!tok_accept(p, ','))
				break;
		}
		p->stmt = &s;
		lower(p, &s);
		for (uint32_t k = first; k < p->m->code_count; k++)
			set_guard(p, &s, &p->m->code[k]);
	}
	for (uint32_t k = 0; k < s.parts; k++)
		if (!(s.used >> k & 1))
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "'.%.*s' is not supported here",
				  s.part_length[k], s.part[k]);
	tok_expect(p, ';');
}

static bool parse_declaration(struct parser *p)
{
	static const struct {
		const char *name;
		enum ptx_space space;
	} spaces[] = {{".local", SP_LOCAL}, {".shared", SP_SHARED}, {".param", SP_FRAME},
		      {".global", SP_GLOBAL}, {".const", SP_CONST}};
	struct lexer *x = &p->lex;

	if (x->token.kind != TOK_DOTNAME)
		return false;
	if (tok_name(p, ".reg")) {
		lex_next(p);
		parse_reg_decl(p);
		return true;
	}
	for (unsigned k = 0; k < sizeof(spaces) / sizeof(spaces[0]); k++)
		if (tok_name(p, spaces[k].name)) {
			lex_next(p);
			parse_var_decl(p, spaces[k].space, false, false, false, true);
			return true;
		}
	if (tok_name(p, ".loc") || tok_name(p, ".file")) {
		while (x->at < x->end && *x->at != '\n')
			x->at++;
		lex_next(p);
		return true;
	}
	if (tok_name(p, ".pragma")) {
		while (!tok_is(p, ';') && x->token.kind != TOK_END)
			lex_next(p);
		tok_expect(p, ';');
		return true;
	}
	parse_fail(p, PTX_ERR_NOT_SUPPORTED, x->token.line,
		   "The directive '%.*s' is not supported.",
		   (int)(x->token.length > 60 ? 60 : x->token.length), x->token.at);
}

static void branches_resolve(struct parser *p)
{
	for (struct pending_branch *b = p->branches; b; b = b->next) {
		if (b->label->code == UINT32_MAX)
			parse_fail(p, PTX_ERR_INVALID_PTX, b->line, "The label '%s' is missing.",
				   b->label->name);
		if (b->target)
			*b->target = b->label->code;
		else
			p->m->code[b->code].target = b->label->code;
	}
}

int run_refused(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct refusal *r = i->ref;

	return warp_fault(w, i, (uint32_t)__builtin_ctz(mask), PTX_ERR_LAUNCH_FAILED, 0, "%.100s cannot run here. %.200s",
			  r->function->info.name, r->text);
}

void parse_body(struct parser *p, struct ptx_function *f)
{
	unsigned depth = 0;

	tok_expect(p, '{');
	while (depth || !tok_is(p, '}')) {
		struct token t = p->lex.token;

		if (t.kind == TOK_END)
			parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "The end of '%s' is missing.",
				   f->info.name);
		if (tok_accept(p, ';'))
			continue;
		if (tok_accept(p, '{')) {
			scope_enter(p);
			depth++;
			continue;
		}
		if (tok_accept(p, '}')) {
			body_scope_leave(p);
			depth--;
			continue;
		}
		if (parse_declaration(p))
			continue;
		if (t.kind == TOK_NAME) { /* a label has a colon behind */
			struct lexer saved = p->lex;

			lex_next(p);
			if (tok_accept(p, ':')) {
				if (!parse_labelled(p, &t))
					label_define(p, &t);
				continue;
			}
			p->lex = saved;
		}
		parse_statement(p);
	}
	p->stmt_line = p->lex.token.line;
	lex_next(p);
	branches_resolve(p);
	body_end(p, f);
}

void body_end(struct parser *p, struct ptx_function *f)
{
	emit(p, f->info.entry ? K_EXIT : K_RET, OP_OTHER, NULL);
	f->end = p->m->code_count;
	f->registers = p->regs;
	f->frame_bytes = (uint32_t)((p->frame + 15) & ~UINT64_C(15));
	f->reg_types = parse_alloc(p, p->regs);
	memcpy(f->reg_types, p->reg_types, p->regs);
}
