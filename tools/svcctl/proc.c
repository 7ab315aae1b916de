/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/admin.h"
#include "ipc/idle.h"
#include "ipc/sandbox.h"
#include "tools/svcctl/confine.h"

enum {
	STOP_MS = 2000,	 /* from SIGTERM to SIGKILL */
	ARGS_MAX = 128,
	/* In the child, until its program runs: */
	FD_PROGRAM = 8,
	FD_REPORT = 9,
	EXIT_SETUP = 126,
};

extern char **environ;

const char *proc_state_name(enum proc_state state)
{
	switch (state) {
	case PROC_ENDED:
		return "ended";
	case PROC_WAITING:
		return "waiting";
	case PROC_HELD:
		return "held";
	case PROC_RUNNING:
		return "starting";
	case PROC_READY:
		return "ready";
	case PROC_STOPPING:
		return "stopping";
	}
	return "?";
}

/* ---------------------------------------------------------------- in the child */

__attribute__((format(printf, 2, 3))) static void report(char sign, const char *fmt, ...)
{
	char text[PROC_TEXT_MAX];
	va_list ap;
	int n;

	text[0] = sign;
	va_start(ap, fmt);
	n = vsnprintf(text + 1, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	n = (int)strlen(text);
	if (send(FD_REPORT, text, (size_t)n, MSG_NOSIGNAL) < 0 || sign == '!')
		dprintf(STDERR_FILENO, "svcctl: %s\n", text + 1);
}

static _Noreturn void child_fail(const char *what)
{
	report('!', "%s: %s", what, strerror(errno));
	_exit(EXIT_SETUP);
}

/* Descriptors: 0 null, 1 and 2 log, 3.. as given, lifeline, report; nothing else. */
static void child_fds(const struct proc_spec *s, int report_fd)
{
	int want[FD_REPORT + 1], high[FD_REPORT + 1];
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int program = open(s->exec, O_PATH | O_CLOEXEC);

	for (int i = 0; i <= FD_REPORT; i++)
		want[i] = -1;
	want[0] = null;
	want[1] = want[2] = s->log;
	for (int i = 0; i < 3; i++)
		want[3 + i] = s->fds[i];
	want[ADMIN_FD_LIFELINE] = s->lifeline;
	want[SANDBOX_FD] = s->filter;
	want[FD_PROGRAM] = program;
	want[FD_REPORT] = report_fd;
	/* Out of the way first: a wanted number may be in use by another one. */
	for (int i = 0; i <= FD_REPORT; i++)
		high[i] = want[i] < 0 ? -1 : fcntl(want[i], F_DUPFD_CLOEXEC, 32);
	for (int i = 0; i <= FD_REPORT; i++)
		if (high[i] >= 0)
			dup2(high[i], i);
		else
			close(i);
	fcntl(FD_PROGRAM, F_SETFD, FD_CLOEXEC);
	fcntl(FD_REPORT, F_SETFD, FD_CLOEXEC);
	if (syscall(SYS_close_range, FD_REPORT + 1, ~0u, 0))
		for (int i = FD_REPORT + 1; i < 65536; i++)
			close(i);
}

static int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void child_isolate(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWNET) == 0)
		return;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		report('~', "has the network of the node: the kernel refuses a network namespace (%s)",
		       strerror(errno));
		return;
	}
	file_write("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	file_write("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	file_write("/proc/self/gid_map", map);
}

static int caps_set(uint64_t caps)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2], have[2];

	if (syscall(SYS_capget, &head, have))
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(caps >> 32 * i) & have[i].permitted;
		data[i].effective = data[i].inheritable = data[i].permitted;
	}
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

static void child_user(const struct proc_spec *s, bool root)
{
	if (s->user.set && root &&
	    (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setgroups(0, NULL) ||
	     setresgid(s->user.gid, s->user.gid, s->user.gid) ||
	     setresuid(s->user.uid, s->user.uid, s->user.uid)))
		child_fail("cannot become its user");
}

