/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/synth.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Layers, parameters and operations as they are commonly given, not checked against a source; operations of one pass with
 * the batch named. Kernels of a layer: one for each operator that an eager framework launches (a transformer's
 * block: 2 norms, 4 products with their biases, attention's scale, mask, softmax and 2 products, activation, 2
 * residual sums, and copies between layouts; a residual network's convolution: convolution, norm, activation).
 */
const struct synth_app synth_apps[] = {
	{"resnet18-infer", "ResNet-18 on CIFAR-10, inference, batch 64", 20, 3, 6, 1, 36, 64 * 3072 * 4, 64 * 40, 1, 0, 11.2},
	{"bert-infer", "BERT base, inference, batch 1, 128 tokens", 12, 22, 12, 1, 22, 128 * 16, 768 * 4, 1, 0, 110},
	{"gpt2-infer", "GPT-2 small, 32 tokens generated one by one", 12, 20, 14, 32, 0.25, 1024, 8, 1, 0, 124},
	{"sd-infer", "Stable Diffusion 1.4, one image, 50 steps", 64, 22, 40, 50, 1600, 77 * 8, 512 * 512 * 3, 0, 0, 860},
	{"resnet18-train", "ResNet-18 on CIFAR-10, training, batch 64", 20, 3, 8, 1, 36, 64 * 3072 * 4, 4, 1, 62, 11.2},
	{"bert-train", "BERT base, training, batch 16, 128 tokens", 12, 22, 14, 1, 350, 16 * 128 * 24, 4, 1, 199, 110},
	{"mingpt-train", "minGPT (11 million parameters), training, batch 64", 6, 20, 12, 1, 360, 64 * 128 * 16, 4, 1, 75, 11},
	{"naifu-train", "Stable Diffusion's U-Net, training, batch 1", 64, 22, 40, 1, 800, 64 * 64 * 4 * 4, 4, 1, 686, 860},
	{0},
};

const struct synth_speeds synth_speeds_default = {
	.tflops = 10, .kernel_us = 3, .copy_gbs = 12, .gap_us = 4, .launch_us = 2.5};

struct making {
	struct trace *t;
	size_t room;
	uint64_t clock_ns; /* of the one thread that models have */
	const struct synth_speeds *speeds;
};

static int name_add(struct trace *t, const char *name)
{
	void *p;

	for (unsigned i = 0; i < t->nnames; i++)
		if (!strcmp(t->names[i], name))
			return (int)i;
	p = realloc(t->names, (t->nnames + 1) * sizeof(*t->names));
	if (!p)
		return -ENOMEM;
	t->names = p;
	memset(t->names[t->nnames], 0, sizeof(*t->names));
	memcpy(t->names[t->nnames], name, strnlen(name, TRACE_NAME_MAX));
	return (int)t->nnames++;
}

static int add(struct making *m, const char *name, struct trace_call c)
{
	struct trace *t = m->t;
	int n = name_add(t, name);

	if (n < 0)
		return n;
	if (t->ncalls == m->room) {
		size_t room = m->room ? 2 * m->room : 1024;
		void *p = realloc(t->calls, room * sizeof(*t->calls));

		if (!p)
			return -ENOMEM;
		t->calls = p;
		m->room = room;
	}
	c.kind = TRACE_CALL;
	c.name = (uint16_t)n;
	m->clock_ns += c.gap_ns;
	c.at_ns = m->clock_ns;
	m->clock_ns += c.cpu_ns;
	t->calls[t->ncalls++] = c;
	t->end_ns = m->clock_ns;
	if (c.thread >= t->threads)
		t->threads = c.thread + 1u;
	if (c.stream >= t->streams)
		t->streams = c.stream + 1u;
	return 0;
}

static int begin(struct making *m, struct trace *t, const char *program)
{
	memset(t, 0, sizeof(*t));
	t->threads = t->streams = 1;
	t->flags = TRACE_SYNTHETIC;
	strncpy(t->program, program, TRACE_PROGRAM_MAX);
	t->notes = calloc(1, 1024);
	m->t = t;
	return t->notes ? 0 : -ENOMEM;
}

/* ---------------------------------------------------------------- models */

static uint64_t us(double v)
{
	return (uint64_t)(v * 1000);
}

/* A kernel as an eager framework launches it: which device, the launch, whether it failed. */
static int kernel(struct making *m, double device_us)
{
	const struct synth_speeds *s = m->speeds;
	int rc = add(m, "cudaGetDevice", (struct trace_call){.class = TRACE_LOCAL, .cpu_ns = 40, .gap_ns = us(s->gap_us) / 2});

	if (!rc)
		rc = add(m, "cudaLaunchKernel",
			 (struct trace_call){.class = TRACE_ASYNC,
					     .gap_ns = us(s->gap_us) / 2,
					     .cpu_ns = (uint32_t)us(s->launch_us),
					     .bytes_out = 128,
					     .device_ns = us(device_us > s->kernel_us ? device_us : s->kernel_us)});
	if (!rc)
		rc = add(m, "cudaGetLastError",
			 (struct trace_call){
				 .class = TRACE_SYNC, .flags = TRACE_COULD_LOCAL, .cpu_ns = 40, .bytes_in = 4});
	return rc;
}

static int kernels(struct making *m, unsigned n, double total_us)
{
	int rc = 0;

	for (unsigned i = 0; i < n && !rc; i++)
		rc = kernel(m, total_us / n);
	return rc;
}

static int copy(struct making *m, bool to_device, double bytes)
{
	struct trace_call c = {.class = to_device ? TRACE_ASYNC : TRACE_SYNC,
			       .flags = (uint8_t)(TRACE_COPY | (to_device ? 0 : TRACE_WAITS)),
			       .gap_ns = us(m->speeds->gap_us),
			       .cpu_ns = (uint32_t)us(m->speeds->launch_us),
			       .device_ns = us(2 + bytes / m->speeds->copy_gbs / 1e3)};

	if (to_device)
		c.bytes_out = (uint64_t)bytes;
	else
		c.bytes_in = (uint64_t)bytes;
	return add(m, "cudaMemcpyAsync", c);
}

/* What a framework does once: memory for the parameters, and their way to the device. */
static int first(struct making *m, const struct synth_app *a)
{
	unsigned blocks = (unsigned)(a->parameters * 4 / 20) + 2; /* of 20 MB, as a caching allocator takes them */
	int rc = 0;

	for (unsigned i = 0; i < blocks && !rc; i++) {
		rc = add(m, "cudaStreamIsCapturing",
			 (struct trace_call){.class = TRACE_SYNC,
					     .flags = TRACE_COULD_LOCAL,
					     .gap_ns = us(m->speeds->gap_us),
					     .cpu_ns = 60,
					     .bytes_in = 4});
		if (!rc)
			rc = add(m, "cudaMalloc",
				 (struct trace_call){.class = TRACE_SYNC,
						     .flags = TRACE_COULD_LOCAL,
						     .cpu_ns = 60000,
						     .bytes_out = 16,
						     .bytes_in = 8});
	}
	return rc;
}

static int step(struct making *m, const struct synth_app *a)
{
	double pass_us = a->gflops / m->speeds->tflops * 1e3;
	double update_us = a->parameters * 1e6 * 16 / 700e9 * 1e6; /* memory traffic of Adam at 700 GB/s */
	int rc = copy(m, true, a->bytes_in);

	for (unsigned p = 0; p < a->inner && !rc; p++) {
		rc = kernels(m, a->layers * a->kernels + a->other_kernels, pass_us);
		/* backwards: about two kernels for each forwards, and twice the operations */
		if (!rc && a->tensors)
			rc = kernels(m, 2 * (a->layers * a->kernels + a->other_kernels), 2 * pass_us);
		if (!rc && a->tensors)
			rc = kernels(m, a->tensors, update_us);
		for (unsigned i = 0; i < a->syncs && !rc; i++)
			rc = copy(m, false, a->bytes_out);
	}
	if (!rc && !a->syncs)
		rc = copy(m, false, a->bytes_out);
	return rc;
}

int synth_make(struct trace *out, const char *app, unsigned steps, const struct synth_speeds *speeds)
{
	const struct synth_app *a = synth_apps;
	struct making m = {.speeds = speeds};
	int rc;

	while (a->name && strcmp(a->name, app))
		a++;
	if (!a->name)
		return -ENOENT;
	rc = begin(&m, out, a->name);
	if (!rc)
		rc = first(&m, a);
	for (unsigned i = 0; i < steps && !rc; i++)
		rc = step(&m, a);
	if (rc) {
		trace_free(out);
		return rc;
	}
	snprintf(out->notes, 1024,
		 "Synthesized, not recorded: %s; %u step(s).\n"
		 "Commonly given, not checked against a source: %u layers, %.4g million parameters, %.4g GFLOP for a pass forwards.\n"
		 "Assumed: %u kernels for a layer and %u besides%s; a device of %.4g TFLOP/s whose shortest kernel "
		 "takes %.3g us; copies at %.3g GB/s; %.3g us of the program and %.3g us inside each launch.",
		 a->text, steps, a->layers, a->parameters, a->gflops, a->kernels, a->other_kernels,
		 a->tensors ? ", twice as many backwards, one for each tensor's update" : "", speeds->tflops,
		 speeds->kernel_us, speeds->copy_gbs, speeds->gap_us, speeds->launch_us);
	return 0;
}

/* ---------------------------------------------------------------- random ones */

static double draw(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static uint64_t around(uint64_t *rng, double mean)
{
	return (uint64_t)(2 * mean * draw(rng));
}

static int random_call(struct making *m, const struct synth_shape *s, uint64_t *rng)
{
	double kind = draw(rng);
	struct trace_call c = {.class = TRACE_ASYNC,
			       .thread = (uint16_t)(draw(rng) * s->threads),
			       .stream = (uint32_t)(draw(rng) * s->streams),
			       .gap_ns = around(rng, s->gap_ns),
			       .cpu_ns = (uint32_t)around(rng, s->cpu_ns),
			       .bytes_out = 128};

	if ((kind -= s->local) < 0) {
		c.class = TRACE_LOCAL;
		c.bytes_out = 0;
		return add(m, "local", c);
	}
	if ((kind -= s->sync) < 0) {
		c.class = TRACE_SYNC;
		c.flags = TRACE_COULD_LOCAL;
		c.bytes_in = 8;
		return add(m, "query", c);
	}
	if ((kind -= s->waits) < 0) {
		c.class = TRACE_SYNC;
		c.flags = draw(rng) < 0.3 ? TRACE_WAITS_ALL : TRACE_WAITS;
		return add(m, "synchronize", c);
	}
	c.device_ns = around(rng, s->device_ns);
	if (m->t->ncalls && draw(rng) < s->after)
		c.after = 1 + (uint64_t)(draw(rng) * (double)m->t->ncalls);
	if ((kind -= s->copies_out) < 0) {
		c.flags = TRACE_COPY;
		c.bytes_out = 1 + around(rng, s->copy_bytes);
		return add(m, "copy to", c);
	}
	if ((kind -= s->copies_in) < 0) {
		c.class = TRACE_SYNC;
		c.flags = TRACE_COPY | TRACE_WAITS;
		c.bytes_out = 0;
		c.bytes_in = 1 + around(rng, s->copy_bytes);
		return add(m, "copy back", c);
	}
	return add(m, "launch", c);
}

int synth_random(struct trace *out, const struct synth_shape *shape, uint64_t seed)
{
	struct making m = {0};
	int rc = begin(&m, out, "random");

	for (unsigned i = 0; i < shape->calls && !rc; i++)
		rc = random_call(&m, shape, &seed);
	if (!rc)
		rc = add(&m, "synchronize", (struct trace_call){.class = TRACE_SYNC, .flags = TRACE_WAITS_ALL});
	if (rc)
		trace_free(out);
	else
		strcpy(out->notes, "Random, for tests.");
	return rc;
}

/* ---------------------------------------------------------------- files */

int synth_save(const struct trace *t, const char *path)
{
	struct trace_writer *w;
	char *notes = strdup(t->notes), *save = NULL;
	int rc = notes ? trace_create(&w, path, t->program, t->flags) : -ENOMEM;

	if (rc) {
		free(notes);
		return rc;
	}
	for (char *line = strtok_r(notes, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		trace_note(w, line);
	free(notes);
	for (unsigned i = 0; i < t->nnames; i++)
		trace_name(w, t->names[i]);
	for (size_t i = 0; i < t->ncalls && rc >= 0; i++)
		rc = trace_put(w, &t->calls[i]) < 0 ? -EINVAL : 0;
	return trace_finish(w, t->end_ns) ?: rc;
}
