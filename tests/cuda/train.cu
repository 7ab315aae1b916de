// SPDX-License-Identifier: Apache-2.0
/*
 * A small transformer (one head of attention, a layer with relu after it, softmax and cross entropy)
 * trained for 100 steps of Adam to say a sequence backwards: forward and backward by kernels and cuBLAS. The same in
 * double on the host: the losses of all steps must agree.
 *
 * nvcc: -lcublas
 * prints: train: the losses agree
 */
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

const int L = 8, D = 16, V = 12, F = 32, B = 4; // positions, width, words, inner width, sequences
const int N = B * L;

static unsigned state = 1;
static double draw()
{
	state = state * 1664525u + 1013904223u;
	return (double)(state >> 8) / (1 << 24) - 0.5;
}

/* ---------------------------------------------------------------- the same code for host (double) and device (float) */

struct shape {
	int rows, columns;
};
enum { EMBED, PLACE, WQ, WK, WV, W1, W2, WO, WEIGHTS };
static const shape shapes[WEIGHTS] = {{V, D}, {L, D}, {D, D}, {D, D}, {D, D}, {D, F}, {F, D}, {D, V}};

#define ROW (int)(blockIdx.x * blockDim.x + threadIdx.x)

__global__ void embed(const int *words, const float *e, const float *place, float *x)
{
	int r = ROW;
	if (r < N)
		for (int d = 0; d < D; d++)
			x[r * D + d] = e[words[r] * D + d] + place[r % L * D + d];
}

__global__ void embed_back(const int *words, const float *dx, float *de, float *dplace)
{
	int r = ROW;
	if (r < N)
		for (int d = 0; d < D; d++) {
			atomicAdd(&de[words[r] * D + d], dx[r * D + d]);
			atomicAdd(&dplace[r % L * D + d], dx[r * D + d]);
		}
}

__global__ void softmax(float *x, int rows, int columns)
{
	int r = ROW;
	if (r >= rows)
		return;
	float m = x[r * columns], s = 0;
	for (int k = 0; k < columns; k++)
		m = fmaxf(m, x[r * columns + k]);
	for (int k = 0; k < columns; k++)
		s += x[r * columns + k] = expf(x[r * columns + k] - m);
	for (int k = 0; k < columns; k++)
		x[r * columns + k] /= s;
}

__global__ void softmax_back(const float *p, float *dp, int rows, int columns, float scale)
{
	int r = ROW;
	if (r >= rows)
		return;
	float s = 0;
	for (int k = 0; k < columns; k++)
		s += p[r * columns + k] * dp[r * columns + k];
	for (int k = 0; k < columns; k++)
		dp[r * columns + k] = p[r * columns + k] * (dp[r * columns + k] - s) * scale;
}

__global__ void relu(const float *x, float *y, int n)
{
	int k = ROW;
	if (k < n)
		y[k] = x[k] > 0 ? x[k] : 0;
}

__global__ void relu_back(const float *x, float *dy, int n)
{
	int k = ROW;
	if (k < n && x[k] <= 0)
		dy[k] = 0;
}

__global__ void add(float *x, const float *y, int n)
{
	int k = ROW;
	if (k < n)
		x[k] += y[k];
}

/* p becomes its gradient. */
__global__ void loss(float *p, const int *target, float *sum)
{
	int r = ROW;
	if (r >= N)
		return;
	atomicAdd(sum, -logf(p[r * V + target[r]]) / N);
	p[r * V + target[r]] -= 1;
	for (int k = 0; k < V; k++)
		p[r * V + k] /= N;
}

__global__ void adam(float *w, const float *g, float *m, float *v, int n, float c1, float c2)
{
	int k = ROW;
	if (k >= n)
		return;
	m[k] = 0.9f * m[k] + 0.1f * g[k];
	v[k] = 0.99f * v[k] + 0.01f * g[k] * g[k];
	w[k] -= 0.01f * (m[k] * c1) / (sqrtf(v[k] * c2) + 1e-6f);
}

