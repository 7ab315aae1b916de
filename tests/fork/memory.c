/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory NAME [SECONDS] - a program that changes its memory in every way that a pager must follow, and knows of
 * each page what must be in it.
 *
 * As items.c: it goes round and round, says "good PID" at the end, or what was wrong at once, and knows nothing
 * of being forked. A child that is forked while it runs does all of this while its pages are still coming.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fork/check.h"

enum {
	PAGE = 4096,
	WORDS = PAGE / 8,
	PAGES = 3000,
	THREADS = 3,
};

struct area {
	uint64_t *at[PAGES];	/* address of each page */
	uint64_t value[PAGES];	/* seed of what is in it; 0: zeros */
	uint64_t draws;
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

static uint64_t draw(struct area *a)
{
	return mix(++a->draws * 0x2545f4914f6cdd1dull);
}

static void write_page(struct area *a, unsigned i, uint64_t value)
{
	a->value[i] = value;
	for (unsigned k = 0; k < WORDS; k++)
		a->at[i][k] = value ? mix(value + k) : 0;
}

/* The hash of a page is that of its words, in order. */
static int right(const struct area *a, unsigned i)
{
	uint64_t want = 1, have = 1;

	for (unsigned k = 0; k < WORDS; k++) {
		want = mix(want ^ (a->value[i] ? mix(a->value[i] + k) : 0));
		have = mix(have ^ ((volatile uint64_t *)a->at[i])[k]);
	}
	return want == have;
}

static struct area *area_make(uint64_t seed)
{
	struct area *a = calloc(1, sizeof(*a));
	uint8_t *m = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(a && m != MAP_FAILED);
	a->draws = seed;
	for (unsigned i = 0; i < PAGES; i++) {
		a->at[i] = (uint64_t *)(void *)(m + (size_t)i * PAGE);
		/* Some were never touched, some are zero, some alike, most are their own. */
		if (i % 7 == 3)
			continue;
		write_page(a, i, i % 7 == 4 ? 0 : i % 7 == 5 ? 99 : draw(a) | 1);
	}
	return a;
}

static void some_right(struct area *a, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		CHECK(right(a, (unsigned)(draw(a) % PAGES)));
}

static unsigned run_of(struct area *a, unsigned *first, unsigned most)
{
	unsigned n = 1 + (unsigned)(draw(a) % most), i;

	*first = (unsigned)(draw(a) % (PAGES - n));
	for (i = 1; i < n && a->at[*first + i] == a->at[*first] + i * WORDS; i++)
		;
	return i; /* as far as they lie together */
}

static void do_empty(struct area *a)
{
	unsigned first, n = run_of(a, &first, 20);

	CHECK(madvise(a->at[first], (size_t)n * PAGE, MADV_DONTNEED) == 0);
	for (unsigned i = 0; i < n; i++)
		a->value[first + i] = 0;
	CHECK(right(a, first) && right(a, first + n - 1));
}

static void do_write(struct area *a)
{
	write_page(a, (unsigned)(draw(a) % PAGES), draw(a) | 1);
}

static void do_protect(struct area *a)
{
	unsigned first, n = run_of(a, &first, 20);

	CHECK(mprotect(a->at[first], (size_t)n * PAGE, PROT_READ) == 0);
	CHECK(right(a, first));
	CHECK(mprotect(a->at[first], (size_t)n * PAGE, PROT_NONE) == 0);
	CHECK(mprotect(a->at[first], (size_t)n * PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(right(a, first + n - 1));
}

/* Elsewhere, larger, with what was there at its beginning. */
static void do_move(struct area *a)
{
	unsigned first, n = run_of(a, &first, 12);
	uint8_t *to = mremap(a->at[first], (size_t)n * PAGE, (size_t)(n + 2) * PAGE, MREMAP_MAYMOVE);

	if (to == MAP_FAILED && errno == EFAULT) { /* not one mapping any more */
		n = 1;
		to = mremap(a->at[first], PAGE, 3 * PAGE, MREMAP_MAYMOVE);
	}
	CHECK(to != MAP_FAILED);
	for (unsigned i = 0; i < n; i++)
		a->at[first + i] = (uint64_t *)(void *)(to + (size_t)i * PAGE);
	for (unsigned i = 0; i < 2 * WORDS; i++)
		CHECK(((uint64_t *)(void *)(to + (size_t)n * PAGE))[i] == 0);
	CHECK(munmap(to + (size_t)n * PAGE, 2 * PAGE) == 0);
	CHECK(right(a, first));
}

/* Away, and new memory in its place, sometimes at the same address. */
static void do_unmap(struct area *a)
{
	unsigned first, n = run_of(a, &first, 12);
	uint8_t *to = (uint8_t *)a->at[first];
	int fixed = draw(a) % 2;

	if (!fixed)
		CHECK(munmap(to, (size_t)n * PAGE) == 0);
	to = mmap(fixed ? to : NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | (fixed ? MAP_FIXED : 0), -1, 0);
	CHECK(to != MAP_FAILED);
	for (unsigned i = 0; i < n; i++) {
		a->at[first + i] = (uint64_t *)(void *)(to + (size_t)i * PAGE);
		a->value[first + i] = 0;
	}
	CHECK(right(a, first));
}

/* A child of its own sees what it sees, also of pages that neither has touched, and writes to its own only. */
static void do_fork(struct area *a)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		some_right(a, 60);
		do_write(a);
		do_empty(a);
		do_move(a);
		if (draw(a) % 3 == 0) {
			pid = fork();
			if (pid)
				CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
		}
		some_right(a, 60);
		_exit(0);
	}
	some_right(a, 20);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* Alone for a while: a process with children cannot be carried. */
	for (double from = now(); now() < from + 0.02;)
		some_right(a, 20);
}

static void item_read(struct area *a)
{
	some_right(a, 50);
}

static void item_empty(struct area *a)
{
	do_empty(a);
	do_write(a);
	some_right(a, 5);
}

static void item_protect(struct area *a)
{
	do_protect(a);
	some_right(a, 5);
}

static void item_move(struct area *a)
{
	do_move(a);
	do_write(a);
	some_right(a, 5);
}

static void item_unmap(struct area *a)
{
	do_unmap(a);
	do_write(a);
	some_right(a, 5);
}

static void item_all(struct area *a)
{
	static void (*const each[])(struct area *) = {do_empty, do_write, do_protect, do_move, do_unmap};

	each[draw(a) % 5](a);
	if (draw(a) % 30 == 0)
		do_fork(a);
	some_right(a, 5);
}

static double until;

static void *thread(void *arg)
{
	struct area *a = arg;

	while (now() < until)
		item_all(a);
	return NULL;
}

static const struct {
	const char *name;
	void (*run)(struct area *a);
} items[] = {
	{"read", item_read}, {"empty", item_empty}, {"protect", item_protect}, {"move", item_move},
	{"unmap", item_unmap}, {"fork", do_fork},   {"all", item_all},	       {"threads", NULL},
};

int main(int argc, char **argv)
{
	struct area *a = area_make(1);
	double seconds = argc > 2 ? atof(argv[2]) : 1.5;
	pthread_t t[THREADS];
	struct area *of[THREADS];

	for (size_t k = 0; k < sizeof(items) / sizeof(items[0]); k++) {
		if (argc < 2) {
			printf("%s\n", items[k].name);
			continue;
		}
		if (strcmp(argv[1], items[k].name) != 0)
			continue;
		until = now() + seconds;
		if (items[k].run) {
			while (now() < until)
				items[k].run(a);
		} else {
			/* They change the same address space, each its own pages. */
			for (unsigned i = 0; i < THREADS; i++) {
				of[i] = area_make(i + 2);
				CHECK(pthread_create(&t[i], NULL, thread, of[i]) == 0);
			}
			for (unsigned i = 0; i < THREADS; i++)
				CHECK(pthread_join(t[i], NULL) == 0);
			for (unsigned i = 0; i < THREADS * PAGES; i++)
				CHECK(right(of[i / PAGES], i % PAGES));
		}
		for (unsigned i = 0; i < PAGES; i++)
			CHECK(right(a, i));
		printf("good %d\n", getpid());
		return 0;
	}
	return argc < 2 ? 0 : 2;
}
