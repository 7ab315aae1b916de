/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/parse.h"

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '$' || c == '%';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip_blank(struct parser *p)
{
	struct lexer *x = &p->lex;

	while (x->at < x->end) {
		char c = *x->at;

		if (c == '\n') {
			x->line++;
			x->at++;
		} else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
			x->at++;
		} else if (c == '/' && x->at + 1 < x->end && x->at[1] == '/') {
			while (x->at < x->end && *x->at != '\n')
				x->at++;
		} else if (c == '/' && x->at + 1 < x->end && x->at[1] == '*') {
			uint32_t line = x->line;

			for (x->at += 2;; x->at++) {
				if (x->at + 1 >= x->end)
					parse_fail(p, PTX_ERR_INVALID_PTX, line,
						   "A comment begins here and does not end.");
				if (*x->at == '\n')
					x->line++;
				if (x->at[0] == '*' && x->at[1] == '/')
					break;
			}
			x->at += 2;
		} else if (c == '#') { /* # line "file": from a preprocessor */
			while (x->at < x->end && *x->at != '\n')
				x->at++;
		} else {
			return;
		}
	}
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void lex_digits(struct parser *p, unsigned base)
{
	struct lexer *x = &p->lex;
	uint64_t v = 0;
	const char *from = x->at;

	for (; x->at < x->end; x->at++) {
		int d = hex_digit(*x->at);

		if (d < 0 || (unsigned)d >= base)
			break;
		if (v > (UINT64_MAX - (unsigned)d) / base)
			parse_fail(p, PTX_ERR_INVALID_PTX, x->line,
				   "A number has more than 64 bits.");
		v = v * base + (unsigned)d;
	}
	if (x->at == from)
		parse_fail(p, PTX_ERR_INVALID_PTX, x->line, "A number has no digits.");
	x->token.value = v;
}

static void lex_number(struct parser *p)
{
	struct lexer *x = &p->lex;
	struct token *t = &x->token;
	const char *s = x->at;
	char next = x->end - s > 1 ? s[1] : 0;

	t->kind = TOK_INT;
	if (s[0] == '0' && (next == 'f' || next == 'F' || next == 'd' || next == 'D')) {
		unsigned digits = next == 'f' || next == 'F' ? 8 : 16;

		if (x->end - s >= 2 + (ptrdiff_t)digits) {
			unsigned n = 0;

			while (n < digits && hex_digit(s[2 + n]) >= 0)
				n++;
			if (n == digits) {
				x->at += 2;
				x->token.value = 0;
				for (unsigned k = 0; k < digits; k++)
					t->value = t->value << 4 | (unsigned)hex_digit(*x->at++);
				t->kind = TOK_FLOAT;
				t->float_bits = digits == 8 ? 32 : 64;
				return;
			}
		}
		parse_fail(p, PTX_ERR_INVALID_PTX, x->line, "A float needs %u hexadecimal digits.",
			   digits);
	}
	if (s[0] == '0' && (next == 'x' || next == 'X')) {
		x->at += 2;
		lex_digits(p, 16);
	} else if (s[0] == '0' && (next == 'b' || next == 'B')) {
		x->at += 2;
		lex_digits(p, 2);
	} else {
		const char *e = s;
		bool real = false;

		while (e < x->end && is_digit(*e))
			e++;
		if (e < x->end && *e == '.' && (e + 1 >= x->end || !is_word(e[1]) || is_digit(e[1]))) {
			real = true;
			for (e++; e < x->end && is_digit(*e); e++)
				;
		}
		if (e < x->end && (*e == 'e' || *e == 'E')) {
			real = true;
			e++;
			if (e < x->end && (*e == '+' || *e == '-'))
				e++;
			while (e < x->end && is_digit(*e))
				e++;
		}
		if (real) {
			char text[64];
			size_t n = (size_t)(e - s);
			double v;

			if (n >= sizeof(text))
				parse_fail(p, PTX_ERR_INVALID_PTX, x->line, "A number is too long.");
			memcpy(text, s, n);
			text[n] = 0;
			v = strtod(text, NULL);
			memcpy(&t->value, &v, 8);
			t->kind = TOK_FLOAT;
			t->float_bits = 0;
			x->at = e;
			return;
		}
		lex_digits(p, s[0] == '0' && is_digit(next) ? 8 : 10);
	}
	if (x->at < x->end && (*x->at == 'U' || *x->at == 'u'))
		x->at++;
}

/*
 * A name takes the dots in it ("ld.param.u32", "%tid.x") and pairs of colons ("shared::cta"); one
 * that begins with a dot (a directive, a type) ends at the next.
 */
void lex_next(struct parser *p)
{
	struct lexer *x = &p->lex;
	struct token *t = &x->token;
	char c, d;

	skip_blank(p);
	*t = (struct token){.at = x->at, .line = x->line};
	if (x->at >= x->end)
		return;
	c = *x->at;
	d = x->end - x->at > 1 ? x->at[1] : 0;
	if (is_digit(c)) {
		lex_number(p);
	} else if (is_word(c) || (c == '.' && is_word(d))) {
		t->kind = c == '.' ? TOK_DOTNAME : TOK_NAME;
		for (x->at++; x->at < x->end; x->at++) {
			char e = *x->at;
			char f = x->end - x->at > 1 ? x->at[1] : 0;

			if (is_word(e))
				continue;
			if (e == '.' && t->kind == TOK_NAME && is_word(f))
				continue;
			if (e == ':' && f == ':' && x->end - x->at > 2 && is_word(x->at[2])) {
				x->at++;
				continue;
			}
			break;
		}
	} else if (c == '"') {
		t->kind = TOK_STRING;
		for (x->at++; x->at < x->end && *x->at != '"'; x->at++)
			if (*x->at == '\n')
				x->line++;
		if (x->at >= x->end)
			parse_fail(p, PTX_ERR_INVALID_PTX, t->line, "A string does not end.");
		x->at++;
	} else {
		t->kind = TOK_PUNCT;
		t->punct = c;
		x->at++;
		if ((strchr("<>&|=", c) && d == c) || (strchr("!<>", c) && d == '=')) {
			t->twice = true;
			t->value = (uint8_t)d;
			x->at++;
		}
	}
	t->length = (uint32_t)(x->at - t->at);
}
