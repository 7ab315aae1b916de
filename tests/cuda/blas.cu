// SPDX-License-Identifier: Apache-2.0
/*
 * cuBLAS: vectors, matrices with vectors, products of all shapes and transpositions, batched, with halves; scalars on
 * host and device; in a captured stream.
 *
 * nvcc: -lcublas
 * prints: blas: all as expected
 */
#include <cublas_v2.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "check.h"

static int failures;

#define BLAS(call) \
	do { \
		cublasStatus_t rc = (call); \
		if (rc) { \
			printf("line %d: %s: %s\n", __LINE__, #call, cublasGetStatusString(rc)); \
			return 1; \
		} \
	} while (0)

static double draw()
{
	static unsigned state = 7;

	state = state * 1664525u + 1013904223u;
	return (double)(int)(state >> 16) / 32768.0 - 1.0;
}

template <typename T> static std::vector<T> random_vector(size_t n)
{
	std::vector<T> v(n);

	for (T &x : v)
		x = (T)(float)draw();
	return v;
}

template <typename T> static T *on_device(const std::vector<T> &v)
{
	T *p = NULL;

	if (cudaMalloc(&p, v.size() * sizeof(T)) || cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice))
		return NULL;
	return p;
}

static bool close_to(double a, double b, double tolerance)
{
	return fabs(a - b) <= tolerance * (1 + fabs(b));
}

template <typename T>
static std::vector<double> reference(bool ta, bool tb, int m, int n, int k, double alpha, const T *a, int lda, const T *b,
				     int ldb, double beta, const T *c, int ldc)
{
	std::vector<double> out((size_t)ldc * n);

	for (int j = 0; j < n; j++)
		for (int i = 0; i < m; i++) {
			double sum = 0;
			for (int l = 0; l < k; l++)
				sum += (double)(float)(ta ? a[l + i * lda] : a[i + l * lda]) *
				       (double)(float)(tb ? b[j + l * ldb] : b[l + j * ldb]);
			out[i + (size_t)j * ldc] = alpha * sum + beta * (double)(float)c[i + j * ldc];
		}
	return out;
}

