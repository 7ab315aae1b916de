/* SPDX-License-Identifier: Apache-2.0 */
/* Textures and surfaces (tests/kernels/texture.cu) against a plain form of what the programming guide says. */
#include <errno.h>

#include "tests/unit/ptx_rig.h"

enum { W = 13, H = 7, D = 5, N = 256, HANDLE = 77 };

static float random_in(float low, float high)
{
	rig_seed = rig_seed * 1664525 + 1013904223;
	return low + (high - low) * (float)(rig_seed >> 8) / (float)(1 << 24);
}

static void object(struct rig *r, const struct ptx_texture *t, bool surface)
{
	ptx_object_clear(r->machine, HANDLE);
	assert_int_equal(ptx_object_set(r->machine, HANDLE, t, surface), 0);
}

/* Where texel @n of @size is; -1: the border. */
static int place(int n, int size, enum ptx_wrap wrap)
{
	while (wrap == PTX_WRAP_REPEAT && n < 0)
		n += size;
	if (wrap == PTX_WRAP_REPEAT)
		return n % size;
	if (wrap == PTX_WRAP_MIRROR) {
		while (n < 0)
			n += 2 * size;
		n %= 2 * size;
		return n < size ? n : 2 * size - 1 - n;
	}
	if (wrap == PTX_WRAP_BORDER)
		return n < 0 || n >= size ? -1 : n;
	return n < 0 ? 0 : n >= size ? size - 1 : n;
}

/* One value of up to three dimensions, by the guide: point, or weights of 1.8 bits. */
static double wanted(const float *data, const int size[3], int dims, const double at[3], const struct ptx_texture *t)
{
	double sum = 0;

	for (int corner = 0; corner < (t->linear ? 1 << dims : 1); corner++) {
		double weight = 1;
		int index = 0, step = 1;
		bool border = false;

		for (int k = 0; k < dims; k++) {
			double x = t->normalized ? at[k] * size[k] : at[k], low = floor(t->linear ? x - 0.5 : x);
			double part = rint((x - 0.5 - low) * 256) / 256;
			int n = place((int)low + (corner >> k & 1), size[k], t->wrap[k]);

			if (t->linear)
				weight *= corner >> k & 1 ? part : 1 - part;
			border |= n < 0;
			index += n * step;
			step *= size[k];
		}
		sum += weight * (double)(border ? t->border[0] : data[index]);
	}
	return sum;
}

static struct ptx_texture plain(void *base, unsigned w, unsigned h, unsigned d)
{
	return (struct ptx_texture){.image = {.base = base, .pitch = h ? w * 4 : 0, .slice = d ? w * h * 4 : 0, .width = w,
					      .height = h, .depth = d, .channels = 1, .channel_bits = 32,
					      .kind = PTX_CHANNEL_FLOAT},
				    .border = {-7}};
}

static void check_dims(struct rig *r, int dims)
{
	static const char *const kernels[] = {"tex_line", NULL, "tex_room"};
	const int size[3] = {W, H, D};
	float *data = rig_buffer(r, W * H * D * 4), *c[3], *out = rig_buffer(r, N * 4);

	for (int k = 0; k < W * H * D; k++)
		data[k] = random_in(-10, 10);
	for (int k = 0; k < 3; k++)
		c[k] = rig_buffer(r, N * 4);
	for (unsigned mode = 0; mode < 16; mode++) {
		struct ptx_texture t = plain(data, W, dims > 1 ? H : 0, dims > 2 ? D : 0);

		t.linear = mode & 1;
		t.normalized = mode & 2;
		for (int k = 0; k < 3; k++) {
			t.wrap[k] = (enum ptx_wrap)((mode >> 2) + (unsigned)k) % 4;
			for (int n = 0; n < N; n++)
				c[k][n] = t.normalized ? random_in(-2.5f, 2.5f) : random_in(-3, (float)size[k] + 3);
			c[k][0] = t.normalized ? 1 : (float)size[k];
			c[k][1] = 0;
			c[k][2] = t.normalized ? 0.5f / (float)size[k] : 0.5f;
		}
		object(r, &t, false);
		if (dims == 1)
			RUN(r, kernels[0], G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(c[0]), P(out));
		else
			RUN(r, kernels[2], G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(c[0]), P(c[1]), P(c[2]), P(out));
		for (int k = 0; k < 3 && !t.normalized; k++) /* nothing repeats that is not normalized */
			if (t.wrap[k] == PTX_WRAP_REPEAT || t.wrap[k] == PTX_WRAP_MIRROR)
				t.wrap[k] = PTX_WRAP_CLAMP;
		for (int n = 0; n < N; n++) {
			const double at[3] = {(double)c[0][n], (double)c[1][n], (double)c[2][n]};

			assert_float_equal(out[n], wanted(data, size, dims, at, &t), 1e-5);
		}
	}
}

