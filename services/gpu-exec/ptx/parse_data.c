/* SPDX-License-Identifier: Apache-2.0 */
/* Constants of a text, and variables with what they hold at first. */
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/parse.h"

/* ------------------------------------------------------------------------------ constants */

static int64_t expr(struct parser *p, int least);

static int64_t primary(struct parser *p)
{
	struct token t = p->lex.token;
	int64_t v;

	if (++p->depth > PARSE_DEPTH_MAX)
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "An expression is nested too deep.");
	if (t.kind == TOK_INT) {
		lex_next(p);
		v = (int64_t)t.value;
	} else if (t.kind == TOK_NAME && text_is(t.at, t.length, "WARP_SZ")) {
		lex_next(p);
		v = PTX_LANES;
	} else if (tok_accept(p, '(')) {
		if (p->lex.token.kind == TOK_DOTNAME) { /* a cast: (.s64) */
			lex_next(p);
			tok_expect(p, ')');
			v = primary(p);
		} else {
			v = expr(p, 0);
			tok_expect(p, ')');
		}
	} else if (tok_accept(p, '-')) {
		v = (int64_t)(0 - (uint64_t)primary(p));
	} else if (tok_accept(p, '+')) {
		v = primary(p);
	} else if (tok_accept(p, '~')) {
		v = ~primary(p);
	} else if (tok_accept(p, '!')) {
		v = !primary(p);
	} else {
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "A number is missing before '%.*s'.",
			   (int)(t.length > 60 ? 60 : t.length), t.at);
	}
	p->depth--;
	return v;
}

static int binary_level(const struct token *t)
{
	if (t->kind != TOK_PUNCT)
		return 0;
	if (t->twice)
		return (t->punct == '<' || t->punct == '>') && (char)t->value == t->punct ? 4 : 0;
	switch (t->punct) {
	case '|':
		return 1;
	case '^':
		return 2;
	case '&':
		return 3;
	case '+':
	case '-':
		return 5;
	case '*':
	case '/':
	case '%':
		return 6;
	default:
		return 0;
	}
}

static int64_t expr(struct parser *p, int least)
{
	uint64_t a = (uint64_t)primary(p);

	for (;;) {
		struct token t = p->lex.token;
		int level = binary_level(&t);
		uint64_t b;

		if (level == 0 || level <= least)
			return (int64_t)a;
		lex_next(p);
		b = (uint64_t)expr(p, level);
		switch (t.punct) {
		case '|':
			a |= b;
			break;
		case '^':
			a ^= b;
			break;
		case '&':
			a &= b;
			break;
		case '<':
			a = b < 64 ? a << b : 0;
			break;
		case '>':
			a = b < 64 ? a >> b : 0;
			break;
		case '+':
			a += b;
			break;
		case '-':
			a -= b;
			break;
		case '*':
			a *= b;
			break;
		default:
			if (b == 0)
				parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "Division by zero.");
			if (b == UINT64_MAX)
				a = t.punct == '/' ? 0 - a : 0;
			else
				a = (uint64_t)(t.punct == '/' ? (int64_t)a / (int64_t)b
							      : (int64_t)a % (int64_t)b);
		}
	}
}

int64_t parse_const(struct parser *p)
{
	return expr(p, 0);
}

/* ------------------------------------------------------------------------------ variables */

const char *const linkages[] = {".extern", ".visible", ".weak", ".common"};

static uint64_t float_init(struct parser *p, unsigned type)
{
	struct token t = p->lex.token;
	bool negative = false;
	double d;
	float f;
	uint64_t bits = 0;

	if (tok_accept(p, '-')) {
		negative = true;
		t = p->lex.token;
	}
	if (t.kind == TOK_INT) {
		int64_t v = parse_const(p);

		d = (double)v;
	} else if (t.kind == TOK_FLOAT) {
		lex_next(p);
		if (t.float_bits == 32) {
			uint32_t u = (uint32_t)t.value;

			if (type == T_F32) /* NaNs keep their bits */
				return u ^ (negative ? 0x80000000u : 0);
			memcpy(&f, &u, 4);
			d = (double)f;
		} else {
			memcpy(&d, &t.value, 8);
		}
	} else {
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "A number is missing.");
	}
	if (negative)
		d = -d;
	if (type == T_F64) {
		memcpy(&bits, &d, 8);
	} else if (type == T_F32) {
		f = (float)d;
		memcpy(&bits, &f, 4);
	} else {
		bits = type == T_BF16 ? bf16_from_double(d, RND_RN) : half_from_double(d, RND_RN);
	}
	return bits;
}