static int products(cublasHandle_t h)
{
	int m = 37, n = 29, k = 21;

	for (int t = 0; t < 4; t++) {
		bool ta = t & 1, tb = t & 2;
		int lda = (ta ? k : m) + 3, ldb = (tb ? n : k) + 1, ldc = m + 2;
		std::vector<float> a = random_vector<float>((size_t)lda * (ta ? m : k)),
				   b = random_vector<float>((size_t)ldb * (tb ? k : n)),
				   c = random_vector<float>((size_t)ldc * n), got(c.size());
		float *da = on_device(a), *db = on_device(b), *dc = on_device(c), alpha = 1.5f, beta = -0.5f;
		auto want = reference(ta, tb, m, n, k, alpha, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);

		BLAS(cublasSgemm(h, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &alpha, da, lda,
				 db, ldb, &beta, dc, ldc));
		BLAS(cublasGetMatrix(ldc, n, sizeof(float), dc, ldc, got.data(), ldc));
		for (int j = 0; j < n; j++)
			for (int i = 0; i < m; i++)
				CHECK(close_to(got[i + j * ldc], want[i + j * ldc], 1e-5));
		CHECK(got[m] == c[m]); // between columns nothing is written
		CUDA(cudaFree(da));
		CUDA(cudaFree(db));
		CUDA(cudaFree(dc));
	}
	{ // double, batched, scalars on the device
		std::vector<double> a = random_vector<double>(4 * 36), b = random_vector<double>(4 * 36), c(4 * 36);
		double *da = on_device(a), *db = on_device(b), *dc = on_device(c), scalars[2] = {2.0, 0.0}, *ds;

		CUDA(cudaMalloc(&ds, sizeof(scalars)));
		CUDA(cudaMemcpy(ds, scalars, sizeof(scalars), cudaMemcpyHostToDevice));
		CUDA(cudaMemset(dc, 0xff, 4 * 36 * sizeof(double))); // no numbers: beta is 0
		BLAS(cublasSetPointerMode(h, CUBLAS_POINTER_MODE_DEVICE));
		BLAS(cublasDgemmStridedBatched(h, CUBLAS_OP_N, CUBLAS_OP_N, 6, 6, 6, ds, da, 6, 36, db, 6, 36, ds + 1, dc, 6,
					       36, 4));
		BLAS(cublasSetPointerMode(h, CUBLAS_POINTER_MODE_HOST));
		CUDA(cudaMemcpy(c.data(), dc, c.size() * sizeof(double), cudaMemcpyDeviceToHost));
		for (int z = 0; z < 4; z++) {
			double sum = 0;
			for (int l = 0; l < 6; l++)
				sum += a[36 * z + 2 + 6 * l] * b[36 * z + l + 6 * 5];
			CHECK(close_to(c[36 * z + 2 + 6 * 5], 2 * sum, 1e-13));
		}
		const double *la[2] = {da, da + 72}, *lb[2] = {db, db + 36};
		double *lc[2] = {dc, dc + 36}, one = 1, zero = 0;
		const double **pa, **pb;
		double **pc;
		CUDA(cudaMalloc(&pa, sizeof(la)));
		CUDA(cudaMalloc(&pb, sizeof(lb)));
		CUDA(cudaMalloc(&pc, sizeof(lc)));
		CUDA(cudaMemcpy(pa, la, sizeof(la), cudaMemcpyHostToDevice));
		CUDA(cudaMemcpy(pb, lb, sizeof(lb), cudaMemcpyHostToDevice));
		CUDA(cudaMemcpy(pc, lc, sizeof(lc), cudaMemcpyHostToDevice));
		BLAS(cublasDgemmBatched(h, CUBLAS_OP_N, CUBLAS_OP_N, 6, 6, 6, &one, pa, 6, pb, 6, &zero, pc, 6, 2));
		CUDA(cudaMemcpy(c.data(), dc, c.size() * sizeof(double), cudaMemcpyDeviceToHost));
		double sum = 0;
		for (int l = 0; l < 6; l++)
			sum += a[72 + 1 + 6 * l] * b[36 + l];
		CHECK(close_to(c[36 + 1], sum, 1e-13));
	}
	{ // halves, sums in single
		std::vector<__half> a = random_vector<__half>(32 * 32), b = random_vector<__half>(32 * 32);
		std::vector<float> c(32 * 32), zeros(32 * 32);
		std::vector<__half> none(32 * 32);
		__half *da = on_device(a), *db = on_device(b);
		float *dc = on_device(c), one = 1, zero = 0;
		auto want = reference(false, true, 32, 32, 32, 1, a.data(), 32, b.data(), 32, 0, none.data(), 32);

		BLAS(cublasGemmEx(h, CUBLAS_OP_N, CUBLAS_OP_T, 32, 32, 32, &one, da, CUDA_R_16F, 32, db, CUDA_R_16F, 32,
				  &zero, dc, CUDA_R_32F, 32, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
		CUDA(cudaMemcpy(c.data(), dc, c.size() * sizeof(float), cudaMemcpyDeviceToHost));
		for (int k2 = 0; k2 < 32 * 32; k2++)
			CHECK(close_to(c[k2], want[k2], 1e-5));
		CHECK(cublasGemmEx(h, CUBLAS_OP_N, CUBLAS_OP_T, 32, 32, 32, &one, da, CUDA_R_8I, 32, db, CUDA_R_8I, 32, &zero,
				   dc, CUDA_R_32F, 32, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
	}
	return 0;
}

static int vectors(cublasHandle_t h)
{
	const int n = 1000;
	std::vector<float> x = random_vector<float>(n), y = random_vector<float>(n), got(n);
	float *dx = on_device(x), *dy = on_device(y), alpha = 3.0f, r;
	double sum = 0, length = 0, absolute = 0;
	int at, best = 0;

	for (int k = 0; k < n; k++) {
		sum += (double)x[k] * y[k];
		length += (double)x[k] * x[k];
		absolute += fabs(x[k]);
		if (fabsf(x[k]) > fabsf(x[best]))
			best = k;
	}
	BLAS(cublasSdot(h, n, dx, 1, dy, 1, &r));
	CHECK(close_to(r, sum, 1e-4));
	BLAS(cublasSnrm2(h, n, dx, 1, &r));
	CHECK(close_to(r, sqrt(length), 1e-5));
	BLAS(cublasSasum(h, n, dx, 1, &r));
	CHECK(close_to(r, absolute, 1e-5));
	BLAS(cublasIsamax(h, n, dx, 1, &at));
	CHECK(at == best + 1);
	BLAS(cublasSaxpy(h, n, &alpha, dx, 1, dy, 1));
	BLAS(cublasGetVector(n, sizeof(float), dy, 1, got.data(), 1));
	for (int k = 0; k < n; k++)
		CHECK(close_to(got[k], 3.0 * x[k] + y[k], 1e-6));
	BLAS(cublasSscal(h, n / 2, &alpha, dx, 2));
	BLAS(cublasScopy(h, n, dx, 1, dy, -1));
	BLAS(cublasGetVector(n, sizeof(float), dy, 1, got.data(), 1));
	CHECK(got[n - 1] == 3.0f * x[0] && got[n - 2] == x[1]);

	int m = 20, c = 50;
	float beta = 2.0f;
	std::vector<float> a = random_vector<float>(m * c), v = random_vector<float>(c), w = random_vector<float>(m);
	float *da = on_device(a), *dv = on_device(v), *dw = on_device(w);
	BLAS(cublasSgemv(h, CUBLAS_OP_N, m, c, &alpha, da, m, dv, 1, &beta, dw, 1));
	BLAS(cublasGetVector(m, sizeof(float), dw, 1, got.data(), 1));
	double want = 0;
	for (int k = 0; k < c; k++)
		want += (double)a[7 + k * m] * v[k];
	CHECK(close_to(got[7], 3 * want + 2 * (double)w[7], 1e-5));
	BLAS(cublasSger(h, m, c, &alpha, dw, 1, dv, 1, da, m));
	float one;
	CUDA(cudaMemcpy(&one, da + 7 + 9 * m, sizeof(one), cudaMemcpyDeviceToHost));
	CHECK(close_to(one, a[7 + 9 * m] + 3.0 * got[7] * v[9], 1e-5));
	return 0;
}

static int in_graph(cublasHandle_t h)
{
	cudaStream_t s;
	cudaGraph_t graph;
	cudaGraphExec_t exec;
	std::vector<float> ones(16 * 16, 1.0f);
	float *a = on_device(ones), *c = on_device(ones), one = 1;

	CUDA(cudaStreamCreate(&s));
	BLAS(cublasSetStream(h, s));
	CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
	BLAS(cublasSgemm(h, CUBLAS_OP_N, CUBLAS_OP_N, 16, 16, 16, &one, a, 16, a, 16, &one, c, 16));
	CUDA(cudaStreamEndCapture(s, &graph));
	CUDA(cudaGraphInstantiate(&exec, graph, 0));
	for (int k = 0; k < 3; k++)
		CUDA(cudaGraphLaunch(exec, s));
	CUDA(cudaStreamSynchronize(s));
	CUDA(cudaMemcpy(ones.data(), c, sizeof(float), cudaMemcpyDeviceToHost));
	CHECK(ones[0] == 49.0f);
	return 0;
}

int main()
{
	cublasHandle_t h;
	int version;

	BLAS(cublasCreate(&h));
	BLAS(cublasGetVersion(h, &version));
	CHECK(version >= 120000);
	if (products(h) || vectors(h) || in_graph(h))
		return 1;
	BLAS(cublasDestroy(h));
	if (!failures)
		printf("blas: all as expected\n");
	return failures != 0;
}
