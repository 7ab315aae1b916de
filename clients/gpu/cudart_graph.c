/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: graphs. See cudart_graph.h. */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_graph.h"

pthread_mutex_t graph_lock = PTHREAD_MUTEX_INITIALIZER;

/* ------------------------------------------------------------------ nodes */

struct graph *graph_new(void)
{
	return calloc(1, sizeof(struct graph));
}

void graph_work_free(struct graph_work *w)
{
	if (w->kind == GRAPH_KERNEL)
		free(w->kernel.params);
	else if (w->kind == GRAPH_CHILD)
		graph_free(w->child);
	w->kind = GRAPH_EMPTY;
}

static struct graph *graph_clone(const struct graph *g, unsigned deep);

bool graph_work_clone(struct graph_work *to, const struct graph_work *from, unsigned deep)
{
	*to = *from;
	if (from->kind == GRAPH_KERNEL) {
		to->kernel.params = malloc(from->kernel.size + 1u);
		if (!to->kernel.params)
			return false;
		memcpy(to->kernel.params, from->kernel.params, from->kernel.size);
	} else if (from->kind == GRAPH_CHILD) {
		to->child = graph_clone(from->child, deep);
		return to->child != NULL;
	}
	return true;
}

static bool before_set(struct graph_node *n, struct graph_node *const *before, size_t count)
{
	free(n->before);
	n->before = count ? calloc(count, sizeof(struct graph_node *)) : NULL;
	n->before_count = n->before ? count : 0;
	if (n->before)
		memcpy(n->before, before, count * sizeof(struct graph_node *));
	return n->before_count == count;
}

static void node_free(struct graph_node *n)
{
	graph_work_free(&n->work);
	free(n->before);
	free(n);
}

struct graph_node *graph_add(struct graph *g, struct graph_node *const *before, size_t count, struct graph_work *w)
{
	struct graph_node *n = calloc(1, sizeof(*n));

	if (g->count == g->room) {
		size_t room = g->room ? 2 * g->room : 16;
		struct graph_node **p = realloc(g->nodes, room * sizeof(*p));

		if (p) {
			g->nodes = p;
			g->room = room;
		}
	}
	if (!n || g->count == g->room || !before_set(n, before, count)) {
		graph_work_free(w);
		free(n);
		return NULL;
	}
	n->graph = g;
	n->work = *w;
	n->index = g->count;
	g->nodes[g->count++] = n;
	return n;
}

void graph_free(struct graph *g)
{
	for (size_t k = 0; g && k < g->count; k++)
		node_free(g->nodes[k]);
	if (g)
		free(g->nodes);
	free(g);
}

static struct graph *graph_clone(const struct graph *g, unsigned deep)
{
	struct graph *c = deep < GRAPH_DEEP ? graph_new() : NULL;
	bool ok = c != NULL;

	for (size_t k = 0; ok && k < g->count; k++) {
		const struct graph_node *n = g->nodes[k];
		struct graph_work w;
		struct graph_node *m;

		ok = graph_work_clone(&w, &n->work, deep + 1);
		m = ok ? graph_add(c, NULL, 0, &w) : NULL;
		ok = m != NULL;
		if (ok) {
			m->original = n;
			m->disabled = n->disabled;
		}
	}
	for (size_t k = 0; ok && k < g->count; k++) {
		const struct graph_node *n = g->nodes[k];

		ok = before_set(c->nodes[k], n->before, n->before_count);
		for (size_t j = 0; ok && j < n->before_count; j++)
			c->nodes[k]->before[j] = c->nodes[n->before[j]->index];
	}
	if (ok)
		return c;
	graph_free(c);
	return NULL;
}

int graph_kernel(struct graph_work *w, struct rt_kernel *k, struct dim3 grid, struct dim3 block, void **args,
		 size_t shared, bool cooperative)
{
	const struct gpu_kernel *kernel;
	struct gpu *g;
	int rc = k ? order_gpu(&g) : GPUE_DEVICE_FUNCTION;

	if (!rc)
		rc = rt_kernel_get(g, k, &kernel);
	if (!rc && kernel->info.param_count && !args)
		rc = E_INVALID_VALUE;
	if (rc)
		return rc;
	*w = (struct graph_work){.kind = GRAPH_KERNEL};
	w->kernel.k = k;
	w->kernel.grid = grid;
	w->kernel.block = block;
	w->kernel.shared = shared;
	w->kernel.cooperative = cooperative;
	w->kernel.size = kernel->info.param_bytes;
	w->kernel.params = calloc(1, w->kernel.size + 1u);
	if (!w->kernel.params)
		return GPUE_MEMORY;
	for (unsigned i = 0; i < kernel->info.param_count; i++)
		memcpy(w->kernel.params + kernel->params[i][0], args[i], kernel->params[i][1]);
	return 0;
}

