/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - the reader of PTX text
 *
 * One pass: declarations make symbols, each statement of a body is lowered as soon as it is read;
 * labels, functions and addresses are filled in later. An error leaves by longjmp to
 * ptx_module_load; everything allocated on the way belongs to the module's arena.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_PARSE_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_PARSE_H

#include <setjmp.h>

#include "services/gpu-exec/ptx/internal.h"

enum token_kind { TOK_END, TOK_NAME, TOK_DOTNAME, TOK_INT, TOK_FLOAT, TOK_STRING, TOK_PUNCT };

struct token {
	enum token_kind kind;
	const char *at; /* in the text */
	uint32_t length;
	uint32_t line;
	uint64_t value;	 /* integer, or bits of a float */
	uint8_t float_bits; /* 32, 64; 0: decimal, value holds a double */
	char punct;	 /* of two-character ones the first; see `twice` */
	bool twice;	 /* << >> && || == != <= >= */
};

struct lexer {
	const char *text, *end, *at;
	uint32_t line;
	struct token token; /* the current one */
};

struct parser;
void lex_next(struct parser *p);

enum symbol_kind {
	SYM_REG,   /* one register, or with a range prefix<n> */
	SYM_VAR,   /* of global, const, shared, local, frame */
	SYM_PARAM, /* of a kernel */
	SYM_FUNC,
	SYM_LABEL,
	SYM_TARGETS, /* .branchtargets */
	SYM_PROTO,   /* .callprototype */
	SYM_CALLTARGETS,
};

struct symbol {
	struct symbol *chain, *in_scope;
	const char *name;
	uint32_t length, hash;
	uint8_t kind, type, vec;
	bool range;
	uint32_t first, count; /* registers */
	uint32_t scope;
	struct variable *var;
	uint32_t offset, size; /* parameter */
	struct ptx_function *func;
	uint32_t code; /* label: index, once known */
	bool known;
	struct branch_table *table;
	struct symbol **labels;
	struct ptx_function *proto;
};

#define SYMBOL_BUCKETS 4096u

struct scope {
	struct scope *outer;
	struct symbol *symbols;
	uint32_t id;
};

enum operand_kind { OPD_REG, OPD_INT, OPD_FLOAT, OPD_SYM, OPD_MEM, OPD_VEC, OPD_SINK, OPD_SREG };

struct operand {
	uint8_t kind;
	bool neg;	    /* !p */
	uint8_t type;	    /* of the register */
	int32_t reg;	    /* register; in MEM: base, or PTX_NONE */
	int32_t pair;	    /* d|p: the second; PTX_NONE */
	bool pair_sink;
	uint64_t value;	    /* integer or bits of a double */
	uint8_t float_bits;
	int64_t offset;
	struct symbol *sym; /* SYM, and base of MEM */
	uint8_t sreg;
	struct operand *list; /* VEC, and coordinates within MEM */
	uint32_t count;
};

#define STMT_PARTS    16u
#define STMT_OPERANDS 8u

struct stmt {
	const char *at;
	uint32_t length, line;
	uint32_t parts; /* of the opcode; 0 is its name */
	const char *part[STMT_PARTS];
	uint8_t part_length[STMT_PARTS];
	uint32_t used; /* bits of parts that were understood */
	struct operand operand[STMT_OPERANDS];
	uint32_t operands;
	int32_t guard;
	bool guard_neg;
};

struct pending_branch {
	struct pending_branch *next;
	uint32_t code;
	struct symbol *label;
	uint32_t *target; /* of a table; NULL: of code */
	uint32_t line;
};

struct parser {
	struct ptx_module *m;
	struct ptx_error *error;
	jmp_buf fail;
	struct lexer lex;
	unsigned source;
	unsigned version, target;
	bool address32;
	struct symbol **buckets;
	struct scope *scope;
	uint32_t scope_count;
	struct scope *link_scope; /* names that all texts share */
	/* the function being read */
	struct ptx_function *f;
	uint32_t regs, reg_room;
	uint8_t *reg_types;
	uint64_t frame;
	struct pending_branch *branches;
	const char *stmt_at;
	uint32_t stmt_line;
	uint32_t depth;
	struct stmt *stmt;
	/* Inside a body: what is not supported refuses the function, and the text goes on behind it. */
	jmp_buf *refuse;
	struct refusal *refusal;
};