/* A file system of its own. @flags: the namespaces that it was cloned into. */
static void child_files(const struct proc_spec *s, int flags)
{
	char state[CONF_PATH_MAX + CONF_NAME_MAX + 32];
	const char *what;
	int rc;

	snprintf(state, sizeof(state), "%s/state/%s", s->run_dir, s->name);
	if (flags & CLONE_NEWNS) {
		rc = confine_files(s->policy, s->run_dir, s->kind == PROC_SERVICE ? state : NULL,
				   FD_PROGRAM, s->exec, &what);
		if (rc)
			report('~', "sees the node's files: %s: %s", what, strerror(-rc));
	}
}

static void child_drop(const struct proc_spec *s)
{
	/* Fails where there is nothing to drop; then exec gives nothing either. */
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (!(s->caps & 1ull << c))
			prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	if (caps_set(s->caps))
		child_fail("cannot drop capabilities");
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (s->caps & 1ull << c)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		child_fail("no_new_privs");
	/* The setting is lost with a change of user, so it comes last. */
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
}

static void child_pin(int core)
{
	cpu_set_t set;

	if (core == CONF_NO_CORE)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		report('~', "is not pinned to core %d: %s", core, strerror(errno));
}

/* What a process is told of its starter's environment. The rest may hold what is not meant for it. */
static bool env_passes(const char *entry)
{
	static const char *const names[] = {
		"PATH=",  "HOME=",  "LANG=",  "LANGUAGE=", "LC_", "TZ=",     "TERM=",  "LD_LIBRARY_PATH=",
		"ATOLL_", "CUDA_", "NVIDIA_", "RTE_",	   "PYTHON", "ASAN_OPTIONS=", "LSAN_OPTIONS=",
		"UBSAN_OPTIONS=", "TSAN_OPTIONS=", "MALLOC_", "LLVM_PROFILE_FILE=", "GCOV_",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(entry, names[i], strlen(names[i])))
			return true;
	return false;
}

/* @proc: of the node's /proc, not of the one that the process gets. */
static void child_env(const struct proc_spec *s, const struct stat *proc)
{
	unsigned kept = 0;
	char text[CONF_PATH_MAX + CONF_NAME_MAX + 32];

	for (unsigned i = 0; environ && environ[i]; i++)
		if (env_passes(environ[i]))
			environ[kept++] = environ[i];
	if (environ)
		environ[kept] = NULL;
	snprintf(text, sizeof(text), "%s/%s", s->run_dir, ADMIN_SOCKET_NAME);
	setenv(ADMIN_ENV_SOCKET, text, 1);
	snprintf(text, sizeof(text), "%d", ADMIN_FD_LIFELINE);
	setenv(ADMIN_ENV_LIFELINE, text, 1);
	unsetenv(SANDBOX_ENV_FILTER);
	unsetenv(SANDBOX_ENV_CAPS);
	if (s->policy) {
		snprintf(text, sizeof(text), "%d", SANDBOX_FD);
		setenv(SANDBOX_ENV_FILTER, text, 1);
		snprintf(text, sizeof(text), "%llx", (unsigned long long)s->policy->hold_caps);
		setenv(SANDBOX_ENV_CAPS, text, 1);
	}
	if (s->kind != PROC_SERVICE) {
		unsetenv(ADMIN_ENV_SERVICE);
		unsetenv(ADMIN_ENV_STATE);
		unsetenv(ADMIN_ENV_PROC);
		return;
	}
	snprintf(text, sizeof(text), "%u:%u", major(proc->st_dev), minor(proc->st_dev));
	setenv(ADMIN_ENV_PROC, text, 1);
	setenv(ADMIN_ENV_SERVICE, s->name, 1);
	snprintf(text, sizeof(text), "%s/state/%s", s->run_dir, s->name);
	setenv(ADMIN_ENV_STATE, text, 1);
}