struct init {
	struct variable *v;
	uint8_t *bytes;
	uint64_t at, room;
	unsigned type;
	unsigned element;
};

static void init_room(struct parser *p, struct init *n)
{
	if (n->at + n->element <= n->room)
		return;
	if (n->v->size) /* not of the form [] */
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
			   "%s has more initial values than elements.", n->v->name);
	{
		uint64_t room = n->room ? 2 * n->room : 256;
		uint8_t *bytes = parse_alloc(p, room);

		if (n->room)
			memcpy(bytes, n->bytes, n->room);
		n->bytes = bytes;
		n->room = room;
	}
}

static void init_address(struct parser *p, struct init *n, unsigned shift, bool masked)
{
	struct token t = need_name(p);
	bool generic = text_is(t.at, t.length, "generic");
	struct reloc *r = parse_alloc(p, sizeof(*r));

	if (generic) {
		tok_expect(p, '(');
		t = need_name(p);
	}
	r->symbol = symbol_find(p, t.at, t.length);
	if (!r->symbol || (r->symbol->kind != SYM_VAR && r->symbol->kind != SYM_FUNC))
		parse_fail(p, PTX_ERR_INVALID_PTX, t.line, "'%.*s' is no variable or function.",
			   (int)t.length, t.at);
	if (tok_is(p, '+') || tok_is(p, '-'))
		r->addend = parse_const(p);
	if (generic) {
		tok_expect(p, ')');
		if (tok_is(p, '+') || tok_is(p, '-'))
			r->addend = parse_const(p);
	}
	r->generic = generic;
	r->at = n->at;
	r->bytes = masked ? 1 : n->element;
	r->shift = shift;
	r->next = n->v->relocs;
	n->v->relocs = r;
}

static void init_values(struct parser *p, struct init *n)
{
	if (tok_accept(p, '{')) {
		if (++p->depth > PARSE_DEPTH_MAX)
			parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
				   "Braces are nested too deep.");
		while (!tok_is(p, '}')) {
			init_values(p, n);
			if (!tok_accept(p, ','))
				break;
		}
		tok_expect(p, '}');
		p->depth--;
		return;
	}
	init_room(p, n);
	if (p->lex.token.kind == TOK_NAME && !tok_name(p, "WARP_SZ")) {
		init_address(p, n, 0, false);
	} else if (type_float(n->type)) {
		uint64_t v = float_init(p, n->type);

		memcpy(n->bytes + n->at, &v, n->element);
	} else {
		int64_t v = parse_const(p);

		if (tok_accept(p, '(')) { /* 0xFF00(symbol): a byte of its address */
			if (v == 0)
				parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
					   "A mask is 0.");
			init_address(p, n, (unsigned)__builtin_ctzll((uint64_t)v), true);
			tok_expect(p, ')');
		} else {
			memcpy(n->bytes + n->at, &v, n->element > 8 ? 8 : n->element);
		}
	}
	n->at += n->element;
}

static void var_init(struct parser *p, struct variable *v, unsigned type)
{
	struct init n = {.v = v, .type = type, .element = type_bytes(type)};

	if (v->space != SP_GLOBAL && v->space != SP_CONST)
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
			   "Only .global and .const variables have initial values.");
	if (v->size) {
		n.bytes = parse_alloc(p, v->size);
		n.room = v->size;
	}
	init_values(p, &n);
	v->init = n.bytes;
	if (v->size == 0)
		v->size = n.at;
}

uint64_t parse_dims(struct parser *p, bool *open)
{
	uint64_t count = 1;

	*open = false;
	while (tok_accept(p, '[')) {
		if (tok_accept(p, ']')) {
			*open = true;
			continue;
		}
		{
			int64_t n = parse_const(p);

			if (n < 0 || (n > 0 && count > (UINT64_C(1) << 40) / (uint64_t)n))
				parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line,
					   "An array has an impossible size.");
			count *= (uint64_t)n;
		}
		tok_expect(p, ']');
	}
	return *open ? 0 : count;
}

