/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: instances of graphs. See cudart_graph.h. */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_graph.h"

enum { /* cudaGraphExecUpdateResult */
	UPDATE_OK = 0,
	UPDATE_TOPOLOGY = 2,
	UPDATE_TYPE = 3,
	UPDATE_FUNCTION = 4,
};

struct graph_exec {
	struct step {
		struct graph_work work;
		const struct graph_node *node;
		size_t *before, before_count; /* by index of the graph, not of the order */
		bool disabled;
	} *steps;
	size_t count, room;
};

static void exec_free(struct graph_exec *e)
{
	for (size_t k = 0; e && k < e->count; k++) {
		graph_work_free(&e->steps[k].work);
		free(e->steps[k].before);
	}
	if (e)
		free(e->steps);
	free(e);
}

static int step_add(struct graph_exec *e, const struct graph_node *n, bool top)
{
	struct step *s;

	if (e->count == e->room) {
		size_t room = e->room ? 2 * e->room : 16;
		struct step *p = realloc(e->steps, room * sizeof(*p));

		if (!p)
			return GPUE_MEMORY;
		e->steps = p;
		e->room = room;
	}
	s = &e->steps[e->count];
	*s = (struct step){.node = top ? n : NULL, .disabled = n->disabled};
	if (!graph_work_clone(&s->work, &n->work, 0))
		return GPUE_MEMORY;
	e->count++;
	s->before = calloc(n->before_count + 1, sizeof(*s->before));
	if (!s->before)
		return GPUE_MEMORY;
	for (size_t k = 0; k < n->before_count; k++)
		s->before[s->before_count++] = n->before[k]->index;
	return 0;
}

/* Its nodes in an order that suits, those of graphs within it in their place. 1: there is a circle. */
static int steps_add(struct graph_exec *e, const struct graph *g, unsigned deep)
{
	bool *done = calloc(g->count + 1, sizeof(*done)), more = true;
	size_t left = g->count;
	int rc = !done ? GPUE_MEMORY : deep < GRAPH_DEEP ? 0 : E_INVALID_VALUE;

	while (left && more && !rc) {
		more = false;
		for (size_t k = 0; k < g->count && !rc; k++) {
			const struct graph_node *n = g->nodes[k];
			bool ready = !done[k];

			for (size_t j = 0; ready && j < n->before_count; j++)
				ready = done[n->before[j]->index];
			if (!ready)
				continue;
			rc = n->work.kind == GRAPH_CHILD ? steps_add(e, n->work.child, deep + 1)
							 : step_add(e, n, deep == 0);
			done[k] = more = true;
			left--;
		}
	}
	free(done);
	return rc ? rc : left ? E_INVALID_VALUE : 0;
}

