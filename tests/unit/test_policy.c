/* SPDX-License-Identifier: Apache-2.0 */
/* Policy pages: what is understood and what is refused, and what the compiled filter then decides. */
#include <errno.h>
#include <glob.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/sandbox.h"
#include "tools/svcctl/policy.h"

#ifdef __x86_64__
enum { ARCH = (int)AUDIT_ARCH_X86_64 };
#else
enum { ARCH = (int)AUDIT_ARCH_AARCH64 };
#endif

static char dir[64], err[256];
static struct policy policy;
static struct sock_filter code[SANDBOX_FILTER_MAX];
static int count;

static int dir_make(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/atoll-policy.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int dir_remove(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/p.policy", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/q.policy", dir);
	unlink(path);
	return rmdir(dir);
}

static void page(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.policy", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int read_page(const char *text)
{
	char path[128];

	page("p", text);
	snprintf(path, sizeof(path), "%s/p.policy", dir);
	return policy_read(path, dir, &policy, err, sizeof(err));
}

static void compile(const char *text)
{
	if (read_page(text))
		fail_msg("%s", err);
	count = policy_compile(&policy, code, SANDBOX_FILTER_MAX);
	assert_true(count > 0);
}

/* What the kernel would do with this program: the few instructions that the compiler uses. */
static uint32_t decide(uint32_t arch, int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct seccomp_data d = {.nr = nr, .arch = arch, .args = {a0, a1, a2}};
	uint32_t a = 0;

	for (int i = 0; i < count; i++) {
		const struct sock_filter *f = &code[i];

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(f->k + 4 <= sizeof(d));
			memcpy(&a, (const char *)&d + f->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			i += a == f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			i += a >= f->k ? f->jt : f->jf;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		default:
			fail_msg("instruction %d: %#x", i, f->code);
		}
	}
	fail_msg("ran past the end");
	return 0;
}

static bool allowed(int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
	uint32_t r = decide((uint32_t)ARCH, nr, a0, a1, a2);

	assert_true(r == SECCOMP_RET_ALLOW || r == SECCOMP_RET_TRAP);
	return r == SECCOMP_RET_ALLOW;
}

static void decisions(void **state)
{
	uint64_t high = 1ull << 40;

	(void)state;
	compile("# prose\n"
		"allow read : its descriptors\n"
		"allow socket if arg0 is AF_UNIX and arg1 within SOCK_SEQPACKET|SOCK_CLOEXEC : the ring\n"
		"allow mmap if arg2 without PROT_EXEC : memory\n"
		"allow mmap if arg0 is 0x1234567800000001 : one place\n"
		"allow nosuchcall? : not here\n"
		"refuse clone ENOSYS : no threads\n");
	assert_true(allowed(SYS_read, 1, 2, 3));
	assert_false(allowed(SYS_write, 1, 2, 3));
	assert_true(allowed(SYS_socket, AF_UNIX, SOCK_SEQPACKET, 0));
	assert_true(allowed(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	assert_false(allowed(SYS_socket, AF_INET, SOCK_SEQPACKET, 0));
	assert_false(allowed(SYS_socket, AF_UNIX, SOCK_RAW | SOCK_NONBLOCK, 0));
	assert_false(allowed(SYS_socket, AF_UNIX | high, SOCK_SEQPACKET, 0));
	assert_true(allowed(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE));
	assert_false(allowed(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC));
	assert_true(allowed(SYS_mmap, 0x1234567800000001ull, 4096, PROT_EXEC));
	assert_false(allowed(SYS_mmap, 0x1234567900000001ull, 4096, PROT_EXEC));
	assert_int_equal(decide((uint32_t)ARCH, SYS_clone, 0, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
	/* another architecture's numbers mean other calls */
	assert_int_equal(decide(AUDIT_ARCH_I386, SYS_read, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
#ifdef __x86_64__
	assert_int_equal(decide((uint32_t)ARCH, 0x40000000 | SYS_read, 0, 0, 0),
			 SECCOMP_RET_KILL_PROCESS);
#endif
	assert_int_equal(policy_compile(&policy, code, 8), -E2BIG);
}

static void other_entries(void **state)
{
	(void)state;
	page("q", "allow read : included\nkeep network : a port\n");
	compile("include q\nkeep pid : numbers\nstart CAP_IPC_LOCK : pins\nhold CAP_KILL : ends others\n"
		"limit nofile 64 : few\nfile /dev/kvm write : a device\nproc : looks\n");
	assert_true(allowed(SYS_read, 0, 0, 0));
	assert_int_equal(policy.keep, KEEP_NETWORK | KEEP_PID);
	assert_int_equal(policy.start_caps, 1u << 14 | 1u << 5);
	assert_int_equal(policy.hold_caps, 1u << 5);
	assert_int_equal(policy.nlimits, 1);
	assert_int_equal(policy.limit[0].value, 64);
	assert_string_equal(policy.file[0].path, "/dev/kvm");
	assert_true(policy.file[0].write && policy.proc);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"allow read\n", ":1: allow read has no reason"},
		{"allow read : \n", ":1: allow read has no reason"},
		{"\nallow raed : typing error\n", ":2: there is no system call raed here"},
		{"allow read if arg9 is 1 : x\n", "a condition is"},
		{"allow read if arg0 equals 1 : x\n", "a condition is"},
		{"allow read if arg0 is AF_NONE : x\n", "a condition is"},
		{"allow read and arg0 is 1 : x\n", "a condition is"},
		{"allow read if arg0 is : x\n", "a condition is"},
		{"refuse read EFOO : x\n", "refuse CALL ERRNO"},
		{"include nothing\n", "there is no page nothing"},
		{"include p\n", "include p: a name of a page, and not that deep"},
		{"include ../p\n", "not that deep"},
		{"keep secret : x\n", "not understood"},
		{"hold CAP_EVERYTHING : x\n", "not understood"},
		{"limit nofile many : x\n", "many is no number"},
		{"file relative read : x\n", "not understood"},
		{"file /a/../b read : x\n", "not understood"},
		{"deny read : x\n", "not understood"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(read_page(bad[i].text), -EINVAL);
		if (!strstr(err, bad[i].says))
			fail_msg("\"%s\" instead of \"%s\"", err, bad[i].says);
	}
	assert_int_equal(policy_read("/no/such/page", dir, &policy, err, sizeof(err)), -ENOENT);
}

/* Every page of the tree is good, and none lets a program or code in. */
static void pages_of_the_tree(void **state)
{
	const char *source = getenv("ATOLL_SOURCE");
	static const char *const where[] = {"tools/svcctl/policy/*.policy", "services/*/*.policy"};
	char path[512], shared[512];
	unsigned seen = 0;

	(void)state;
	if (!source)
		skip();
	snprintf(shared, sizeof(shared), "%s/tools/svcctl/policy", source);
	for (int w = 0; w < 2; w++) {
		glob_t g;

		snprintf(path, sizeof(path), "%s/%s", source, where[w]);
		if (glob(path, 0, NULL, &g))
			continue;
		for (size_t i = 0; i < g.gl_pathc; i++, seen++) {
			if (policy_read(g.gl_pathv[i], shared, &policy, err, sizeof(err)))
				fail_msg("%s", err);
			count = policy_compile(&policy, code, SANDBOX_FILTER_MAX);
			assert_true(count > 0);
			assert_false(allowed(SYS_bpf, 0, 0, 0));
			assert_false(allowed(SYS_mount, 0, 0, 0));
			assert_false(allowed(SYS_setns, 0, 0, 0));
		}
		globfree(&g);
	}
	assert_true(seen >= 5);
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(syscall_number("read"), SYS_read);
	assert_int_equal(syscall_number("nothing"), -ENOENT);
	assert_string_equal(syscall_name(SYS_ppoll), "ppoll");
	assert_string_equal(syscall_name(-5), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decisions), cmocka_unit_test(other_entries), cmocka_unit_test(refused),
		cmocka_unit_test(pages_of_the_tree), cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, dir_make, dir_remove);
}
