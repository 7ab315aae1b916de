/* SPDX-License-Identifier: Apache-2.0 */
/* Loads, stores and addresses: PTX ISA 9.7.9. Every access is checked against what may be used. */
#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

/* ------------------------------------------------------------------------------ checks */

static bool hot_find(struct worker *k, uint64_t at, uint64_t bytes, struct range *r)
{
	struct ptx_machine *m = k->grid->machine;
	uint64_t epoch = atomic_load_explicit(&m->ranges_epoch, memory_order_acquire);

	if (epoch != k->epoch) {
		k->hot[0].size = k->hot[1].size = 0;
		k->epoch = epoch;
	}
	for (unsigned n = 0; n < 2; n++) {
		uint64_t from = at - k->hot[n].base;

		if (from < k->hot[n].size && bytes <= k->hot[n].size - from) {
			*r = k->hot[n];
			return true;
		}
	}
	if (!machine_range_find(m, at, bytes, r))
		return false;
	k->hot[1] = k->hot[0];
	k->hot[0] = *r;
	return true;
}

static bool inside(uint64_t at, uint64_t bytes, const void *base, uint64_t size)
{
	uint64_t from = at - (uint64_t)(uintptr_t)base;

	return from < size && bytes <= size - from;
}

static uint8_t *generic_at(struct warp *w, uint64_t at, uint64_t bytes, bool write)
{
	struct block *b = w->block;
	struct range r;

	if (hot_find(w->worker, at, bytes, &r))
		return write && r.flags & PTX_RANGE_READ_ONLY ? NULL : (uint8_t *)(uintptr_t)at;
	if (inside(at, bytes, b->shared, w->grid->shared_total) ||
	    inside(at, bytes, b->local, b->local_size) ||
	    (!write && inside(at, bytes, w->grid->params, w->grid->param_bytes)) ||
	    (w->grid->launch->cooperative &&
	     inside(at, bytes, w->grid->workspace, sizeof(w->grid->workspace))))
		return (uint8_t *)(uintptr_t)at;
	return NULL;
}

static uint8_t *lane_local(const struct warp *w, uint32_t l)
{
	return w->block->local + ((uint64_t)w->index * PTX_LANES + l) * w->grid->local_bytes;
}

static const char *const space_names[] = {"generic", "global", "constant", "shared",
					  "local",   "parameter", "frame"};

uint8_t *mem_at(struct warp *w, const struct insn *i, uint32_t l, unsigned space, uint64_t at,
		unsigned bytes, bool write)
{
	struct grid *g = w->grid;
	uint8_t *p = NULL;

	switch (space) {
	case SP_SHARED:
		at = (uint32_t)at;
		if (at < g->shared_total && bytes <= g->shared_total - at)
			p = w->block->shared + at;
		break;
	case SP_FRAME:
	case SP_LOCAL:
		at = (uint32_t)at;
		if (at < g->local_bytes && bytes <= g->local_bytes - at)
			p = lane_local(w, l) + at;
		break;
	case SP_PARAM:
		if (!write && at < g->param_bytes && bytes <= g->param_bytes - at)
			p = g->params + at;
		break;
	default:
		p = generic_at(w, at, bytes, write);
	}
	if (!p) {
		warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, at,
			   "A %s of %u bytes at %s address 0x%llx is outside of all memory that "
			   "the kernel may use.",
			   write ? "store" : "load", bytes, space_names[space],
			   (unsigned long long)at);
		return NULL;
	}
	if (at & (bytes - 1)) {
		warp_fault(w, i, l, PTX_ERR_MISALIGNED, at,
			   "A %s of %u bytes at %s address 0x%llx is not aligned.",
			   write ? "store" : "load", bytes, space_names[space],
			   (unsigned long long)at);
		return NULL;
	}
	return p;
}

uint8_t *mem_peek(struct warp *w, uint64_t at, uint64_t bytes, bool write)
{
	return generic_at(w, at, bytes, write);
}

uint64_t mem_extent(struct warp *w, uint64_t at)
{
	struct block *b = w->block;
	struct range r;

	if (machine_range_find(w->grid->machine, at, 1, &r))
		return r.base + r.size - at;
	if (inside(at, 1, b->shared, w->grid->shared_total))
		return (uint64_t)(uintptr_t)b->shared + w->grid->shared_total - at;
	if (inside(at, 1, b->local, b->local_size))
		return (uint64_t)(uintptr_t)b->local + b->local_size - at;
	if (inside(at, 1, w->grid->params, w->grid->param_bytes))
		return (uint64_t)(uintptr_t)w->grid->params + w->grid->param_bytes - at;
	return 0;
}