#define CUDA(call) \
	do { \
		cudaError_t rc = (call); \
		if (rc) { \
			printf("line %d: %s: %s\n", __LINE__, #call, cudaGetErrorString(rc)); \
			exit(1); \
		} \
	} while (0)

static cublasHandle_t blas;

static float *room(size_t n)
{
	float *p;
	CUDA(cudaMalloc(&p, n * sizeof(float)));
	CUDA(cudaMemset(p, 0, n * sizeof(float)));
	return p;
}

/* Rows lie one after the other: C (m by n) = alpha op(A) op(B) + beta C. */
static void mm(bool ta, bool tb, int m, int n, int k, float alpha, const float *a, const float *b, float beta, float *c,
	       int count = 1, long long as = 0, long long bs = 0, long long cs = 0)
{
	cublasStatus_t rc = cublasSgemmStridedBatched(blas, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, n, m,
						      k, &alpha, b, tb ? k : n, bs, a, ta ? m : k, as, &beta, c, n, cs, count);
	if (rc) {
		printf("product: %s\n", cublasGetStatusString(rc));
		exit(1);
	}
}

typedef std::vector<double> vec;

static void host_mm(bool ta, bool tb, int m, int n, int k, double alpha, const double *a, const double *b, double beta, double *c)
{
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++) {
			double s = 0;
			for (int l = 0; l < k; l++)
				s += (ta ? a[l * m + i] : a[i * k + l]) * (tb ? b[j * k + l] : b[l * n + j]);
			c[i * n + j] = alpha * s + (beta != 0 ? beta * c[i * n + j] : 0);
		}
}

static void host_softmax(vec &x, int rows, int columns)
{
	for (int r = 0; r < rows; r++) {
		double s = 0;
		for (int k = 0; k < columns; k++)
			s += x[r * columns + k] = exp(x[r * columns + k]);
		for (int k = 0; k < columns; k++)
			x[r * columns + k] /= s;
	}
}

static void host_softmax_back(const vec &p, vec &dp, int rows, int columns, double scale)
{
	for (int r = 0; r < rows; r++) {
		double s = 0;
		for (int k = 0; k < columns; k++)
			s += p[r * columns + k] * dp[r * columns + k];
		for (int k = 0; k < columns; k++)
			dp[r * columns + k] = p[r * columns + k] * (dp[r * columns + k] - s) * scale;
	}
}

