/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cudart_graph.h - work that a program has described and not yet asked for
 *
 * A graph is nodes, each with those before it. An instance is the work of its nodes in an order that suits them
 * all, with what belongs to them copied; to launch it is to ask for one after the other, which costs no round trip
 * unless a function of the host or a copy to it is among them. A stream under capture makes nodes of what is
 * asked in it: each comes after what the stream (and those that joined it by events) had before.
 *
 * Graphs and nodes are pointers that the program holds; as with CUDA, one that was destroyed must not be used.
 * One lock guards them all.
 */
#ifndef ATOLL_CLIENTS_GPU_CUDART_GRAPH_H
#define ATOLL_CLIENTS_GPU_CUDART_GRAPH_H

#include "clients/gpu/cudart.h"

enum graph_kind { /* cudaGraphNodeType's numbers */
	GRAPH_KERNEL = 0,
	GRAPH_COPY = 1,
	GRAPH_FILL = 2,
	GRAPH_HOST = 3,
	GRAPH_CHILD = 4,
	GRAPH_EMPTY = 5,
	GRAPH_WAIT = 6,
	GRAPH_RECORD = 7,
};

enum {
	E_ILLEGAL_STATE = 401,
	E_CAPTURE_UNSUPPORTED = 900,
	E_CAPTURE_INVALIDATED = 901,
	E_CAPTURE_MERGE = 902,
	E_CAPTURE_UNMATCHED = 903,
	E_CAPTURE_UNJOINED = 904,
	E_CAPTURE_ISOLATION = 905,
	E_CAPTURE_IMPLICIT = 906,
	E_UPDATE = 910,
	NO_CAPTURE = -1,
	GRAPH_DEEP = 16, /* graphs within graphs */
};

struct graph;

struct graph_work {
	enum graph_kind kind;
	union {
		struct {
			struct rt_kernel *k;
			struct dim3 grid, block;
			size_t shared;
			bool cooperative;
			uint8_t *params; /* as the kernel has them; the work's own */
			uint32_t size;
		} kernel;
		struct {
			void *to;
			const void *from;
			size_t to_pitch, from_pitch, width, height;
			int kind;
		} copy;
		struct {
			void *p;
			size_t pitch, width, height;
			unsigned value, element;
		} fill;
		struct {
			void (*function)(void *);
			void *user;
		} host;
		struct graph *child; /* its own */
		cudaEvent_t event;
	};
};

struct graph_node {
	struct graph *graph;
	struct graph_work work;
	struct graph_node **before;
	size_t before_count;
	const struct graph_node *original; /* of a clone's */
	size_t index;
	bool disabled;
};

struct graph {
	struct graph_node **nodes;
	size_t count, room;
};

/* As compiled programs have them. */
struct graph_kernel_params {
	void *function;
	struct dim3 grid, block;
	unsigned shared;
	void **args, **extra;
};

struct graph_fill_params {
	void *p;
	size_t pitch;
	unsigned value, element;
	size_t width, height;
};

struct graph_host_params {
	void (*function)(void *);
	void *user;
};

extern pthread_mutex_t graph_lock;

/* With the lock held. */
struct graph *graph_new(void);
void graph_free(struct graph *g);
/* A node of that work, which it takes over, after those; NULL: no memory, and the work is freed. */
struct graph_node *graph_add(struct graph *g, struct graph_node *const *before, size_t count, struct graph_work *w);
void graph_work_free(struct graph_work *w);
/* False: no memory, or too deep. */
bool graph_work_clone(struct graph_work *to, const struct graph_work *from, unsigned deep);

/* Parameters of a launch copied out of @args. Asks the service for the kernel if nobody did. */
int graph_kernel(struct graph_work *w, struct rt_kernel *k, struct dim3 grid, struct dim3 block, void **args,
		 size_t shared, bool cooperative);
/* The same from what programs give for a node. */
int graph_kernel_from(struct graph_work *w, const struct graph_kernel_params *p);
int graph_fill_from(struct graph_work *w, const struct graph_fill_params *p);
int graph_kernel_run(const struct graph_work *w, cudaStream_t s); /* cudart_launch.c */

/*
 * Is @s under capture? Then @w becomes a node, or is freed with an error that is returned; 0 or the error. NO_CAPTURE:
 * it is to be done now, and still the caller's. Costs a load when nothing is captured anywhere.
 */
int capture_add(cudaStream_t s, struct graph_work *w);
bool capture_any(void);
/* What must not be done with a stream under capture: 900, and the capture is void. NULL: with any. */
int capture_forbids(cudaStream_t s, bool all);
/* Events tie captures of several streams together. NO_CAPTURE: an ordinary one. */
int capture_record(cudaEvent_t ev, cudaStream_t s);
int capture_wait(cudaStream_t s, cudaEvent_t ev);
/* 0 none, 1 active, 2 void. */
int capture_status(cudaStream_t s);

#endif
