/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: capture of streams. See cudart_graph.h. */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_graph.h"

struct set { /* of nodes: what comes next comes after them */
	struct graph_node **list;
	size_t count;
};

struct member {
	cudaStream_t stream;
	struct set last;
	struct member *next;
};

struct mark { /* an event that was recorded in a capture */
	cudaEvent_t event;
	struct set last;
	struct mark *next;
};

struct capture {
	struct graph *graph;
	cudaStream_t origin;
	int mode;
	unsigned long long id;
	bool is_void;
	struct member *members;
	struct mark *marks;
	struct capture *next;
};

enum { MODE_GLOBAL, MODE_THREAD, MODE_RELAXED };

static struct capture *captures;
static _Atomic unsigned active;
static unsigned long long ids;

/* What @from has and @to has not. False: no memory. */
static bool set_join(struct set *to, const struct set *from)
{
	for (size_t k = 0; k < from->count; k++) {
		struct graph_node **p;
		size_t j = 0;

		while (j < to->count && to->list[j] != from->list[k])
			j++;
		if (j < to->count)
			continue;
		p = realloc(to->list, (to->count + 1) * sizeof(*p));
		if (!p)
			return false;
		to->list = p;
		p[to->count++] = from->list[k];
	}
	return true;
}

static struct member *member_find(cudaStream_t s, struct capture **of)
{
	for (struct capture *c = captures; c; c = c->next)
		for (struct member *m = c->members; m; m = m->next)
			if (m->stream == s) {
				*of = c;
				return m;
			}
	return NULL;
}

static struct mark *mark_find(cudaEvent_t ev, struct capture **of)
{
	for (struct capture *c = captures; c; c = c->next)
		for (struct mark *m = c->marks; m; m = m->next)
			if (m->event == ev) {
				*of = c;
				return m;
			}
	return NULL;
}

static struct member *member_new(struct capture *c, cudaStream_t s)
{
	struct member *m = calloc(1, sizeof(*m));

	if (m) {
		m->stream = s;
		m->next = c->members;
		c->members = m;
	}
	return m;
}

