/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcublas over this project's libcudart: vectors, matrices with vectors, products of matrices, in single and double
 * and with halves as inputs. The kernels are in kernels.cu; they are registered with the runtime as a
 * program's own, so that streams, captures and managed memory are the runtime's affair.
 *
 * Functions that are not there are exported and answer CUBLAS_STATUS_NOT_SUPPORTED.
 */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/blas/cublas.h"

enum {
	SUCCESS = 0,
	NOT_INITIALIZED = 1,
	ALLOC_FAILED = 3,
	INVALID_VALUE = 7,
	EXECUTION_FAILED = 13,
	NOT_SUPPORTED = 15,
	ON_HOST = 0,
	ON_DEVICE = 1,
	OP_N = 0,
	OP_T = 1,
	OP_C = 2,
	R_32F = 0, /* cudaDataType */
	R_64F = 1,
	R_16F = 2,
	R_16BF = 14,
	COMPUTE_32F = 68, /* cublasComputeType_t and its cousins up to FAST_TF32 */
	COMPUTE_32F_LAST = 77,
	COMPUTE_64F = 70,
	COMPUTE_64F_PEDANTIC = 71,
	THREADS = 256,
	BLOCKS_MAX = 1024,
	ROWS_MAX = 65535, /* of a grid, in y and z */
	VERSION = CUDART_MAJOR * 10000 + 100,
};

#define MAGIC 0x61746f6c626c6173ull

struct handle {
	uint64_t magic;
	void *stream;
	int scalars, math, atomics;
	void *scratch; /* on the device: a result that the host asks for */
};

/* ------------------------------------------------------------------ kernels */

enum kernel {
	GEMM_S, GEMM_D, GEMM_H, GEMM_HS, GEMM_B, GEMM_BS,
	AXPY_S, AXPY_D, SCAL_S, SCAL_D, COPY_S, COPY_D, DOT_S, DOT_D, MOST_S, MOST_D, GEMV_S, GEMV_D, GER_S, GER_D,
	GEAM_S, GEAM_D, KERNELS,
};

static const char *const names[KERNELS] = {
	"gemm_s", "gemm_d", "gemm_h", "gemm_hs", "gemm_b", "gemm_bs", "axpy_s", "axpy_d", "scal_s", "scal_d", "copy_s",
	"copy_d", "dot_s", "dot_d", "most_s", "most_d", "gemv_s", "gemv_d", "ger_s", "ger_d", "geam_s", "geam_d",
};
static char hosts[KERNELS]; /* their addresses are the kernels' */
static pthread_once_t once = PTHREAD_ONCE_INIT;
extern const char blas_kernels[];

static void kernels_register(void)
{
	void **image = __cudaRegisterFatBinary((void *)(uintptr_t)blas_kernels);

	for (unsigned k = 0; k < KERNELS; k++)
		__cudaRegisterFunction(image, &hosts[k], &hosts[k], names[k], -1, NULL, NULL, NULL, NULL, NULL);
	__cudaRegisterFatBinaryEnd(image);
}

static int launch(struct handle *h, enum kernel k, struct dim3 grid, struct dim3 block, void **args)
{
	return cudaLaunchKernel(&hosts[k], grid, block, args, 0, h->stream) ? EXECUTION_FAILED : SUCCESS;
}

static struct dim3 blocks_for(int n)
{
	unsigned b = ((unsigned)n + THREADS - 1) / THREADS;

	return (struct dim3){b > BLOCKS_MAX ? BLOCKS_MAX : b, 1, 1};
}

static const struct dim3 threads = {THREADS, 1, 1}, single = {1, 1, 1};

/* A scalar as the kernels take it: a value, or where it lies on the device. */
struct scalar {
	union {
		float f;
		double d;
	};
	const void *at;
};

static struct scalar scalar_of(const struct handle *h, const void *p, bool is_double)
{
	struct scalar s = {.d = 0};

