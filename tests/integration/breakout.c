/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that has been taken over. It attaches and is shut in like any other; then it tries one way out, the
 * one that it is named after, and says on stderr what came of it: "refused: ..." or "BROKE OUT: ...". A way that
 * its policy page does not list ends it by SIGSYS before it says anything.
 *
 * usage: breakout [list]   (the way is the service's name)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/service.h"
#include "proto/proto.h"

/* Each returns what the kernel answered: negative is a failure, as errno says. */

static long try_exec(void)
{
	char *argv[] = {(char *)(uintptr_t)"/bin/sh", NULL};

	return execve(argv[0], argv, NULL);
}

static long try_fork(void)
{
	return fork();
}

static long try_thread(void)
{
	return syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0);
}

static long try_open_passwd(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static long try_write_file(void)
{
	return open("/tmp/out", O_WRONLY | O_CREAT, 0644);
}

static long try_inet(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0);
}

static long try_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long try_supervisor(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *own = getenv("ATOLL_SOCKET");
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	/* the supervisor's socket lies beside the dataplane's */
	snprintf(a.sun_path, sizeof(a.sun_path), "%.*s/svcctl.sock", (int)(strrchr(own, '/') - own), own);
	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static long try_abstract(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0atoll-breakout-target"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* the test listens on it, in its own network namespace */
	return connect(fd, (struct sockaddr *)&a,
		       (socklen_t)(sizeof(sa_family_t) + 1 + strlen("atoll-breakout-target")));
}

static long try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, 1, NULL, NULL);
}

static long try_read_memory(void)
{
	char byte;
	struct iovec own = {&byte, 1}, other = {(void *)(uintptr_t)0x400000, 1};

	return process_vm_readv(getppid(), &own, 1, &other, 1, 0);
}

static long try_kill(void)
{
	return kill(-1, SIGKILL);
}

static long try_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED
		       ? -1
		       : 0;
}

static long try_code_later(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long try_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static long try_join_namespace(void)
{
	return setns(0, 0);
}

static long try_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long try_root(void)
{
	return setuid(0);
}

static long try_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct all[2];

	memset(all, 0xff, sizeof(all));
	return syscall(SYS_capset, &head, all);
}

static long try_uring(void)
{
	struct io_uring_params p = {0};

	return syscall(SYS_io_uring_setup, 8, &p);
}

static long try_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_userfault(void)
{
	return syscall(SYS_userfaultfd, 1);
}

static long try_limits(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	return setrlimit(RLIMIT_NOFILE, &all);
}

static long try_affinity(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	return sched_setaffinity(0, sizeof(all), &all);
}

static long try_chroot(void)
{
	return chroot("/");
}

static long try_stolen_descriptor(void)
{
	return syscall(SYS_pidfd_getfd, 0, 1, 0);
}

/* The name of another service of the node, which is not attached. */
static long try_other_name(void)
{
	struct atoll_endpoint_conf conf = {.name = "absent", .kind = CTL_KIND_SERVICE};
	struct atoll_endpoint *ep;
	char err[256];
	int rc = atoll_attach(&ep, &conf, err, sizeof(err));

	errno = -rc;
	return rc;
}

static long try_unfilter(void)
{
	return prctl(PR_SET_SECCOMP, 0, 0, 0, 0);
}

/* Catch what the filter denies, and go on. */
static void on_sys(int sig)
{
	(void)sig;
}

static long try_catch(void)
{
	long rc;

	signal(SIGSYS, on_sys);
	rc = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	/* with a handler that returns, the call's number is what comes back; it must not have run */
	if (rc == SYS_clone || rc < 0) {
		errno = EPERM;
		return -1;
	}
	return rc;
}

/* Have the kernel signal another process when something comes. */
static long try_signal_owner(void)
{
	return fcntl(0, F_SETOWN, 1);
}

/* The owner of the node may see all messages; where svcctl has no root it has the same user number. */
static long try_trace(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR, .op = CTL_OP_TRACE};
	struct proto_ctl_reply r;
	struct iovec out = {&q, sizeof(q)}, in = {&r, sizeof(r)};
	struct msghdr send = {.msg_iov = &out, .msg_iovlen = 1}, recv = {.msg_iov = &in, .msg_iovlen = 1};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", getenv("ATOLL_SOCKET"));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) || sendmsg(fd, &send, 0) < 0 ||
	    recvmsg(fd, &recv, 0) != sizeof(r))
		return -1;
	errno = EACCES;
	return r.status == STATUS_OK ? 0 : -1;
}

/* What whoever started the node had in his environment. */
static long try_environment(void)
{
	errno = ENOENT;
	return getenv("SECRET_OF_THE_STARTER") ? 0 : -1;
}

static const struct {
	const char *name;
	long (*run)(void);
} ways[] = {
	{"exec", try_exec}, {"fork", try_fork}, {"thread", try_thread},
	{"open-passwd", try_open_passwd}, {"write-file", try_write_file}, {"inet", try_inet},
	{"packet", try_packet}, {"netlink", try_netlink}, {"supervisor", try_supervisor},
	{"abstract", try_abstract}, {"ptrace", try_ptrace}, {"read-memory", try_read_memory},
	{"kill", try_kill}, {"code", try_code}, {"code-later", try_code_later},
	{"namespace", try_namespace}, {"join-namespace", try_join_namespace}, {"mount", try_mount},
	{"root", try_root}, {"caps", try_caps}, {"uring", try_uring}, {"bpf", try_bpf},
	{"userfault", try_userfault}, {"limits", try_limits}, {"affinity", try_affinity},
	{"chroot", try_chroot}, {"stolen-descriptor", try_stolen_descriptor},
	{"other-name", try_other_name}, {"unfilter", try_unfilter}, {"catch", try_catch},
	{"signal-owner", try_signal_owner}, {"environment", try_environment}, {"trace", try_trace},
};

/* The first turn of the loop comes after the filter. */
static void breakout_timer(struct service *s)
{
	const char *name = getenv("ATOLL_SERVICE");

	s->stop = true;
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		long rc;

		if (!name || strcmp(ways[i].name, name))
			continue;
		rc = ways[i].run();
		fprintf(stderr, rc < 0 ? "refused: %s: %s\n" : "BROKE OUT: %s: %s\n", name,
			rc < 0 ? strerror(errno) : "the kernel did it");
	}
}

static int breakout_init(struct service *s, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	s->timer_ns = s->now_ns;
	return 0;
}

static const struct service_ops breakout_ops = {
	.name = "breakout",
	.init = breakout_init,
	.timer = breakout_timer,
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "list")) {
		for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
			printf("%s\n", ways[i].name);
		return 0;
	}
	return service_main(&breakout_ops, argc, argv);
}