static void capture_free(struct capture *c)
{
	for (struct capture **at = &captures; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	for (struct member *m = c->members, *next; m; m = next) {
		next = m->next;
		free(m->last.list);
		free(m);
	}
	for (struct mark *m = c->marks, *next; m; m = next) {
		next = m->next;
		free(m->last.list);
		free(m);
	}
	graph_free(c->graph);
	free(c);
	active--;
}

static bool is_legacy(const void *s)
{
	return (uintptr_t)s <= 1;
}

/* The legacy stream waits for all others, which those under capture cannot have. */
static int implicit(cudaStream_t s)
{
	for (struct capture *c = captures; is_legacy(s) && c; c = c->next)
		if (c->mode != MODE_RELAXED) {
			c->is_void = true;
			return E_CAPTURE_IMPLICIT;
		}
	return NO_CAPTURE;
}

int capture_add(cudaStream_t s, struct graph_work *w)
{
	struct capture *c = NULL;
	struct graph_node *n;
	struct member *m;
	int rc = 0;

	if (!active)
		return NO_CAPTURE;
	pthread_mutex_lock(&graph_lock);
	m = member_find(s, &c);
	if (!m) {
		rc = implicit(s);
	} else if (c->is_void) {
		rc = E_CAPTURE_INVALIDATED;
	} else {
		n = graph_add(c->graph, m->last.list, m->last.count, w);
		free(m->last.list);
		m->last = (struct set){0};
		if (!n || !set_join(&m->last, &(struct set){&n, 1})) {
			c->is_void = true;
			rc = GPUE_MEMORY;
		}
		w = NULL;
	}
	if (rc > 0 && w)
		graph_work_free(w);
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

bool capture_any(void)
{
	return active;
}

int capture_forbids(cudaStream_t s, bool all)
{
	struct capture *c = NULL;
	int rc = 0;

	if (!active)
		return 0;
	pthread_mutex_lock(&graph_lock);
	if (all) {
		for (c = captures; c; c = c->next)
			if (c->mode != MODE_RELAXED) {
				c->is_void = true;
				rc = E_CAPTURE_UNSUPPORTED;
			}
	} else if (member_find(s, &c)) {
		c->is_void = true;
		rc = E_CAPTURE_UNSUPPORTED;
	}
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

int capture_record(cudaEvent_t ev, cudaStream_t s)
{
	struct capture *c = NULL, *old;
	struct member *m;
	struct mark *k;
	int rc = 0;

	if (!active)
		return NO_CAPTURE;
	pthread_mutex_lock(&graph_lock);
	k = mark_find(ev, &old);
	if (k) { /* it means something else from now on */
		free(k->last.list);
		k->last = (struct set){0};
		k->event = NULL;
	}
	m = member_find(s, &c);
	if (!m) {
		rc = NO_CAPTURE;
	} else if (c->is_void) {
		rc = E_CAPTURE_INVALIDATED;
	} else {
		k = calloc(1, sizeof(*k));
		if (k) {
			k->event = ev;
			k->next = c->marks;
			c->marks = k;
		}
		if (!k || !set_join(&k->last, &m->last))
			rc = GPUE_MEMORY;
	}
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

int capture_wait(cudaStream_t s, cudaEvent_t ev)
{
	struct capture *c = NULL, *of = NULL;
	struct member *m;
	struct mark *k;
	int rc = 0;

	if (!active)
		return NO_CAPTURE;
	pthread_mutex_lock(&graph_lock);
	m = member_find(s, &c);
	k = mark_find(ev, &of);
	if (!m && !k) {
		rc = NO_CAPTURE;
	} else if (!k) { /* waits for what is not captured */
		c->is_void = true;
		rc = E_CAPTURE_ISOLATION;
	} else if (m && c != of) {
		c->is_void = of->is_void = true;
		rc = E_CAPTURE_MERGE;
	} else if (of->is_void) {
		rc = E_CAPTURE_INVALIDATED;
	} else if (is_legacy(s)) {
		of->is_void = true;
		rc = E_CAPTURE_IMPLICIT;
	} else {
		if (!m)
			m = member_new(of, s);
		if (!m || !set_join(&m->last, &k->last))
			rc = GPUE_MEMORY;
	}
	pthread_mutex_unlock(&graph_lock);
	return rc;
}

int capture_status(cudaStream_t s)
{
	struct capture *c = NULL;
	int status = 0;

	if (!active)
		return 0;
	pthread_mutex_lock(&graph_lock);
	if (member_find(s, &c))
		status = c->is_void ? 2 : 1;
	pthread_mutex_unlock(&graph_lock);
	return status;
}

/* ------------------------------------------------------------------ what programs call */

EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t s, int mode);
EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t s, int mode)
{
	struct order_stream stream;
	struct capture *c, *other;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc && (mode < MODE_GLOBAL || mode > MODE_RELAXED))
		rc = E_INVALID_VALUE;
	if (!rc && is_legacy(s))
		rc = E_CAPTURE_UNSUPPORTED;
	if (rc)
		return rt_set(rc);
	pthread_mutex_lock(&graph_lock);
	c = calloc(1, sizeof(*c));
	if (member_find(s, &other)) {
		rc = E_ILLEGAL_STATE;
	} else if (!c || !(c->graph = graph_new()) || !member_new(c, s)) {
		rc = GPUE_MEMORY;
	} else {
		c->origin = s;
		c->mode = mode;
		c->id = ++ids;
		c->next = captures;
		captures = c;
		active++;
		c = NULL;
	}
	if (c) {
		graph_free(c->graph);
		free(c->members);
		free(c);
	}
	pthread_mutex_unlock(&graph_lock);
	return rt_set(rc);
}

/* Is every node that nothing comes after among what the stream that began comes after? */
static bool joined(const struct capture *c, const struct member *origin)
{
	bool *followed = calloc(c->graph->count + 1, sizeof(*followed)), all = followed != NULL;

	for (size_t k = 0; all && k < c->graph->count; k++)
		for (size_t j = 0; j < c->graph->nodes[k]->before_count; j++)
			followed[c->graph->nodes[k]->before[j]->index] = true;
	for (size_t k = 0; all && k < origin->last.count; k++)
		followed[origin->last.list[k]->index] = true;
	for (size_t k = 0; all && k < c->graph->count; k++)
		all = followed[k];
	free(followed);
	return all;
}

EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t s, struct graph **graph);
EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t s, struct graph **graph)
{
	struct capture *c = NULL;
	struct member *m;
	int rc = 0;

	if (!graph)
		return rt_set(E_INVALID_VALUE);
	*graph = NULL;
	pthread_mutex_lock(&graph_lock);
	m = member_find(s, &c);
	if (!m)
		rc = E_ILLEGAL_STATE;
	else if (c->origin != s)
		rc = E_CAPTURE_UNMATCHED;
	else if (c->is_void)
		rc = E_CAPTURE_INVALIDATED;
	else if (!joined(c, m))
		rc = E_CAPTURE_UNJOINED;
	if (!rc) {
		*graph = c->graph;
		c->graph = NULL;
	}
	if (m && rc != E_CAPTURE_UNMATCHED)
		capture_free(c);
	pthread_mutex_unlock(&graph_lock);
	return rt_set(rc);
}

EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t s, int *out);
EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t s, int *out)
{
	struct order_stream stream;
	int rc = out ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc)
		*out = capture_status(s);
	return rt_set(rc);
}

static int capture_info(cudaStream_t s, int *status, unsigned long long *id, struct graph **graph,
			struct graph_node *const **before, size_t *count)
{
	struct order_stream stream;
	struct capture *c = NULL;
	struct member *m;
	int rc = status ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (rc)
		return rc;
	pthread_mutex_lock(&graph_lock);
	m = member_find(s, &c);
	*status = !m ? 0 : c->is_void ? 2 : 1;
	if (m && id)
		*id = c->id;
	if (m && graph)
		*graph = c->graph;
	if (m && before)
		*before = m->last.list;
	if (m && count)
		*count = m->last.count;
	pthread_mutex_unlock(&graph_lock);
	return 0;
}

#if CUDART_MAJOR == 12
EXPORT cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t s, int *status, unsigned long long *id, struct graph **graph,
					       struct graph_node *const **before, size_t *count);
EXPORT cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t s, int *status, unsigned long long *id, struct graph **graph,
					       struct graph_node *const **before, size_t *count)
{
	return rt_set(capture_info(s, status, id, graph, before, count));
}
#else
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, int *status, unsigned long long *id, struct graph **graph,
					    struct graph_node *const **before, const void **edges, size_t *count);
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, int *status, unsigned long long *id, struct graph **graph,
					    struct graph_node *const **before, const void **edges, size_t *count)
{
	if (edges)
		*edges = NULL; /* all are ordinary ones */
	return rt_set(capture_info(s, status, id, graph, before, count));
}
#endif
