/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/svcctl/json.h"

enum { FOLLOW_US = 100000 };

/* Lines as objects, one a line. */
struct lines {
	const char *node, *process; /* NULL: text as it is */
	char line[4096];
	size_t len;
};

static void line_print(struct lines *l)
{
	l->line[l->len] = 0;
	json_member(stdout, "{", "node", l->node);
	json_member(stdout, ", ", "process", l->process);
	json_member(stdout, ", ", "line", l->line);
	puts("}");
	l->len = 0;
}

static void lines_add(struct lines *l, const char *buf, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (buf[i] != '\n')
			l->line[l->len++] = buf[i];
		if (buf[i] == '\n' || l->len == sizeof(l->line) - 1)
			line_print(l);
	}
}

/* Copies from @at to the end. Returns the new position. */
static off_t copy(int fd, off_t at, struct lines *l)
{
	char buf[16384];
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		if (l->process)
			lines_add(l, buf, (size_t)n);
		else if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
			return -1;
		at += n;
	}
	return fflush(stdout) ? -1 : at;
}

int logs_show(const char *node, const char *run_dir, const char *name, bool follow, bool json)
{
	struct lines l = {.node = node, .process = json ? name : NULL};
	char path[512];
	struct stat st;
	off_t at = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/log/%s.log.1", run_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		copy(fd, 0, &l);
		close(fd);
	}
	snprintf(path, sizeof(path), "%s/log/%s.log", run_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "svcctl: %s: %s; svcctl status lists the processes of a node\n", path,
			strerror(errno));
		return 1;
	}
	at = copy(fd, 0, &l);
	while (follow && at >= 0) {
		usleep(FOLLOW_US);
		if (fstat(fd, &st) == 0 && st.st_size < at)
			at = 0; /* it was moved aside */
		at = copy(fd, at, &l);
	}
	if (l.len)
		line_print(&l);
	close(fd);
	return at < 0;
}