	if (h->scalars == ON_DEVICE)
		s.at = p;
	else
		memcpy(&s.d, p, is_double ? sizeof(double) : sizeof(float));
	return s;
}

int blas_refuse(const char *function)
{
	if (getenv("ATOLL_GPU_VERBOSE"))
		fprintf(stderr, "atoll-gpu: %s is not supported\n", function);
	return NOT_SUPPORTED;
}

static bool is_handle(const struct handle *h)
{
	return h && h->magic == MAGIC;
}

/* ------------------------------------------------------------------ the library */

BLAS(cublasCreate_v2(struct handle **out))
{
	struct handle *h;

	if (!out)
		return INVALID_VALUE;
	pthread_once(&once, kernels_register);
	h = calloc(1, sizeof(*h));
	if (!h)
		return ALLOC_FAILED;
	if (cudaMalloc(&h->scratch, 64)) {
		free(h);
		return NOT_INITIALIZED;
	}
	h->magic = MAGIC;
	*out = h;
	return SUCCESS;
}

BLAS(cublasDestroy_v2(struct handle *h))
{
	if (!is_handle(h))
		return NOT_INITIALIZED;
	cudaFree(h->scratch);
	h->magic = 0;
	free(h);
	return SUCCESS;
}

BLAS(cublasGetVersion_v2(struct handle *h, int *v))
{
	(void)h;
	if (!v)
		return INVALID_VALUE;
	*v = VERSION;
	return SUCCESS;
}

BLAS(cublasGetProperty(int what, int *v))
{
	if (!v || what < 0 || what > 2)
		return INVALID_VALUE;
	*v = what == 0 ? CUDART_MAJOR : what == 1 ? 1 : 0;
	return SUCCESS;
}

