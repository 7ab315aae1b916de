/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration's kernel: how many steps each point of the plane takes to leave. mandelbrot.ptx is this, compiled:
 * nvcc -ptx -arch=compute_75 mandelbrot.cu */
extern "C" __global__ void mandelbrot(unsigned *steps, int width, int height, float x0, float y0, float step,
				      unsigned most)
{
	int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
	float cx = x0 + step * x, cy = y0 + step * y, u = 0, v = 0;
	unsigned n = 0;

	if (x >= width || y >= height)
		return;
	while (n < most && u * u + v * v < 4) {
		float t = u * u - v * v + cx;

		v = 2 * u * v + cy;
		u = t;
		n++;
	}
	steps[y * width + x] = n;
}