static _Noreturn void child_run(const struct proc_spec *s, int report_fd, pid_t supervisor, int flags,
				bool root)
{
	char args[CONF_ARGS_MAX + 1], *argv[ARGS_MAX + 7], member[16], *save = NULL, go;
	struct stat proc;
	sigset_t none;
	int n = 0;

	setpgid(0, 0);
	umask(022);
	if (stat("/proc", &proc))
		proc.st_dev = 0;
	/* Who it is, in a user namespace, the supervisor says. */
	if (recv(report_fd, &go, 1, 0) != 1)
		_exit(0);
	child_fds(s, report_fd);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	child_pin(s->core);
	if (!s->policy && s->isolate)
		child_isolate();
	/* In a user namespace its user has all capabilities; outside only root can mount. */
	if (flags & CLONE_NEWUSER) {
		child_user(s, root);
		child_files(s, flags);
	} else {
		child_files(s, flags);
		child_user(s, root);
	}
	if (s->policy)
		confine_limits(s->policy);
	child_env(s, &proc);
	child_drop(s);
	argv[n++] = (char *)(uintptr_t)s->exec;
	if (s->arg1)
		argv[n++] = (char *)(uintptr_t)s->arg1;
	snprintf(args, sizeof(args), "%s", s->args ? s->args : "");
	for (char *a = strtok_r(args, " \t", &save); a && n < ARGS_MAX + 2;
	     a = strtok_r(NULL, " \t", &save))
		argv[n++] = a;
	if (s->directory) {
		snprintf(member, sizeof(member), "%u", s->member);
		argv[n++] = (char *)(uintptr_t) "--directory";
		argv[n++] = (char *)(uintptr_t)s->directory;
		argv[n++] = (char *)(uintptr_t) "--member";
		argv[n++] = member;
	}
	argv[n] = NULL;
	if (recv(FD_REPORT, &go, 1, 0) != 1 ||
	    (getppid() != supervisor && !(flags & CLONE_NEWPID)))
		_exit(0); /* the supervisor is gone */
	execve(s->exec, argv, environ);
	/* Its user may not be able to walk the path to it, as in a clone below /root. */
	if (errno == EACCES)
		syscall(SYS_execveat, FD_PROGRAM, "", argv, environ, AT_EMPTY_PATH);
	report('!', "cannot run %s: %s", s->exec, strerror(errno));
	_exit(EXIT_SETUP);
}

/* ---------------------------------------------------------------- in the supervisor */

/* fork, into namespaces of its own as far as the kernel goes along. @flags: those that it is in. */
static pid_t fork_into(const struct proc_spec *s, int *flags)
{
	bool root = geteuid() == 0;
	pid_t pid;

	*flags = s->policy ? confine_flags(s->policy) : 0;
	if (!(*flags & CLONE_NEWUSER) && !root)
		*flags = 0;
	pid = (pid_t)syscall(SYS_clone, *flags | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0 && *flags && root) {
		*flags &= ~CLONE_NEWUSER;
		pid = (pid_t)syscall(SYS_clone, *flags | SIGCHLD, 0, 0, 0, 0);
	}
	if (pid < 0 && *flags) {
		*flags = 0;
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	}
	return pid;
}

