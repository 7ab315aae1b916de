/* SPDX-License-Identifier: Apache-2.0 */
/* The process of a session, over its socket: batches in order, their answers, its share of the time. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/gpu-exec/worker.h"

#define MEBI (1ull << 20)

enum { KERNEL_NS = 1000000 };

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry k()\n{\n ret;\n}\n";

static struct worker_page *page;
static int fd;
static pid_t pid;
static uint64_t seq;
static uint8_t batch[sizeof(struct worker_head) + WORKER_PAYLOAD_MAX];
static struct worker_head *const head = (struct worker_head *)batch;
static uint8_t *const calls = batch + sizeof(struct worker_head);

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What the worker says next; its head and bytes in `batch`. False: it is gone. */
static bool hear(void)
{
	ssize_t n = recv(fd, batch, sizeof(batch), 0);

	return n >= (ssize_t)sizeof(*head) && head->length == (size_t)n - sizeof(*head);
}

static void start(unsigned share)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	pid = fork();
	if (pid == 0) {
		struct worker_conf c = {.ops = gpu_device_find("null"),
					.device = {.limit = 4 * MEBI, .window_size = 64 * MEBI, .kernel_ns = KERNEL_NS},
					.socket = pair[1],
					.share = share,
					.page = page};

		close(pair[0]);
		worker_run(&c);
	}
	assert_true(pid > 0);
	close(pair[1]);
	fd = pair[0];
	seq = 1;
	assert_true(hear());
	assert_int_equal(head->kind, WORKER_READY);
	assert_int_equal(head->a[0], 0);
}

/* It ends when its service does. */
static void stop(void)
{
	int status;

	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	munmap(page, sizeof(*page));
}

static void tell(uint32_t length)
{
	*head = (struct worker_head){.kind = WORKER_BATCH, .length = length, .token = 1000 + seq, .seq = seq};
	seq++;
	assert_int_equal(send(fd, batch, sizeof(*head) + length, 0), sizeof(*head) + length);
}

static void answered(uint64_t want, uint64_t error)
{
	assert_true(hear());
	assert_int_equal(head->kind, WORKER_ANSWER);
	assert_int_equal(head->seq, want);
	assert_int_equal(head->token, 1000 + want);
	assert_int_equal(head->a[0], error);
}

static void load(void)
{
	uint32_t n = gpu_put_image_begin(calls, WORKER_PAYLOAD_MAX, sizeof(ptx));

	n += gpu_put_image_data(calls + n, WORKER_PAYLOAD_MAX - n, 0, ptx, sizeof(ptx));
	n += gpu_put_module_load(calls + n, WORKER_PAYLOAD_MAX - n, 1);
	n += gpu_put_function_get(calls + n, WORKER_PAYLOAD_MAX - n, 1, 1, "k", 1);
	tell(n);
	answered(1, 0);
}

static void launches(unsigned batches)
{
	uint64_t from = seq;

	for (unsigned k = 0; k < batches; k++)
		tell(gpu_put_launch(calls, WORKER_PAYLOAD_MAX, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, NULL, 0));
	for (unsigned k = 0; k < batches; k++)
		answered(from + k, 0);
}

static void test_order(void **state)
{
	(void)state;
	start(0);
	load();
	launches(20);
	assert_int_equal(page->launches, 20);
	for (unsigned i = 0; i < 1000 && page->answers != 22; i++) /* it counts an answer after it has written it */
		usleep(1000);
	assert_int_equal(page->answers, 22);
	assert_true(page->busy_ns >= 20ull * KERNEL_NS);
	/* a call that is none, and a handle that is none: each an error of its batch, and the next is served */
	memset(calls, 0xff, 64);
	tell(64);
	answered(seq - 1, 1);
	tell(gpu_put_launch(calls, WORKER_PAYLOAD_MAX, 99, 0, 1, 1, 1, 1, 1, 1, 0, 0, NULL, 0));
	answered(seq - 1, 400);
	launches(1);
	stop();
}

/* A fifth of the time, and what had been saved up before: the rest is waited for. */
static void test_share(void **state)
{
	uint64_t t;

	(void)state;
	start(20);
	load();
	t = now_ns();
	launches(40); /* 40 ms of the device: 20 from the bucket, for the other 20 it takes 100 */
	assert_true(now_ns() - t >= 90000000);
	stop();
}

/* A record that is cut short ends the session, and nothing else happens. */
static void test_cut(void **state)
{
	int status;

	(void)state;
	start(0);
	*head = (struct worker_head){.kind = WORKER_BATCH, .length = 100};
	assert_int_equal(send(fd, batch, sizeof(*head) + 50, 0), sizeof(*head) + 50);
	assert_false(hear());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
