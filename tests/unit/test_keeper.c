/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper in a process of its own, and the test as its supervisor and its dataplane. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "proto/atoll_proto.h"

struct rig {
	pid_t pid;
	int supervisor, dataplane;
};

static int dataplane_give(struct rig *r)
{
	struct keeper_msg m = {.magic = KEEPER_MAGIC, .op = KEEPER_SUPERVISOR_DATAPLANE};
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(sock_send(r->supervisor, &m, sizeof(m), &s[1], 1), 0);
	close(s[1]);
	assert_int_equal(sock_recv_timeout(r->supervisor, &m, sizeof(m), NULL, NULL, 2000), 0);
	assert_int_equal(m.error, 0);
	return s[0];
}

static int rig_make(void **state)
{
	static struct rig r;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	r.pid = fork();
	assert_true(r.pid >= 0);
	if (r.pid == 0) {
		close(s[0]);
		alarm(20);
		_exit(keeper_run(s[1]));
	}
	close(s[1]);
	r.supervisor = s[0];
	r.dataplane = dataplane_give(&r);
	*state = &r;
	return 0;
}

static int rig_free(void **state)
{
	struct rig *r = *state;
	int status = -1;

	if (r->dataplane >= 0)
		close(r->dataplane);
	close(r->supervisor); /* the node is over */
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return 0;
}

static int call(struct rig *r, uint16_t op, uint64_t key, uint64_t size, struct keeper_msg *m, int *fd)
{
	*m = (struct keeper_msg){.op = op, .key = key, .size = size, .flags = 0, .uid = 42};
	return keeper_call(r->dataplane, m, fd);
}

static void files(void **state)
{
	struct rig *r = *state;
	struct keeper_msg m;
	struct stat st;
	int fd, again;
	char *p;

	assert_int_equal(call(r, KEEPER_TRANSIENT, 0, 8192, &m, &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 8192);
	/* nobody can pull the memory away from under a reader */
	assert_int_equal(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW),
			 F_SEAL_SHRINK | F_SEAL_GROW);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, 16384), -1);
	close(fd);

	assert_int_equal(call(r, KEEPER_CREATE, 5, 4096, &m, &fd), 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	strcpy(p, "kept");
	munmap(p, 4096);
	close(fd);
	assert_int_equal(call(r, KEEPER_CREATE, 5, 4096, &m, &fd), -EEXIST);
	assert_int_equal(fd, -1);
	assert_int_equal(call(r, KEEPER_CREATE, 0, 4096, &m, &fd), -EEXIST);
	assert_int_equal(call(r, KEEPER_CREATE, 6, 0, &m, &fd), -EINVAL);
	assert_int_equal(call(r, KEEPER_CREATE, 6, 1ull << 41, &m, &fd), -EINVAL);
	assert_int_equal(call(r, KEEPER_GET, 6, 0, &m, &fd), -ENOENT);
	assert_int_equal(call(r, KEEPER_CREATE, 6, 4096, &m, &fd), 0);
	close(fd);

	/* the next dataplane finds what this one made */
	again = dataplane_give(r);
	close(r->dataplane);
	r->dataplane = again;
	assert_int_equal(call(r, KEEPER_LIST, 0, 1, &m, &fd), 0);
	assert_int_equal(m.key, 6);
	assert_int_equal(call(r, KEEPER_LIST, 0, 2, &m, &fd), -ENOENT);
	assert_int_equal(call(r, KEEPER_LIST, 0, UINT64_MAX, &m, &fd), -ENOENT);
	assert_int_equal(call(r, KEEPER_GET, 5, 0, &m, &fd), 0);
	assert_int_equal(m.size, 4096);
	assert_int_equal(m.uid, 42);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	assert_string_equal(p, "kept");
	munmap(p, 4096);
	close(fd);
	assert_int_equal(call(r, KEEPER_DROP, 5, 0, &m, &fd), 0);
	assert_int_equal(call(r, KEEPER_DROP, 5, 0, &m, &fd), -ENOENT);
	assert_int_equal(call(r, KEEPER_GET, 5, 0, &m, &fd), -ENOENT);
	assert_int_equal(call(r, 77, 0, 0, &m, &fd), -EINVAL);
}

/* A dataplane that says nonsense loses its socket, and nobody else anything. */
static void the_supervisor_sees_recorders_alone(void **state)
{
	struct rig *r = *state;
	struct keeper_msg m;
	int fd;

	assert_int_equal(call(r, KEEPER_CREATE, 5, 4096, &m, &fd), 0);
	close(fd);
	m = (struct keeper_msg){
		.op = KEEPER_CREATE, .key = 6, .size = 8192, .flags = KEEPER_FLAG_RECORDER};
	assert_int_equal(keeper_call(r->dataplane, &m, &fd), 0);
	close(fd);
	m = (struct keeper_msg){.op = KEEPER_LIST, .size = 0};
	assert_int_equal(keeper_call(r->supervisor, &m, &fd), 0);
	assert_int_equal(m.key, 0);
	m = (struct keeper_msg){.op = KEEPER_LIST, .size = 1};
	assert_int_equal(keeper_call(r->supervisor, &m, &fd), 0);
	assert_int_equal(m.key, 6);
	m = (struct keeper_msg){.op = KEEPER_LIST, .size = 2};
	assert_int_equal(keeper_call(r->supervisor, &m, &fd), -ENOENT);
	m = (struct keeper_msg){.op = KEEPER_GET, .key = 5};
	assert_int_equal(keeper_call(r->supervisor, &m, &fd), -EACCES);
	assert_int_equal(fd, -1);
	m = (struct keeper_msg){.op = KEEPER_GET, .key = 6};
	assert_int_equal(keeper_call(r->supervisor, &m, &fd), 0);
	assert_int_equal(m.size, 8192);
	assert_true(fd >= 0);
	close(fd);
}

static void nonsense(void **state)
{
	struct rig *r = *state;
	struct keeper_msg m = {.magic = 1, .op = KEEPER_TRANSIENT, .size = 4096};
	struct pollfd p = {.fd = r->dataplane, .events = POLLIN};
	int fd;

	assert_int_equal(sock_send(r->dataplane, &m, sizeof(m), NULL, 0), 0);
	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_int_equal(sock_recv(r->dataplane, &m, sizeof(m), NULL, NULL), -ECONNRESET);
	close(r->dataplane);
	r->dataplane = dataplane_give(r);
	assert_int_equal(sock_send(r->dataplane, "short", 5, NULL, 0), 0);
	p.fd = r->dataplane;
	assert_int_equal(poll(&p, 1, 2000), 1);
	close(r->dataplane);
	/* a supervisor's message without a socket is not taken for one */
	m = (struct keeper_msg){.magic = KEEPER_MAGIC, .op = KEEPER_SUPERVISOR_DATAPLANE};
	assert_int_equal(sock_send(r->supervisor, &m, sizeof(m), NULL, 0), 0);
	assert_int_equal(sock_send(r->supervisor, "short", 5, NULL, 0), 0);
	r->dataplane = dataplane_give(r);
	assert_int_equal(call(r, KEEPER_TRANSIENT, 0, 4096, &m, &fd), 0);
	close(fd);
	/* a dataplane that ends does not end the keeper */
	close(r->dataplane);
	r->dataplane = dataplane_give(r);
	assert_int_equal(call(r, KEEPER_TRANSIENT, 0, 4096, &m, &fd), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files, rig_make, rig_free),
		cmocka_unit_test_setup_teardown(the_supervisor_sees_recorders_alone, rig_make, rig_free),
		cmocka_unit_test_setup_teardown(nonsense, rig_make, rig_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
