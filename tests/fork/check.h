/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - for programs that are forked: what must hold, or the program says so and ends with status 3 */
#ifndef ATOLL_TESTS_FORK_CHECK_H
#define ATOLL_TESTS_FORK_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("bad: line %d: %s (errno %d)\n", __LINE__, #what, errno);           \
			fflush(stdout);                                                            \
			_exit(3);                                                                  \
		}                                                                                  \
	} while (0)

/* Seconds, monotonic. */
static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
