/* SPDX-License-Identifier: Apache-2.0 */
/*
 * synth.h - traces that were not recorded: of well-known models, from their size, and random ones.
 *
 * A model's trace is made from its size (layers, parameters, operations of a step, sizes of input and output; as
 * they are commonly given, not yet checked against a source), from the kernels that a layer takes when each operator is launched by itself, and from assumed
 * speeds of the device and of the host program. It is a stand-in until the program itself has been recorded, it
 * is marked TRACE_SYNTHETIC, and its notes say what was assumed.
 */
#ifndef ATOLL_TOOLS_NETREQ_SYNTH_H
#define ATOLL_TOOLS_NETREQ_SYNTH_H

#include "tools/netreq/trace.h"

struct synth_app {
	const char *name, *text;
	unsigned layers, kernels; /* of a layer, forwards */
	unsigned other_kernels;	  /* of a step, besides */
	unsigned inner;		  /* passes through the layers in one step: tokens, denoising steps */
	double gflops;		  /* of one pass forwards */
	double bytes_in, bytes_out; /* of a step's input to the device, and result from it */
	unsigned syncs;		  /* results that the program looks at in each pass */
	unsigned tensors;	  /* of parameters: kernels of the optimizer; 0: inference */
	double parameters;	  /* millions */
};

/* Ended by a name of NULL. */
extern const struct synth_app synth_apps[];

struct synth_speeds {
	double tflops;	   /* that the device reaches */
	double kernel_us;  /* least time of a kernel */
	double copy_gbs;   /* device's copies, 10^9 byte/s */
	double gap_us;	   /* the program's own time before each launch */
	double launch_us;  /* inside a launch, with the device in the same host */
};

extern const struct synth_speeds synth_speeds_default;

/* @steps steps of a model after one that allocates. 0, -ENOENT, -ENOMEM. trace_free it. */
int synth_make(struct trace *out, const char *app, unsigned steps, const struct synth_speeds *speeds);

/* What random traces are made of. Shares are of calls; the rest is ASYNC without data. */
struct synth_shape {
	unsigned calls, threads, streams;
	double local, sync, waits, copies_out, copies_in, after;
	double gap_ns, device_ns, cpu_ns, copy_bytes; /* means; times vary from 0 to twice that */
};

/* The same seed gives the same trace. 0 or -ENOMEM. */
int synth_random(struct trace *out, const struct synth_shape *shape, uint64_t seed);

/* Write a trace to a file. 0 or negative errno. */
int synth_save(const struct trace *t, const char *path);

#endif
