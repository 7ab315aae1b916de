/* SPDX-License-Identifier: Apache-2.0 */
/* Modules: reading the texts, linking what they refer to, placing variables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "services/gpu-exec/ptx/exec.h"
#include "services/gpu-exec/ptx/parse.h"

#define CHUNK	     (256u << 10)
#define ARENA_MAX    (UINT64_C(4) << 30)
#define DEPTH_MAX    200u
#define RECURSION_STACK (16u << 10) /* of a thread, where calls may nest without a known end */

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
};

void *arena_alloc(struct arena *a, size_t size)
{
	size_t head = (sizeof(struct arena_chunk) + 15) & ~(size_t)15;
	void *p;

	if (size > ARENA_MAX)
		return NULL;
	size = (size + 15) & ~(size_t)15;
	if (!a->chunks || a->chunks->size - a->used < size) {
		size_t room = size > CHUNK / 2 ? size : CHUNK;
		struct arena_chunk *c;

		if (a->total + room > ARENA_MAX)
			return NULL;
		c = calloc(1, head + room);
		if (!c)
			return NULL;
		a->total += room;
		c->next = a->chunks;
		c->size = head + room;
		a->chunks = c;
		a->used = head;
	}
	p = (char *)a->chunks + a->used;
	a->used += size;
	return p;
}

void arena_free(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *next = a->chunks->next;

		free(a->chunks);
		a->chunks = next;
	}
}

/* ------------------------------------------------------------------------------ functions */

static void functions_list(struct parser *p)
{
	struct ptx_module *m = p->m;
	unsigned n = 0;

	for (struct ptx_function *f = m->functions; f; f = f->next)
		m->function_count++;
	m->function_list = parse_alloc(p, (m->function_count + 1) * sizeof(*m->function_list));
	m->by_code = parse_alloc(p, (m->function_count + 1) * sizeof(*m->by_code));
	m->handles = calloc(m->function_count + 1, 1);
	if (!m->handles)
		parse_fail(p, PTX_ERR_MEMORY, 0, "No memory for a module this large.");
	for (struct ptx_function *f = m->functions; f; f = f->next) {
		f->info.address = (uint64_t)(uintptr_t)&m->handles[n];
		if (!f->defined)
			f->builtin = builtin_find(f->info.name);
		m->function_list[n++] = f;
	}
	for (n = 0; n < m->function_count; n++) {
		struct ptx_function *f = m->function_list[n];
		unsigned at = m->defined_count;

		if (!f->defined)
			continue;
		while (at > 0 && m->by_code[at - 1]->first > f->first) {
			m->by_code[at] = m->by_code[at - 1];
			at--;
		}
		m->by_code[at] = f;
		m->defined_count++;
	}
}

/* A function that calls one that cannot run cannot, either: until nothing changes. */
static void refusals_spread(struct ptx_module *m)
{
	for (bool more = true; more;) {
		more = false;
		for (unsigned n = 0; n < m->function_count; n++) {
			struct ptx_function *f = m->function_list[n];

			for (unsigned k = 0; k < f->callee_count && !f->refused; k++) {
				f->refused = f->callees[k]->refused;
				more |= f->refused != NULL;
			}
		}
	}
}

static void calls_check(struct parser *p)
{
	struct ptx_module *m = p->m;

	for (uint32_t n = 0; n < m->code_count; n++) {
		const struct insn *i = &m->code[n];
		const struct call_site *s = i->ref;
		const struct ptx_function *f;

		if (i->kind != K_CALL)
			continue;
		f = s->callee;
		p->source = ((const struct ptx_function *)(const void *)i->x)->source;
		if (!f->defined && f->builtin == BUILTIN_NONE)
			parse_fail(p, PTX_ERR_SYMBOL_MISSING, i->line,
				   "The function %.200s is called and nowhere defined.",
				   f->info.name);
		if (f->info.entry)
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, i->line,
				   "The kernel %.200s is called as a function.", f->info.name);
		if (s->arg_count != f->formal_count || s->ret_count > f->result_count)
			parse_fail(p, PTX_ERR_INVALID_PTX, i->line,
				   "%.200s is defined with other parameters than it is called with.",
				   f->info.name);
		for (unsigned k = 0; k < s->arg_count; k++)
			if (s->args[k].size != f->formals[k].size)
				parse_fail(p, PTX_ERR_INVALID_PTX, i->line,
					   "Parameter %u of %.200s has another size where it is "
					   "defined.",
					   k + 1, f->info.name);
		for (unsigned k = 0; k < s->ret_count; k++)
			if (s->rets[k].size && s->rets[k].size != f->results[k].size)
				parse_fail(p, PTX_ERR_INVALID_PTX, i->line,
					   "The result of %.200s has another size where it is "
					   "defined.",
					   f->info.name);
	}
}

