// SPDX-License-Identifier: Apache-2.0
/*
 * Graphs: captured from streams that fork and join, made node by node, instantiated, launched many times, updated,
 * cloned; what captures must refuse.
 *
 * prints: graphs: all as expected
 */
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"

static int failures;

__global__ void add(float *p, float x, int n)
{
	int k = (int)(blockIdx.x * blockDim.x + threadIdx.x);

	if (k < n)
		p[k] += x;
}

__global__ void multiply(float *p, const float *q, int n)
{
	int k = (int)(blockIdx.x * blockDim.x + threadIdx.x);

	if (k < n)
		p[k] *= q[k];
}

static void CUDART_CB count(void *user)
{
	++*(int *)user;
}

static int captured()
{
	const int n = 1000;
	float *a, *b, host[n], out[n];
	cudaStream_t s, t;
	cudaEvent_t fork, join;
	cudaGraph_t graph;
	cudaGraphExec_t exec;
	cudaStreamCaptureStatus status;
	int calls = 0;

	CUDA(cudaMalloc(&a, n * sizeof(float)));
	CUDA(cudaMalloc(&b, n * sizeof(float)));
	CUDA(cudaStreamCreate(&s));
	CUDA(cudaStreamCreate(&t));
	CUDA(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
	CUDA(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
	for (int k = 0; k < n; k++)
		host[k] = (float)k;
	CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
	CUDA(cudaStreamIsCapturing(s, &status));
	CHECK(status == cudaStreamCaptureStatusActive);
	CUDA(cudaMemcpyAsync(a, host, sizeof(host), cudaMemcpyHostToDevice, s));
	CUDA(cudaEventRecord(fork, s));
	CUDA(cudaStreamWaitEvent(t, fork, 0));
	CUDA(cudaStreamIsCapturing(t, &status));
	CHECK(status == cudaStreamCaptureStatusActive);
	CUDA(cudaMemsetAsync(b, 0, n * sizeof(float), t));
	add<<<4, 256, 0, t>>>(b, 2.0f, n);
	add<<<4, 256, 0, s>>>(a, 1.0f, n);
	CUDA(cudaEventRecord(join, t));
	CUDA(cudaStreamWaitEvent(s, join, 0));
	multiply<<<4, 256, 0, s>>>(a, b, n);
	CUDA(cudaLaunchHostFunc(s, count, &calls));
	CUDA(cudaMemcpyAsync(out, a, sizeof(out), cudaMemcpyDeviceToHost, s));
	CUDA(cudaStreamEndCapture(s, &graph));
	CUDA(cudaStreamIsCapturing(s, &status));
	CHECK(status == cudaStreamCaptureStatusNone);
	memset(out, 0, sizeof(out));
	size_t nodes = 0, edges = 0;
	CUDA(cudaGraphGetNodes(graph, NULL, &nodes));
	CHECK(nodes == 7);
	CUDA(cudaGraphGetEdges(graph, NULL, NULL, NULL, &edges));
	CHECK(edges == 7);
	CHECK(calls == 0);
	CUDA(cudaGraphInstantiate(&exec, graph, 0));
	for (int round = 0; round < 5; round++) {
		host[7] = (float)(100 * round); // read when it is launched
		CUDA(cudaGraphLaunch(exec, s));
		CUDA(cudaStreamSynchronize(s));
		CHECK(calls == round + 1);
		CHECK(out[7] == (float)(100 * round + 1) * 2 && out[999] == 2000.0f);
	}
	// captured again with another number: the instance takes it
	cudaGraph_t other;
	cudaGraphExecUpdateResultInfo info;
	CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
	CUDA(cudaMemcpyAsync(a, host, sizeof(host), cudaMemcpyHostToDevice, s));
	CUDA(cudaEventRecord(fork, s));
	CUDA(cudaStreamWaitEvent(t, fork, 0));
	CUDA(cudaMemsetAsync(b, 0, n * sizeof(float), t));
	add<<<4, 256, 0, t>>>(b, 3.0f, n);
	add<<<4, 256, 0, s>>>(a, 1.0f, n);
	CUDA(cudaEventRecord(join, t));
	CUDA(cudaStreamWaitEvent(s, join, 0));
	multiply<<<4, 256, 0, s>>>(a, b, n);
	CUDA(cudaLaunchHostFunc(s, count, &calls));
	CUDA(cudaMemcpyAsync(out, a, sizeof(out), cudaMemcpyDeviceToHost, s));
	CUDA(cudaStreamEndCapture(s, &other));
	CUDA(cudaGraphExecUpdate(exec, other, &info));
	CHECK(info.result == cudaGraphExecUpdateSuccess);
	CUDA(cudaGraphLaunch(exec, s));
	CUDA(cudaStreamSynchronize(s));
	CHECK(out[999] == 3000.0f);
	// one that has another shape is refused
	cudaGraph_t small;
	CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
	add<<<4, 256, 0, s>>>(a, 1.0f, n);
	CUDA(cudaStreamEndCapture(s, &small));
	CHECK(cudaGraphExecUpdate(exec, small, &info) == cudaErrorGraphExecUpdateFailure);
	(void)cudaGetLastError();
	CHECK(info.result != cudaGraphExecUpdateSuccess);
	// what may not be done while a stream is captured
	CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
	CHECK(cudaStreamSynchronize(s) == cudaErrorStreamCaptureUnsupported);
	cudaGraph_t none = (cudaGraph_t)1;
	CHECK(cudaStreamEndCapture(s, &none) == cudaErrorStreamCaptureInvalidated);
	CHECK(none == NULL);
	(void)cudaGetLastError();
	CHECK(cudaStreamBeginCapture(cudaStreamLegacy, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
	(void)cudaGetLastError();
	// a stream that was forked off and not joined
	CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
	CUDA(cudaEventRecord(fork, s));
	CUDA(cudaStreamWaitEvent(t, fork, 0));
	add<<<4, 256, 0, t>>>(a, 1.0f, n);
	CHECK(cudaStreamEndCapture(s, &none) == cudaErrorStreamCaptureUnjoined);
	(void)cudaGetLastError();
	// all works as before
	add<<<4, 256, 0, t>>>(a, 1.0f, n);
	CUDA(cudaStreamSynchronize(t));
	CUDA(cudaGraphExecDestroy(exec));
	CUDA(cudaGraphDestroy(graph));
	CUDA(cudaGraphDestroy(other));
	CUDA(cudaGraphDestroy(small));
	CUDA(cudaEventDestroy(fork));
	CUDA(cudaEventDestroy(join));
	CUDA(cudaStreamDestroy(s));
	CUDA(cudaStreamDestroy(t));
	CUDA(cudaFree(a));
	CUDA(cudaFree(b));
	return 0;
}

static int made()
{
	const int n = 256;
	float *a, x = 5.0f, out[n], in[n];
	int count_n = n, calls = 0;
	cudaGraph_t graph, clone;
	cudaGraphNode_t copy, kernel, back, host, clear;
	cudaGraphExec_t exec;

	CUDA(cudaMalloc(&a, sizeof(in)));
	for (int k = 0; k < n; k++)
		in[k] = (float)k;
	CUDA(cudaGraphCreate(&graph, 0));
	CUDA(cudaGraphAddMemcpyNode1D(&copy, graph, NULL, 0, a, in, sizeof(in), cudaMemcpyHostToDevice));
	void *args[] = {&a, &x, &count_n};
	cudaKernelNodeParams params = {};
	params.func = (void *)add;
	params.gridDim = dim3(2);
	params.blockDim = dim3(128);
	params.kernelParams = args;
	CUDA(cudaGraphAddKernelNode(&kernel, graph, &copy, 1, &params));
	CUDA(cudaGraphAddMemcpyNode1D(&back, graph, &kernel, 1, out, a, sizeof(out), cudaMemcpyDeviceToHost));
	cudaHostNodeParams function = {count, &calls};
	CUDA(cudaGraphAddHostNode(&host, graph, &back, 1, &function));
	cudaMemsetParams set = {};
	set.dst = a;
	set.elementSize = 4;
	set.width = n;
	set.height = 1;
	CUDA(cudaGraphAddMemsetNode(&clear, graph, &host, 1, &set));
	x = 100.0f; // the node has its own copy
	CUDA(cudaGraphInstantiate(&exec, graph, 0));
	CUDA(cudaGraphLaunch(exec, 0));
	CUDA(cudaDeviceSynchronize());
	CHECK(out[10] == 15.0f && calls == 1);
	x = 7.0f;
	CUDA(cudaGraphExecKernelNodeSetParams(exec, kernel, &params));
	CUDA(cudaGraphLaunch(exec, 0));
	CUDA(cudaDeviceSynchronize());
	CHECK(out[10] == 17.0f && calls == 2);
	CUDA(cudaMemcpy(out, a, sizeof(out), cudaMemcpyDeviceToHost));
	CHECK(out[10] == 0.0f);
	// a clone, and a graph as a node of another
	CUDA(cudaGraphClone(&clone, graph));
	cudaGraph_t outer;
	cudaGraphNode_t inner;
	cudaGraphExec_t twice;
	CUDA(cudaGraphCreate(&outer, 0));
	CUDA(cudaGraphAddChildGraphNode(&inner, outer, NULL, 0, clone));
	CUDA(cudaGraphAddEmptyNode(&host, outer, &inner, 1));
	CUDA(cudaGraphInstantiate(&twice, outer, 0));
	CUDA(cudaGraphLaunch(twice, 0));
	CUDA(cudaDeviceSynchronize());
	CHECK(calls == 3);
	cudaGraphNodeType type;
	CUDA(cudaGraphNodeGetType(kernel, &type));
	CHECK(type == cudaGraphNodeTypeKernel);
	// a cycle is no graph
	CHECK(cudaGraphAddDependencies(graph, &clear, &copy, NULL, 1) == cudaSuccess);
	CHECK(cudaGraphInstantiate(&exec, graph, 0) != cudaSuccess);
	(void)cudaGetLastError();
	CUDA(cudaGraphDestroy(graph));
	CUDA(cudaGraphDestroy(clone));
	CUDA(cudaGraphDestroy(outer));
	CUDA(cudaGraphExecDestroy(twice));
	CUDA(cudaFree(a));
	return 0;
}

int main()
{
	if (captured() || made())
		return 1;
	if (!failures)
		printf("graphs: all as expected\n");
	return failures != 0;
}