KERNEL_TEST(line, "texture.ptx")
{
	check_dims(r, 1);
}

KERNEL_TEST(room, "texture.ptx")
{
	check_dims(r, 3);
}

/* Linear memory by whole numbers: outside is 0. */
KERNEL_TEST(fetch, "texture.ptx")
{
	float *data = rig_buffer(r, 40 * 4), *out = rig_buffer(r, 64 * 4);
	int *n = rig_buffer(r, 64 * 4);
	struct ptx_texture t = plain(data, 40, 0, 0);

	for (int k = 0; k < 64; k++) {
		n[k] = k * 7 % 64 - 8;
		if (k < 40)
			data[k] = (float)k + 0.5f;
	}
	t.wrap[0] = PTX_WRAP_BORDER;
	t.border[0] = 0;
	object(r, &t, false);
	RUN(r, "tex_fetch", G(1, 1, 1), G(64, 1, 1), 0, HANDLE, P(n), P(out));
	for (int k = 0; k < 64; k++)
		assert_true(out[k] == (n[k] < 0 || n[k] >= 40 ? 0.0f : (float)n[k] + 0.5f));
}

/* Four bytes as 0 to 1, in rows with a pitch. */
KERNEL_TEST(plane, "texture.ptx")
{
	enum { PITCH = 64 };
	uint8_t *data = rig_buffer(r, PITCH * H);
	float *x = rig_buffer(r, N * 4), *y = rig_buffer(r, N * 4), *out = rig_buffer(r, N * 16), chosen[4][W * H];
	const int size[3] = {W, H, 0};
	struct ptx_texture t = {.image = {.base = data, .pitch = PITCH, .width = W, .height = H, .channels = 4,
					  .channel_bits = 8, .kind = PTX_CHANNEL_UNSIGNED},
				.wrap = {PTX_WRAP_MIRROR, PTX_WRAP_REPEAT, PTX_WRAP_CLAMP},
				.linear = true, .normalized = true, .read_float = true};

	for (int k = 0; k < PITCH * H; k++)
		data[k] = (uint8_t)(k * 29 + k / 7);
	for (int c = 0; c < 4; c++)
		for (int k = 0; k < W * H; k++)
			chosen[c][k] = (float)data[k / W * PITCH + k % W * 4 + c] / 255.0f;
	for (int n = 0; n < N; n++) {
		x[n] = random_in(-2, 2);
		y[n] = random_in(-2, 2);
	}
	object(r, &t, false);
	RUN(r, "tex_plane", G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(x), P(y), P(out));
	for (int n = 0; n < N; n++)
		for (int c = 0; c < 4; c++)
			assert_float_equal(out[n * 4 + c],
					   wanted(chosen[c], size, 2, (const double[3]){(double)x[n], (double)y[n]}, &t), 1e-5);
	/* the four that a filter would take, from the lower left one on */
	RUN(r, "tex_gather", G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(x), P(y), P(out));
	t.linear = false;
	for (int n = 0; n < N; n++)
		for (int k = 0; k < 4; k++) {
			double u = floor((double)x[n] * W - 0.5) + (k == 1 || k == 2) + 0.5,
			       v = floor((double)y[n] * H - 0.5) + (k < 2) + 0.5;

			assert_float_equal(out[n * 4 + k],
					   wanted(chosen[0], size, 2, (const double[3]){u / W, v / H}, &t), 1e-6);
		}
}

