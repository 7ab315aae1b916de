/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels of gpu_kernels.cu in OpenCL, for a rival that compiles for the host's cores as the cpu device does: PoCL.
 * Answers the line `kernel NAME TIMES` of gpu_work.c: as many runs of the same size on the same memory, in ns.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BODIES = 2048, N = 128, ELEMENTS = 1 << 17, KERNELS = 5 };

static const char text[] =
	"__kernel void vadd(__global const float *a, __global const float *b, __global float *c, int n)\n"
	"{\n"
	"	int i = get_global_id(0);\n"
	"	if (i < n)\n"
	"		c[i] = a[i] + b[i];\n"
	"}\n"
	"__kernel void reduce(__global const float *in, __global float *out, int n)\n"
	"{\n"
	"	__local float s[256];\n"
	"	int t = get_local_id(0), i = get_group_id(0) * 256 + t;\n"
	"	s[t] = i < n ? in[i] : 0;\n"
	"	barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	for (int k = 128; k > 0; k /= 2) {\n"
	"		if (t < k)\n"
	"			s[t] += s[t + k];\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	}\n"
	"	if (t == 0)\n"
	"		out[get_group_id(0)] = s[0];\n"
	"}\n"
	"__kernel void matmul(__global const float *a, __global const float *b, __global float *c, int n)\n"
	"{\n"
	"	__local float as[16][16], bs[16][16];\n"
	"	int x = get_local_id(0), y = get_local_id(1), row = get_group_id(1) * 16 + y, col = get_group_id(0) * 16 + x;\n"
	"	float sum = 0;\n"
	"	for (int t = 0; t < n / 16; t++) {\n"
	"		as[y][x] = a[row * n + t * 16 + x];\n"
	"		bs[y][x] = b[(t * 16 + y) * n + col];\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"		for (int k = 0; k < 16; k++)\n"
	"			sum += as[y][k] * bs[k][x];\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	}\n"
	"	c[row * n + col] = sum;\n"
	"}\n"
	"__kernel void softmax(__global const float *in, __global float *out, int n)\n"
	"{\n"
	"	__local float s[256];\n"
	"	int t = get_local_id(0);\n"
	"	__global const float *x = in + get_group_id(0) * n;\n"
	"	__global float *y = out + get_group_id(0) * n;\n"
	"	float most = -3.4e38f, sum = 0;\n"
	"	for (int i = t; i < n; i += 256)\n"
	"		most = fmax(most, x[i]);\n"
	"	s[t] = most;\n"
	"	barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	for (int k = 128; k > 0; k /= 2) {\n"
	"		if (t < k)\n"
	"			s[t] = fmax(s[t], s[t + k]);\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	}\n"
	"	most = s[0];\n"
	"	barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	for (int i = t; i < n; i += 256)\n"
	"		sum += y[i] = native_exp(x[i] - most);\n"
	"	s[t] = sum;\n"
	"	barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	for (int k = 128; k > 0; k /= 2) {\n"
	"		if (t < k)\n"
	"			s[t] += s[t + k];\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	}\n"
	"	for (int i = t; i < n; i += 256)\n"
	"		y[i] /= s[0];\n"
	"}\n"
	"__kernel void nbody(__global const float4 *at, __global float4 *v, __global float4 *next, int n, float dt)\n"
	"{\n"
	"	__local float4 s[256];\n"
	"	int l = get_local_id(0), i = get_global_id(0);\n"
	"	float4 p = at[i], u = v[i];\n"
	"	float x = 0, y = 0, z = 0;\n"
	"	for (int t = 0; t < n; t += 256) {\n"
	"		s[l] = at[t + l];\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"		for (int k = 0; k < 256; k++) {\n"
	"			float dx = s[k].x - p.x, dy = s[k].y - p.y, dz = s[k].z - p.z;\n"
	"			float r = native_rsqrt(dx * dx + dy * dy + dz * dz + 1e-3f), f = s[k].w * r * r * r;\n"
	"			x += dx * f;\n"
	"			y += dy * f;\n"
	"			z += dz * f;\n"
	"		}\n"
	"		barrier(CLK_LOCAL_MEM_FENCE);\n"
	"	}\n"
	"	u.x += x * dt;\n"
	"	u.y += y * dt;\n"
	"	u.z += z * dt;\n"
	"	v[i] = u;\n"
	"	p.x += u.x * dt;\n"
	"	p.y += u.y * dt;\n"
	"	p.z += u.z * dt;\n"
	"	next[i] = p;\n"
	"}\n";

static cl_context context;
static cl_command_queue queue;
static cl_mem memory[3];
static cl_program program;

static void must(cl_int rc, const char *what)
{
	if (rc == CL_SUCCESS)
		return;
	fprintf(stderr, "gpu_pocl: %s: error %d\n", what, rc);
	exit(1);
}

static cl_device_id device_find(void)
{
	cl_platform_id platforms[8];
	cl_device_id device;
	cl_uint n = 0;
	char name[128];

	if (clGetPlatformIDs(8, platforms, &n) != CL_SUCCESS)
		n = 0;
	for (cl_uint i = 0; i < n && i < 8; i++) {
		if (clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof(name), name, NULL) == CL_SUCCESS &&
		    strstr(name, "Portable Computing Language") &&
		    clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &device, NULL) == CL_SUCCESS)
			return device;
	}
	fprintf(stderr, "gpu_pocl: PoCL is not installed\n");
	exit(77);
}

