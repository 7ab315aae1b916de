/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_work MIB touch|exit - the program that `atoll-bench fork` forks. It knows nothing of that: it has memory, says what a
 * plain fork of itself costs here, and waits until it has another parent. Then it says when that was, and how long it
 * took to read a word of each page.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, ROUNDS = 5, PAUSE_US = 100 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t word(uint64_t i)
{
	i = (i + 1) * 0x9e3779b97f4a7c15ull;
	return i ^ i >> 29;
}

/* Pages whose first or last word is wrong. */
static unsigned touch(const volatile uint64_t *m, size_t pages)
{
	unsigned bad = 0;

	for (size_t p = 0; p < pages; p++)
		bad += m[p * WORDS] != word(p * WORDS) || m[p * WORDS + WORDS - 1] != word(p * WORDS + WORDS - 1);
	return bad;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Medians of forking, and of reading everything in the copy. */
static int plain(const uint64_t *m, size_t pages)
{
	uint64_t forked[ROUNDS], whole[ROUNDS], read_all[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		int fds[2], status;
		uint64_t start;
		pid_t pid;

		if (pipe(fds))
			return -1;
		start = now_ns();
		pid = fork();
		forked[i] = now_ns() - start;
		if (pid == 0)
			_exit(0);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return -1;
		whole[i] = now_ns() - start;
		pid = fork();
		if (pid == 0) {
			start = now_ns();
			status = touch(m, pages) != 0;
			start = now_ns() - start;
			_exit(status || write(fds[1], &start, sizeof(start)) != sizeof(start));
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status ||
		    read(fds[0], &read_all[i], sizeof(read_all[i])) != sizeof(read_all[i]))
			return -1;
		close(fds[0]);
		close(fds[1]);
	}
	qsort(forked, ROUNDS, sizeof(*forked), by_value);
	qsort(whole, ROUNDS, sizeof(*whole), by_value);
	qsort(read_all, ROUNDS, sizeof(*read_all), by_value);
	printf("plain_fork_ms %.3f\nplain_whole_ms %.3f\nplain_touch_ms %.3f\n", (double)forked[ROUNDS / 2] / 1e6,
	       (double)whole[ROUNDS / 2] / 1e6, (double)read_all[ROUNDS / 2] / 1e6);
	return 0;
}

int main(int argc, char **argv)
{
	size_t size = argc == 3 ? (size_t)atoi(argv[1]) << 20 : 0, pages = size / PAGE;
	uint64_t *m = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
	pid_t parent = getppid();
	uint64_t first;
	unsigned bad = 0;

	if (m == MAP_FAILED)
		return 2;
	for (size_t i = 0; i < size / 8; i++)
		m[i] = word(i);
	if (plain(m, pages))
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (getppid() == parent)
		usleep(PAUSE_US);
	first = now_ns();
	if (strcmp(argv[2], "touch") == 0)
		bad = touch(m, pages);
	printf("first_ns %llu\ntouch_ms %.3f\nbad %u\n", (unsigned long long)first, (double)(now_ns() - first) / 1e6, bad);
	return bad != 0;
}