#define SETTING(type, Name, field)                                                                                     \
	BLAS(cublasSet##Name(struct handle *h, type v))                                                                \
	{                                                                                                              \
		if (!is_handle(h))                                                                                     \
			return NOT_INITIALIZED;                                                                        \
		h->field = v;                                                                                          \
		return SUCCESS;                                                                                        \
	}

#define GETTING(type, Name, field)                                                                                     \
	BLAS(cublasGet##Name(struct handle *h, type *v))                                                               \
	{                                                                                                              \
		if (!is_handle(h))                                                                                     \
			return NOT_INITIALIZED;                                                                        \
		if (!v)                                                                                                \
			return INVALID_VALUE;                                                                          \
		*v = h->field;                                                                                         \
		return SUCCESS;                                                                                        \
	}

SETTING(void *, Stream_v2, stream)
GETTING(void *, Stream_v2, stream)
GETTING(int, PointerMode_v2, scalars)
SETTING(int, MathMode, math) /* products are made in the type that was asked for */
GETTING(int, MathMode, math)
SETTING(int, AtomicsMode, atomics)
GETTING(int, AtomicsMode, atomics)

BLAS(cublasSetPointerMode_v2(struct handle *h, int v))
{
	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (v != ON_HOST && v != ON_DEVICE)
		return INVALID_VALUE;
	h->scalars = v;
	return SUCCESS;
}

BLAS(cublasSetWorkspace_v2(struct handle *h, void *p, size_t n))
{
	(void)p, (void)n; /* none is needed */
	return is_handle(h) ? SUCCESS : NOT_INITIALIZED;
}

__attribute__((visibility("default"))) const char *cublasGetStatusName(int status);
__attribute__((visibility("default"))) const char *cublasGetStatusName(int status)
{
	switch (status) {
	case SUCCESS:
		return "CUBLAS_STATUS_SUCCESS";
	case NOT_INITIALIZED:
		return "CUBLAS_STATUS_NOT_INITIALIZED";
	case ALLOC_FAILED:
		return "CUBLAS_STATUS_ALLOC_FAILED";
	case INVALID_VALUE:
		return "CUBLAS_STATUS_INVALID_VALUE";
	case EXECUTION_FAILED:
		return "CUBLAS_STATUS_EXECUTION_FAILED";
	case NOT_SUPPORTED:
		return "CUBLAS_STATUS_NOT_SUPPORTED";
	default:
		return "CUBLAS_STATUS_UNKNOWN";
	}
}

__attribute__((visibility("default"))) const char *cublasGetStatusString(int status);
__attribute__((visibility("default"))) const char *cublasGetStatusString(int status)
{
	return cublasGetStatusName(status);
}

/* ------------------------------------------------------------------ between host and device */

static int matrix_copy(int rows, int columns, int element, const void *from, int from_ld, void *to, int to_ld, int kind)
{
	if (rows < 0 || columns < 0 || element <= 0 || from_ld < rows || to_ld < rows)
		return INVALID_VALUE;
	return cudaMemcpy2D(to, (size_t)to_ld * (size_t)element, from, (size_t)from_ld * (size_t)element,
			    (size_t)rows * (size_t)element, (size_t)columns, kind)
		       ? EXECUTION_FAILED
		       : SUCCESS;
}

enum { TO_DEVICE = 1, TO_HOST = 2 };

BLAS(cublasSetMatrix(int rows, int columns, int element, const void *a, int lda, void *b, int ldb))
{
	return matrix_copy(rows, columns, element, a, lda, b, ldb, TO_DEVICE);
}

BLAS(cublasGetMatrix(int rows, int columns, int element, const void *a, int lda, void *b, int ldb))
{
	return matrix_copy(rows, columns, element, a, lda, b, ldb, TO_HOST);
}

/* A vector with a step is the first row of a matrix. */
BLAS(cublasSetVector(int n, int element, const void *x, int xs, void *y, int ys))
{
	return xs < 1 || ys < 1 ? INVALID_VALUE : matrix_copy(1, n, element, x, xs, y, ys, TO_DEVICE);
}

BLAS(cublasGetVector(int n, int element, const void *x, int xs, void *y, int ys))
{
	return xs < 1 || ys < 1 ? INVALID_VALUE : matrix_copy(1, n, element, x, xs, y, ys, TO_HOST);
}

/* ------------------------------------------------------------------ vectors */

static int axpy(struct handle *h, bool d, int n, const void *alpha, const void *x, int xs, void *y, int ys)
{
	struct scalar a;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!alpha)
		return INVALID_VALUE;
	if (n <= 0)
		return SUCCESS;
	a = scalar_of(h, alpha, d);
	return launch(h, d ? AXPY_D : AXPY_S, blocks_for(n), threads, (void *[]){&n, &a.d, &a.at, &x, &xs, &y, &ys});
}

static int scal(struct handle *h, bool d, int n, const void *alpha, void *x, int xs)
{
	struct scalar a;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!alpha)
		return INVALID_VALUE;
	if (n <= 0 || xs <= 0)
		return SUCCESS;
	a = scalar_of(h, alpha, d);
	return launch(h, d ? SCAL_D : SCAL_S, blocks_for(n), threads, (void *[]){&n, &a.d, &a.at, &x, &xs});
}

static int copy(struct handle *h, bool d, int n, const void *x, int xs, void *y, int ys, int swap)
{
	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (n <= 0)
		return SUCCESS;
	return launch(h, d ? COPY_D : COPY_S, blocks_for(n), threads, (void *[]){&n, &x, &xs, &y, &ys, &swap});
}

/* Where a result goes: there, or through the scratch memory to the host. */
static int result(struct handle *h, enum kernel k, void **args, void **slot, void *out, size_t size)
{
	int rc;

	*slot = h->scalars == ON_DEVICE ? out : h->scratch;
	rc = launch(h, k, single, threads, args);
	if (rc || h->scalars == ON_DEVICE)
		return rc;
	if (cudaStreamSynchronize(h->stream) || cudaMemcpy(out, h->scratch, size, TO_HOST))
		return EXECUTION_FAILED;
	return SUCCESS;
}