/* ------------------------------------------------------------------ making them by hand */

EXPORT cudaError_t cudaGraphCreate(struct graph **g, unsigned flags);
EXPORT cudaError_t cudaGraphCreate(struct graph **g, unsigned flags)
{
	if (!g || flags)
		return rt_set(E_INVALID_VALUE);
	*g = graph_new();
	return rt_set(*g ? 0 : GPUE_MEMORY);
}

EXPORT cudaError_t cudaGraphDestroy(struct graph *g);
EXPORT cudaError_t cudaGraphDestroy(struct graph *g)
{
	if (!g)
		return rt_set(E_INVALID_VALUE);
	pthread_mutex_lock(&graph_lock);
	graph_free(g);
	pthread_mutex_unlock(&graph_lock);
	return 0;
}

EXPORT cudaError_t cudaGraphClone(struct graph **clone, const struct graph *g);
EXPORT cudaError_t cudaGraphClone(struct graph **clone, const struct graph *g)
{
	if (!clone || !g)
		return rt_set(E_INVALID_VALUE);
	pthread_mutex_lock(&graph_lock);
	*clone = graph_clone(g, 0);
	pthread_mutex_unlock(&graph_lock);
	return rt_set(*clone ? 0 : GPUE_MEMORY);
}

EXPORT cudaError_t cudaGraphNodeFindInClone(struct graph_node **out, const struct graph_node *n, const struct graph *clone);
EXPORT cudaError_t cudaGraphNodeFindInClone(struct graph_node **out, const struct graph_node *n, const struct graph *clone)
{
	if (!out || !n || !clone)
		return rt_set(E_INVALID_VALUE);
	for (size_t k = 0; k < clone->count; k++)
		if (clone->nodes[k]->original == n) {
			*out = clone->nodes[k];
			return 0;
		}
	return rt_set(E_INVALID_VALUE);
}

/* The work is taken over; those before must be of the same graph. */
static int add(struct graph_node **out, struct graph *g, struct graph_node *const *before, size_t count,
	       struct graph_work *w)
{
	struct graph_node *n = NULL;
	int rc = out && g && (!count || before) ? 0 : E_INVALID_VALUE;

	pthread_mutex_lock(&graph_lock);
	for (size_t k = 0; !rc && k < count; k++)
		if (!before[k] || before[k]->graph != g)
			rc = E_INVALID_VALUE;
	if (rc) {
		graph_work_free(w);
	} else {
		n = graph_add(g, before, count, w);
		rc = n ? 0 : GPUE_MEMORY;
		*out = n;
	}
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

int graph_kernel_from(struct graph_work *w, const struct graph_kernel_params *p)
{
	if (!p)
		return E_INVALID_VALUE;
	if (p->extra)
		return GPUE_NOT_SUPPORTED;
	return graph_kernel(w, rt_kernel_find(p->function), p->grid, p->block, p->args, p->shared, false);
}

EXPORT cudaError_t cudaGraphAddKernelNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					  size_t count, const struct graph_kernel_params *p);
EXPORT cudaError_t cudaGraphAddKernelNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					  size_t count, const struct graph_kernel_params *p)
{
	struct graph_work w;
	int rc = graph_kernel_from(&w, p);

	return rt_set(rc ? rc : add(out, g, before, count, &w));
}

EXPORT cudaError_t cudaGraphAddMemcpyNode1D(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					    size_t count, void *to, const void *from, size_t size, int kind);
EXPORT cudaError_t cudaGraphAddMemcpyNode1D(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					    size_t count, void *to, const void *from, size_t size, int kind)
{
	struct graph_work w = {.kind = GRAPH_COPY, .copy = {to, from, size, size, size, 1, kind}};

	return rt_set(!to || !from ? E_INVALID_VALUE : add(out, g, before, count, &w));
}

int graph_fill_from(struct graph_work *w, const struct graph_fill_params *p)
{
	if (!p || !p->p || (p->element != 1 && p->element != 2 && p->element != 4))
		return E_INVALID_VALUE;
	*w = (struct graph_work){.kind = GRAPH_FILL,
				 .fill = {p->p, p->pitch, p->width, p->height, p->value, p->element}};
	return 0;
}

