/* SPDX-License-Identifier: Apache-2.0 */
/*
 * killat N COMMAND... - runs a command and kills it (SIGKILL) as it enters its Nth system call; 0: never. Prints how many it entered. Exits
 * with 0 if it was killed, else with what the command did.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long want = argc > 2 ? atol(argv[1]) : -1, entered = 0;
	int status, sig = 0, inside = 0;
	pid_t pid;

	if (want < 0)
		return 2;
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
		return 3;
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, 0, sig))
			return 3;
		if (waitpid(pid, &status, 0) != pid)
			return 3;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			printf("%ld\n", entered);
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
		}
		sig = 0;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			sig = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
			continue;
		}
		inside = !inside;
		if (!inside || ++entered != want)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		printf("%ld\n", entered);
		return 0;
	}
}