static int dot(struct handle *h, bool d, int n, const void *x, int xs, const void *y, int ys, void *out, int what)
{
	void *at = NULL;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!out)
		return INVALID_VALUE;
	n = n < 0 || (what && xs <= 0) ? 0 : n;
	return result(h, d ? DOT_D : DOT_S, (void *[]){&n, &x, &xs, &y, &ys, &at, &what}, &at, out,
		      d ? sizeof(double) : sizeof(float));
}

static int most(struct handle *h, bool d, int n, const void *x, int xs, int *out, int least)
{
	void *at = NULL;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!out)
		return INVALID_VALUE;
	n = n < 0 || xs <= 0 ? 0 : n;
	return result(h, d ? MOST_D : MOST_S, (void *[]){&n, &x, &xs, &at, &least}, &at, out, sizeof(*out));
}

/* ------------------------------------------------------------------ matrices */

static bool op_ok(int op)
{
	return op == OP_N || op == OP_T || op == OP_C;
}

static int gemv(struct handle *h, bool d, int op, int m, int n, const void *alpha, const void *a, int lda, const void *x,
		int xs, const void *beta, void *y, int ys)
{
	int64_t row = 1, column = lda;
	struct scalar s, t;
	int rows = m, columns = n;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!op_ok(op) || m < 0 || n < 0 || lda < (m > 1 ? m : 1) || !xs || !ys || !alpha || !beta)
		return INVALID_VALUE;
	if (op != OP_N) {
		row = lda, column = 1;
		rows = n, columns = m;
	}
	if (!m || !n)
		return SUCCESS;
	s = scalar_of(h, alpha, d);
	t = scalar_of(h, beta, d);
	return launch(h, d ? GEMV_D : GEMV_S, (struct dim3){((unsigned)rows + THREADS - 1) / THREADS, 1, 1}, threads,
		      (void *[]){&rows, &columns, &s.d, &s.at, &a, &row, &column, &x, &xs, &t.d, &t.at, &y, &ys});
}

static int ger(struct handle *h, bool d, int m, int n, const void *alpha, const void *x, int xs, const void *y, int ys,
	       void *a, int lda)
{
	int64_t ld = lda;
	struct scalar s;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (m < 0 || n < 0 || !xs || !ys || lda < (m > 1 ? m : 1) || !alpha)
		return INVALID_VALUE;
	if (!m || !n)
		return SUCCESS;
	if (n > ROWS_MAX)
		return NOT_SUPPORTED;
	s = scalar_of(h, alpha, d);
	return launch(h, d ? GER_D : GER_S, (struct dim3){((unsigned)m + THREADS - 1) / THREADS, (unsigned)n, 1}, threads,
		      (void *[]){&m, &n, &s.d, &s.at, &x, &xs, &y, &ys, &a, &ld});
}

static int geam(struct handle *h, bool d, int opa, int opb, int m, int n, const void *alpha, const void *a, int lda,
		const void *beta, const void *b, int ldb, void *c, int ldc)
{
	int64_t ar = opa == OP_N ? 1 : lda, ac = opa == OP_N ? lda : 1, br = opb == OP_N ? 1 : ldb,
		bc = opb == OP_N ? ldb : 1, ld = ldc;
	struct scalar s, t;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!op_ok(opa) || !op_ok(opb) || m < 0 || n < 0 || lda < 1 || ldb < 1 || ldc < (m > 1 ? m : 1) || !alpha || !beta)
		return INVALID_VALUE;
	if (!m || !n)
		return SUCCESS;
	if (n > ROWS_MAX)
		return NOT_SUPPORTED;
	s = scalar_of(h, alpha, d);
	t = scalar_of(h, beta, d);
	return launch(h, d ? GEAM_D : GEAM_S, (struct dim3){((unsigned)m + THREADS - 1) / THREADS, (unsigned)n, 1}, threads,
		      (void *[]){&m, &s.d, &s.at, &a, &ar, &ac, &t.d, &t.at, &b, &br, &bc, &c, &ld});
}