KERNEL_TEST(ints, "texture.ptx")
{
	int16_t *data = rig_buffer(r, W * H * 4), *out = rig_buffer(r, N * 4);
	float *x = rig_buffer(r, N * 4), *y = rig_buffer(r, N * 4);
	struct ptx_texture t = {.image = {.base = data, .pitch = W * 4, .width = W, .height = H, .channels = 2,
					  .channel_bits = 16, .kind = PTX_CHANNEL_SIGNED},
				.wrap = {PTX_WRAP_CLAMP, PTX_WRAP_CLAMP, PTX_WRAP_CLAMP}};

	for (int k = 0; k < W * H * 2; k++)
		data[k] = (int16_t)(k * 1001 - 20000);
	for (int n = 0; n < N; n++) {
		x[n] = random_in(-1, W + 1);
		y[n] = random_in(-1, H + 1);
	}
	object(r, &t, false);
	RUN(r, "tex_ints", G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(x), P(y), P(out));
	for (int n = 0; n < N; n++)
		for (int c = 0; c < 2; c++)
			assert_int_equal(out[n * 2 + c], data[(place((int)floorf(y[n]), H, PTX_WRAP_CLAMP) * W +
							       place((int)floorf(x[n]), W, PTX_WRAP_CLAMP)) * 2 + c]);
}

KERNEL_TEST(layers, "texture.ptx")
{
	enum { SIDE = 8 };
	float *data = rig_buffer(r, SIDE * SIDE * 6 * 4), *c[3], *out = rig_buffer(r, N * 4);
	int *l = rig_buffer(r, N * 4);
	struct ptx_texture t = plain(data, SIDE, SIDE, 0);

	for (int k = 0; k < SIDE * SIDE * 6; k++)
		data[k] = (float)k;
	for (int k = 0; k < 3; k++)
		c[k] = rig_buffer(r, N * 4);
	for (int n = 0; n < N; n++) {
		for (int k = 0; k < 3; k++)
			c[k][n] = random_in(-1, 1);
		l[n] = n % 8;
	}
	t.image.slice = SIDE * SIDE * 4;
	t.image.layers = 6;
	t.normalized = true;
	t.wrap[0] = t.wrap[1] = PTX_WRAP_CLAMP;
	object(r, &t, false);
	RUN(r, "tex_layer", G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(c[0]), P(c[1]), P(l), P(out));
	for (int n = 0; n < N; n++)
		assert_true(out[n] == data[(l[n] < 6 ? l[n] : 5) * SIDE * SIDE +
					   place((int)floorf(c[1][n] * SIDE), SIDE, PTX_WRAP_CLAMP) * SIDE +
					   place((int)floorf(c[0][n] * SIDE), SIDE, PTX_WRAP_CLAMP)]);
	t.image.cube = true;
	object(r, &t, false);
	RUN(r, "tex_cube", G(N / 64, 1, 1), G(64, 1, 1), 0, HANDLE, P(c[0]), P(c[1]), P(c[2]), P(out));
	for (int n = 0; n < N; n++) {
		float x = c[0][n], y = c[1][n], z = c[2][n], ax = fabsf(x), ay = fabsf(y), az = fabsf(z), m, s, v;
		int face;

		if (ax > ay && ax > az) {
			face = x < 0;
			m = ax;
			s = x < 0 ? z : -z;
			v = -y;
		} else if (ay > az) {
			face = y < 0 ? 3 : 2;
			m = ay;
			s = x;
			v = y < 0 ? -z : z;
		} else {
			face = z < 0 ? 5 : 4;
			m = az;
			s = z < 0 ? -x : x;
			v = -y;
		}
		assert_true(out[n] == data[face * SIDE * SIDE + place((int)floorf((v / m + 1) / 2 * SIDE), SIDE, PTX_WRAP_CLAMP) * SIDE +
					   place((int)floorf((s / m + 1) / 2 * SIDE), SIDE, PTX_WRAP_CLAMP)]);
	}
}

