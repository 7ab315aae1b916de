/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles functions when they are first launched, and runs groups by compiled code. See jit.h. */
#include "services/gpu-exec/ptx/jit.h"

#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "services/gpu-exec/ptx/exec.h"

enum {
	FUEL = 1024, /* times round loops of a lane before the others have a turn */
	STEPS = 64,  /* instructions interpreted one by one before other lanes have a turn */
	GROUP_COST = 64,
	WIDE_MAX = 600, /* instructions of a function that is compiled for groups */
	FEW = 2,	/* lanes for which vectors are not worth it */
};

/*
 * How well a function is compiled, by the instructions it has: what LLVM does grows faster than they
 * do. A kernel of CUB's with 3,600 instructions takes 7 s at the first level and 1.5 s at the last.
 */
static const struct level {
	uint32_t instructions; /* up to so many */
	LLVMCodeGenOptLevel codegen;
	const char *passes;
} levels[] = {
	{600, LLVMCodeGenLevelDefault,
	 "function(mem2reg,early-cse<memssa>,simplifycfg,instcombine,loop-mssa(licm),gvn,simplifycfg,"
	 "instcombine,dse,adce)"},
	{1500, LLVMCodeGenLevelLess,
	 "function(mem2reg,early-cse<memssa>,simplifycfg,instcombine,loop-mssa(licm),simplifycfg,adce)"},
	{UINT32_MAX, LLVMCodeGenLevelNone, "function(mem2reg,early-cse,simplifycfg,instcombine,adce)"},
};
enum { LEVELS = sizeof(levels) / sizeof(levels[0]) };

/*
 * Of a module. `code` has, by instruction: the function to enter by, NULL where nothing was
 * compiled, STEP inside compiled functions where no lane enters.
 */
struct jit_module {
	struct {
		LLVMOrcLLJITRef lljit; /* made when it is wanted */
		LLVMTargetMachineRef target;
	} at[LEVELS];
	_Atomic(jit_fn *) *code; /* for one lane */
	_Atomic(jit_fn *) *wide; /* for a group */
	_Atomic uint32_t sites;
	unsigned functions;
};

/* In place of code where there is none but the rest of the function is compiled. */
static uint64_t step(struct warp *w, uint64_t *frame, uint32_t lane, uint32_t pc,
		     struct jit_env *env)
{
	(void)w;
	(void)frame;
	(void)lane;
	(void)env;
	return pc;
}

/* ------------------------------------------------------------------------------ compiling */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool allowed; /* to have memory with code in it */

static void targets_begin(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	allowed = page != MAP_FAILED;
	if (!allowed)
		return;
	munmap(page, 4096);
	LLVMInitializeNativeTarget();
	LLVMInitializeNativeAsmPrinter();
}

const char *jit_name(void)
{
	static char name[32];
	unsigned major, minor, patch;

	pthread_once(&once, targets_begin);
	LLVMGetVersion(&major, &minor, &patch);
	snprintf(name, sizeof(name), "llvm %u.%u.%u", major, minor, patch);
	return allowed ? name : NULL;
}

/* True if there was none. */
static bool ok(LLVMErrorRef error)
{
	if (!error)
		return true;
	LLVMConsumeError(error);
	return false;
}

static LLVMTargetMachineRef target_new(LLVMCodeGenOptLevel level)
{
	char *triple = LLVMGetDefaultTargetTriple(), *cpu = LLVMGetHostCPUName(), *error = NULL,
	     *features = LLVMGetHostCPUFeatures();
	LLVMTargetMachineRef machine = NULL;
	LLVMTargetRef target;

	if (!LLVMGetTargetFromTriple(triple, &target, &error))
		machine = LLVMCreateTargetMachine(target, triple, cpu, features, level, LLVMRelocPIC,
						  LLVMCodeModelJITDefault);
	LLVMDisposeMessage(error);
	LLVMDisposeMessage(triple);
	LLVMDisposeMessage(cpu);
	LLVMDisposeMessage(features);
	return machine;
}