struct product {
	int opa, opb, m, n, k;
	const void *alpha, *beta, *a, *b;
	void *c;
	int lda, ldb, ldc;
	long long a_step, b_step, c_step;
	int count, lists;
};

static int gemm(struct handle *h, enum kernel kernel, const struct product *p)
{
	int64_t ar = p->opa == OP_N ? 1 : p->lda, ac = p->opa == OP_N ? p->lda : 1, br = p->opb == OP_N ? 1 : p->ldb,
		bc = p->opb == OP_N ? p->ldb : 1, ld = p->ldc;
	struct product q = *p;
	struct scalar s, t;
	struct dim3 block = {8, 8, 1}, grid;

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!op_ok(p->opa) || !op_ok(p->opb) || p->m < 0 || p->n < 0 || p->k < 0 || p->count < 0 || !p->alpha ||
	    !p->beta || p->lda < 1 || p->lda < (p->opa == OP_N ? p->m : p->k) || p->ldb < 1 ||
	    p->ldb < (p->opb == OP_N ? p->k : p->n) || p->ldc < 1 || p->ldc < p->m)
		return INVALID_VALUE;
	if (!p->m || !p->n || !p->count)
		return SUCCESS;
	grid = (struct dim3){((unsigned)p->m + 31) / 32, ((unsigned)p->n + 31) / 32, (unsigned)p->count};
	if (grid.y > ROWS_MAX || grid.z > ROWS_MAX)
		return NOT_SUPPORTED;
	s = scalar_of(h, p->alpha, kernel == GEMM_D);
	t = scalar_of(h, p->beta, kernel == GEMM_D);
	return launch(h, kernel, grid, block,
		      (void *[]){&q.m, &q.n, &q.k, &s.d, &s.at, &q.a, &ar, &ac, &q.a_step, &q.b, &br, &bc, &q.b_step,
				 &t.d, &t.at, &q.c, &ld, &q.c_step, &q.lists});
}

/* Which product that is; KERNELS: none of those there are. */
static enum kernel product_of(int a, int b, int c, int compute)
{
	bool single_sums = compute >= COMPUTE_32F && compute <= COMPUTE_32F_LAST && compute != COMPUTE_64F &&
			   compute != COMPUTE_64F_PEDANTIC && compute != 72 && compute != 73;

	if (a == R_64F && b == R_64F && c == R_64F && (compute == COMPUTE_64F || compute == COMPUTE_64F_PEDANTIC))
		return GEMM_D;
	if (a != b || !single_sums)
		return KERNELS;
	if (a == R_32F)
		return c == R_32F ? GEMM_S : KERNELS;
	if (a == R_16F)
		return c == R_16F ? GEMM_H : c == R_32F ? GEMM_HS : KERNELS;
	if (a == R_16BF)
		return c == R_16BF ? GEMM_B : c == R_32F ? GEMM_BS : KERNELS;
	return KERNELS;
}

static int gemm_ex(struct handle *h, const struct product *p, int a, int b, int c, int compute)
{
	enum kernel k = product_of(a, b, c, compute);

	return k == KERNELS ? NOT_SUPPORTED : gemm(h, k, p);
}

BLAS(cublasGemmEx(struct handle *h, int opa, int opb, int m, int n, int k, const void *alpha, const void *a, int at, int lda,
		  const void *b, int bt, int ldb, const void *beta, void *c, int ct, int ldc, int compute, int algorithm))
{
	struct product p = {opa, opb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, 0, 0, 0, 1, 0};

	(void)algorithm;
	return gemm_ex(h, &p, at, bt, ct, compute);
}