KERNEL_TEST(surface, "texture.ptx")
{
	int *data = rig_buffer(r, W * H * 4), *out = rig_buffer(r, 64 * 8), *x = rig_buffer(r, 256), *y = rig_buffer(r, 256);
	struct ptx_texture t = plain(data, W, H, 0);

	for (int k = 0; k < W * H; k++)
		data[k] = k * 3;
	for (int n = 0; n < 64; n++) {
		x[n] = n % 8 * 2 - 1;
		y[n] = n / 8 + (n % 3 == 0) * 20;
	}
	t.image.kind = PTX_CHANNEL_SIGNED;
	object(r, &t, true);
	RUN(r, "surf_read", G(1, 1, 1), G(64, 1, 1), 0, HANDLE, P(x), P(y), P(out));
	RUN(r, "surf_write", G(1, 1, 1), G(64, 1, 1), 0, HANDLE, P(x), P(y));
	for (int n = 0; n < 64; n++) {
		bool in = x[n] >= 0 && x[n] < W && y[n] < H;
		int at = place(y[n], H, PTX_WRAP_CLAMP) * W + place(x[n], W, PTX_WRAP_CLAMP);

		assert_int_equal(out[n * 2], in ? at * 3 : 0);
		assert_int_equal(out[n * 2 + 1], at * 3);
		if (in)
			assert_int_equal(data[at], at * 6 + 1);
	}
	{ /* outside, not aligned, no such object, a texture for a surface */
		const uint64_t bad[] = {(uint64_t)-4, W * 4, 2};
		const int codes[] = {719, 719, 716};
		uint64_t args[] = {HANDLE, 0, P(out)};

		for (int k = 0; k < 3; k++) {
			args[1] = bad[k];
			assert_int_equal(rig_try(r, "surf_trap", G(1, 1, 1), G(1, 1, 1), 0, args, 3), codes[k]);
		}
		args[0] = HANDLE + 1;
		assert_int_equal(rig_try(r, "surf_trap", G(1, 1, 1), G(1, 1, 1), 0, args, 3), 700);
		object(r, &t, false);
		args[0] = HANDLE;
		assert_int_equal(rig_try(r, "surf_trap", G(1, 1, 1), G(1, 1, 1), 0, args, 3), 700);
	}
}

/* What cannot be a texture, and memory that goes away under one. */
KERNEL_TEST(wrong, "texture.ptx")
{
	float *data = rig_buffer(r, 4096), *gone = aligned_alloc(256, 4096), *x = rig_buffer(r, 4);
	struct ptx_texture good = plain(data, 16, 16, 0), t = good;
	uint64_t args[] = {HANDLE, P(x), P(x), P(x)};

	assert_int_equal(ptx_object_set(r->machine, 0, &t, false), -EINVAL);
	assert_int_equal(ptx_object_set(r->machine, PTX_OBJECTS_MAX + 1, &t, false), -EINVAL);
	t.image.height = 65;
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), -EINVAL);
	t = good;
	t.image.pitch = 60;
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), -EINVAL);
	t = good;
	t.image.pitch = UINT64_MAX;
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), -EINVAL);
	t = good;
	t.image.channels = 3;
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), -EINVAL);
	t = good;
	t.image.kind = PTX_CHANNEL_SIGNED;
	t.linear = true;
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), -EINVAL);
	assert_int_equal(ptx_object_clear(r->machine, HANDLE), -ENOENT);
	memset(gone, 0, 4096);
	assert_int_equal(ptx_range_add(r->machine, gone, 4096, 0), 0);
	t = plain(gone, 16, 0, 0);
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), 0);
	assert_int_equal(ptx_object_set(r->machine, HANDLE, &t, false), -EEXIST);
	assert_int_equal(ptx_range_remove(r->machine, gone), 0);
	free(gone);
	assert_int_equal(rig_try(r, "tex_line", G(1, 1, 1), G(1, 1, 1), 0, args, 3), 700);
	assert_non_null(strstr(r->fault.text, "memory of the texture"));
	assert_int_equal(rig_try(r, "tex_room", G(1, 1, 1), G(1, 1, 1), 0, (uint64_t[]){HANDLE, P(x), P(x), P(x), P(x)}, 5), 700);
	assert_non_null(strstr(r->fault.text, "not of the geometry 3d"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),   cmocka_unit_test(test_room),    cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_plane),  cmocka_unit_test(test_ints),    cmocka_unit_test(test_layers),
		cmocka_unit_test(test_surface), cmocka_unit_test(test_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
