/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs warps by compiled code. While the lanes of a warp stay together there is one place for all of them, and
 * nothing to decide: the warp is flat, and what stands between two pieces of compiled code is this file's loop. Whatever
 * that does not know is the scheduler's, exec.c.
 */
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/exec.h"
#include "services/gpu-exec/ptx/jit.h"
#include "services/gpu-exec/ptx/lanes.h"

enum {
	FUEL = 1024, /* times round loops of a lane before the others have a turn */
	STEPS = 64,  /* instructions interpreted one by one before other lanes have a turn */
	GROUP_COST = 64,
};

uint8_t *jit_reach(struct warp *w, const struct insn *i, uint32_t lane, uint64_t at,
		   struct jit_site *site)
{
	unsigned bytes = type_bytes(i->type) * i->vec;
	bool write = i->op == OP_ST;
	uint8_t *p = mem_at(w, i, lane, i->space, at, bytes, write);
	struct range r;

	if (p && site && machine_range_find(w->grid->machine, at, bytes, &r)) {
		site->base = r.base;
		site->limit = r.size - bytes + 1;
	}
	return p;
}

/* For two, vectors are not worth it. */
static bool more_than_few(uint32_t lanes)
{
	lanes &= lanes - 1;
	return lanes & (lanes - 1);
}

/* The sites of this thread: empty when ranges have come or gone, or others have compiled meanwhile. */
static bool sites_renew(struct worker *k, uint64_t epoch, uint32_t count)
{
	free(k->sites);
	k->sites = calloc(count, sizeof(*k->sites));
	k->sites_count = count;
	k->sites_epoch = epoch;
	return k->sites != NULL;
}

static inline bool sites_ready(struct worker *k)
{
	uint64_t epoch = atomic_load_explicit(&k->grid->machine->ranges_epoch, memory_order_acquire);
	uint32_t count = atomic_load_explicit(&k->grid->module->jit->sites, memory_order_relaxed) + 1;

	return (k->sites && k->sites_epoch == epoch && k->sites_count >= count) || sites_renew(k, epoch, count);
}

/* An instruction that is not compiled, for all lanes that are there. */
static uint32_t interpret(struct warp *w, uint32_t mask)
{
	uint32_t done = group_run(w, mask, UINT32_MAX, 1);

	if (++w->worker->tick % STEPS)
		w->skip = 0; /* that was no long turn */
	return done;
}

/* Runs compiled code for each lane. The lanes that have stopped in a loop, or JIT_FAULT. */
static uint64_t lanes_run(struct warp *w, uint32_t mask, jit_fn *run, uint32_t pc,
			  struct jit_env *env)
{
	_Atomic(jit_fn *) *code = w->grid->module->jit->code;
	uint8_t *local = w->block->local;
	uint64_t stride = w->grid->local_bytes;
	uint32_t tired = 0;

	if (stride)
		local += (uint64_t)w->index * PTX_LANES * stride;
	FOR_LANES(mask, l)
	{
		uint64_t r;

		if (stride)
			env->local = local + l * stride;
		r = run(w, w->frame, l, pc, env);
		if (r & JIT_FAULT)
			return JIT_FAULT;
		w->pc[l] = (uint32_t)r;
		if (atomic_load_explicit(&code[(uint32_t)r], memory_order_relaxed) != jit_step)
			tired |= 1u << l;
	}
	return tired;
}

/* The same as a group; JIT_DIFFER in what it returns: nothing was done. */
static uint64_t wide_run(struct warp *w, uint32_t mask, jit_fn *run, uint32_t pc, struct jit_env *env)
{
	uint64_t r;

	env->local = w->block->local;
	if (w->grid->local_bytes)
		env->local += (uint64_t)w->index * PTX_LANES * w->grid->local_bytes;
	r = run(w, w->frame, mask, pc, env);
	if (r & (JIT_FAULT | JIT_DIFFER))
		return r;
	if (r & JIT_APART)
		return 0;
	group_store(w, mask, (uint32_t)r);
	return atomic_load_explicit(&w->grid->module->jit->wide[(uint32_t)r], memory_order_relaxed) != jit_step ? mask : 0;
}