_Noreturn void parse_fail(struct parser *p, int code, uint32_t line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* With the statement that is being read. */
_Noreturn void stmt_fail(struct parser *p, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Notes that the function that is being read cannot run; the first reason stands. */
void parse_refuse(struct parser *p, uint32_t line, const char *format, ...) __attribute__((format(printf, 3, 4)));

void *parse_alloc(struct parser *p, size_t size);

void parse_text(struct parser *p, const struct ptx_source *source, unsigned index);

struct symbol *symbol_find(struct parser *p, const char *name, uint32_t length);
struct symbol *symbol_add(struct parser *p, struct scope *s, const char *name, uint32_t length,
			  enum symbol_kind kind);
void scope_enter(struct parser *p);
void scope_leave(struct parser *p);

bool tok_is(const struct parser *p, char c);
bool tok_name(const struct parser *p, const char *name);
bool tok_accept(struct parser *p, char c);
void tok_expect(struct parser *p, char c);
/* An integer expression of constants. */
int64_t parse_const(struct parser *p);
/* Dimensions of an array behind its name: how many elements; @open: the first was left out. */
uint64_t parse_dims(struct parser *p, bool *open);
void skip_attribute(struct parser *p);
extern const char *const linkages[4];
struct token need_name(struct parser *p);
uint32_t name_hash(const char *name, uint32_t length);
enum { PARSE_DEPTH_MAX = 64 }; /* of what is nested in a text */
struct symbol *link_find(struct parser *p, const char *name, uint32_t length); /* among what other texts have */
struct symbol *symbol_exact(struct parser *p, const char *name, uint32_t length, uint32_t hash);
/* ".u32" and its like: T_NONE if it is none. */
unsigned parse_type_name(const char *at, uint32_t length);
bool text_is(const char *at, uint32_t length, const char *what);

/* body.c */
void parse_body(struct parser *p, struct ptx_function *f);
/* What ends every body: the way out, and the sizes of a frame. */
void body_end(struct parser *p, struct ptx_function *f);
/* In place of a body that cannot be run, for those who come there through a pointer. */
int run_refused(struct warp *w, const struct insn *i, uint32_t mask);
void parse_var_decl(struct parser *p, enum ptx_space space, bool external, bool weak, bool visible,
		    bool in_body);
struct ptx_function *parse_prototype(struct parser *p, const char *name, uint32_t length);
int32_t reg_new(struct parser *p, unsigned type);

/* lower.c */
void lower(struct parser *p, struct stmt *s);
struct insn *emit(struct parser *p, unsigned kind, unsigned op, run_fn *run);
int32_t const_of(struct parser *p, uint64_t value);
int32_t const_symbol(struct parser *p, struct symbol *sym, int64_t addend);
/* A column that holds operand @n as a value of @type. */
int32_t opd_value(struct parser *p, const struct operand *o, unsigned type);
int32_t opd_dst(struct parser *p, const struct operand *o, unsigned type);
int32_t opd_pred(struct parser *p, const struct operand *o, bool *neg);
struct operand *opd(struct parser *p, struct stmt *s, unsigned n);
/* Takes a part of the opcode: true if it is there. */
bool has(struct stmt *s, const char *part);
/* The next part that is a type and was not taken. T_NONE: none. */
unsigned take_type(struct stmt *s);
unsigned need_type(struct parser *p, struct stmt *s);
unsigned take_round(struct stmt *s);
unsigned take_space(struct stmt *s);
unsigned take_vec(struct stmt *s);
void want_operands(struct parser *p, struct stmt *s, unsigned least, unsigned most);
const int32_t *copy_list(struct parser *p, const int32_t *list, unsigned n);
unsigned reg_type(const struct parser *p, int32_t reg);

/* memory.c: an operand of the form [...] as base and offset in a space */
struct address {
	int32_t base;
	int64_t offset;
	unsigned space;
};
/* Cache hints, scopes, orders; true if the order is acquire or release. */
bool take_hints(struct stmt *s);
void lower_address(struct parser *p, const struct operand *o, unsigned space, struct address *a);

/* mbarrier.c: forms of cp.async that barriers are told of, and those of many bytes */
void lower_cp_arrive(struct parser *p, struct stmt *s);
void lower_cp_bulk(struct parser *p, struct stmt *s);

struct lowering {
	const char *name;
	void (*lower)(struct parser *p, struct stmt *s);
};
/* Shared between the files of arithmetic: the type was taken already. */
void lower_float_op(struct parser *p, struct stmt *s, unsigned op, unsigned type);
void lower_pred_logic(struct parser *p, struct stmt *s, unsigned op, unsigned operands);

extern const struct lowering lower_int[], lower_bits[], lower_float[], lower_moves[], lower_compares[], lower_memory[],
	lower_atomic[], lower_warp[], lower_matrix[], lower_texture[], lower_mbarriers[];

/* An instruction with a destination and up to three operands, all of @type. */
struct insn *lower_plain(struct parser *p, struct stmt *s, unsigned op, run_fn *run, unsigned type,
			 unsigned operands);

int sreg_find(const char *at, uint32_t length);
run_fn run_sreg;

#endif
