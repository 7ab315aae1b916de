/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that nobody would write: sums, comparisons, branches in branches, loops and accesses as a seed has it. What
 * each thread ends with must be the same by all executors, bit by bit. ATOLL_SEED=N runs the kernel of one seed and
 * prints it.
 */
#include <time.h>

#include "tests/unit/ptx_rig.h"

enum {
	INTS = 8,
	FLOATS = 3,
	THREADS_MAX = 256,
	BLOCKS = 3,
	TEXT_MAX = 1 << 16,
	SLOTS = 2, /* words of shared memory a thread has for itself */
	DEPTH_MAX = 3,
};

struct writer {
	char text[TEXT_MAX];
	size_t length;
	uint64_t state;
	unsigned labels, loops;
};

static uint32_t draw(struct writer *w, uint32_t below)
{
	w->state = w->state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->state >> 33) % below;
}

static void __attribute__((format(printf, 2, 3))) say(struct writer *w, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(w->text + w->length, TEXT_MAX - w->length, format, args);
	va_end(args);
	assert_true(n >= 0 && (size_t)n < TEXT_MAX - w->length);
	w->length += (size_t)n;
}

/* A register, one of what a thread is, or a constant. */
static const char *term(struct writer *w, char *at)
{
	static const char *const own[] = {"%flat", "%tx", "%ty", "%cta", "%n"};

	switch (draw(w, 4)) {
	case 0:
		return own[draw(w, 5)];
	case 1:
		snprintf(at, 16, "%d", (int)draw(w, 64) - 20);
		return at;
	default:
		snprintf(at, 16, "%%r%u", draw(w, INTS));
		return at;
	}
}

static void guard(struct writer *w)
{
	if (draw(w, 4) == 0)
		say(w, "@%s%%p%u ", draw(w, 2) ? "!" : "", draw(w, 3));
}

static void sum(struct writer *w)
{
	static const char *const op[] = {"add.s32", "sub.s32", "mul.lo.s32", "xor.b32", "and.b32", "min.s32", "add.s32", "max.u32"};
	char a[16], b[16];
	unsigned d = draw(w, INTS);

	guard(w);
	switch (draw(w, 8)) {
	case 0:
		say(w, "shl.b32 %%r%u, %s, %u;\n", d, term(w, a), draw(w, 5));
		break;
	case 1:
		say(w, "mad.lo.s32 %%r%u, %s, %u, %s;\n", d, term(w, a), draw(w, 9), term(w, b));
		break;
	case 2:
		say(w, "cvt.rn.f32.s32 %%f%u, %%r%u;\n", draw(w, FLOATS), d);
		break;
	case 3:
		say(w, "fma.rn.f32 %%f%u, %%f%u, %%f%u, 0f3FC00000;\n", draw(w, FLOATS), draw(w, FLOATS), draw(w, FLOATS));
		break;
	case 4:
		say(w, "selp.b32 %%r%u, %s, %s, %%p%u;\n", d, term(w, a), term(w, b), draw(w, 3));
		break;
	default:
		say(w, "%s %%r%u, %s, %s;\n", op[draw(w, 8)], d, term(w, a), term(w, b));
	}
}

static void compare(struct writer *w)
{
	static const char *const op[] = {"lt", "ge", "eq", "ne", "gt"};
	char a[16], b[16];

	guard(w);
	if (draw(w, 4) == 0)
		say(w, "setp.lt.f32 %%p%u, %%f%u, %%f%u;\n", draw(w, 3), draw(w, FLOATS), draw(w, FLOATS));
	else
		say(w, "setp.%s.s32 %%p%u, %s, %s;\n", op[draw(w, 5)], draw(w, 3), term(w, a), term(w, b));
}