/* What there is for lanes at @pc, or NULL. */
static jit_fn *lane_code(struct warp *w, uint32_t pc)
{
	_Atomic(jit_fn *) *code = w->grid->module->jit->code;

	if (!atomic_load_explicit(&code[pc], memory_order_acquire))
		jit_lane_compile(w->grid->module, pc);
	return atomic_load_explicit(&code[pc], memory_order_acquire);
}

/* One turn of compiled code. The lanes that stopped in a loop; JIT_FAULT; JIT_DIFFER: it is to be interpreted. */
static uint64_t turn(struct warp *w, uint32_t mask, uint32_t pc, struct jit_env *env)
{
	struct jit_module *j = w->grid->module->jit;
	jit_fn *wide = atomic_load_explicit(&j->wide[pc], memory_order_acquire);
	jit_fn *lane = atomic_load_explicit(&j->code[pc], memory_order_acquire);
	uint64_t r = JIT_DIFFER;

	if (wide == jit_step)
		return JIT_DIFFER;
	if (!sites_ready(w->worker))
		return JIT_DIFFER;
	env->sites = w->worker->sites;
	if (wide && !(lane && lane != jit_step && !more_than_few(mask)))
		r = wide_run(w, mask, wide, pc, env);
	if (r != JIT_DIFFER)
		return r;
	lane = lane_code(w, pc);
	if (lane == jit_step || !sites_ready(w->worker))
		return JIT_DIFFER;
	env->sites = w->worker->sites;
	return lanes_run(w, mask, lane, pc, env);
}

static void env_init(struct jit_env *e, const struct block *b)
{
	const struct grid *g = b->grid;

	e->shared = b->shared;
	e->params = g->params;
	e->shared_total = g->shared_total;
	e->local_bytes = g->local_bytes;
	e->failed = e->whole = e->row = 0;
	e->rows = g->launch->block[0] % PTX_LANES == 0 || (g->launch->block[1] == 1 && g->launch->block[2] == 1);
	memcpy(e->block, g->launch->block, sizeof(e->block));
	memcpy(e->grid, g->launch->grid, sizeof(e->grid));
	memcpy(e->ctaid, b->ctaid, sizeof(e->ctaid));
}

uint32_t jit_group_run(struct warp *w, uint32_t mask, uint32_t limit, uint32_t fuel)
{
	struct grid *g = w->grid;
	struct jit_module *j = g->module->jit;
	uint32_t first = (uint32_t)__builtin_ctz(mask), frame = w->group_frame, done = 0;
	struct jit_env own, *env = w->block->env;

	if (!env) {
		env_init(&own, w->block);
		env = &own;
	}
	/* While it is all that runs of the warp and stays together, it needs no scheduler. */
	do {
		uint32_t pc = w->pc[first];
		uint64_t tired;

		if (!atomic_load_explicit(&j->wide[pc], memory_order_acquire) &&
		    !atomic_load_explicit(&j->code[pc], memory_order_acquire))
			return done + group_run(w, mask, limit, fuel);
		env->group_local = w->group_local;
		env->limit = limit;
		env->whole = env->row = 0;
		env->fuel = FUEL;
		tired = turn(w, mask, pc, env);
		if (tired & JIT_FAULT)
			return done + 1;
		if (tired & JIT_DIFFER) {
			done += interpret(w, mask);
		} else {
			done += GROUP_COST;
			w->skip = (uint32_t)tired;
		}
	} while (done < fuel && !w->flat && !w->skip && !w->yielded && mask == w->in[LANE_RUN] && !w->recheck &&
		 frame == w->fb[first] && lanes_together(w, mask, first) &&
		 !atomic_load_explicit(&g->stop, memory_order_relaxed));
	return done;
}

/* ------------------------------------------------------------------------------ flat warps */

enum flat_next { FLAT_ON, FLAT_WAITS, FLAT_OVER, FLAT_APART };

/* What compiled code has stopped at. FLAT_APART: it is the scheduler's, nothing was done. */
static enum flat_next flat_stop(struct warp *w, const struct insn *i)
{
	uint32_t live = warp_live(w), m = live;