int proc_start(struct proc *p, const struct proc_spec *spec)
{
	bool root = geteuid() == 0;
	pid_t self = getpid(), pid;
	int sv[2], rc, flags;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -errno;
	pid = fork_into(spec, &flags);
	if (pid < 0) {
		rc = -errno;
		close(sv[0]);
		close(sv[1]);
		return rc;
	}
	if (pid == 0)
		child_run(spec, sv[1], self, flags, root);
	close(sv[1]);
	setpgid(pid, pid); /* here too: whoever comes first */
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	rc = p->pidfd < 0 ? -errno : flags & CLONE_NEWUSER ? confine_map(pid, &spec->user) : 0;
	if (rc) {
		if (p->pidfd >= 0)
			close(p->pidfd);
		p->pidfd = -1;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(sv[0]);
		return rc;
	}
	fcntl(sv[0], F_SETFL, O_NONBLOCK);
	p->pid = pid;
	p->uid = root && spec->user.set ? spec->user.uid : geteuid();
	p->report = sv[0];
	p->state = PROC_HELD;
	p->started_ns = p->since_ns = clock_now_ns();
	p->told = p->asked = p->again = false;
	p->warning[0] = p->failure[0] = 0;
	if (!spec->policy && spec->kind == PROC_SERVICE)
		snprintf(p->warning, sizeof(p->warning), "has no policy page: it sees the node's files, and"
			 " no filter is on its system calls");
	else if (spec->policy && !flags &&
		 (!(spec->policy->keep & KEEP_USER) || (confine_flags(spec->policy) & CLONE_NEWNET)))
		snprintf(p->warning, sizeof(p->warning), "has no namespaces of its own: the kernel refuses"
			 " them");
	send(sv[0], "m", 1, MSG_NOSIGNAL);
	return 0;
}

void proc_go(struct proc *p)
{
	if (p->state != PROC_HELD)
		return;
	send(p->report, "g", 1, MSG_NOSIGNAL);
	p->state = PROC_RUNNING;
}

bool proc_report(struct proc *p)
{
	char text[PROC_TEXT_MAX];
	ssize_t n;

	while ((n = recv(p->report, text, sizeof(text) - 1, 0)) > 0) {
		text[n] = 0;
		snprintf(text[0] == '!' ? p->failure : p->warning, PROC_TEXT_MAX, "%s", text + 1);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	close(p->report);
	p->report = -1;
	return true;
}

void proc_stop(struct proc *p, uint64_t now_ns)
{
	if (p->pidfd < 0 || p->state == PROC_STOPPING)
		return;
	/* One that waits for its go has nothing to tidy up, and as the first process of its namespace it
	 * would not even see a signal that it has no handler for. */
	kill(-p->pid, p->state == PROC_HELD ? SIGKILL : SIGTERM);
	/* One that was stopped by a signal would not see it. */
	kill(-p->pid, SIGCONT);
	p->state = PROC_STOPPING;
	p->kill_ns = now_ns + STOP_MS * 1000000ull;
}

void proc_kill(struct proc *p)
{
	if (p->pidfd >= 0)
		kill(-p->pid, SIGKILL);
}

bool proc_reap(struct proc *p)
{
	siginfo_t info = {0};
	bool well = false;

	if (p->report >= 0)
		proc_report(p);
	kill(-p->pid, SIGKILL); /* its own children; the zombie keeps the number */
	waitid(P_PID, (id_t)p->pid, &info, WEXITED);
	if (info.si_code == CLD_EXITED && info.si_status == 0) {
		well = true;
		snprintf(p->reason, PROC_TEXT_MAX, "ended by itself");
	} else if (p->failure[0]) {
		snprintf(p->reason, PROC_TEXT_MAX, "%s", p->failure);
	} else if (info.si_code == CLD_EXITED) {
		snprintf(p->reason, PROC_TEXT_MAX, "ended with status %d", info.si_status);
	} else {
		snprintf(p->reason, PROC_TEXT_MAX, "killed by signal %d (SIG%s)", info.si_status,
			 sigabbrev_np(info.si_status) ? sigabbrev_np(info.si_status) : "?");
	}
	if (p->state == PROC_STOPPING && well)
		snprintf(p->reason, PROC_TEXT_MAX, "stopped");
	close(p->pidfd);
	if (p->report >= 0)
		close(p->report);
	p->pidfd = p->report = -1;
	p->pid = 0;
	return well;
}

uint64_t proc_port_caps(const char *port)
{
	uint64_t caps = 1ull << CAP_IPC_LOCK; /* pinned memory */

	if (strstr(port, "dpdk:"))
		caps |= 1ull << CAP_NET_RAW | 1ull << CAP_NET_ADMIN;
	if (strstr(port, "af_xdp"))
		caps |= 1ull << CAP_BPF | 1ull << CAP_SYS_ADMIN;
	return caps;
}