/* In memory of all, where nobody writes; or in a thread's own words. */
static void access(struct writer *w)
{
	unsigned d = draw(w, INTS), slot = draw(w, SLOTS);

	switch (draw(w, 6)) {
	case 0: /* on a line */
		say(w, "mad.lo.s32 %%i, %%cta, 7, %%flat;\nmul.wide.s32 %%a, %%i, 4;\nadd.s64 %%a, %%a, %%in;\n");
		guard(w);
		say(w, "ld.global.u32 %%r%u, [%%a+%u];\n", d, 4 * draw(w, 8));
		break;
	case 1: /* two at once, up to the very end of it */
		say(w, "shl.b32 %%i, %%flat, 3;\ncvt.u64.u32 %%a, %%i;\nadd.s64 %%a, %%a, %%in;\n");
		guard(w);
		say(w, "ld.global.v2.u32 {%%r%u, %%r%u}, [%%a];\n", d, (d + 1) % INTS);
		break;
	case 2: /* here and there */
		say(w, "and.b32 %%i, %%r%u, %u;\nmul.wide.u32 %%a, %%i, 4;\nadd.s64 %%a, %%a, %%in;\n", d, THREADS_MAX - 1);
		guard(w);
		say(w, "ld.global.u32 %%r%u, [%%a];\n", d);
		break;
	case 3: /* backwards */
		say(w, "sub.s32 %%i, %u, %%flat;\nmul.wide.s32 %%a, %%i, 4;\nadd.s64 %%a, %%a, %%in;\n", THREADS_MAX - 1);
		guard(w);
		say(w, "ld.global.u32 %%r%u, [%%a];\n", d);
		break;
	case 4:
		guard(w);
		say(w, "ld.shared.u32 %%r%u, [%%own+%u];\n", d, 4 * THREADS_MAX * slot);
		break;
	default:
		guard(w);
		say(w, "st.shared.u32 [%%own+%u], %%r%u;\n", 4 * THREADS_MAX * slot, d);
	}
}

static void piece(struct writer *w, unsigned depth, unsigned length);

static void branch(struct writer *w, unsigned depth)
{
	unsigned label = w->labels++;
	bool both = draw(w, 2);

	compare(w);
	say(w, "@%s%%p%u bra L%u;\n", draw(w, 2) ? "!" : "", draw(w, 3), label);
	piece(w, depth + 1, 1 + draw(w, 4));
	if (both) {
		say(w, "bra M%u;\nL%u:\n", label, label);
		piece(w, depth + 1, 1 + draw(w, 4));
		say(w, "M%u:\n", label);
	} else {
		say(w, "L%u:\n", label);
	}
}

/* As often for all, or not. */
static void loop(struct writer *w, unsigned depth)
{
	unsigned label = w->labels++, counter = w->loops++;

	if (draw(w, 2))
		say(w, "mov.u32 %%c%u, %u;\n", counter, 1 + draw(w, 4));
	else
		say(w, "and.b32 %%c%u, %%r%u, 3;\nadd.s32 %%c%u, %%c%u, 1;\n", counter, draw(w, INTS), counter, counter);
	say(w, "L%u:\n", label);
	piece(w, depth + 1, 1 + draw(w, 4));
	say(w, "sub.s32 %%c%u, %%c%u, 1;\nsetp.gt.s32 %%q, %%c%u, 0;\n@%%q bra L%u;\n", counter, counter, counter, label);
}

static void piece(struct writer *w, unsigned depth, unsigned length)
{
	for (unsigned k = 0; k < length; k++) {
		uint32_t what = draw(w, 12);

		if (what < 5)
			sum(w);
		else if (what < 6)
			compare(w);
		else if (what < 9)
			access(w);
		else if (what < 11 && depth < DEPTH_MAX)
			branch(w, depth);
		else if (depth < DEPTH_MAX - 1 && w->loops < 6)
			loop(w, depth);
		else
			sum(w);
	}
}