static double host_step(std::vector<vec> &w, std::vector<vec> &m, std::vector<vec> &v, const std::vector<int> &words,
			const std::vector<int> &target, int step)
{
	std::vector<vec> g(WEIGHTS);
	vec x(N * D), q(N * D), k(N * D), u(N * D), a(N * L), y(N * D), h(N * F), r(N * F), o(N * V), dy(N * D), dr(N * F),
		da(N * L), dq(N * D), dk(N * D), du(N * D), dx(N * D);
	double sum = 0, scale = 1 / sqrt((double)D);

	for (int i = 0; i < WEIGHTS; i++)
		g[i].resize(w[i].size());
	for (int n = 0; n < N; n++)
		for (int d = 0; d < D; d++)
			x[n * D + d] = w[EMBED][words[n] * D + d] + w[PLACE][n % L * D + d];
	host_mm(false, false, N, D, D, 1, x.data(), w[WQ].data(), 0, q.data());
	host_mm(false, false, N, D, D, 1, x.data(), w[WK].data(), 0, k.data());
	host_mm(false, false, N, D, D, 1, x.data(), w[WV].data(), 0, u.data());
	for (int b = 0; b < B; b++)
		host_mm(false, true, L, L, D, scale, &q[b * L * D], &k[b * L * D], 0, &a[b * L * L]);
	host_softmax(a, N, L);
	for (int b = 0; b < B; b++)
		host_mm(false, false, L, D, L, 1, &a[b * L * L], &u[b * L * D], 0, &y[b * L * D]);
	for (int n = 0; n < N * D; n++)
		y[n] += x[n];
	host_mm(false, false, N, F, D, 1, y.data(), w[W1].data(), 0, h.data());
	for (int n = 0; n < N * F; n++)
		r[n] = h[n] > 0 ? h[n] : 0;
	vec z(y);
	host_mm(false, false, N, D, F, 1, r.data(), w[W2].data(), 1, z.data());
	host_mm(false, false, N, V, D, 1, z.data(), w[WO].data(), 0, o.data());
	host_softmax(o, N, V);
	for (int n = 0; n < N; n++) {
		sum -= log(o[n * V + target[n]]) / N;
		o[n * V + target[n]] -= 1;
	}
	for (double &d : o)
		d /= N;
	host_mm(true, false, D, V, N, 1, z.data(), o.data(), 0, g[WO].data());
	host_mm(false, true, N, D, V, 1, o.data(), w[WO].data(), 0, dy.data());
	host_mm(true, false, F, D, N, 1, r.data(), dy.data(), 0, g[W2].data());
	host_mm(false, true, N, F, D, 1, dy.data(), w[W2].data(), 0, dr.data());
	for (int n = 0; n < N * F; n++)
		if (h[n] <= 0)
			dr[n] = 0;
	host_mm(true, false, D, F, N, 1, y.data(), dr.data(), 0, g[W1].data());
	host_mm(false, true, N, D, F, 1, dr.data(), w[W1].data(), 1, dy.data());
	for (int b = 0; b < B; b++) {
		host_mm(false, true, L, L, D, 1, &dy[b * L * D], &u[b * L * D], 0, &da[b * L * L]);
		host_mm(true, false, L, D, L, 1, &a[b * L * L], &dy[b * L * D], 0, &du[b * L * D]);
	}
	host_softmax_back(a, da, N, L, scale);
	for (int b = 0; b < B; b++) {
		host_mm(false, false, L, D, L, 1, &da[b * L * L], &k[b * L * D], 0, &dq[b * L * D]);
		host_mm(true, false, L, D, L, 1, &da[b * L * L], &q[b * L * D], 0, &dk[b * L * D]);
	}
	host_mm(true, false, D, D, N, 1, x.data(), dq.data(), 0, g[WQ].data());
	host_mm(true, false, D, D, N, 1, x.data(), dk.data(), 0, g[WK].data());
	host_mm(true, false, D, D, N, 1, x.data(), du.data(), 0, g[WV].data());
	dx = dy;
	host_mm(false, true, N, D, D, 1, dq.data(), w[WQ].data(), 1, dx.data());
	host_mm(false, true, N, D, D, 1, dk.data(), w[WK].data(), 1, dx.data());
	host_mm(false, true, N, D, D, 1, du.data(), w[WV].data(), 1, dx.data());
	for (int n = 0; n < N; n++)
		for (int d = 0; d < D; d++) {
			g[EMBED][words[n] * D + d] += dx[n * D + d];
			g[PLACE][n % L * D + d] += dx[n * D + d];
		}
	for (int i = 0; i < WEIGHTS; i++)
		for (size_t n = 0; n < w[i].size(); n++) {
			m[i][n] = 0.9 * m[i][n] + 0.1 * g[i][n];
			v[i][n] = 0.99 * v[i][n] + 0.01 * g[i][n] * g[i][n];
			w[i][n] -= 0.01 * (m[i][n] / (1 - pow(0.9, step))) / (sqrt(v[i][n] / (1 - pow(0.99, step))) + 1e-6);
		}
	return sum;
}

#define RUN(kernel, n, ...) kernel<<<((n) + 63) / 64, 64>>>(__VA_ARGS__)