static void set_up(void)
{
	const float fill[] = {0.5f, 0.25f, 0};
	const char *source = text;
	cl_device_id device;
	cl_int rc;

	setenv("POCL_MAX_PTHREAD_COUNT", "1", 1); /* as many cores as the other one has */
	device = device_find();
	context = clCreateContext(NULL, 1, &device, NULL, NULL, &rc);
	must(rc, "context");
	queue = clCreateCommandQueue(context, device, 0, &rc);
	must(rc, "queue");
	for (unsigned i = 0; i < 3; i++) {
		memory[i] = clCreateBuffer(context, CL_MEM_READ_WRITE, 4 * ELEMENTS, NULL, &rc);
		must(rc, "memory");
		must(clEnqueueFillBuffer(queue, memory[i], &fill[i], 4, 0, 4 * ELEMENTS, 0, NULL, NULL), "fill");
	}
	program = clCreateProgramWithSource(context, 1, &source, NULL, &rc);
	must(rc, "program");
	must(clBuildProgram(program, 1, &device, "", NULL, NULL), "compiler");
	must(clFinish(queue), "finish");
}

static cl_kernel kernel(const char *name)
{
	static struct {
		char name[24];
		cl_kernel k;
	} known[KERNELS];
	unsigned i = 0;
	cl_int rc;

	for (; i < KERNELS - 1 && known[i].name[0]; i++)
		if (!strcmp(known[i].name, name))
			break;
	if (strcmp(known[i].name, name)) {
		known[i].k = clCreateKernel(program, name, &rc);
		must(rc, name);
		snprintf(known[i].name, sizeof(known[i].name), "%s", name);
	}
	return known[i].k;
}

static void run(const char *name, unsigned times)
{
	size_t global[2] = {ELEMENTS, 1}, local[2] = {256, 1};
	cl_kernel k = kernel(name);
	cl_int n = ELEMENTS;
	cl_uint dims = 1, arg = 0;
	cl_float dt = 1e-3f;

	if (!strcmp(name, "softmax")) {
		global[0] = ELEMENTS / 512 * 256;
		n = 512;
	} else if (!strcmp(name, "matmul")) {
		dims = 2;
		n = N;
		global[0] = global[1] = N;
		local[0] = local[1] = 16;
	} else if (!strcmp(name, "nbody")) {
		n = BODIES;
		global[0] = BODIES;
	}
	must(clSetKernelArg(k, arg++, sizeof(cl_mem), &memory[0]), "argument");
	if (strcmp(name, "reduce") && strcmp(name, "softmax"))
		must(clSetKernelArg(k, arg++, sizeof(cl_mem), &memory[1]), "argument");
	must(clSetKernelArg(k, arg++, sizeof(cl_mem), &memory[2]), "argument");
	must(clSetKernelArg(k, arg++, sizeof(n), &n), "argument");
	if (!strcmp(name, "nbody"))
		must(clSetKernelArg(k, arg++, sizeof(dt), &dt), "argument");
	for (unsigned i = 0; i < times; i++)
		must(clEnqueueNDRangeKernel(queue, k, dims, NULL, global, local, 0, NULL, NULL), "launch");
	must(clFinish(queue), "finish");
}

int main(void)
{
	char line[128], name[24];
	struct timespec a, b;
	unsigned times;

	set_up();
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "kernel %23s %u", name, &times) != 2) {
			fprintf(stderr, "gpu_pocl: what is %s", line);
			return 1;
		}
		clock_gettime(CLOCK_MONOTONIC, &a);
		run(name, times);
		clock_gettime(CLOCK_MONOTONIC, &b);
		printf("%lld\n", (long long)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
		fflush(stdout);
	}
	return 0;
}
