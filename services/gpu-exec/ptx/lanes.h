/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes.h - how handlers are written
 *
 * A handler computes one expression for each lane of its mask. With all lanes active the loop has no
 * test in it. Lanes read and write their own slots only, so columns that are the same do no harm.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_LANES_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_LANES_H

#include <string.h>

#include "services/gpu-exec/ptx/internal.h"

#define A8(x)  ((uint8_t)(x))
#define A16(x) ((uint16_t)(x))
#define A32(x) ((uint32_t)(x))
#define A64(x) ((uint64_t)(x))
#define S8(x)  ((int8_t)(uint8_t)(x))
#define S16(x) ((int16_t)(uint16_t)(x))
#define S32(x) ((int32_t)(uint32_t)(x))
#define S64(x) ((int64_t)(x))

static inline float f32_of(uint64_t v)
{
	uint32_t u = (uint32_t)v;
	float f;

	memcpy(&f, &u, 4);
	return f;
}

/* What the operation makes of NaN is one NaN, as on a GPU: so both executors agree. */
static inline uint64_t f32_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return f != f ? 0x7fffffffu : u;
}

static inline double f64_of(uint64_t v)
{
	double d;

	memcpy(&d, &v, 8);
	return d;
}

static inline uint64_t f64_bits(double d)
{
	uint64_t u;

	memcpy(&u, &d, 8);
	return d != d ? UINT64_C(0xfff8000000000000) : u;
}

#ifdef __clang__
#define LANES_APART
#else
#define LANES_APART _Pragma("GCC ivdep")
#endif

#define LANES_DO(EXPR)                                                                             \
	do {                                                                                       \
		if (mask == UINT32_MAX) {                                                          \
			LANES_APART for (uint32_t l = 0; l < PTX_LANES; l++) d[l] =                \
				(uint64_t)(EXPR);                                                  \
		} else {                                                                           \
			FOR_LANES(mask, l)                                                         \
			d[l] = (uint64_t)(EXPR);                                                   \
		}                                                                                  \
		return 0;                                                                          \
	} while (0)

#define RUN1(name, EXPR)                                                                           \
	static int name(struct warp *w, const struct insn *i, uint32_t mask)                       \
	{                                                                                          \
		uint64_t *d = op_col(w, i->o[0]);                                                  \
		const uint64_t *a = op_col(w, i->o[1]);                                            \
                                                                                                   \
		LANES_DO(EXPR);                                                                    \
	}

#define RUN2(name, EXPR)                                                                           \
	static int name(struct warp *w, const struct insn *i, uint32_t mask)                       \
	{                                                                                          \
		uint64_t *d = op_col(w, i->o[0]);                                                  \
		const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]);                   \
                                                                                                   \
		LANES_DO(EXPR);                                                                    \
	}

#define RUN3(name, EXPR)                                                                           \
	static int name(struct warp *w, const struct insn *i, uint32_t mask)                       \
	{                                                                                          \
		uint64_t *d = op_col(w, i->o[0]);                                                  \
		const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]),                   \
			       *c = op_col(w, i->o[3]);                                            \
                                                                                                   \
		LANES_DO(EXPR);                                                                    \
	}

/* The bits of a predicate operand for the lanes of a group. */
static inline uint32_t pred_bits(const struct warp *w, int32_t o, bool neg)
{
	uint32_t v = (uint32_t)*op_col(w, o);

	return neg ? ~v : v;
}

static inline void pred_set(struct warp *w, int32_t o, uint32_t mask, uint32_t bits)
{
	uint64_t *v = op_col(w, o);

	*v = (*v & ~(uint64_t)mask) | (bits & mask);
}

#endif