/* ------------------------------------------------------------------------------ ld, st */

static uint64_t load_value(const uint8_t *p, unsigned type, unsigned regbits)
{
	uint64_t v;

	switch (type_bytes(type)) {
	case 1:
		v = *(const volatile uint8_t *)p;
		if (type == T_S8)
			v = regbits >= 64   ? (uint64_t)(int64_t)S8(v)
			    : regbits == 32 ? (uint64_t)A32(S8(v))
			    : regbits == 16 ? (uint64_t)A16(S8(v))
					    : v;
		return v;
	case 2:
		v = *(const volatile uint16_t *)p;
		if (type == T_S16)
			v = regbits >= 64 ? (uint64_t)(int64_t)S16(v) : regbits == 32 ? (uint64_t)A32(S16(v)) : v;
		return v;
	case 4:
		v = *(const volatile uint32_t *)p;
		if (type == T_S32 && regbits >= 64)
			v = (uint64_t)S32(v);
		return v;
	default:
		return *(const volatile uint64_t *)p;
	}
}

static void store_value(uint8_t *p, unsigned bytes, uint64_t v)
{
	switch (bytes) {
	case 1:
		*(volatile uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		*(volatile uint16_t *)p = (uint16_t)v;
		break;
	case 4:
		*(volatile uint32_t *)p = (uint32_t)v;
		break;
	default:
		*(volatile uint64_t *)p = v;
	}
}

static uint64_t address_of(const struct warp *w, const struct insn *i, int32_t base, uint32_t l)
{
	uint64_t at = (uint64_t)i->imm;

	if (base != PTX_NONE)
		at += op_col(w, base)[l];
	if (i->space == SP_FRAME)
		at += w->group_local;
	return at;
}

static int ld_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = type_bytes(i->type);

	if (i->vec == 1) {
		uint64_t *d = op_col(w, i->o[0]);

		FOR_LANES(mask, l)
		{
			uint8_t *p = mem_at(w, i, l, i->space, address_of(w, i, i->o[1], l), bytes,
					    false);

			if (!p)
				return 1;
			d[l] = load_value(p, i->type, i->regbits);
		}
		return 0;
	}
	FOR_LANES(mask, l)
	{
		uint8_t *p = mem_at(w, i, l, i->space, address_of(w, i, i->o[1], l),
				    bytes * i->vec, false);
		uint64_t v[8];

		if (!p)
			return 1;
		for (unsigned k = 0; k < i->vec; k++)
			v[k] = load_value(p + k * bytes, i->type, i->regbits);
		for (unsigned k = 0; k < i->vec; k++)
			if (i->x[k] != PTX_NONE)
				op_col(w, i->x[k])[l] = v[k];
	}
	return 0;
}

static int st_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = type_bytes(i->type);

	if (i->vec == 1) {
		const uint64_t *v = op_col(w, i->o[0]);

		FOR_LANES(mask, l)
		{
			uint8_t *p = mem_at(w, i, l, i->space, address_of(w, i, i->o[1], l), bytes,
					    true);

			if (!p)
				return 1;
			store_value(p, bytes, v[l]);
		}
		return 0;
	}
	FOR_LANES(mask, l)
	{
		uint8_t *p = mem_at(w, i, l, i->space, address_of(w, i, i->o[1], l),
				    bytes * i->vec, true);

		if (!p)
			return 1;
		for (unsigned k = 0; k < i->vec; k++)
			store_value(p + k * bytes, bytes, op_col(w, i->x[k])[l]);
	}
	return 0;
}

/*
 * Hints and orders: one thread runs a warp and x86 and ARM fences are in the barriers of atomic.c.
 * True: others look at this access or are looked at by it (.volatile and stronger).
 */
bool take_hints(struct stmt *s)
{
	static const char *const names[] = {"weak", "volatile", "relaxed", "acquire", "release", "mmio",
					    "cta",  "cluster",	"gpu",	   "sys",     "ca",	 "cg",
					    "cs",   "lu",	"cv",	   "wb",      "wt",	 "nc",
					    "unified"};
	bool order = false;

	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (has(s, names[k]) && k >= 1 && k <= 5)
			order = true;
	for (uint32_t k = 1; k < s->parts; k++)
		if (s->part_length[k] > 4 && s->part[k][0] == 'L' && s->part[k][2] == ':')
			s->used |= 1u << k;
	return order;
}

