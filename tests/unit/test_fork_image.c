/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors there and back, damaged and hostile; and those that do not fit this machine. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/fork-pager/proc/restore.h"

enum {
	ROUNDS = 3000,
	BASE = 0x10000000,
};

static uint32_t seed;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void bytes(struct image_bytes *b, const void *data, size_t len)
{
	b->data = calloc(1, len + 1);
	assert_non_null(b->data);
	memcpy(b->data, data, len);
	b->len = (uint32_t)len;
}

/* A process with some of everything: @path is a file that it has mapped. */
static void make(struct image *im, const char *path, uint64_t size)
{
	static const char xstate[2432];
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/tmp/test.sock"};

	memset(im, 0, sizeof(*im));
	im->mm.exe = IMAGE_NONE;
	im->nvmas = 3;
	im->vmas = calloc(im->nvmas, sizeof(*im->vmas));
	im->nfiles = 4;
	im->files = calloc(im->nfiles, sizeof(*im->files));
	im->nfds = 3;
	im->fds = calloc(im->nfds, sizeof(*im->fds));
	im->nthreads = 2;
	im->threads = calloc(im->nthreads, sizeof(*im->threads));
	assert_true(im->vmas && im->files && im->fds && im->threads);
	for (uint32_t i = 0; i < im->nvmas; i++)
		im->vmas[i] = (struct image_vma){.start = BASE + i * 0x100000u, .end = BASE + i * 0x100000u + 0x4000,
						 .prot = 3, .kind = IMAGE_VMA_ANON, .file = IMAGE_NONE};
	im->vmas[1].kind = IMAGE_VMA_FILE;
	im->vmas[1].file = 0;
	bytes(&im->vmas[2].name, "heap of it", 10);
	im->files[0].kind = IMAGE_FILE_PATH;
	im->files[0].size = size;
	bytes(&im->files[0].path, path, strlen(path));
	im->files[1].kind = IMAGE_FILE_PIPE;
	bytes(&im->files[1].data, "in the pipe", 11);
	im->files[2].kind = IMAGE_FILE_LISTENER;
	bytes(&im->files[2].data, &a, sizeof(a));
	im->files[3].kind = IMAGE_FILE_EPOLL;
	im->files[3].nwatches = 1;
	im->files[3].watches = calloc(1, sizeof(*im->files[3].watches));
	assert_non_null(im->files[3].watches);
	im->files[3].watches[0].fd = 4;
	for (int i = 0; i < 3; i++)
		im->fds[i] = (struct image_fd){.fd = 3 + i, .file = 1 + i};
	for (int i = 0; i < 2; i++) {
		im->threads[i].tid = 100 + i;
		im->threads[i].policy = 0;
		bytes(&im->threads[i].xstate, xstate, sizeof(xstate));
	}
	im->oom_score_adj = OOM_BIAS;
}

static void encode(const struct image *im, uint8_t **text, size_t *len)
{
	const char *why = "";

	if (image_check(im, &why))
		fail_msg("%s", why);
	assert_int_equal(image_encode(im, text, len), 0);
}

static void test_there_and_back(void **state)
{
	struct image im, back;
	uint8_t *text, *again;
	size_t len, len2;
	const char *why = "";

	(void)state;
	make(&im, "/etc/passwd", 1000);
	encode(&im, &text, &len);
	assert_int_equal(image_decode(&back, text, len, &why), 0);
	assert_int_equal(image_encode(&back, &again, &len2), 0);
	assert_int_equal(len, len2);
	assert_memory_equal(text, again, len);
	assert_memory_equal(back.files[1].data.data, "in the pipe", 11);
	image_free(&back);
	image_free(&im);
	free(text);
	free(again);
}