BLAS(cublasGemmStridedBatchedEx(struct handle *h, int opa, int opb, int m, int n, int k, const void *alpha, const void *a,
				int at, int lda, long long as, const void *b, int bt, int ldb, long long bs,
				const void *beta, void *c, int ct, int ldc, long long cs, int count, int compute,
				int algorithm))
{
	struct product p = {opa, opb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, as, bs, cs, count, 0};

	(void)algorithm;
	return gemm_ex(h, &p, at, bt, ct, compute);
}

BLAS(cublasGemmBatchedEx(struct handle *h, int opa, int opb, int m, int n, int k, const void *alpha, const void *a, int at,
			 int lda, const void *b, int bt, int ldb, const void *beta, void *c, int ct, int ldc, int count,
			 int compute, int algorithm))
{
	struct product p = {opa, opb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, 0, 0, 0, count, 1};

	(void)algorithm;
	return gemm_ex(h, &p, at, bt, ct, compute);
}

BLAS(cublasSgemmEx(struct handle *h, int opa, int opb, int m, int n, int k, const float *alpha, const void *a, int at,
		   int lda, const void *b, int bt, int ldb, const float *beta, void *c, int ct, int ldc))
{
	struct product p = {opa, opb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, 0, 0, 0, 1, 0};

	return gemm_ex(h, &p, at, bt, ct, COMPUTE_32F);
}