EXPORT cudaError_t cudaGraphAddMemsetNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					  size_t count, const struct graph_fill_params *p);
EXPORT cudaError_t cudaGraphAddMemsetNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					  size_t count, const struct graph_fill_params *p)
{
	struct graph_work w;
	int rc = graph_fill_from(&w, p);

	return rt_set(rc ? rc : add(out, g, before, count, &w));
}

EXPORT cudaError_t cudaGraphAddHostNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					size_t count, const struct graph_host_params *p);
EXPORT cudaError_t cudaGraphAddHostNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					size_t count, const struct graph_host_params *p)
{
	struct graph_work w = {.kind = GRAPH_HOST};

	if (!p || !p->function)
		return rt_set(E_INVALID_VALUE);
	w.host.function = p->function;
	w.host.user = p->user;
	return rt_set(add(out, g, before, count, &w));
}

EXPORT cudaError_t cudaGraphAddChildGraphNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					      size_t count, struct graph *child);
EXPORT cudaError_t cudaGraphAddChildGraphNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					      size_t count, struct graph *child)
{
	struct graph_work w = {.kind = GRAPH_CHILD};

	if (!child || child == g)
		return rt_set(E_INVALID_VALUE);
	pthread_mutex_lock(&graph_lock);
	w.child = graph_clone(child, 0);
	pthread_mutex_unlock(&graph_lock);
	return rt_set(w.child ? add(out, g, before, count, &w) : GPUE_MEMORY);
}

static cudaError_t add_event(struct graph_node **out, struct graph *g, struct graph_node *const *before, size_t count,
			     enum graph_kind kind, cudaEvent_t ev)
{
	struct graph_work w = {.kind = kind, .event = ev};

	return rt_set(ev ? add(out, g, before, count, &w) : E_INVALID_VALUE);
}

EXPORT cudaError_t cudaGraphAddEmptyNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					 size_t count);
EXPORT cudaError_t cudaGraphAddEmptyNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					 size_t count)
{
	struct graph_work w = {.kind = GRAPH_EMPTY};

	return rt_set(add(out, g, before, count, &w));
}

EXPORT cudaError_t cudaGraphAddEventRecordNode(struct graph_node **out, struct graph *g,
					       struct graph_node *const *before, size_t count, cudaEvent_t ev);
EXPORT cudaError_t cudaGraphAddEventRecordNode(struct graph_node **out, struct graph *g,
					       struct graph_node *const *before, size_t count, cudaEvent_t ev)
{
	return add_event(out, g, before, count, GRAPH_RECORD, ev);
}

EXPORT cudaError_t cudaGraphAddEventWaitNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					     size_t count, cudaEvent_t ev);
EXPORT cudaError_t cudaGraphAddEventWaitNode(struct graph_node **out, struct graph *g, struct graph_node *const *before,
					     size_t count, cudaEvent_t ev)
{
	return add_event(out, g, before, count, GRAPH_WAIT, ev);
}

static cudaError_t depend(struct graph *g, struct graph_node *const *from, struct graph_node *const *to, size_t n)
{
	int rc = g && (!n || (from && to)) ? 0 : E_INVALID_VALUE;

	pthread_mutex_lock(&graph_lock);
	for (size_t k = 0; !rc && k < n; k++) {
		struct graph_node **p;

		if (!from[k] || !to[k] || from[k]->graph != g || to[k]->graph != g || from[k] == to[k]) {
			rc = E_INVALID_VALUE;
			break;
		}
		p = realloc(to[k]->before, (to[k]->before_count + 1) * sizeof(*p));
		if (!p) {
			rc = GPUE_MEMORY;
			break;
		}
		to[k]->before = p;
		p[to[k]->before_count++] = from[k];
	}
	pthread_mutex_unlock(&graph_lock);
	return rt_set(rc);
}

/* ------------------------------------------------------------------ looking at them */

EXPORT cudaError_t cudaGraphGetNodes(const struct graph *g, struct graph_node **nodes, size_t *count);
EXPORT cudaError_t cudaGraphGetNodes(const struct graph *g, struct graph_node **nodes, size_t *count)
{
	if (!g || !count)
		return rt_set(E_INVALID_VALUE);
	for (size_t k = 0; nodes && k < *count; k++)
		nodes[k] = k < g->count ? g->nodes[k] : NULL;
	if (!nodes || *count > g->count)
		*count = g->count;
	return 0;
}

