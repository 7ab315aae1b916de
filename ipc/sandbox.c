/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CAPS_TRIES = 2000 }; /* a millisecond apart */

static const struct {
	const char *name;
	int number;
} calls[] = {
#include "ipc/syscalls.inc"
};

int syscall_number(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(calls[i].name, name))
			return calls[i].number;
	return -ENOENT;
}

const char *syscall_name(int number)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i].number == number)
			return calls[i].name;
	return "?";
}

static char process[64];

/* Says what was asked for, then asks again with nobody to catch it. */
static void on_denied(int sig, siginfo_t *info, void *context)
{
	char text[256];
	int n = snprintf(text, sizeof(text),
			 "%s: system call %s (%d) is not on its policy page: not executed; it ends\n",
			 process, syscall_name(info->si_syscall), info->si_syscall);

	(void)context;
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		n = 0; /* the status of the process says it, too */
	signal(sig, SIG_DFL);
	syscall(info->si_syscall, -1, -1, -1, -1, -1, -1);
	_exit(128 + sig);
}

static int caps_keep(uint64_t caps)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(caps >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

static uint64_t caps_wanted;

static void on_caps(int sig)
{
	int saved = errno;

	(void)sig;
	caps_keep(caps_wanted);
	errno = saved;
}

/* Has the thread more than it shall keep? As /proc says, for it is another's. */
static bool caps_more(const char *tid, uint64_t keep)
{
	char path[64], text[4096], *line;
	unsigned long long has = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false; /* it has ended */
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	line = strstr(text, "CapPrm:");
	return !line || sscanf(line, "CapPrm: %llx", &has) != 1 || (has & ~keep);
}

/* As the kernel has it: of the C library's own signals it says nothing. Large enough for any machine. */
struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};
enum { SIG_UNBLOCKED = 33 }; /* by which setuid reaches all threads */

/* Capabilities are a thread's own, and each can give up its own only: the others are asked by a signal. */
static int caps_keep_all(uint64_t keep)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	struct sigaction sa = {.sa_handler = on_caps, .sa_flags = SA_RESTART};
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t has;
	struct kernel_action action, before;
	int rc, sig = SIGRTMAX;
	bool borrowed;

	if (syscall(SYS_capget, &head, data))
		return -errno;
	has = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	rc = caps_keep(keep);
	if (rc || !(has & ~keep)) /* the others have none that it had not */
		return rc;
	caps_wanted = keep;
	sigaction(sig, &sa, NULL);
	/* the same handler for the C library's signal, which threads cannot block: DPDK's block all others */
	borrowed = !syscall(SYS_rt_sigaction, sig, NULL, &action, sizeof(action.mask)) &&
		   !syscall(SYS_rt_sigaction, SIG_UNBLOCKED, &action, &before, sizeof(action.mask));
	if (borrowed)
		sig = SIG_UNBLOCKED;
	rc = -ETIMEDOUT;
	for (unsigned i = 0; i < CAPS_TRIES && rc == -ETIMEDOUT; i++) {
		DIR *d = opendir("/proc/self/task");
		bool more = false;
		struct dirent *e;

		if (!d) {
			/* this much unshare says without a look: is it the only one? */
			rc = unshare(CLONE_SIGHAND) ? -EBUSY : 0;
			break;
		}
		while ((e = readdir(d)) != NULL) {
			if (e->d_name[0] == '.' || !caps_more(e->d_name, keep))
				continue;
			more = true;
			syscall(SYS_tgkill, getpid(), atoi(e->d_name), sig);
		}
		closedir(d);
		if (more)
			nanosleep(&pause, NULL);
		else
			rc = 0;
	}
	signal(SIGRTMAX, SIG_IGN); /* one may still be on its way */
	if (borrowed)
		syscall(SYS_rt_sigaction, SIG_UNBLOCKED, &before, NULL, sizeof(action.mask));
	return rc;
}

int sandbox_enter(const char *name)
{
	static struct sock_filter code[SANDBOX_FILTER_MAX];
	const char *env = getenv(SANDBOX_ENV_FILTER), *caps = getenv(SANDBOX_ENV_CAPS);
	struct sigaction sa = {.sa_sigaction = on_denied, .sa_flags = SA_SIGINFO};
	struct sock_fprog prog = {.filter = code};
	struct stat st;
	int fd, rc;

	if (!env)
		return 0;
	snprintf(process, sizeof(process), "%s", name);
	fd = atoi(env);
	rc = caps_keep_all(caps ? strtoull(caps, NULL, 16) : 0);
	if (!rc && (fstat(fd, &st) || st.st_size <= 0 || st.st_size > (off_t)sizeof(code) ||
		    st.st_size % (off_t)sizeof(code[0]) ||
		    pread(fd, code, (size_t)st.st_size, 0) != st.st_size))
		rc = -EBADF;
	if (!rc) {
		close(fd);
		unsetenv(SANDBOX_ENV_FILTER);
		prog.len = (unsigned short)((size_t)st.st_size / sizeof(code[0]));
		sigaction(SIGSYS, &sa, NULL);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
			rc = -errno;
		/* all threads, those that were started getting ready, too */
		else if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog))
			rc = -errno;
	}
	if (rc)
		fprintf(stderr, "%s: cannot shut itself in: %s\n", name, strerror(-rc));
	return rc;
}

int sandbox_give_up(void)
{
#define CALL_IS(name, jump) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, jump, 0)
	/* What is not a call of this machine's is not in the page either. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_fork
		CALL_IS(fork, 12),
		CALL_IS(vfork, 11),
#else
		CALL_IS(clone, 12),
		CALL_IS(clone, 11),
#endif
		CALL_IS(clone, 10),
		CALL_IS(clone3, 9),
		CALL_IS(execve, 8),
		CALL_IS(execveat, 7),
		CALL_IS(kill, 6),
		CALL_IS(mmap, 3),
		CALL_IS(mprotect, 2),
		CALL_IS(pkey_mprotect, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		/* the lower half of the third argument comes first */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
#undef CALL_IS

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog))
		return -errno;
	return 0;
}