/* @row: threads are numbered along x; then it is known that their own words are on a line. */
static void kernel(struct writer *w, bool row)
{
	say(w, ".version 8.0\n.target sm_75\n.address_size 64\n"
	       ".visible .entry k(.param .u64 a, .param .u64 b, .param .u32 c)\n{\n"
	       ".reg .b32 %%r<%u>, %%c<6>, %%flat, %%tx, %%ty, %%cta, %%n, %%i, %%own, %%threads;\n"
	       ".reg .f32 %%f<%u>;\n.reg .b64 %%in, %%out, %%a;\n.reg .pred %%p<3>, %%q;\n"
	       ".shared .align 8 .b8 s[%u];\n", INTS, FLOATS, 4 * THREADS_MAX * SLOTS);
	say(w, "ld.param.u64 %%in, [a];\nld.param.u64 %%out, [b];\nld.param.u32 %%n, [c];\n"
	       "mov.u32 %%tx, %%tid.x;\nmov.u32 %%ty, %%tid.y;\nmov.u32 %%cta, %%ctaid.x;\nmov.u32 %%i, %%ntid.x;\n"
	       "mov.u32 %%threads, %%ntid.y;\nmul.lo.s32 %%threads, %%threads, %%i;\n%s"
	       "mov.u32 %%own, s;\nshl.b32 %%i, %%flat, 2;\nadd.s32 %%own, %%own, %%i;\n",
	    row ? "mov.u32 %flat, %tx;\n" : "mad.lo.s32 %flat, %ty, %i, %tx;\n");
	for (unsigned k = 0; k < SLOTS; k++)
		say(w, "st.shared.u32 [%%own+%u], %%flat;\n", 4 * THREADS_MAX * k);
	for (unsigned k = 0; k < INTS; k++)
		say(w, "add.s32 %%r%u, %%flat, %u;\n", k, k * k);
	for (unsigned k = 0; k < FLOATS; k++)
		say(w, "cvt.rn.f32.s32 %%f%u, %%r%u;\n", k, k);
	for (unsigned k = 0; k < 3; k++)
		say(w, "setp.lt.s32 %%p%u, %%r%u, %u;\n", k, k, 10 + 20 * k);
	for (unsigned k = 0; k < 3; k++) {
		piece(w, 0, 3 + draw(w, 6));
		if (draw(w, 2))
			say(w, "bar.sync 0;\n");
	}
	/* what each thread has, for each register one column */
	say(w, "mad.lo.s32 %%i, %%cta, %%threads, %%flat;\nmul.wide.s32 %%a, %%i, 4;\nadd.s64 %%a, %%a, %%out;\n");
	for (unsigned k = 0; k < INTS; k++)
		say(w, "st.global.u32 [%%a+%u], %%r%u;\n", 4 * THREADS_MAX * BLOCKS * k, k);
	for (unsigned k = 0; k < FLOATS; k++)
		say(w, "st.global.f32 [%%a+%u], %%f%u;\n", 4 * THREADS_MAX * BLOCKS * (INTS + k), k);
	say(w, "ret;\n}\n");
}

static void run_seed(uint32_t seed, bool print)
{
	static const uint32_t blocks[][3] = {{64, 1, 1}, {48, 1, 1}, {16, 16, 1}, {32, 3, 1}, {256, 1, 1}, {11, 3, 1}};
	static struct writer w;
	const uint32_t *block;
	uint64_t sum[3];

	w = (struct writer){.state = seed};
	draw(&w, 2);
	block = blocks[draw(&w, 6)];
	kernel(&w, block[1] == 1);
	if (print)
		printf("%s", w.text);
	for (unsigned e = 0; e < 3; e++) {
		struct rig r;
		uint32_t *in, *out;

		rig_open_text(&r, PTX_EXEC_INTERPRETER + e, w.text, w.length);
		in = rig_buffer(&r, 8 * THREADS_MAX);
		out = rig_buffer(&r, 4 * (size_t)THREADS_MAX * BLOCKS * (INTS + FLOATS));
		for (unsigned k = 0; k < 2 * THREADS_MAX; k++)
			in[k] = k * 2654435761u >> (k % 3 ? 25 : 3);
		RUN(&r, "k", G(BLOCKS, 1, 1), block, 0, P(in), P(out), 37);
		sum[e] = rig_close(&r);
	}
	if (sum[0] != sum[1] || sum[0] != sum[2])
		fail_msg("the kernel of ATOLL_SEED=%u, block %u, %u: %s differs from the interpreter", seed, block[0], block[1],
			 sum[0] != sum[1] ? "code for lanes" : "code for groups");
}

static void test_random(void **state)
{
	const char *seed = getenv("ATOLL_SEED");
	uint32_t first = (uint32_t)time(NULL);
	uint32_t count = getenv("ATOLL_TEST_FULL") ? 1000 : 3;

	(void)state;
	if (seed) {
		run_seed((uint32_t)strtoul(seed, NULL, 0), true);
		return;
	}
	printf("seeds %u to %u\n", first, first + count - 1);
	for (uint32_t k = 0; k < count; k++)
		run_seed(first + k, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
