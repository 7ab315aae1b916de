/* SPDX-License-Identifier: Apache-2.0 */
/* Warps: which lanes run, where they meet, calls, barriers. See internal.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/exec.h"
#include "services/gpu-exec/ptx/lanes.h"

#define TURN		2048u	    /* instructions of a group before other lanes of its warp */
#define FRAME_STACK_MAX (1u << 16) /* registers of all frames of a lane */

int warp_fault(struct warp *w, const struct insn *i, uint32_t l, int code, uint64_t address,
	       const char *format, ...)
{
	struct grid *g = w->grid;
	struct ptx_fault *f = &g->fault;

	pthread_mutex_lock(&g->lock);
	if (f->code == 0) {
		int n;
		va_list args;

		f->code = code;
		f->address = address;
		f->line = i ? i->line : 0;
		for (unsigned k = 0; k < 3; k++) {
			f->block[k] = w->block->ctaid[k];
			f->thread[k] = w->tid[k][l];
		}
		n = snprintf(f->text, sizeof(f->text),
			     "Kernel %.120s, block (%u,%u,%u), thread (%u,%u,%u), line %u: ",
			     g->function->info.name, f->block[0], f->block[1], f->block[2],
			     f->thread[0], f->thread[1], f->thread[2], f->line);
		va_start(args, format);
		vsnprintf(f->text + n, sizeof(f->text) - (size_t)n, format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&g->lock);
	atomic_store(&g->stop, 1);
	return 1;
}

/* ------------------------------------------------------------------------------ groups */

void group_select(struct warp *w, uint32_t l)
{
	w->group_frame = w->fb[l];
	w->group_local = w->lb[l];
	w->frame = w->regs + (size_t)w->fb[l] * PTX_LANES;
}

static void lanes_to(struct warp *w, uint32_t mask, enum lane_state state)
{
	for (unsigned k = 0; k < LANE_STATES; k++)
		w->in[k] &= ~mask;
	w->in[state] |= mask;
}

void warp_spread(struct warp *w)
{
	if (!w->flat)
		return;
	w->flat = w->whole = false;
	group_store(w, UINT32_MAX, w->at);
	for (uint32_t l = 0; l < PTX_LANES; l++) {
		w->fb[l] = w->group_frame;
		w->lb[l] = w->group_local;
	}
	memset(w->bar, w->flat_bar, sizeof(w->bar));
}

/* The group that runs next, out of @lanes: deepest frame, then lowest place. */
static uint32_t group_pick(struct warp *w, uint32_t lanes, uint32_t *limit)
{
	uint32_t best = (uint32_t)__builtin_ctz(lanes), mask = 0;

	*limit = UINT32_MAX;
	if (lanes_together(w, lanes, best)) {
		group_select(w, best);
		return lanes;
	}
	FOR_LANES(lanes, l)
	if (w->fb[l] > w->fb[best] || (w->fb[l] == w->fb[best] && w->pc[l] < w->pc[best]))
		best = l;
	FOR_LANES(lanes, l)
	{
		if (w->fb[l] != w->fb[best] || w->lb[l] != w->lb[best])
			continue;
		if (w->pc[l] == w->pc[best])
			mask |= 1u << l;
		else if (w->pc[l] < *limit)
			*limit = w->pc[l];
	}
	group_select(w, best);
	return mask;
}


/* ------------------------------------------------------------------------------ member masks */

/* Of lanes that wait: those at the place of @first with the same members. */
static uint32_t sync_peers(struct warp *w, uint32_t waiting, uint32_t first, uint32_t members)
{
	const struct insn *code = w->grid->module->code;
	uint32_t m = 0;

	FOR_LANES(waiting, l)
	{
		const struct insn *i = &code[w->pc[l]];
		bool same = w->pc[l] == w->pc[first] && w->fb[l] == w->fb[first];

		if (!same && !(i->sub == SYNC_ONLY && code[w->pc[first]].sub == SYNC_ONLY))
			continue;
		if ((uint32_t)(i->o[5] >= 0 ? w->regs[((size_t)w->fb[l] + (size_t)i->o[5]) *
							      PTX_LANES + l]
					    : op_col(w, i->o[5])[l]) == members)
			m |= 1u << l;
	}
	return m;
}

bool sync_complete(const struct warp *w, const struct insn *i, uint32_t m)
{
	uint32_t live = warp_live(w), wrong = 0;
	const uint64_t *members;

	if (i->o[5] == PTX_NONE)
		return true;
	members = op_col(w, i->o[5]);
	FOR_LANES(m, l)
	wrong |= ((uint32_t)members[l] & live) ^ m;
	return wrong == 0;
}

/* Lets go the lanes whose members are all there; with @force, the first group in any case. */
int sync_release(struct warp *w, bool force)
{
	uint32_t waiting = w->in[LANE_SYNC], left = waiting;

	while (left) {
		uint32_t first = (uint32_t)__builtin_ctz(left), members, peers, needed, same = 0;
		const struct insn *i = &w->grid->module->code[w->pc[first]];

		group_select(w, first);
		members = (uint32_t)op_col(w, i->o[5])[first];
		peers = sync_peers(w, waiting, first, members);
		needed = members & w->present & ~w->exited;
		left &= ~peers & ~(1u << first);
		if ((needed & ~peers) && !force)
			continue;
		force = false;
		peers |= 1u << first;
		FOR_LANES(peers, l)
		same |= (uint32_t)(w->pc[l] == w->pc[first] && w->fb[l] == w->fb[first]) << l;
		if (i->run(w, i, same))
			return 1;
		lanes_to(w, peers, LANE_RUN);
		FOR_LANES(peers, l)
		w->pc[l]++;
		waiting &= ~peers;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ barriers */

static bool barrier_complete(const struct block *b, const struct barrier *r, uint32_t id)
{
	uint32_t n = r->arrived;

	if (r->waiting == 0)
		return false;
	if (r->expected == 0)
		return r->waiting >= b->live;
	for (uint32_t k = 0; k < b->warp_count; k++) { /* whole warps count as 32 */
		const struct warp *w = &b->warps[k];
		uint32_t here = 0, live = w->present & ~w->exited;

		if (w->flat)
			here = w->flat_bar == id ? (uint32_t)__builtin_popcount(w->in[LANE_BAR]) : 0;
		else
			FOR_LANES(live, l)
			here += (w->in[LANE_BAR] >> l & 1) && w->bar[l] == id;
		n += here && here == (uint32_t)__builtin_popcount(live) ? PTX_LANES : here;
	}
	return n >= r->expected;
}

void barrier_try(struct block *b, uint32_t id)
{
	struct barrier *r = &b->barriers[id];

	if (!barrier_complete(b, r, id))
		return;
	for (uint32_t k = 0; k < b->warp_count; k++) {
		struct warp *w = &b->warps[k];
		uint32_t waiting = w->in[LANE_BAR];

		if (w->flat) {
			if (waiting && w->flat_bar == id) {
				w->in[LANE_BAR] = 0;
				w->in[LANE_RUN] = waiting;
				w->at++;
			}
			continue;
		}
		FOR_LANES(waiting, l)
		{
			const struct insn *i = &b->grid->module->code[w->pc[l]];
			uint64_t *d;

			if (w->bar[l] != id)
				continue;
			d = w->regs + ((size_t)w->fb[l] + (size_t)(i->o[0] < 0 ? 0 : i->o[0])) *
					      PTX_LANES;
			if (i->sub == BAR_POPC)
				d[l] = r->count_true;
			else if (i->sub == BAR_AND || i->sub == BAR_OR)
				*d = (*d & ~(UINT64_C(1) << l)) |
				     (uint64_t)(i->sub == BAR_AND ? r->all_true : r->count_true > 0)
					     << l;
			lanes_to(w, 1u << l, LANE_RUN);
			w->pc[l]++;
		}
	}
	*r = (struct barrier){.all_true = true};
}

static int barrier_arrive(struct warp *w, const struct insn *i, uint32_t mask)
{
	struct block *b = w->block;
	uint32_t t = i->sub >= BAR_POPC ? pred_bits(w, i->o[3], i->neg & 1) & mask : 0;

	if (mask == warp_live(w) && barrier_plain(w, i)) { /* what nearly all are */
		w->at = w->pc[__builtin_ctz(mask)];
		w->flat = true;
		if (barrier_wait_flat(w, (uint8_t)*op_col(w, i->o[1])))
			barrier_try(b, w->flat_bar);
		return 0;
	}
	FOR_LANES(mask, l)
	{
		uint64_t id = (uint32_t)op_col(w, i->o[1])[l];
		uint32_t count = i->o[2] == PTX_NONE ? 0 : (uint32_t)op_col(w, i->o[2])[l];
		struct barrier *r;

		if (id >= PTX_BARRIERS)
			return warp_fault(w, i, l, PTX_ERR_LAUNCH_FAILED, 0,
					  "There is no barrier %llu.", (unsigned long long)id);
		r = &b->barriers[id];
		r->expected = count;
		if (i->sub == BAR_ARRIVE) {
			r->arrived++;
			w->pc[l]++;
		} else {
			r->waiting++;
			r->count_true += t >> l & 1;
			r->all_true = r->all_true && (i->sub < BAR_POPC || (t >> l & 1));
			lanes_to(w, 1u << l, LANE_BAR);
			w->bar[l] = (uint8_t)id;
		}
	}
	if (i->o[1] < 0) { /* the same for all */
		barrier_try(b, (uint32_t)*op_col(w, i->o[1]));
		return 0;
	}
	FOR_LANES(mask, l)
	barrier_try(b, (uint32_t)op_col(w, i->o[1])[l]);
	return 0;
}

/* ------------------------------------------------------------------------------ calls */

static int frames_grow(struct warp *w, uint64_t need)
{
	uint64_t room = w->frames_room * 2 > need ? w->frames_room * 2 : need;
	uint64_t *regs;

	if (need > FRAME_STACK_MAX)
		return 1;
	regs = realloc(w->regs, room * PTX_LANES * sizeof(*regs));
	if (!regs)
		return 1;
	memset(regs + w->frames_room * PTX_LANES, 0,
	       (room - w->frames_room) * PTX_LANES * sizeof(*regs));
	w->regs = regs;
	w->frames_room = room;
	w->frame = regs + (size_t)w->group_frame * PTX_LANES;
	return 0;
}

static uint8_t *frame_of(const struct warp *w, uint32_t l, uint32_t lb)
{
	return w->block->local + ((uint64_t)w->index * PTX_LANES + l) * w->grid->local_bytes + lb;
}

static int call_enter(struct warp *w, const struct insn *i, uint32_t lanes,
		      const struct ptx_function *f, uint32_t pc)
{
	const struct call_site *site = i->ref;
	const struct ptx_function *caller = (const void *)i->x;
	uint32_t first = (uint32_t)__builtin_ctz(lanes);
	uint32_t fb = w->group_frame + caller->registers;
	uint32_t lb = w->group_local + caller->frame_bytes;
	uint64_t *base;

	if ((uint64_t)lb + f->frame_bytes > w->grid->local_bytes ||
	    (fb + (uint64_t)f->registers > w->frames_room &&
	     frames_grow(w, fb + (uint64_t)f->registers)))
		return warp_fault(w, i, first, PTX_ERR_LAUNCH_FAILED, 0,
				  "The stack of a thread is full in a call of %.100s.",
				  f->info.name);
	base = w->regs + (size_t)fb * PTX_LANES;
	FOR_LANES(lanes, l)
	{
		base[HIDDEN_RETURN_PC * PTX_LANES + l] = pc;
		base[HIDDEN_CALLER_FRAME * PTX_LANES + l] = w->group_frame;
		base[HIDDEN_CALLER_LOCAL * PTX_LANES + l] = w->group_local;
		for (unsigned k = 0; k < site->arg_count; k++) {
			const struct call_arg *a = &site->args[k];
			const struct formal *n = &f->formals[k];
			uint8_t *to = frame_of(w, l, lb) + n->offset;
			const uint8_t *from = frame_of(w, l, w->group_local) + a->from;
			uint64_t v = 0;

			if (!n->in_reg && a->reg == PTX_NONE) {
				memcpy(to, from, n->size);
				continue;
			}
			if (a->reg == PTX_NONE)
				memcpy(&v, from, n->size < 8 ? n->size : 8);
			else
				v = op_col(w, a->reg)[l];
			if (!n->in_reg)
				memcpy(to, &v, n->size < 8 ? n->size : 8);
			else if (n->type == T_PRED)
				base[(size_t)n->reg * PTX_LANES] =
					(base[(size_t)n->reg * PTX_LANES] & ~(UINT64_C(1) << l)) |
					(op_col(w, a->reg)[0] & UINT64_C(1) << l);
			else
				base[(size_t)n->reg * PTX_LANES + l] = v;
		}
		w->fb[l] = fb;
		w->lb[l] = lb;
		w->pc[l] = f->first;
	}
	return 0;
}

static void call_leave(struct warp *w, uint32_t mask, const struct ptx_function *f)
{
	const struct insn *code = w->grid->module->code;

	FOR_LANES(mask, l)
	{
		uint64_t *base = w->frame;
		uint32_t pc = (uint32_t)base[HIDDEN_RETURN_PC * PTX_LANES + l];
		uint32_t fb = (uint32_t)base[HIDDEN_CALLER_FRAME * PTX_LANES + l];
		uint32_t lb = (uint32_t)base[HIDDEN_CALLER_LOCAL * PTX_LANES + l];
		const struct call_site *site = code[pc].ref;
		uint64_t *caller = w->regs + (size_t)fb * PTX_LANES;

		for (unsigned k = 0; k < site->ret_count && k < f->result_count; k++) {
			const struct call_arg *a = &site->rets[k];
			const struct formal *n = &f->results[k];
			const uint8_t *from = frame_of(w, l, w->group_local) + n->offset;
			uint8_t *to = frame_of(w, l, lb) + a->from;
			uint64_t v = 0;

			if (a->size == 0)
				continue;
			if (!n->in_reg && a->reg == PTX_NONE) {
				memcpy(to, from, n->size);
				continue;
			}
			if (n->in_reg && n->type == T_PRED) {
				v = base[(size_t)n->reg * PTX_LANES] >> l & 1;
				caller[(size_t)a->reg * PTX_LANES] =
					(caller[(size_t)a->reg * PTX_LANES] & ~(UINT64_C(1) << l)) |
					v << l;
				continue;
			}
			if (n->in_reg)
				v = base[(size_t)n->reg * PTX_LANES + l];
			else
				memcpy(&v, from, n->size < 8 ? n->size : 8);
			if (a->reg == PTX_NONE)
				memcpy(to, &v, n->size < 8 ? n->size : 8);
			else
				caller[(size_t)a->reg * PTX_LANES + l] = v;
		}
		w->pc[l] = pc + 1;
		w->fb[l] = fb;
		w->lb[l] = lb;
	}
}

static bool shapes_match(const struct call_site *s, const struct ptx_function *f)
{
	if (s->arg_count != f->formal_count || s->ret_count > f->result_count)
		return false;
	for (unsigned k = 0; k < s->arg_count; k++)
		if (s->args[k].size != f->formals[k].size)
			return false;
	for (unsigned k = 0; k < s->ret_count; k++)
		if (s->rets[k].size && s->rets[k].size != f->results[k].size)
			return false;
	return true;
}

static int call_indirect(struct warp *w, const struct insn *i, uint32_t mask, uint32_t pc)
{
	const struct ptx_module *m = w->grid->module;
	const uint64_t *target = op_col(w, i->o[0]);

	while (mask) {
		uint32_t first = (uint32_t)__builtin_ctz(mask), same = 0;
		uint64_t at = target[first] - (uint64_t)(uintptr_t)m->handles;
		const struct ptx_function *f;

		if (at >= m->function_count || !m->function_list[at]->defined ||
		    m->function_list[at]->info.entry || !shapes_match(i->ref, m->function_list[at]))
			return warp_fault(w, i, first, PTX_ERR_INVALID_PC, target[first],
					  "A call through 0x%llx, which is no function of this "
					  "shape.",
					  (unsigned long long)target[first]);
		f = m->function_list[at];
		FOR_LANES(mask, l)
		same |= (uint32_t)(target[l] == target[first]) << l;
		if (call_enter(w, i, same, f, pc))
			return 1;
		/* Frames of the same size that other lanes of this group entered are apart by pc. */
		mask &= ~same;
		target = op_col(w, i->o[0]);
	}
	return 0;
}

void lanes_exit(struct warp *w, uint32_t mask)
{
	lanes_to(w, mask, LANE_EXIT);
	w->exited |= mask;
	w->block->live -= (uint32_t)__builtin_popcount(mask);
	w->block->recheck = true;
	w->recheck = true;
}

/* ------------------------------------------------------------------------------ a warp's turn */

const struct ptx_function *function_at(const struct ptx_module *m, uint32_t pc)
{
	unsigned low = 0, high = m->defined_count;

	while (high - low > 1) {
		unsigned mid = (low + high) / 2;

		if (m->by_code[mid]->first <= pc)
			low = mid;
		else
			high = mid;
	}
	return m->by_code[low];
}

/* Carries out the instruction at @pc that is not plain. 0: the group goes on at *next. */
static int control(struct warp *w, const struct insn *i, uint32_t pc, uint32_t mask, uint32_t m,
		   uint32_t *next)
{
	uint32_t off = mask & ~m;

	switch ((enum ptx_kind)i->kind) {
	case K_BRA:
		if (off == 0 || m == 0) {
			*next = m ? i->target : pc + 1;
			return 0;
		}
		group_store(w, m, i->target);
		group_store(w, off, pc + 1);
		return 1;
	case K_BRX: {
		const struct branch_table *t = i->ref;

		group_store(w, off, pc + 1);
		FOR_LANES(m, l)
		{
			uint32_t k = (uint32_t)op_col(w, i->o[0])[l];

			if (k >= t->count)
				return warp_fault(w, i, l, PTX_ERR_INVALID_PC, 0,
						  "A branch to label %u of %u.", k, t->count);
			w->pc[l] = t->targets[k];
		}
		return 1;
	}
	case K_CALL: {
		const struct call_site *site = i->ref;

		if (m == 0)
			break;
		if (site->callee->builtin) {
			if (builtin_call(w, i, m)) {
				return 1;
			}
			break;
		}
		group_store(w, off, pc + 1);
		call_enter(w, i, m, site->callee, pc);
		return 1;
	}
	case K_CALLI:
		if (m == 0)
			break;
		group_store(w, off, pc + 1);
		call_indirect(w, i, m, pc);
		return 1;
	case K_RET:
		if (m == 0)
			break;
		group_store(w, off, pc + 1);
		call_leave(w, m, function_at(w->grid->module, pc));
		return 1;
	case K_EXIT:
		if (m == 0)
			break;
		group_store(w, off, pc + 1);
		lanes_exit(w, m);
		return 1;
	case K_SYNC:
		if (m == 0)
			break;
		if (sync_complete(w, i, m)) {
			if (i->run(w, i, m))
				return 1;
			break;
		}
		group_store(w, off, pc + 1);
		group_store(w, m, pc);
		lanes_to(w, m, LANE_SYNC);
		sync_release(w, false);
		return 1;
	case K_BAR:
		if (m == 0)
			break;
		group_store(w, off, pc + 1);
		group_store(w, m, pc);
		barrier_arrive(w, i, m);
		return 1;
	case K_YIELD:
		if (m == 0)
			break;
		group_store(w, mask, pc + 1);
		w->yielded = true;
		w->skip = mask;
		return 1;
	case K_PLAIN:
		break;
	}
	*next = pc + 1;
	return 0;
}

/* Runs one group until it splits, meets others, waits, or had its turn. */
uint32_t group_run(struct warp *w, uint32_t mask, uint32_t limit, uint32_t fuel)
{
	const struct insn *code = w->grid->module->code;
	uint32_t pc = w->pc[__builtin_ctz(mask)], start = fuel, entry = pc;

	while (fuel) {
		const struct insn *i = &code[pc];
		uint32_t m = mask;

		if (pc >= limit && entry < limit) /* others are there: together from here */
			break;
		fuel--;
		if (i->guard != PTX_NONE)
			m &= pred_bits(w, i->guard, i->guard_neg);
		if (i->kind == K_PLAIN) {
			if (m && i->run(w, i, m))
				return start - fuel;
			pc++;
			continue;
		}
		if (control(w, i, pc, mask, m, &pc))
			return start - fuel;
	}
	group_store(w, mask, pc);
	if (fuel == 0)
		w->skip = mask;
	return start - fuel;
}

/* Interpreting it has cost about as much as compiling it will. */
static void compile_late(struct grid *g)
{
	bool can = jit_prepare(g->module, g->function, false);

	atomic_store(&g->jit, can ? GRID_COMPILED : GRID_INTERPRETED);
}

bool warp_run(struct warp *w)
{
	uint32_t fuel = WARP_TURN, done = 0;

	w->yielded = false;
	if (!w->in[LANE_RUN] && !w->in[LANE_SYNC])
		return false;
	while (done < fuel && !atomic_load_explicit(&w->grid->stop, memory_order_relaxed)) {
		uint32_t run = w->in[LANE_RUN], limit, mask;

		warp_spread(w);
		if (w->recheck) {
			w->recheck = false;
			sync_release(w, false);
			run = w->in[LANE_RUN];
		}
		if (run == 0) {
			if (w->in[LANE_SYNC] == 0)
				break;
			/* Nobody else will come: those who wait for others do not wait for ever. */
			if (w->in[LANE_BAR])
				break;
			sync_release(w, true);
			done++;
			continue;
		}
		if (run & ~w->skip)
			run &= ~w->skip;
		w->skip = 0;
		mask = group_pick(w, run, &limit);
		if (atomic_load_explicit(&w->grid->jit, memory_order_acquire) == GRID_COMPILED)
			done += jit_group_run(w, mask, limit, TURN);
		else
			done += group_run(w, mask, limit, TURN);
		if (w->yielded)
			break;
	}
	w->worker->instructions += done;
	if (atomic_load_explicit(&w->grid->jit, memory_order_relaxed) == GRID_LATER &&
	    w->worker->instructions >= w->grid->jit_at)
		compile_late(w->grid);
	return done > 0;
}