int main()
{
	std::vector<vec> hw(WEIGHTS), hm(WEIGHTS), hv(WEIGHTS);
	float *w[WEIGHTS], *g[WEIGHTS], *m[WEIGHTS], *v[WEIGHTS], *sum;
	size_t size[WEIGHTS];
	int *words, *target;
	float *x = room(N * D), *q = room(N * D), *k = room(N * D), *u = room(N * D), *a = room(N * L), *y = room(N * D),
	      *h = room(N * F), *r = room(N * F), *z = room(N * D), *o = room(N * V), *dy = room(N * D), *dr = room(N * F),
	      *da = room(N * L), *dq = room(N * D), *dk = room(N * D), *du = room(N * D), scale = 1 / sqrtf((float)D);
	double worst = 0, first = 0, last = 0;

	if (cublasCreate(&blas))
		return 1;
	for (int i = 0; i < WEIGHTS; i++) {
		std::vector<float> f;
		size[i] = (size_t)(shapes[i].rows * shapes[i].columns);
		hw[i].resize(size[i]);
		hm[i].resize(size[i]);
		hv[i].resize(size[i]);
		for (double &d : hw[i]) {
			d = (float)(draw() * 0.5);
			f.push_back((float)d);
		}
		w[i] = room(size[i]);
		g[i] = room(size[i]);
		m[i] = room(size[i]);
		v[i] = room(size[i]);
		CUDA(cudaMemcpy(w[i], f.data(), size[i] * sizeof(float), cudaMemcpyHostToDevice));
	}
	sum = room(1);
	CUDA(cudaMalloc(&words, N * sizeof(int)));
	CUDA(cudaMalloc(&target, N * sizeof(int)));
	for (int step = 1; step <= 100; step++) {
		std::vector<int> in(N), out(N);
		float got;

		for (int n = 0; n < N; n++)
			in[n] = (int)((draw() + 0.5) * V) % V;
		for (int n = 0; n < N; n++)
			out[n] = in[n / L * L + L - 1 - n % L];
		CUDA(cudaMemcpyAsync(words, in.data(), N * sizeof(int), cudaMemcpyHostToDevice));
		CUDA(cudaMemcpyAsync(target, out.data(), N * sizeof(int), cudaMemcpyHostToDevice));
		CUDA(cudaMemsetAsync(sum, 0, sizeof(float)));
		CUDA(cudaMemsetAsync(g[EMBED], 0, size[EMBED] * sizeof(float)));
		CUDA(cudaMemsetAsync(g[PLACE], 0, size[PLACE] * sizeof(float)));
		RUN(embed, N, words, w[EMBED], w[PLACE], x);
		mm(false, false, N, D, D, 1, x, w[WQ], 0, q);
		mm(false, false, N, D, D, 1, x, w[WK], 0, k);
		mm(false, false, N, D, D, 1, x, w[WV], 0, u);
		mm(false, true, L, L, D, scale, q, k, 0, a, B, L * D, L * D, L * L);
		RUN(softmax, N, a, N, L);
		mm(false, false, L, D, L, 1, a, u, 0, y, B, L * L, L * D, L * D);
		RUN(add, N * D, y, x, N * D);
		mm(false, false, N, F, D, 1, y, w[W1], 0, h);
		RUN(relu, N * F, h, r, N * F);
		CUDA(cudaMemcpyAsync(z, y, N * D * sizeof(float), cudaMemcpyDeviceToDevice));
		mm(false, false, N, D, F, 1, r, w[W2], 1, z);
		mm(false, false, N, V, D, 1, z, w[WO], 0, o);
		RUN(softmax, N, o, N, V);
		RUN(loss, N, o, target, sum);
		mm(true, false, D, V, N, 1, z, o, 0, g[WO]);
		mm(false, true, N, D, V, 1, o, w[WO], 0, dy);
		mm(true, false, F, D, N, 1, r, dy, 0, g[W2]);
		mm(false, true, N, F, D, 1, dy, w[W2], 0, dr);
		RUN(relu_back, N * F, h, dr, N * F);
		mm(true, false, D, F, N, 1, y, dr, 0, g[W1]);
		mm(false, true, N, D, F, 1, dr, w[W1], 1, dy);
		mm(false, true, L, L, D, 1, dy, u, 0, da, B, L * D, L * D, L * L);
		mm(true, false, L, D, L, 1, a, dy, 0, du, B, L * L, L * D, L * D);
		RUN(softmax_back, N, a, da, N, L, scale);
		mm(false, false, L, D, L, 1, da, k, 0, dq, B, L * L, L * D, L * D);
		mm(true, false, L, D, L, 1, da, q, 0, dk, B, L * L, L * D, L * D);
		mm(true, false, D, D, N, 1, x, dq, 0, g[WQ]);
		mm(true, false, D, D, N, 1, x, dk, 0, g[WK]);
		mm(true, false, D, D, N, 1, x, du, 0, g[WV]);
		mm(false, true, N, D, D, 1, dq, w[WQ], 1, dy);
		mm(false, true, N, D, D, 1, dk, w[WK], 1, dy);
		mm(false, true, N, D, D, 1, du, w[WV], 1, dy);
		RUN(embed_back, N, words, dy, g[EMBED], g[PLACE]);
		for (int i = 0; i < WEIGHTS; i++)
			RUN(adam, (int)size[i], w[i], g[i], m[i], v[i], (int)size[i], (float)(1 / (1 - pow(0.9, step))),
			    (float)(1 / (1 - pow(0.99, step))));
		CUDA(cudaMemcpy(&got, sum, sizeof(got), cudaMemcpyDeviceToHost));
		double want = host_step(hw, hm, hv, in, out, step);
		worst = fmax(worst, fabs(got - want));
		first = step == 1 ? got : first;
		last = got;
	}
	CUDA(cudaGetLastError());
	printf("train: from %.4f to %.4f, off by at most %.2g\n", first, last, worst);
	if (worst > 2e-3 || last > 0.8 * first)
		return 1;
	printf("train: the losses agree\n");
	return 0;
}