/* Local memory of the longest chain of calls; *open: there may be longer ones. */
static uint64_t stack_depth(struct ptx_function *f, unsigned depth, bool *open, unsigned *steps)
{
	uint64_t most = 0;

	if (f->mark || depth > DEPTH_MAX || ++*steps > 100000) {
		*open = true;
		return 0;
	}
	if (f->calls_indirect)
		*open = true;
	f->mark = 1;
	for (unsigned k = 0; k < f->callee_count; k++) {
		uint64_t n = stack_depth(f->callees[k], depth + 1, open, steps);

		if (n > most)
			most = n;
	}
	f->mark = 0;
	return most + f->frame_bytes;
}

static bool reaches_shared(struct ptx_function *f, unsigned depth, unsigned *steps)
{
	if (f->uses_common_shared || f->calls_indirect || depth > DEPTH_MAX || ++*steps > 100000)
		return true;
	if (f->mark)
		return false;
	f->mark = 1;
	for (unsigned k = 0; k < f->callee_count; k++)
		if (reaches_shared(f->callees[k], depth + 1, steps)) {
			f->mark = 0;
			return true;
		}
	f->mark = 0;
	return false;
}

/* ------------------------------------------------------------------------------ variables */

static uint64_t align_up(uint64_t v, uint64_t align)
{
	return align > 1 ? (v + align - 1) & ~(align - 1) : v;
}

/*
 * Shared variables of one kernel lie in its own area; those that device functions or several
 * kernels use lie in front, at the same place for all that reach them.
 */
static void shared_place(struct parser *p)
{
	struct ptx_module *m = p->m;
	bool common = false;

	for (struct constant_reloc *r = m->constant_relocs; r; r = r->next) {
		struct variable *v = r->symbol->var;

		if (r->symbol->kind != SYM_VAR || v->space != SP_SHARED || !r->user)
			continue;
		if (v->first_user && v->first_user != r->user)
			v->used_by_many = true;
		v->first_user = r->user;
	}
	for (struct variable *v = m->variables; v; v = v->next) {
		if (v->space != SP_SHARED || v->dynamic_shared || !v->first_user)
			continue;
		if (!v->used_by_many && v->first_user->info.entry) {
			v->owner = v->first_user;
			continue;
		}
		v->common_shared = common = true;
		v->offset = m->common_shared = align_up(m->common_shared, v->align);
		m->common_shared += v->size;
	}
	for (struct constant_reloc *r = m->constant_relocs; r; r = r->next)
		if (r->symbol->kind == SYM_VAR && r->symbol->var->common_shared && r->user)
			r->user->uses_common_shared = true;
	for (unsigned n = 0; n < m->function_count; n++) {
		struct ptx_function *f = m->function_list[n];
		unsigned steps = 0;

		if (f->defined && f->info.entry && common && reaches_shared(f, 0, &steps))
			f->shared_end = m->common_shared;
	}
	for (struct variable *v = m->variables; v; v = v->next) {
		if (v->space != SP_SHARED || v->common_shared || !v->owner || v->dynamic_shared ||
		    !v->first_user)
			continue;
		v->offset = v->owner->shared_end = align_up(v->owner->shared_end, v->align);
		v->owner->shared_end += v->size;
	}
	for (unsigned n = 0; n < m->function_count; n++) {
		struct ptx_function *f = m->function_list[n];

		if (f->shared_end > UINT32_MAX / 2)
			parse_fail(p, PTX_ERR_INVALID_PTX, f->line,
				   "The kernel %.200s needs more shared memory than there is.",
				   f->info.name);
		f->info.shared_bytes = (uint32_t)f->shared_end;
	}
}

static void memory_get(struct parser *p)
{
	struct ptx_module *m = p->m;
	const struct ptx_machine_config *c = &m->machine->config;

	if (m->memory_size == 0)
		return;
	m->memory_size = align_up(m->memory_size, 4096);
	if (c->alloc)
		m->memory = c->alloc(c->user, m->memory_size, 4096);
	else
		m->memory = mmap(NULL, m->memory_size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!c->alloc && m->memory == MAP_FAILED)
		m->memory = NULL;
	if (!m->memory || ptx_range_add(m->machine, m->memory, m->memory_size, 0))
		parse_fail(p, PTX_ERR_MEMORY, 0, "No memory for %llu bytes of variables.",
			   (unsigned long long)m->memory_size);
	m->memory_added = true;
}