static void module_free(struct jit_module *j)
{
	if (!j)
		return;
	for (unsigned k = 0; k < LEVELS; k++) {
		if (j->at[k].lljit)
			ok(LLVMOrcDisposeLLJIT(j->at[k].lljit));
		if (j->at[k].target)
			LLVMDisposeTargetMachine(j->at[k].target);
	}
	free(j->code);
	free(j->wide);
	free(j);
}

static struct jit_module *module_new(struct ptx_module *m)
{
	struct jit_module *j;

	pthread_once(&once, targets_begin);
	if (!allowed)
		return NULL;
	j = calloc(1, sizeof(*j));
	if (!j)
		return NULL;
	j->code = calloc(m->code_count, sizeof(*j->code));
	j->wide = calloc(m->code_count, sizeof(*j->wide));
	if (!j->code || !j->wide) {
		module_free(j);
		return NULL;
	}
	return j;
}

static bool level_ready(struct jit_module *j, unsigned n)
{
	LLVMOrcLLJITBuilderRef builder;
	LLVMOrcDefinitionGeneratorRef process;
	LLVMTargetMachineRef target;
	LLVMOrcLLJITRef lljit;

	if (j->at[n].lljit)
		return true;
	if (!j->at[n].target)
		j->at[n].target = target_new(levels[n].codegen);
	target = target_new(levels[n].codegen);
	if (!j->at[n].target || !target) {
		if (target)
			LLVMDisposeTargetMachine(target);
		return false;
	}
	builder = LLVMOrcCreateLLJITBuilder();
	LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(
		builder, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(target)); /* it has taken it */
	if (!ok(LLVMOrcCreateLLJIT(&lljit, builder)))
		return false;
	/* fmaf and its like, where the processor has none */
	if (!ok(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
		    &process, LLVMOrcLLJITGetGlobalPrefix(lljit), NULL, NULL))) {
		ok(LLVMOrcDisposeLLJIT(lljit));
		return false;
	}
	LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(lljit), process);
	j->at[n].lljit = lljit;
	return true;
}

/* ATOLL_PTX_VERIFY in the environment: LLVM checks what it is given, after each pass too. */
static bool optimize(struct jit_module *j, unsigned level, LLVMModuleRef module)
{
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	bool good;

	if (getenv("ATOLL_PTX_VERIFY"))
		LLVMPassBuilderOptionsSetVerifyEach(options, true);
	good = ok(LLVMRunPasses(module, levels[level].passes, j->at[level].target, options));
	LLVMDisposePassBuilderOptions(options);
	return good;
}

static jit_fn *code_make(struct jit_module *j, struct jit_emit *e)
{
	LLVMOrcThreadSafeContextRef context;
	LLVMOrcExecutorAddress at = 0;
	LLVMOrcLLJITRef lljit;
	LLVMTargetDataRef layout;
	unsigned level = 0;
	char name[32];
	int rc;

	while (e->flow.end - e->flow.first > levels[level].instructions)
		level++;
	if (!level_ready(j, level))
		return NULL;
	lljit = j->at[level].lljit;
	layout = LLVMCreateTargetDataLayout(j->at[level].target);
	context = LLVMOrcCreateNewThreadSafeContext();
	snprintf(name, sizeof(name), "f%u", j->functions++);
	e->context = LLVMOrcThreadSafeContextGetContext(context);
	e->module = LLVMModuleCreateWithNameInContext(name, e->context);
	LLVMSetModuleDataLayout(e->module, layout);
	LLVMDisposeTargetData(layout);
	LLVMSetTarget(e->module, LLVMOrcLLJITGetTripleString(lljit));
	e->sites = j->sites;
	rc = jit_emit_function(e, name);
	if (!rc && getenv("ATOLL_PTX_VERIFY"))
		LLVMVerifyModule(e->module, LLVMAbortProcessAction, NULL);
	if (!rc && optimize(j, level, e->module)) {
		LLVMOrcThreadSafeModuleRef module =
			LLVMOrcCreateNewThreadSafeModule(e->module, context);

		if (ok(LLVMOrcLLJITAddLLVMIRModule(lljit, LLVMOrcLLJITGetMainJITDylib(lljit), module)) &&
		    ok(LLVMOrcLLJITLookup(lljit, &at, name)))
			j->sites = e->sites;
		else
			at = 0;
	} else {
		LLVMDisposeModule(e->module);
	}
	LLVMOrcDisposeThreadSafeContext(context);
	return (jit_fn *)(uintptr_t)at;
}