	if (i->guard != PTX_NONE)
		m &= pred_bits(w, i->guard, i->guard_neg);
	switch ((enum ptx_kind)i->kind) {
	case K_EXIT:
		if (m)
			lanes_exit(w, m);
		w->at++;
		return m == live ? FLAT_OVER : FLAT_ON;
	case K_BAR:
		if (m != live || !barrier_plain(w, i))
			return FLAT_APART;
		if (barrier_wait_flat(w, (uint8_t)*op_col(w, i->o[1])))
			barrier_try(w->block, w->flat_bar);
		return w->in[LANE_BAR] ? FLAT_WAITS : FLAT_ON;
	case K_SYNC:
		if (m && !sync_complete(w, i, m))
			return FLAT_APART;
		break;
	case K_PLAIN:
		break;
	default:
		return FLAT_APART;
	}
	if (m && i->run(w, i, m))
		return FLAT_OVER;
	w->at++;
	return FLAT_ON;
}

/* Its compiled code, up to where that stops. */
static enum flat_next flat_code(struct warp *w, jit_fn *run, struct jit_env *env)
{
	uint32_t live = warp_live(w);
	uint64_t r;

	env->group_local = w->group_local;
	env->limit = UINT32_MAX;
	env->fuel = FUEL;
	env->whole = w->whole;
	env->row = w->whole && env->rows && live == UINT32_MAX;
	env->local = w->block->local;
	if (w->grid->local_bytes)
		env->local += (uint64_t)w->index * PTX_LANES * w->grid->local_bytes;
	r = run(w, w->frame, live, w->at, env);
	if (r & JIT_FAULT)
		return FLAT_OVER;
	if (r & JIT_DIFFER)
		return FLAT_APART;
	if (r & JIT_APART) {
		uint32_t pc[PTX_LANES];

		memcpy(pc, w->pc, sizeof(pc));
		warp_spread(w);
		memcpy(w->pc, pc, sizeof(pc));
		return FLAT_APART;
	}
	w->at = (uint32_t)r;
	return FLAT_ON;
}

/* A turn of a warp whose lanes are together. What it has done; *scheduler: the rest is its. */
static uint32_t flat_run(struct warp *w, struct jit_env *env, bool *scheduler)
{
	struct jit_module *j = w->grid->module->jit;
	const struct insn *code = w->grid->module->code;
	enum flat_next next = FLAT_ON;
	uint32_t done = 0;

	while (next == FLAT_ON && done < WARP_TURN && !atomic_load_explicit(&w->grid->stop, memory_order_relaxed)) {
		jit_fn *run = atomic_load_explicit(&j->wide[w->at], memory_order_acquire);

		if (run == jit_step) {
			next = flat_stop(w, &code[w->at]);
			done++;
		} else if (run && more_than_few(warp_live(w)) && sites_ready(w->worker)) {
			env->sites = w->worker->sites;
			next = flat_code(w, run, env);
			done += GROUP_COST;
		} else {
			next = FLAT_APART;
		}
	}
	*scheduler = next == FLAT_APART;
	return done;
}

static bool warp_turn(struct warp *w, struct jit_env *env)
{
	uint32_t live = warp_live(w), done = 0;
	bool scheduler = true;

	if (!w->flat && live && w->in[LANE_RUN] == live) {
		uint32_t first = (uint32_t)__builtin_ctz(live);

		if (lanes_together(w, live, first)) {
			group_select(w, first);
			w->at = w->pc[first];
			w->skip = 0;
			w->flat = true;
		}
	}
	if (w->flat && w->in[LANE_RUN]) {
		w->yielded = false;
		done = flat_run(w, env, &scheduler);
		w->worker->instructions += done;
	}
	return (scheduler && warp_run(w)) || done;
}

bool jit_block_turn(struct block *b)
{
	struct jit_env env;
	bool did = false;

	env_init(&env, b);
	b->env = &env;
	for (uint32_t k = 0; k < b->warp_count && !atomic_load_explicit(&b->grid->stop, memory_order_relaxed); k++)
		if (b->warps[k].in[LANE_RUN] | b->warps[k].in[LANE_SYNC])
			did |= warp_turn(&b->warps[k], &env);
	b->env = NULL;
	return did;
}