static void variables_place(struct parser *p)
{
	struct ptx_module *m = p->m;
	unsigned n = 0;

	for (unsigned pass = 0; pass < 2; pass++)
		for (struct variable *v = m->variables; v; v = v->next) {
			bool constant = v->space == SP_CONST;

			if ((!constant && v->space != SP_GLOBAL) || !v->defined ||
			    constant != (pass == 1))
				continue;
			m->memory_size = align_up(m->memory_size, v->align < 16 ? 16 : v->align);
			v->offset = m->memory_size;
			m->memory_size += v->size ? v->size : 1;
			m->variable_count++;
			if (m->memory_size > UINT64_C(1) << 40)
				parse_fail(p, PTX_ERR_MEMORY, v->line, "Variables are over 1 TiB.");
			if (constant)
				m->const_bytes += (uint32_t)v->size;
		}
	memory_get(p);
	m->variable_list = parse_alloc(p, (m->variable_count + 1) * sizeof(*m->variable_list));
	for (struct variable *v = m->variables; v; v = v->next) {
		if ((v->space != SP_CONST && v->space != SP_GLOBAL) || !v->defined)
			continue;
		v->address = m->memory + v->offset;
		if (v->init)
			memcpy(v->address, v->init, v->size);
		m->variable_list[n++] = (struct ptx_variable){v->name, v->address, v->size, v->align,
							      v->constant};
	}
}

static uint64_t symbol_value(struct parser *p, const struct symbol *s, int64_t addend, uint32_t line)
{
	if (s->kind == SYM_FUNC)
		return s->func->info.address;
	if (!s->var->defined)
		parse_fail(p, PTX_ERR_SYMBOL_MISSING, line,
			   "The variable %.200s is used and nowhere defined.", s->name);
	if (s->var->space == SP_SHARED)
		return s->var->offset + (uint64_t)addend;
	return (uint64_t)(uintptr_t)s->var->address + (uint64_t)addend;
}

static void relocate(struct parser *p)
{
	struct ptx_module *m = p->m;

	for (struct variable *v = m->variables; v; v = v->next)
		for (struct reloc *r = v->address ? v->relocs : NULL; r; r = r->next) {
			uint64_t value;

			p->source = v->source;
			value = symbol_value(p, r->symbol, r->addend, v->line) >> r->shift;
			memcpy(v->address + r->at, &value, r->bytes);
		}
	for (struct constant_reloc *r = m->constant_relocs; r; r = r->next) {
		p->source = r->source;
		m->constants[r->constant] = symbol_value(p, r->symbol, r->addend, r->line);
	}
	m->columns = aligned_alloc(64, ((size_t)m->constant_count + 1) * PTX_LANES * 8);
	if (!m->columns)
		parse_fail(p, PTX_ERR_MEMORY, 0, "No memory for constants.");
	for (uint32_t c = 0; c < m->constant_count; c++)
		for (unsigned l = 0; l < PTX_LANES; l++)
			m->columns[(size_t)c * PTX_LANES + l] = m->constants[c];
}

/*
 * PTX names each value anew, a GPU would share registers between them: few of the many are alive at a
 * time. Whatever it is, a block that the kernel was compiled for fits a multiprocessor: programs divide by
 * how many fit.
 */
static uint32_t registers_guess(const struct ptx_function *f)
{
	enum { ALL = 65536, FEW = 32, SHARED_BY = 16, LEAST = 16, MOST = 255, GRAIN = 8 };
	uint32_t n = f->registers < FEW ? f->registers : FEW + (f->registers - FEW) / SHARED_BY;
	uint32_t threads = (f->info.max_threads + PTX_LANES - 1) / PTX_LANES * PTX_LANES;
	uint32_t most = ALL / threads;

	if (f->info.min_blocks > 1 && f->info.min_blocks < most / LEAST)
		most /= f->info.min_blocks;
	most = most / GRAIN * GRAIN;
	most = most > MOST ? MOST : most;
	n = (n + GRAIN - 1) / GRAIN * GRAIN;
	return n < LEAST ? LEAST : n > most ? most : n;
}

static void functions_finish(struct parser *p)
{
	struct ptx_module *m = p->m;

	for (unsigned n = 0; n < m->function_count; n++) {
		struct ptx_function *f = m->function_list[n];

		if (f->defined && f->has_calls && f->frame_bytes == 0)
			f->frame_bytes = 16; /* so that no recursion is free */
	}
	for (unsigned n = 0; n < m->function_count; n++) {
		struct ptx_function *f = m->function_list[n];
		bool open = false;
		unsigned steps = 0;
		uint64_t local, stack = m->machine->config.stack_bytes;

		if (!f->defined)
			continue;
		local = stack_depth(f, 0, &open, &steps);
		if (open)
			local += stack > RECURSION_STACK ? stack : RECURSION_STACK;
		if (local > UINT32_MAX / 4)
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, f->line,
				   "A thread of %.200s needs over a gigabyte.", f->info.name);
		f->info.local_bytes = (uint32_t)((local + 15) & ~UINT64_C(15));
		f->info.const_bytes = m->const_bytes;
		f->info.registers = registers_guess(f);
	}
}