/* @f itself; what it calls is a matter of its own. */
static bool form_compile(struct jit_module *j, const struct ptx_function *f, bool wide)
{
	_Atomic(jit_fn *) *table = wide ? j->wide : j->code;
	struct jit_emit e = {.wide = wide};
	jit_fn *code = NULL;

	if (atomic_load_explicit(&table[f->first], memory_order_acquire))
		return true;
	if (flow_make(&e.flow, f, wide) == 0)
		code = code_make(j, &e);
	for (uint32_t pc = f->first; code && pc < f->end; pc++) {
		uint32_t n = e.flow.block_at[pc - f->first];
		bool entry = n != UINT32_MAX && e.flow.blocks[n].entry;

		atomic_store_explicit(&table[pc], entry ? code : step, memory_order_release);
	}
	flow_free(&e.flow);
	return code != NULL;
}

static bool compiled(const struct jit_module *j, const struct ptx_function *f)
{
	return atomic_load_explicit(&j->wide[f->first], memory_order_acquire) ||
	       atomic_load_explicit(&j->code[f->first], memory_order_acquire);
}

/* For groups, unless that would take too long: vectors are several times as much code. */
static bool function_compile(struct jit_module *j, const struct ptx_function *f, bool groups)
{
	if (groups && f->end - f->first <= WIDE_MAX && form_compile(j, f, true))
		return true;
	return compiled(j, f) || form_compile(j, f, false);
}

static void reach_compile(struct jit_module *j, const struct ptx_function *f, bool groups, unsigned depth)
{
	for (unsigned k = 0; depth && k < f->callee_count; k++) {
		const struct ptx_function *callee = f->callees[k];

		if (!callee->defined || callee->builtin ||
		    atomic_load_explicit(&(groups ? j->wide : j->code)[callee->first], memory_order_relaxed))
			continue;
		if (function_compile(j, callee, groups))
			reach_compile(j, callee, groups, depth - 1);
	}
}

/* The form for one lane of the function at @pc, when a group's does not do. Where there is none, STEP. */
static void lane_compile(struct ptx_module *m, uint32_t pc)
{
	const struct ptx_function *f = function_at(m, pc);

	pthread_mutex_lock(&m->jit_lock);
	if (!form_compile(m->jit, f, false))
		for (uint32_t k = f->first; k < f->end; k++)
			atomic_store_explicit(&m->jit->code[k], step, memory_order_release);
	pthread_mutex_unlock(&m->jit_lock);
}

bool jit_prepare(struct ptx_module *m, const struct ptx_function *f, bool groups)
{
	bool can;

	pthread_mutex_lock(&m->jit_lock);
	if (!m->jit_tried) {
		m->jit_tried = true;
		m->jit = module_new(m);
	}
	can = m->jit && function_compile(m->jit, f, groups);
	if (can)
		reach_compile(m->jit, f, groups, 16);
	pthread_mutex_unlock(&m->jit_lock);
	return can;
}

bool jit_ready(struct ptx_module *m, const struct ptx_function *f)
{
	bool is;

	pthread_mutex_lock(&m->jit_lock);
	is = m->jit && compiled(m->jit, f);
	pthread_mutex_unlock(&m->jit_lock);
	return is;
}

void jit_release(struct ptx_module *m)
{
	module_free(m->jit);
	m->jit = NULL;
}

/* ------------------------------------------------------------------------------ running */

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