static struct symbol *var_symbol(struct parser *p, const struct token *name, enum ptx_space space,
				 bool external, bool linked, bool in_body)
{
	struct symbol *s = NULL, *shared = NULL;

	if (!in_body) {
		s = symbol_exact(p, name->at, name->length, name_hash(name->at, name->length));
		if (!s && (external || linked))
			shared = link_find(p, name->at, name->length);
		if ((s && s->kind != SYM_VAR) || (shared && shared->kind != SYM_VAR))
			parse_fail(p, PTX_ERR_INVALID_PTX, name->line,
				   "'%.*s' was declared as something else.", (int)name->length,
				   name->at);
	}
	if (!s) {
		s = symbol_add(p, p->scope, name->at, name->length, SYM_VAR);
		if (shared)
			s->var = shared->var;
	}
	if (!s->var) {
		struct variable *v = parse_alloc(p, sizeof(*v));

		v->name = s->name;
		v->space = (uint8_t)space;
		v->line = name->line;
		v->source = p->source;
		s->var = v;
		*p->m->variable_tail = v;
		p->m->variable_tail = &v->next;
	}
	if (s->var->space != space)
		parse_fail(p, PTX_ERR_INVALID_PTX, name->line,
			   "'%.*s' was declared in another state space.", (int)name->length,
			   name->at);
	if ((external || linked) && !shared && !link_find(p, name->at, name->length) && !in_body)
		symbol_add(p, p->link_scope, name->at, name->length, SYM_VAR)->var = s->var;
	return s;
}

void skip_attribute(struct parser *p)
{
	tok_expect(p, '(');
	while (!tok_is(p, ')')) {
		if (p->lex.token.kind == TOK_END)
			tok_expect(p, ')');
		lex_next(p);
	}
	lex_next(p);
}

/* After the state space: `.align 4 .b8 name[24] = {...}, ...;` */
void parse_var_decl(struct parser *p, enum ptx_space space, bool external, bool weak, bool visible,
		    bool in_body)
{
	uint64_t align = 0;
	unsigned vec = 1, type = T_NONE;

	while (p->lex.token.kind == TOK_DOTNAME) {
		struct token t = p->lex.token;

		lex_next(p);
		if (text_is(t.at, t.length, ".align")) {
			align = (uint64_t)parse_const(p);
			if (align == 0 || (align & (align - 1)) || align > 4096)
				parse_fail(p, PTX_ERR_INVALID_PTX, t.line,
					   "An alignment is not a power of two up to 4096.");
		} else if (text_is(t.at, t.length, ".attribute")) {
			skip_attribute(p);
		} else if (text_is(t.at, t.length, ".v2")) {
			vec = 2;
		} else if (text_is(t.at, t.length, ".v4")) {
			vec = 4;
		} else {
			type = parse_type_name(t.at, t.length);
			if (type == T_NONE || type == T_PRED)
				parse_fail(p, PTX_ERR_NOT_SUPPORTED, t.line,
					   "Variables of '%.*s' are not supported.", (int)t.length,
					   t.at);
		}
	}
	if (type == T_NONE)
		parse_fail(p, PTX_ERR_INVALID_PTX, p->lex.token.line, "A variable has no type.");
	do {
		struct token name = need_name(p);
		struct symbol *s =
			var_symbol(p, &name, space, external, visible || weak, in_body);
		struct variable *v = s->var;
		unsigned element = type_bytes(type) * vec;
		uint64_t parametrised = 0, size;
		bool open;

		s->type = (uint8_t)type;
		if (tok_accept(p, '<')) {
			parametrised = (uint64_t)parse_const(p);
			tok_expect(p, '>');
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, name.line,
				   "Variables with a range of %llu names are not supported.",
				   (unsigned long long)parametrised);
		}
		size = parse_dims(p, &open) * element;
		if (v->defined && !external && !(v->weak || weak))
			parse_fail(p, PTX_ERR_INVALID_PTX, name.line, "'%s' is defined twice.",
				   v->name);
		if (external || (v->defined && weak)) {
			if (space == SP_SHARED && external) {
				v->dynamic_shared = true;
				v->defined = true;
			}
			if (!v->defined) {
				v->size = size;
				v->align = align ? align : element;
			}
			if (tok_accept(p, '=')) { /* of a weak one that is not taken */
				struct variable drop = {.name = v->name, .space = v->space,
							.size = size};

				var_init(p, &drop, type);
			}
			continue;
		}
		v->size = size;
		v->align = align ? align : element;
		v->defined = true;
		v->weak = weak;
		v->constant = space == SP_CONST;
		v->owner = in_body ? p->f : NULL;
		if (tok_accept(p, '='))
			var_init(p, v, type);
		if (in_body && (space == SP_LOCAL || space == SP_FRAME)) {
			p->frame = (p->frame + v->align - 1) & ~(v->align - 1);
			v->offset = p->frame;
			p->frame += v->size;
			if (p->frame > 64u << 20)
				parse_fail(p, PTX_ERR_NOT_SUPPORTED, name.line,
					   "Local memory of a function is over 64 MiB.");
		} else if (space == SP_LOCAL) {
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, name.line,
				   "Local variables outside of functions are not supported.");
		}
	} while (tok_accept(p, ','));
	tok_expect(p, ';');
}