/* ------------------------------------------------------------------------------ load */

void ptx_module_unload(struct ptx_module *m)
{
	if (!m)
		return;
	jit_release(m);
	if (m->memory_added)
		ptx_range_remove(m->machine, m->memory);
	if (m->memory) {
		if (m->machine->config.alloc) {
			if (m->machine->config.free)
				m->machine->config.free(m->machine->config.user, m->memory,
							m->memory_size);
		} else {
			munmap(m->memory, m->memory_size);
		}
	}
	pthread_mutex_destroy(&m->jit_lock);
	free(m->code);
	free(m->constants);
	free(m->constant_index);
	free(m->columns);
	free(m->handles);
	arena_free(&m->arena);
	free(m);
}

static void load_all(struct parser *p, const struct ptx_source *sources, unsigned count)
{
	struct scope *base = parse_alloc(p, sizeof(*base));

	p->buckets = parse_alloc(p, SYMBOL_BUCKETS * sizeof(*p->buckets));
	base->id = p->scope_count++;
	p->link_scope = base;
	p->scope = base;
	for (unsigned n = 0; n < count; n++)
		parse_text(p, &sources[n], n);
	functions_list(p);
	refusals_spread(p->m);
	calls_check(p);
	shared_place(p);
	variables_place(p);
	relocate(p);
	functions_finish(p);
}

int ptx_module_load(struct ptx_machine *machine, const struct ptx_source *sources, unsigned count,
		    struct ptx_module **module, struct ptx_error *error)
{
	struct parser *p = calloc(1, sizeof(*p));
	struct ptx_module *m = calloc(1, sizeof(*m));
	int rc;

	*module = NULL;
	if (error)
		memset(error, 0, sizeof(*error));
	if (!p || !m || count == 0) {
		free(p);
		free(m);
		return count ? PTX_ERR_MEMORY : PTX_ERR_INVALID_VALUE;
	}
	m->machine = machine;
	m->function_tail = &m->functions;
	m->variable_tail = &m->variables;
	pthread_mutex_init(&m->jit_lock, NULL);
	p->m = m;
	p->error = error;
	rc = setjmp(p->fail);
	if (rc == 0) {
		load_all(p, sources, count);
		*module = m;
	} else {
		ptx_module_unload(m);
	}
	free(p);
	return rc;
}

unsigned ptx_module_function_count(const struct ptx_module *m)
{
	return m->defined_count;
}

const struct ptx_function *ptx_module_function(const struct ptx_module *m, unsigned index)
{
	return index < m->defined_count ? m->by_code[index] : NULL;
}

const struct ptx_function *ptx_module_function_find(const struct ptx_module *m, const char *name)
{
	for (unsigned n = 0; n < m->defined_count; n++)
		if (strcmp(m->by_code[n]->info.name, name) == 0)
			return m->by_code[n];
	return NULL;
}

int ptx_function_refused(const struct ptx_function *f, struct ptx_error *error)
{
	const struct refusal *r = f->refused;

	if (!r)
		return PTX_OK;
	if (error) {
		*error = (struct ptx_error){.code = PTX_ERR_NOT_SUPPORTED, .source = r->source, .line = r->line};
		if (r->function == f)
			snprintf(error->text, sizeof(error->text), "%.300s", r->text);
		else
			snprintf(error->text, sizeof(error->text), "It calls %.80s. %.300s", r->function->info.name,
				 r->text);
	}
	return PTX_ERR_NOT_SUPPORTED;
}

const struct ptx_function_info *ptx_function_info(const struct ptx_function *f)
{
	return &f->info;
}

unsigned ptx_module_variable_count(const struct ptx_module *m)
{
	return m->variable_count;
}

const struct ptx_variable *ptx_module_variable(const struct ptx_module *m, unsigned index)
{
	return index < m->variable_count ? &m->variable_list[index] : NULL;
}

const struct ptx_variable *ptx_module_variable_find(const struct ptx_module *m, const char *name)
{
	for (unsigned n = 0; n < m->variable_count; n++)
		if (strcmp(m->variable_list[n].name, name) == 0)
			return &m->variable_list[n];
	return NULL;
}
