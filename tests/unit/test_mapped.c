/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is taken away under who reads and writes it. */
#include "dataplane/mapped.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 16384 };

static volatile uint8_t *memory(int *fd)
{
	void *p;

	*fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, SIZE), 0);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_true(p != MAP_FAILED);
	return p;
}

static void taken_away(void **state)
{
	int fd, other;
	volatile uint8_t *p = memory(&fd), *q = memory(&other);

	(void)state;
	assert_int_equal(mapped_init(), 0);
	assert_int_equal(mapped_add((void *)(uintptr_t)p, SIZE), 0);
	assert_int_equal(mapped_add((void *)(uintptr_t)q, SIZE), 0);
	p[0] = q[0] = 7;
	assert_null(mapped_lost());
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(p[0], 7);
	p[9000] = 5; /* beyond the end */
	assert_int_equal(p[9000], 5);
	assert_int_equal(p[0], 0); /* all of it is another memory now */
	assert_int_equal(q[0], 7);
	assert_ptr_equal(mapped_lost(), (void *)(uintptr_t)p);
	assert_null(mapped_lost());
	mapped_remove((void *)(uintptr_t)p);
	munmap((void *)(uintptr_t)p, SIZE);
	/* one that goes before it is told is not told */
	assert_int_equal(ftruncate(other, 0), 0);
	assert_int_equal(q[1], 0);
	mapped_remove((void *)(uintptr_t)q);
	assert_null(mapped_lost());
	munmap((void *)(uintptr_t)q, SIZE);
	close(fd);
	close(other);
}

/* What nobody has named still ends the process. */
static void somebody_elses(void **state)
{
	int fd, status;
	volatile uint8_t *p = memory(&fd);
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		mapped_init();
		if (!ftruncate(fd, 0))
			p[0] = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
#ifndef __SANITIZE_ADDRESS__
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
#endif
	munmap((void *)(uintptr_t)p, SIZE);
	close(fd);
}

static void many(void **state)
{
	static uint8_t at[10000];
	unsigned n = 0;

	(void)state;
	while (!mapped_add(at + n, 1))
		n++;
	assert_true(n >= 4096 && n < sizeof(at));
	mapped_remove(at + 5);
	assert_int_equal(mapped_add(at + 5, 1), 0);
	assert_int_equal(mapped_add(at, 1), -ENOSPC);
	while (n)
		mapped_remove(at + --n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_away), cmocka_unit_test(somebody_elses), cmocka_unit_test(many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