void lower_address(struct parser *p, const struct operand *o, unsigned space, struct address *a)
{
	*a = (struct address){PTX_NONE, o->offset, space};
	if (o->kind != OPD_MEM || o->count)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "An address is missing");
	if (o->sym && o->sym->kind == SYM_PARAM) {
		if (space != SP_PARAM)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' is a parameter", o->sym->name);
		a->offset += o->sym->offset;
		a->space = o->sym->known ? SP_PARAM : SP_FRAME;
		return;
	}
	if (o->sym && o->sym->kind == SYM_VAR && o->sym->var->space == SP_FRAME) {
		if (space != SP_PARAM)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' is a parameter", o->sym->name);
		a->offset += (int64_t)o->sym->var->offset;
		a->space = SP_FRAME;
		return;
	}
	if (o->sym && o->sym->kind == SYM_VAR && o->sym->var->space == SP_LOCAL) {
		if (space != SP_LOCAL)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' is local", o->sym->name);
		a->offset += (int64_t)o->sym->var->offset;
		a->space = SP_FRAME;
		return;
	}
	if (space == SP_PARAM) /* through a register */
		a->space = p->f->info.entry ? SP_GENERIC : SP_LOCAL;
	if (o->sym) {
		struct operand base = {.kind = OPD_SYM, .sym = o->sym, .reg = PTX_NONE,
				       .pair = PTX_NONE};

		if (o->sym->kind != SYM_VAR)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' has no address here", o->sym->name);
		if ((o->sym->var->space == SP_SHARED) != (space == SP_SHARED) &&
		    space != SP_GENERIC)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' is in another state space",
				  o->sym->name);
		if (o->sym->var->space == SP_SHARED)
			a->space = SP_SHARED;
		a->base = opd_value(p, &base, T_B64);
	} else if (o->reg != PTX_NONE) {
		if (o->type == T_PRED || o->type == T_B128 || type_bytes(o->type) < 4)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "The register cannot hold an address");
		a->base = o->reg;
	}
}

static void lower_ldst(struct parser *p, struct stmt *s, bool load)
{
	unsigned at = load ? 1 : 0;
	unsigned space, vec, type, narrow = 64;
	bool ordered;
	struct operand *v;
	struct address a;
	struct insn *i;
	int32_t x[8], one = PTX_NONE;

	ordered = take_hints(s);
	space = take_space(s);
	vec = take_vec(s);
	type = need_type(p, s);
	want_operands(p, s, 2, 3); /* a cache policy may follow */
	if (type == T_PRED || type > T_F64 || type == T_F16X2 || type == T_BF16X2 || type == T_TF32)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	lower_address(p, &s->operand[at], space, &a);
	v = &s->operand[1 - at];
	if (type == T_B128) {
		if (vec != 1)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
		x[0] = load ? opd_dst(p, v, type) : opd_value(p, v, type);
		x[1] = x[0] + 1;
		vec = 2;
		type = T_B64;
	} else if (vec > 1) {
		if (v->kind != OPD_VEC || v->count != vec || vec * type_bytes(type) > 32)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "A vector of %u is missing", vec);
		for (unsigned k = 0; k < vec; k++) {
			struct operand *e = &v->list[k];

			x[k] = !load		     ? opd_value(p, e, type)
			       : e->kind == OPD_SINK ? PTX_NONE
						     : opd_dst(p, e, type_bytes(type) == 1 ? T_B8 : type);
			if (x[k] >= 0 && type_bytes(reg_type(p, x[k])) * 8 < narrow)
				narrow = type_bytes(reg_type(p, x[k])) * 8;
		}
	} else {
		struct operand *e = v->kind == OPD_VEC && v->count == 1 ? &v->list[0] : v;

		one = load ? opd_dst(p, e, type) : opd_value(p, e, type);
		narrow = type_bytes(reg_type(p, one)) * 8;
	}
	if (!load && a.space == SP_CONST)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Constants cannot be stored to");
	i = emit(p, K_PLAIN, load ? OP_LD : OP_ST, load ? ld_run : st_run);
	i->together = ordered;
	i->o[0] = one;
	i->o[1] = a.base;
	i->imm = a.offset;
	i->space = (uint8_t)a.space;
	i->type = (uint8_t)type;
	i->vec = (uint8_t)vec;
	i->regbits = (uint8_t)narrow;
	if (vec > 1) {
		i->x = copy_list(p, x, vec);
		i->nx = (uint8_t)vec;
	}
}