EXPORT cudaError_t cudaGraphGetRootNodes(const struct graph *g, struct graph_node **nodes, size_t *count);
EXPORT cudaError_t cudaGraphGetRootNodes(const struct graph *g, struct graph_node **nodes, size_t *count)
{
	size_t n = 0;

	if (!g || !count)
		return rt_set(E_INVALID_VALUE);
	for (size_t k = 0; k < g->count; k++) {
		if (g->nodes[k]->before_count)
			continue;
		if (nodes && n < *count)
			nodes[n] = g->nodes[k];
		n++;
	}
	if (!nodes || *count > n)
		*count = n;
	return 0;
}

static cudaError_t edges(const struct graph *g, struct graph_node **from, struct graph_node **to, size_t *count)
{
	size_t n = 0;

	if (!g || !count || (!from) != (!to))
		return rt_set(E_INVALID_VALUE);
	for (size_t k = 0; k < g->count; k++)
		for (size_t j = 0; j < g->nodes[k]->before_count; j++, n++)
			if (from && n < *count) {
				from[n] = g->nodes[k]->before[j];
				to[n] = g->nodes[k];
			}
	if (!from || *count > n)
		*count = n;
	return 0;
}

static cudaError_t before_get(const struct graph_node *n, struct graph_node **out, size_t *count)
{
	if (!n || !count)
		return rt_set(E_INVALID_VALUE);
	for (size_t k = 0; out && k < *count; k++)
		out[k] = k < n->before_count ? n->before[k] : NULL;
	if (!out || *count > n->before_count)
		*count = n->before_count;
	return 0;
}

#if CUDART_MAJOR == 12
EXPORT cudaError_t cudaGraphAddDependencies(struct graph *g, struct graph_node *const *from, struct graph_node *const *to,
					    size_t n);
EXPORT cudaError_t cudaGraphAddDependencies(struct graph *g, struct graph_node *const *from, struct graph_node *const *to,
					    size_t n)
{
	return depend(g, from, to, n);
}

EXPORT cudaError_t cudaGraphGetEdges(const struct graph *g, struct graph_node **from, struct graph_node **to, size_t *n);
EXPORT cudaError_t cudaGraphGetEdges(const struct graph *g, struct graph_node **from, struct graph_node **to, size_t *n)
{
	return edges(g, from, to, n);
}

EXPORT cudaError_t cudaGraphNodeGetDependencies(const struct graph_node *node, struct graph_node **out, size_t *n);
EXPORT cudaError_t cudaGraphNodeGetDependencies(const struct graph_node *node, struct graph_node **out, size_t *n)
{
	return before_get(node, out, n);
}
#else
struct edge {
	unsigned char from_port, to_port, type, reserved[5];
};

EXPORT cudaError_t cudaGraphAddDependencies(struct graph *g, struct graph_node *const *from, struct graph_node *const *to,
					    const struct edge *data, size_t n);
EXPORT cudaError_t cudaGraphAddDependencies(struct graph *g, struct graph_node *const *from, struct graph_node *const *to,
					    const struct edge *data, size_t n)
{
	for (size_t k = 0; data && k < n; k++)
		if (data[k].from_port || data[k].to_port || data[k].type)
			return rt_set(GPUE_NOT_SUPPORTED);
	return depend(g, from, to, n);
}

EXPORT cudaError_t cudaGraphGetEdges(const struct graph *g, struct graph_node **from, struct graph_node **to,
				     struct edge *data, size_t *n);
EXPORT cudaError_t cudaGraphGetEdges(const struct graph *g, struct graph_node **from, struct graph_node **to,
				     struct edge *data, size_t *n)
{
	if (data && n)
		memset(data, 0, *n * sizeof(*data));
	return edges(g, from, to, n);
}

EXPORT cudaError_t cudaGraphNodeGetDependencies(const struct graph_node *node, struct graph_node **out, struct edge *data,
						size_t *n);
EXPORT cudaError_t cudaGraphNodeGetDependencies(const struct graph_node *node, struct graph_node **out, struct edge *data,
						size_t *n)
{
	if (data && n)
		memset(data, 0, *n * sizeof(*data));
	return before_get(node, out, n);
}
#endif

EXPORT cudaError_t cudaGraphNodeGetType(const struct graph_node *n, int *type);
EXPORT cudaError_t cudaGraphNodeGetType(const struct graph_node *n, int *type)
{
	if (!n || !type)
		return rt_set(E_INVALID_VALUE);
	*type = (int)n->work.kind;
	return 0;
}