/* Cut anywhere, one bit changed anywhere: it is noticed. */
static void test_damaged(void **state)
{
	struct image im, back;
	uint8_t *text;
	size_t len;
	const char *why;

	(void)state;
	make(&im, "/etc/passwd", 1000);
	encode(&im, &text, &len);
	for (size_t cut = 0; cut < len; cut++) {
		why = NULL;
		assert_true(image_decode(&back, text, cut, &why) < 0);
		assert_non_null(why);
	}
	for (size_t bit = 0; bit < len * 8; bit++) {
		text[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(image_decode(&back, text, len, &why) < 0);
		text[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(image_decode(&back, text, len, &why), 0);
	image_free(&back);
	image_free(&im);
	free(text);
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* By somebody who can compute checksums: it is refused, or it holds what image_check promises. */
static void test_hostile(void **state)
{
	struct image im, back;
	uint8_t *text, *copy;
	size_t len;
	const char *why;
	unsigned taken = 0;

	(void)state;
	make(&im, "/etc/passwd", 1000);
	encode(&im, &text, &len);
	copy = malloc(len);
	assert_non_null(copy);
	for (unsigned i = 0; i < ROUNDS; i++) {
		memcpy(copy, text, len);
		for (unsigned n = draw(4) + 1; n; n--)
			copy[IMAGE_HEADER + draw((uint32_t)len - IMAGE_HEADER)] = draw(3) ? (uint8_t)draw(256) : 0xff;
		put32(copy + 12, image_crc32c(copy + IMAGE_HEADER, len - IMAGE_HEADER));
		put32(copy + 28, image_crc32c(copy, 28));
		why = NULL;
		if (image_decode(&back, copy, len, &why)) {
			assert_non_null(why);
			continue;
		}
		taken++;
		assert_int_equal(image_check(&back, &why), 0);
		image_free(&back);
	}
	assert_true(taken > 0 && taken < ROUNDS);
	free(copy);
	free(text);
	image_free(&im);
}

/* What restore_build says of it. It refuses before it makes anything. */
static int build(struct image *im, char *said, size_t len)
{
	int cache = memfd_create("cache", MFD_CLOEXEC);
	struct restore_options o = {.stdio = {-1, -1, -1}, .cache_fd = cache};
	struct restore_child c;
	int rc = restore_build(&c, im, &o);

	snprintf(said, len, "%s", c.report.text);
	close(cache);
	image_free(im);
	return rc;
}

static void test_does_not_fit(void **state)
{
	char path[] = "/tmp/atoll-image-XXXXXX", said[4096];
	int fd = mkstemp(path);
	struct image im;

	(void)state;
	assert_true(fd >= 0 && write(fd, "of this machine", 15) == 15);
	make(&im, path, 15);
	im.host.xfeatures = 1ull << 62; /* the last state component but one: nobody has it */
	assert_int_equal(build(&im, said, sizeof(said)), -ENOEXEC);
	assert_non_null(strstr(said, "the processor here lacks"));
	make(&im, path, 15);
	im.vmas[0].kind = IMAGE_VMA_VDSO;
	im.host.vdso_size = im.vmas[0].end - im.vmas[0].start;
	bytes(&im.host.release, "9.9.9", 5);
	assert_int_equal(build(&im, said, sizeof(said)), -ENOEXEC);
	assert_non_null(strstr(said, "another vdso than 9.9.9"));
	/* Another libc: of another size, of other contents, not there at all. */
	make(&im, path, 16);
	assert_int_equal(build(&im, said, sizeof(said)), -ENOENT);
	assert_non_null(strstr(said, "is another file here: 15 bytes, not 16"));
	make(&im, path, 15);
	bytes(&im.files[0].build_id, &(uint32_t){image_crc32c("of that machine", 15)}, 4);
	assert_int_equal(build(&im, said, sizeof(said)), -ENOENT);
	assert_non_null(strstr(said, "its contents differ"));
	make(&im, "/nowhere/libc.so.6", 15);
	assert_int_equal(build(&im, said, sizeof(said)), -ENOENT);
	assert_non_null(strstr(said, "/nowhere/libc.so.6 cannot be opened"));
	/* Made in memory, and senseless. */
	make(&im, path, 15);
	im.fds[1].file = 77;
	assert_int_equal(build(&im, said, sizeof(said)), -EINVAL);
	assert_non_null(strstr(said, "the descriptor makes no sense"));
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_does_not_fit),
	};
	const char *given = getenv("ATOLL_SEED");

	seed = given ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)time(NULL);
	print_message("seed %u\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
