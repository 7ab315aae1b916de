/* SPDX-License-Identifier: Apache-2.0 */
/* Formats smaller than float: IEEE binary16, bfloat16, tf32, and the two 8-bit ones of OCP. */
#include <math.h>
#include <string.h>

#include "services/gpu-exec/ptx/internal.h"

/*
 * A double as sign, exponent and @mant bits of mantissa, the lowest normal exponent @emin. The
 * result is the magnitude in units of the smallest step of the format, as an integer that grows
 * with the value: that is what IEEE formats have in their bits.
 */
static uint64_t magnitude(double v, unsigned mant, int emin, unsigned rnd, bool negative)
{
	uint64_t bits, m, low, half, r;
	int e, shift;

	memcpy(&bits, &v, 8);
	e = (int)(bits >> 52 & 0x7ff);
	m = bits & ((UINT64_C(1) << 52) - 1);
	if (e == 0 && m == 0)
		return 0;
	if (e)
		m |= UINT64_C(1) << 52;
	else
		e = 1;
	e -= 1023;
	shift = 52 - (int)mant;
	if (e < emin)
		shift += emin - e;
	if (shift > 62) {
		r = 0;
		low = 1;
		half = 2;
	} else {
		r = m >> shift;
		low = m & ((UINT64_C(1) << shift) - 1);
		half = UINT64_C(1) << (shift - 1);
	}
	switch (rnd) {
	case RND_RZ:
		break;
	case RND_RM:
		r += negative && low;
		break;
	case RND_RP:
		r += !negative && low;
		break;
	case RND_RNA:
		r += low >= half;
		break;
	default:
		r += low > half || (low == half && r & 1);
	}
	/* r has the hidden bit at `mant` if normal; exponents follow above it. */
	if (e > emin)
		r += (uint64_t)(e - emin) << mant;
	return r;
}

static uint32_t ieee(double v, unsigned mant, int emin, unsigned rnd)
{
	bool negative = signbit(v);
	unsigned exponent_bits = emin == -14 ? 5 : 8;
	uint32_t sign = (uint32_t)negative << (mant + exponent_bits);
	uint64_t inf = ((UINT64_C(1) << exponent_bits) - 1) << mant, r;

	if (isinf(v))
		return sign | (uint32_t)inf;
	r = magnitude(v, mant, emin, rnd, negative);
	if (r >= inf) { /* too large: infinity, or the largest if rounded to zero */
		bool away = rnd == RND_RZ ? false : rnd == RND_RM ? negative
				      : rnd == RND_RP	? !negative
							: true;

		r = away ? inf : inf - 1;
	}
	return sign | (uint32_t)r;
}

uint16_t half_from_double(double v, unsigned rnd)
{
	return v != v ? 0x7fff : (uint16_t)ieee(v, 10, -14, rnd);
}

uint16_t bf16_from_double(double v, unsigned rnd)
{
	return v != v ? 0x7fff : (uint16_t)ieee(v, 7, -126, rnd);
}

uint32_t tf32_from_float(float v, unsigned rnd)
{
	return v != v ? 0x7fffffff : ieee((double)v, 10, -126, rnd) << 13;
}

/* To the largest finite value where it is larger: the only mode PTX has. */
uint8_t fp8_from_double(double v, bool e5m2)
{
	bool negative = signbit(v);
	uint64_t r, most = e5m2 ? 0x7b : 0x7e;

	if (v != v)
		return 0x7f;
	r = isinf(v) ? most : magnitude(v, e5m2 ? 2 : 3, e5m2 ? -14 : -6, RND_RN, negative);
	return (uint8_t)((negative ? 0x80 : 0) | (r > most ? most : r));
}

float half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff, u;
	float f;

	if (e == 0) {
		f = (float)m * 0x1p-24f;
		return sign ? -f : f;
	}
	u = sign | (e == 31 ? 0x7f800000u : (e + 112) << 23) | m << 13;
	memcpy(&f, &u, 4);
	return f;
}

float bf16_to_float(uint16_t h)
{
	uint32_t u = (uint32_t)h << 16;
	float f;

	memcpy(&f, &u, 4);
	return f;
}

float fp8_to_float(uint8_t b, bool e5m2)
{
	float f;

	if (e5m2)
		return half_to_float((uint16_t)(b << 8));
	if ((b & 0x7f) == 0x7f)
		return NAN;
	f = (b & 0x78) ? ldexpf((float)(8 + (b & 7)), (b >> 3 & 15) - 10) : (float)(b & 7) * 0x1p-9f;
	return b & 0x80 ? -f : f;
}

double add_odd(double a, double b)
{
	double s = a + b, bb, err;
	uint64_t bits;

	if (!isfinite(s))
		return s;
	bb = s - a;
	err = (a - (s - bb)) + (b - bb);
	if (err == 0)
		return s;
	memcpy(&bits, &s, 8);
	if (bits & 1)
		return s;
	/* Towards the error, then the last bit is 1. */
	if ((err > 0) == (s > 0))
		bits++;
	else
		bits--;
	memcpy(&s, &bits, 8);
	return s;
}