static void lower_ld(struct parser *p, struct stmt *s)
{
	lower_ldst(p, s, true);
}

static void lower_st(struct parser *p, struct stmt *s)
{
	has(s, "async");
	lower_ldst(p, s, false);
}

/* ------------------------------------------------------------------------------ addresses */

static int cvta_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]);
	bool to = i->sub;

	FOR_LANES(mask, l)
	{
		uint64_t base = i->space == SP_SHARED ? (uint64_t)(uintptr_t)w->block->shared
				: i->space == SP_LOCAL ? (uint64_t)(uintptr_t)lane_local(w, l)
						       : 0;

		d[l] = to ? a[l] - base : a[l] + base;
		if (to && i->regbits == 32)
			d[l] = A32(d[l]);
	}
	return 0;
}

static void lower_cvta(struct parser *p, struct stmt *s)
{
	bool to = has(s, "to");
	unsigned space = take_space(s), type = need_type(p, s);
	int32_t a, d;
	struct insn *i;

	if (type != T_U64 && type != T_B64 && type != T_S64)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Addresses have 64 bits");
	want_operands(p, s, 2, 2);
	a = opd_value(p, &s->operand[1], type);
	d = opd_dst(p, &s->operand[0], type);
	if (space == SP_PARAM)
		space = p->f->info.entry ? SP_GLOBAL : SP_LOCAL;
	i = emit(p, K_PLAIN, OP_CVTA, cvta_run);
	i->o[0] = d;
	i->o[1] = a;
	i->space = (uint8_t)space;
	i->sub = to;
	i->regbits = 64;
	i->type = T_B64;
}

static int isspacep_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *a = op_col(w, i->o[1]);
	uint32_t r = 0;

	FOR_LANES(mask, l)
	{
		bool shared = inside(a[l], 1, w->block->shared, w->grid->shared_total);
		bool local = inside(a[l], 1, w->block->local, w->block->local_size);
		bool param = inside(a[l], 1, w->grid->params, w->grid->param_bytes), t;
		struct range range;

		switch (i->space) {
		case SP_SHARED:
			t = shared;
			break;
		case SP_LOCAL:
			t = local;
			break;
		case SP_PARAM:
			t = param;
			break;
		case SP_CONST:
			t = machine_range_find(w->grid->machine, a[l], 1, &range) &&
			    range.flags & PTX_RANGE_READ_ONLY;
			break;
		default: /* whatever is nothing else, as on a GPU */
			t = !shared && !local && !param;
		}
		r |= (uint32_t)t << l;
	}
	pred_set(w, i->o[0], mask, r);
	return 0;
}

static void lower_isspacep(struct parser *p, struct stmt *s)
{
	unsigned space = take_space(s);
	int32_t a, d;
	struct insn *i;

	want_operands(p, s, 2, 2);
	a = opd_value(p, &s->operand[1], T_B64);
	d = opd_dst(p, &s->operand[0], T_PRED);
	i = emit(p, K_PLAIN, OP_OTHER, isspacep_run);
	i->o[0] = d;
	i->o[1] = a;
	i->space = (uint8_t)space;
}

/* The block's place in its cluster, which has no other block. */
static void lower_mapa(struct parser *p, struct stmt *s)
{
	unsigned type;
	int32_t a, d;
	struct insn *i;

	take_space(s);
	type = need_type(p, s);
	want_operands(p, s, 3, 3);
	a = opd_value(p, &s->operand[1], type);
	d = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, OP_CVTA, cvta_run);
	i->o[0] = d;
	i->o[1] = a;
	i->space = SP_GLOBAL;
	i->regbits = 64;
	i->type = T_B64;
}

static int nothing(struct warp *w, const struct insn *i, uint32_t mask)
{
	(void)w;
	(void)i;
	(void)mask;
	return 0;
}

static void lower_prefetch(struct parser *p, struct stmt *s)
{
	take_space(s);
	take_hints(s);
	has(s, "L1");
	has(s, "L2");
	has(s, "tensormap");
	emit(p, K_PLAIN, OP_OTHER, nothing);
}

static void lower_createpolicy(struct parser *p, struct stmt *s)
{
	struct insn *i;
	int32_t d = opd_dst(p, opd(p, s, 0), T_B64), zero = const_of(p, 0);

	s->used = UINT32_MAX; /* a policy is a hint */
	i = emit(p, K_PLAIN, OP_CVTA, cvta_run);
	i->o[0] = d;
	i->o[1] = zero;
	i->space = SP_GLOBAL;
	i->regbits = 64;
}

