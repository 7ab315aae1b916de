/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/rival.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 48, READY_MS = 5000, END_MS = 1000 };

bool rival_there(const char *program)
{
	char list[2048], path[2304], *save = NULL;

	snprintf(list, sizeof(list), "%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	for (char *d = strtok_r(list, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
		snprintf(path, sizeof(path), "%s/%s", d, program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* @out: becomes its stdout; -1: nobody reads it. */
static pid_t spawn(const struct rival_pair *p, const char *line, int core, int out)
{
	char words[1024], *argv[WORDS_MAX + 1], *save = NULL;
	pid_t parent = getpid(), pid = fork();
	int null, n = 0;

	if (pid)
		return pid < 0 ? -errno : pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	setpgid(0, 0);
	bench_pin(core);
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(out >= 0 ? out : null, 1);
	dup2(null, 2);
	for (const char *const *e = p->env; e && *e; e++)
		putenv((char *)(uintptr_t)*e);
	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	argv[n] = NULL;
	execvp(argv[0], argv);
	_exit(127);
}

/* Does anybody listen on a TCP port of this machine? Without connecting: some serve one client only. */
static bool listens(uint16_t port)
{
	static const char *const files[] = {"/proc/net/tcp", "/proc/net/tcp6"};
	char line[256];
	bool found = false;

	for (unsigned i = 0; i < 2 && !found; i++) {
		FILE *f = fopen(files[i], "re");
		unsigned at, state;

		while (f && fgets(line, sizeof(line), f))
			found |= sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &at, &state) == 2 &&
				 at == port && state == 10;
		if (f)
			fclose(f);
	}
	return found;
}

pid_t rival_start(struct bench *b, const struct rival_pair *p)
{
	uint64_t end = clock_now_ns() + READY_MS * 1000000ull;
	pid_t pid = spawn(p, p->server, b->core[1], -1);

	while (pid > 0 && !(p->port ? listens(p->port) : access(p->path, F_OK) == 0)) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return -ECHILD;
		if (clock_now_ns() > end) {
			rival_end(pid);
			return -ETIMEDOUT;
		}
		usleep(5000);
	}
	return pid;
}

void rival_end(pid_t pid)
{
	uint64_t end = clock_now_ns() + END_MS * 1000000ull;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_now_ns() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return;
		}
		usleep(1000);
	}
}

int rival_ask(struct bench *b, const struct rival_pair *p, char text[RIVAL_TEXT_MAX])
{
	uint64_t end = clock_now_ns() + p->patience_ms * 1000000ull;
	int out[2], rc = -ETIMEDOUT, status = 0;
	size_t at = 0;
	pid_t pid;

	text[0] = 0;
	if (pipe2(out, O_CLOEXEC))
		return -errno;
	pid = spawn(p, p->client, b->core[0], out[1]);
	close(out[1]);
	while (pid > 0 && clock_now_ns() < end) {
		struct pollfd f = {.fd = out[0], .events = POLLIN};
		char spill[256];
		ssize_t got;

		if (poll(&f, 1, 50) <= 0)
			continue;
		got = at < RIVAL_TEXT_MAX - 1 ? read(out[0], text + at, RIVAL_TEXT_MAX - 1 - at)
					      : read(out[0], spill, sizeof(spill));
		if (got <= 0) {
			rc = 0;
			break;
		}
		if (at < RIVAL_TEXT_MAX - 1)
			at += (size_t)got;
	}
	close(out[0]);
	text[at] = 0;
	if (pid <= 0)
		return (int)pid;
	if (rc) {
		rival_end(pid);
		return rc;
	}
	/* it has closed its output, so it is about to end */
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_now_ns() > end) {
			rival_end(pid);
			return -ETIMEDOUT;
		}
		usleep(1000);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

int rival_run(struct bench *b, const struct rival_pair *p, char text[RIVAL_TEXT_MAX])
{
	pid_t server = rival_start(b, p);
	int rc;

	if (server < 0)
		return server;
	rc = rival_ask(b, p, text);
	rival_end(server);
	return rc;
}