/* Every function of one type: P is its letter, T the type, d whether it is double. */
#define TYPE(P, T, d)                                                                                                  \
	BLAS(cublas##P##axpy_v2(struct handle *h, int n, const T *alpha, const T *x, int xs, T *y, int ys))            \
	{                                                                                                              \
		return axpy(h, d, n, alpha, x, xs, y, ys);                                                             \
	}                                                                                                              \
	BLAS(cublas##P##scal_v2(struct handle *h, int n, const T *alpha, T *x, int xs))                                \
	{                                                                                                              \
		return scal(h, d, n, alpha, x, xs);                                                                    \
	}                                                                                                              \
	BLAS(cublas##P##copy_v2(struct handle *h, int n, const T *x, int xs, T *y, int ys))                            \
	{                                                                                                              \
		return copy(h, d, n, x, xs, y, ys, 0);                                                                 \
	}                                                                                                              \
	BLAS(cublas##P##swap_v2(struct handle *h, int n, T *x, int xs, T *y, int ys))                                  \
	{                                                                                                              \
		return copy(h, d, n, x, xs, y, ys, 1);                                                                 \
	}                                                                                                              \
	BLAS(cublas##P##dot_v2(struct handle *h, int n, const T *x, int xs, const T *y, int ys, T *out))               \
	{                                                                                                              \
		return dot(h, d, n, x, xs, y, ys, out, 0);                                                             \
	}                                                                                                              \
	BLAS(cublas##P##nrm2_v2(struct handle *h, int n, const T *x, int xs, T *out))                                  \
	{                                                                                                              \
		return dot(h, d, n, x, xs, x, xs, out, 1);                                                             \
	}                                                                                                              \
	BLAS(cublas##P##asum_v2(struct handle *h, int n, const T *x, int xs, T *out))                                  \
	{                                                                                                              \
		return dot(h, d, n, x, xs, x, xs, out, 2);                                                             \
	}                                                                                                              \
	BLAS(cublas##P##gemv_v2(struct handle *h, int op, int m, int n, const T *alpha, const T *a, int lda,           \
				const T *x, int xs, const T *beta, T *y, int ys))                                      \
	{                                                                                                              \
		return gemv(h, d, op, m, n, alpha, a, lda, x, xs, beta, y, ys);                                        \
	}                                                                                                              \
	BLAS(cublas##P##ger_v2(struct handle *h, int m, int n, const T *alpha, const T *x, int xs, const T *y, int ys, \
			       T *a, int lda))                                                                         \
	{                                                                                                              \
		return ger(h, d, m, n, alpha, x, xs, y, ys, a, lda);                                                   \
	}                                                                                                              \
	BLAS(cublas##P##geam(struct handle *h, int opa, int opb, int m, int n, const T *alpha, const T *a, int lda,    \
			     const T *beta, const T *b, int ldb, T *c, int ldc))                                       \
	{                                                                                                              \
		return geam(h, d, opa, opb, m, n, alpha, a, lda, beta, b, ldb, c, ldc);                                \
	}                                                                                                              \
	BLAS(cublas##P##gemm_v2(struct handle *h, int opa, int opb, int m, int n, int k, const T *alpha, const T *a,   \
				int lda, const T *b, int ldb, const T *beta, T *c, int ldc))                           \
	{                                                                                                              \
		struct product p = {opa, opb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, 0, 0, 0, 1, 0};            \
                                                                                                                       \
		return gemm(h, (d) ? GEMM_D : GEMM_S, &p);                                                             \
	}                                                                                                              \
	BLAS(cublas##P##gemmStridedBatched(struct handle *h, int opa, int opb, int m, int n, int k, const T *alpha,    \
					   const T *a, int lda, long long as, const T *b, int ldb, long long bs,       \
					   const T *beta, T *c, int ldc, long long cs, int count))                     \
	{                                                                                                              \
		struct product p = {opa, opb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc, as, bs, cs, count, 0};     \
                                                                                                                       \
		return gemm(h, (d) ? GEMM_D : GEMM_S, &p);                                                             \
	}                                                                                                              \
	BLAS(cublas##P##gemmBatched(struct handle *h, int opa, int opb, int m, int n, int k, const T *alpha,           \
				    const T *const a[], int lda, const T *const b[], int ldb, const T *beta,           \
				    T *const c[], int ldc, int count))                                                 \
	{                                                                                                              \
		struct product p = {opa, opb, m, n, k, alpha, beta, a, b, (void *)(uintptr_t)c, lda, ldb, ldc, 0, 0, 0, \
				    count, 1};                                                                         \
                                                                                                                       \
		return gemm(h, (d) ? GEMM_D : GEMM_S, &p);                                                             \
	}

TYPE(S, float, false)
TYPE(D, double, true)

BLAS(cublasIsamax_v2(struct handle *h, int n, const float *x, int xs, int *out))
{
	return most(h, false, n, x, xs, out, 0);
}

BLAS(cublasIdamax_v2(struct handle *h, int n, const double *x, int xs, int *out))
{
	return most(h, true, n, x, xs, out, 0);
}

BLAS(cublasIsamin_v2(struct handle *h, int n, const float *x, int xs, int *out))
{
	return most(h, false, n, x, xs, out, 1);
}

BLAS(cublasIdamin_v2(struct handle *h, int n, const double *x, int xs, int *out))
{
	return most(h, true, n, x, xs, out, 1);
}

/* Bits of a half as a number. */
static float half_value(uint16_t h)
{
	unsigned exponent = h >> 10 & 31, mantissa = h & 0x3ff;
	float v = exponent == 31 ? (mantissa ? NAN : INFINITY)
		  : exponent	 ? ldexpf((float)(mantissa | 0x400), (int)exponent - 25)
				 : ldexpf((float)mantissa, -24);

	return h >> 15 ? -v : v;
}

BLAS(cublasHgemm(struct handle *h, int opa, int opb, int m, int n, int k, const uint16_t *alpha, const void *a, int lda,
		 const void *b, int ldb, const uint16_t *beta, void *c, int ldc))
{
	float scalars[2];

	if (!is_handle(h))
		return NOT_INITIALIZED;
	if (!alpha || !beta)
		return INVALID_VALUE;
	if (h->scalars == ON_DEVICE)
		return NOT_SUPPORTED;
	scalars[0] = half_value(*alpha);
	scalars[1] = half_value(*beta);
	return gemm(h, GEMM_H, &(struct product){opa, opb, m, n, k, &scalars[0], &scalars[1], a, b, c, lda, ldb, ldc, 0, 0,
						 0, 1, 0});
}
