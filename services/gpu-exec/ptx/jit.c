/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles functions when they are first launched, or have run for long. See jit.h. */
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
	WIDE_MAX = 600, /* instructions of a function that is compiled for groups */
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
_Static_assert(sizeof(levels) / sizeof(levels[0]) == JIT_LEVELS, "as many compilers");

uint64_t jit_step(struct warp *w, uint64_t *frame, uint32_t lane, uint32_t pc, struct jit_env *env)
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
	for (unsigned k = 0; k < JIT_LEVELS; k++) {
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

		atomic_store_explicit(&table[pc], entry ? code : jit_step, memory_order_release);
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

void jit_lane_compile(struct ptx_module *m, uint32_t pc)
{
	const struct ptx_function *f = function_at(m, pc);

	pthread_mutex_lock(&m->jit_lock);
	if (!form_compile(m->jit, f, false))
		for (uint32_t k = f->first; k < f->end; k++)
			atomic_store_explicit(&m->jit->code[k], jit_step, memory_order_release);
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
