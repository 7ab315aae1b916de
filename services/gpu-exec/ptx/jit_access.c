/* SPDX-License-Identifier: Apache-2.0 */
/* What compiled code for groups calls. */
#include <string.h>

#include "services/gpu-exec/ptx/jit.h"

enum { COLUMN = 8 * PTX_LANES };

struct access {
	struct warp *warp;
	const struct insn *insn;
	struct jit_env *env;
	struct jit_site *site;
	const uint64_t *at;
	uint8_t *data;
};

/* Where it is for the host; NULL after a fault. */
static inline uint8_t *place(const struct access *a, uint32_t l, uint64_t whole)
{
	uint64_t at = a->at[l];

	if (at & (whole - 1))
		return jit_reach(a->warp, a->insn, l, at, a->site);
	if (a->site && at - a->site->base < a->site->limit)
		return (uint8_t *)(uintptr_t)at;
	if (!a->site && a->insn->space == SP_SHARED && at + whole <= a->env->shared_total)
		return a->env->shared + at;
	if (!a->site && a->insn->space != SP_SHARED && at + whole <= a->env->local_bytes)
		return a->env->local + l * a->env->local_bytes + at;
	return jit_reach(a->warp, a->insn, l, at, a->site);
}

static inline __attribute__((always_inline)) void copy(const struct access *a, uint8_t *p, uint32_t l, unsigned bytes)
{
	bool write = a->insn->op == OP_ST;
	uint8_t *d = a->data + l * bytes;

	for (unsigned k = 0; k < a->insn->vec; k++, p += bytes, d += COLUMN)
		memcpy(write ? p : d, write ? d : p, bytes);
}

static inline __attribute__((always_inline)) uint32_t access_by(const struct access *a, uint32_t mask, unsigned bytes)
{
	FOR_LANES(mask, l)
	{
		uint8_t *p = place(a, l, (uint64_t)bytes * a->insn->vec);

		if (!p)
			return 0;
		copy(a, p, l, bytes);
	}
	return 1;
}

uint32_t jit_access(struct warp *w, const struct insn *i, uint32_t mask, struct jit_env *env,
		    struct jit_site *site, const uint64_t *at, uint64_t *data)
{
	struct access a = {w, i, env, site, at, (uint8_t *)data};

	switch (type_bytes(i->type)) {
	case 1:
		return access_by(&a, mask, 1);
	case 2:
		return access_by(&a, mask, 2);
	case 4:
		return access_by(&a, mask, 4);
	default:
		return access_by(&a, mask, 8);
	}
}

void jit_apart(struct warp *w, uint32_t taken, uint32_t mask, uint32_t to, uint32_t on)
{
	FOR_LANES(mask, l)
	w->pc[l] = taken >> l & 1 ? to : on;
}

void jit_unary_f32(uint32_t op, float *v)
{
	for (unsigned l = 0; l < PTX_LANES; l++)
		v[l] = unary_f32(op, v[l]);
}

void jit_unary_f64(uint32_t op, double *v)
{
	for (unsigned l = 0; l < PTX_LANES; l++)
		v[l] = unary_f64(op, v[l]);
}