static int exec_new(const struct graph *g, struct graph_exec **out)
{
	struct graph_exec *e = calloc(1, sizeof(*e));
	int rc;

	*out = NULL;
	if (!e)
		return GPUE_MEMORY;
	pthread_mutex_lock(&graph_lock);
	rc = steps_add(e, g, 0);
	if (rc)
		exec_free(e);
	else
		*out = e;
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

enum { FLAGS_KNOWN = 1 | 2 | 8 }; /* free on launch, upload, use node priority: nothing to do for them */

EXPORT cudaError_t cudaGraphInstantiate(struct graph_exec **e, struct graph *g, unsigned long long flags);
EXPORT cudaError_t cudaGraphInstantiate(struct graph_exec **e, struct graph *g, unsigned long long flags)
{
	if (!e || !g)
		return rt_set(E_INVALID_VALUE);
	if (flags & ~(unsigned long long)FLAGS_KNOWN)
		return rt_set(GPUE_NOT_SUPPORTED); /* launched from a device */
	return rt_set(exec_new(g, e));
}

EXPORT cudaError_t cudaGraphInstantiateWithFlags(struct graph_exec **e, struct graph *g, unsigned long long flags);
EXPORT cudaError_t cudaGraphInstantiateWithFlags(struct graph_exec **e, struct graph *g, unsigned long long flags)
{
	return cudaGraphInstantiate(e, g, flags);
}

EXPORT cudaError_t cudaGraphExecDestroy(struct graph_exec *e);
EXPORT cudaError_t cudaGraphExecDestroy(struct graph_exec *e)
{
	if (!e)
		return rt_set(E_INVALID_VALUE);
	pthread_mutex_lock(&graph_lock);
	exec_free(e);
	pthread_mutex_unlock(&graph_lock);
	return 0;
}

static int run(const struct graph_work *w, cudaStream_t s)
{
	int rc = 0;

	switch (w->kind) {
	case GRAPH_KERNEL:
		return graph_kernel_run(w, s);
	case GRAPH_COPY:
		return rt_copy_rows(w->copy.to, w->copy.to_pitch, w->copy.from, w->copy.from_pitch, w->copy.width,
				    w->copy.height, w->copy.kind);
	case GRAPH_FILL:
		return rt_fill(w->fill.p, w->fill.pitch, w->fill.value, w->fill.element, w->fill.width, w->fill.height);
	case GRAPH_HOST: {
		struct gpu *g;

		rc = order_gpu(&g);
		if (!rc)
			rc = gpu_sync(g);
		if (!rc)
			w->host.function(w->host.user);
		return rc;
	}
	case GRAPH_WAIT:
		return order_stream_wait_event(s, w->event, 0);
	case GRAPH_RECORD:
		return order_event_record(w->event, s);
	case GRAPH_CHILD: /* its nodes are steps themselves */
	case GRAPH_EMPTY:
		break;
	}
	return 0;
}

EXPORT cudaError_t cudaGraphLaunch(struct graph_exec *e, cudaStream_t s);
EXPORT cudaError_t cudaGraphLaunch(struct graph_exec *e, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	int rc = e ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		rc = capture_forbids(s, false);
	for (size_t k = 0; !rc && k < e->count; k++)
		if (!e->steps[k].disabled)
			rc = run(&e->steps[k].work, s);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rt_set(rc);
}

EXPORT cudaError_t cudaGraphUpload(struct graph_exec *e, cudaStream_t s);
EXPORT cudaError_t cudaGraphUpload(struct graph_exec *e, cudaStream_t s)
{
	struct order_stream stream;

	return rt_set(e ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE);
}

/* ------------------------------------------------------------------ changes */

/* What a step has to do from now on; takes @w over. */
static int change(struct graph_exec *e, const struct graph_node *n, struct graph_work *w)
{
	int rc = E_INVALID_VALUE;

	pthread_mutex_lock(&graph_lock);
	for (size_t k = 0; e && n && k < e->count; k++)
		if (e->steps[k].node == n && e->steps[k].work.kind == w->kind) {
			graph_work_free(&e->steps[k].work);
			e->steps[k].work = *w;
			rc = 0;
			break;
		}
	if (rc)
		graph_work_free(w);
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

static int node_change(struct graph_node *n, struct graph_work *w)
{
	int rc = n && n->work.kind == w->kind ? 0 : E_INVALID_VALUE;

	pthread_mutex_lock(&graph_lock);
	graph_work_free(rc ? w : &n->work);
	if (!rc)
		n->work = *w;
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

EXPORT cudaError_t cudaGraphExecKernelNodeSetParams(struct graph_exec *e, struct graph_node *n,
						    const struct graph_kernel_params *p);
EXPORT cudaError_t cudaGraphExecKernelNodeSetParams(struct graph_exec *e, struct graph_node *n,
						    const struct graph_kernel_params *p)
{
	struct graph_work w;
	int rc = graph_kernel_from(&w, p);

	return rt_set(rc ? rc : change(e, n, &w));
}

EXPORT cudaError_t cudaGraphKernelNodeSetParams(struct graph_node *n, const struct graph_kernel_params *p);
EXPORT cudaError_t cudaGraphKernelNodeSetParams(struct graph_node *n, const struct graph_kernel_params *p)
{
	struct graph_work w;
	int rc = graph_kernel_from(&w, p);

	return rt_set(rc ? rc : node_change(n, &w));
}

EXPORT cudaError_t cudaGraphExecMemcpyNodeSetParams1D(struct graph_exec *e, struct graph_node *n, void *to,
						      const void *from, size_t size, int kind);
EXPORT cudaError_t cudaGraphExecMemcpyNodeSetParams1D(struct graph_exec *e, struct graph_node *n, void *to,
						      const void *from, size_t size, int kind)
{
	struct graph_work w = {.kind = GRAPH_COPY, .copy = {to, from, size, size, size, 1, kind}};

	return rt_set(!to || !from ? E_INVALID_VALUE : change(e, n, &w));
}

EXPORT cudaError_t cudaGraphExecMemsetNodeSetParams(struct graph_exec *e, struct graph_node *n,
						    const struct graph_fill_params *p);
EXPORT cudaError_t cudaGraphExecMemsetNodeSetParams(struct graph_exec *e, struct graph_node *n,
						    const struct graph_fill_params *p)
{
	struct graph_work w;
	int rc = graph_fill_from(&w, p);

	return rt_set(rc ? rc : change(e, n, &w));
}

EXPORT cudaError_t cudaGraphExecHostNodeSetParams(struct graph_exec *e, struct graph_node *n,
						  const struct graph_host_params *p);
EXPORT cudaError_t cudaGraphExecHostNodeSetParams(struct graph_exec *e, struct graph_node *n,
						  const struct graph_host_params *p)
{
	struct graph_work w = {.kind = GRAPH_HOST};

	if (!p || !p->function)
		return rt_set(E_INVALID_VALUE);
	w.host.function = p->function;
	w.host.user = p->user;
	return rt_set(change(e, n, &w));
}

EXPORT cudaError_t cudaGraphNodeSetEnabled(struct graph_exec *e, struct graph_node *n, unsigned on);
EXPORT cudaError_t cudaGraphNodeSetEnabled(struct graph_exec *e, struct graph_node *n, unsigned on)
{
	for (size_t k = 0; e && n && k < e->count; k++)
		if (e->steps[k].node == n) {
			e->steps[k].disabled = !on;
			return 0;
		}
	return rt_set(E_INVALID_VALUE);
}

struct update_result {
	int result;
	struct graph_node *error, *from;
};

static int differs(const struct step *a, const struct step *b)
{
	if (a->work.kind != b->work.kind)
		return UPDATE_TYPE;
	if (a->before_count != b->before_count || memcmp(a->before, b->before, a->before_count * sizeof(*a->before)))
		return UPDATE_TOPOLOGY;
	if (a->work.kind == GRAPH_KERNEL && a->work.kernel.k != b->work.kernel.k)
		return UPDATE_FUNCTION;
	return UPDATE_OK;
}

EXPORT cudaError_t cudaGraphExecUpdate(struct graph_exec *e, struct graph *g, struct update_result *info);
EXPORT cudaError_t cudaGraphExecUpdate(struct graph_exec *e, struct graph *g, struct update_result *info)
{
	struct graph_exec *n;
	struct update_result r = {0};
	int rc = e && g && info ? exec_new(g, &n) : E_INVALID_VALUE;

	if (rc)
		return rt_set(rc);
	pthread_mutex_lock(&graph_lock);
	if (n->count != e->count)
		r.result = UPDATE_TOPOLOGY;
	for (size_t k = 0; !r.result && k < n->count; k++) {
		r.result = differs(&e->steps[k], &n->steps[k]);
		if (r.result)
			r.error = (struct graph_node *)(uintptr_t)n->steps[k].node;
	}
	for (size_t k = 0; !r.result && k < n->count; k++) {
		struct graph_work was = e->steps[k].work;

		e->steps[k].work = n->steps[k].work;
		n->steps[k].work = was;
	}
	exec_free(n);
	*info = r;
	pthread_mutex_unlock(&graph_lock);
	return rt_set(r.result ? E_UPDATE : 0);
}