/* The sites of this thread: empty when ranges have come or gone, or others have compiled meanwhile. */
static bool sites_ready(struct worker *k)
{
	uint64_t epoch =
		atomic_load_explicit(&k->grid->machine->ranges_epoch, memory_order_acquire);
	uint32_t count = atomic_load_explicit(&k->grid->module->jit->sites, memory_order_relaxed) + 1;

	if (k->sites && k->sites_epoch == epoch && k->sites_count >= count)
		return true;
	free(k->sites);
	k->sites = calloc(count, sizeof(*k->sites));
	k->sites_count = count;
	k->sites_epoch = epoch;
	return k->sites != NULL;
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
		if (atomic_load_explicit(&code[(uint32_t)r], memory_order_relaxed) != step)
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
	return atomic_load_explicit(&w->grid->module->jit->wide[(uint32_t)r], memory_order_relaxed) != step ? mask : 0;
}

/* What there is for lanes at @pc, or NULL. */
static jit_fn *lane_code(struct warp *w, uint32_t pc)
{
	_Atomic(jit_fn *) *code = w->grid->module->jit->code;

	if (!atomic_load_explicit(&code[pc], memory_order_acquire))
		lane_compile(w->grid->module, pc);
	return atomic_load_explicit(&code[pc], memory_order_acquire);
}

/* One turn of compiled code. The lanes that stopped in a loop; JIT_FAULT; JIT_DIFFER: it is to be interpreted. */
static uint64_t turn(struct warp *w, uint32_t mask, uint32_t pc, struct jit_env *env)
{
	struct jit_module *j = w->grid->module->jit;
	jit_fn *wide = atomic_load_explicit(&j->wide[pc], memory_order_acquire);
	jit_fn *lane = atomic_load_explicit(&j->code[pc], memory_order_acquire);
	uint64_t r = JIT_DIFFER;

	if (wide == step)
		return JIT_DIFFER;
	if (!sites_ready(w->worker))
		return JIT_DIFFER;
	env->sites = w->worker->sites;
	if (wide && !(lane && lane != step && (unsigned)__builtin_popcount(mask) <= FEW))
		r = wide_run(w, mask, wide, pc, env);
	if (r != JIT_DIFFER)
		return r;
	lane = lane_code(w, pc);
	if (lane == step || !sites_ready(w->worker))
		return JIT_DIFFER;
	env->sites = w->worker->sites;
	return lanes_run(w, mask, lane, pc, env);
}

uint32_t jit_group_run(struct warp *w, uint32_t mask, uint32_t limit, uint32_t fuel)
{
	struct grid *g = w->grid;
	struct jit_module *j = g->module->jit;
	uint32_t first = (uint32_t)__builtin_ctz(mask), frame = w->group_frame, done = 0;
	struct jit_env env = {.shared = w->block->shared,
			      .params = g->params,
			      .shared_total = g->shared_total,
			      .local_bytes = g->local_bytes,
			      .group_local = w->group_local,
			      .limit = limit,
			      .fuel = FUEL};

	memcpy(env.block, g->launch->block, sizeof(env.block));
	memcpy(env.grid, g->launch->grid, sizeof(env.grid));
	memcpy(env.ctaid, w->block->ctaid, sizeof(env.ctaid));
	/* While it is all that runs of the warp and stays together, it needs no scheduler. */
	do {
		uint32_t pc = w->pc[first];
		uint64_t tired;

		if (!atomic_load_explicit(&j->wide[pc], memory_order_acquire) &&
		    !atomic_load_explicit(&j->code[pc], memory_order_acquire))
			return done + group_run(w, mask, limit, fuel);
		tired = turn(w, mask, pc, &env);
		if (tired & JIT_FAULT)
			return done + 1;
		if (tired & JIT_DIFFER) {
			done += interpret(w, mask);
		} else {
			done += GROUP_COST;
			w->skip = (uint32_t)tired;
		}
	} while (done < fuel && !w->skip && !w->yielded && mask == w->in[LANE_RUN] && !w->recheck &&
		 frame == w->fb[first] && lanes_together(w, mask, first) &&
		 !atomic_load_explicit(&g->stop, memory_order_relaxed));
	return done;
}
