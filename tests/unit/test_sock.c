/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/sock.h"

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void messages(void **state)
{
	int s[2], fds[2] = {-1, -1};
	unsigned n = 2, before = open_files();
	char text[8] = "";

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(sock_send(s[0], "hello", 6, s, 2), 0);
	assert_int_equal(sock_recv(s[1], text, 6, fds, &n), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(n, 2);
	close(fds[0]);
	close(fds[1]);
	/* of another length, or with descriptors that nobody wanted: nothing of it is kept */
	assert_int_equal(sock_send(s[0], "hello", 6, NULL, 0), 0);
	n = 2;
	assert_int_equal(sock_recv(s[1], text, 5, fds, &n), -EPROTO);
	assert_int_equal(sock_send(s[0], "hello", 6, s, 2), 0);
	n = 1;
	assert_int_equal(sock_recv(s[1], text, 6, fds, &n), -EPROTO);
	assert_int_equal(n, 0);
	assert_int_equal(sock_send(s[0], "hello", 6, s, 2), 0);
	assert_int_equal(sock_recv(s[1], text, 6, NULL, NULL), -EPROTO);
	assert_int_equal(sock_recv_timeout(s[1], text, 6, NULL, NULL, 5), -ETIMEDOUT);
	close(s[0]);
	assert_int_equal(sock_recv(s[1], text, 6, NULL, NULL), -ECONNRESET);
	assert_true(sock_send(s[1], "hello", 6, NULL, 0) < 0); /* and no signal */
	close(s[1]);
	assert_int_equal(open_files(), before);
}

static void addresses(void **state)
{
	char dir[] = "/tmp/atoll-test-XXXXXX", path[64], deep[300];
	struct stat st;
	int listener, fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	memset(deep, 'x', sizeof(deep) - 1);
	deep[0] = '/';
	deep[sizeof(deep) - 1] = 0;
	assert_int_equal(sock_connect(deep), -ENAMETOOLONG);
	assert_int_equal(sock_listen(deep, 0600), -ENAMETOOLONG);
	assert_int_equal(sock_connect(path), -ENOENT);
	listener = sock_listen(path, 0600);
	assert_true(listener >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = sock_connect(path);
	assert_true(fd >= 0);
	close(fd);
	close(listener);
	assert_int_equal(sock_connect(path), -ECONNREFUSED); /* what a process that ended leaves */
	listener = sock_listen(path, 0600);
	assert_true(listener >= 0);
	close(listener);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