/* ------------------------------------------------------------------------------ cp.async */

/* Done at once: commit and wait find nothing to do. o: dst, src, size of the source, ignore-src */
static int cp_async_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = (unsigned)i->vec;
	uint32_t ignore = i->o[3] == PTX_NONE ? 0 : pred_bits(w, i->o[3], i->neg & 1);

	FOR_LANES(mask, l)
	{
		uint64_t to = op_col(w, i->o[0])[l] + (uint64_t)i->imm;
		uint64_t from = op_col(w, i->o[1])[l] + (uint64_t)*(const int64_t *)i->ref;
		uint64_t n = i->o[2] == PTX_NONE ? bytes : A32(op_col(w, i->o[2])[l]);
		uint8_t *d = mem_at(w, i, l, SP_SHARED, to, bytes, true), value[16] = {0};

		if (!d)
			return 1;
		if (n > bytes)
			n = bytes;
		if (ignore >> l & 1)
			n = 0;
		if (n) {
			uint8_t *src;

			if (from & (bytes - 1))
				src = mem_at(w, i, l, SP_GLOBAL, from, bytes, false);
			else if (!(src = mem_peek(w, from, n, false)))
				src = mem_at(w, i, l, SP_GLOBAL, from, bytes, false);
			if (!src)
				return 1;
			memcpy(value, src, n);
		}
		memcpy(d, value, bytes);
	}
	return 0;
}

static void lower_cp(struct parser *p, struct stmt *s)
{
	struct address to, from;
	int32_t size = PTX_NONE, ignore = PTX_NONE;
	bool neg = false;
	uint64_t bytes;
	int64_t *offset;
	struct insn *i;

	if (!has(s, "async"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	if (has(s, "bulk")) {
		lower_cp_bulk(p, s);
		return;
	}
	if (has(s, "mbarrier")) {
		lower_cp_arrive(p, s);
		return;
	}
	if (has(s, "commit_group") || has(s, "wait_all") || has(s, "wait_group")) {
		emit(p, K_PLAIN, OP_OTHER, nothing);
		return;
	}
	take_hints(s);
	if (!has(s, "shared") && !has(s, "shared::cta"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	if (!has(s, "global"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	want_operands(p, s, 3, 5);
	lower_address(p, &s->operand[0], SP_SHARED, &to);
	lower_address(p, &s->operand[1], SP_GLOBAL, &from);
	bytes = s->operand[2].value;
	if (s->operand[2].kind != OPD_INT || (bytes != 4 && bytes != 8 && bytes != 16))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "4, 8 or 16 bytes can be copied");
	if (s->operands > 3) {
		struct operand *o = &s->operand[3];

		if (o->kind == OPD_REG && o->type == T_PRED)
			ignore = opd_pred(p, o, &neg);
		else if (!(o->kind == OPD_REG && type_bytes(o->type) == 8)) /* a cache policy */
			size = opd_value(p, o, T_U32);
	}
	offset = parse_alloc(p, sizeof(*offset));
	*offset = from.offset;
	if (to.base == PTX_NONE)
		to.base = const_of(p, 0);
	if (from.base == PTX_NONE)
		from.base = const_of(p, 0);
	i = emit(p, K_PLAIN, OP_OTHER, cp_async_run);
	i->o[0] = to.base;
	i->o[1] = from.base;
	i->o[2] = size;
	i->o[3] = ignore;
	i->neg = neg;
	i->imm = to.offset;
	i->ref = offset;
	i->vec = (uint8_t)bytes;
}

/* ------------------------------------------------------------------------------ alloca */

static void lower_stack(struct parser *p, struct stmt *s)
{
	(void)s;
	stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Stack allocation at run time is not supported");
}

const struct lowering lower_memory[] = {
	{"ld", lower_ld},
	{"ldu", lower_ld},
	{"st", lower_st},
	{"cvta", lower_cvta},
	{"isspacep", lower_isspacep},
	{"mapa", lower_mapa},
	{"prefetch", lower_prefetch},
	{"prefetchu", lower_prefetch},
	{"applypriority", lower_prefetch},
	{"discard", lower_prefetch},
	{"createpolicy", lower_createpolicy},
	{"cp", lower_cp},
	{"alloca", lower_stack},
	{"stacksave", lower_stack},
	{"stackrestore", lower_stack},
	{NULL, NULL},
};
