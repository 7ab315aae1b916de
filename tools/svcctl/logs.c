/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLLOW_US = 100000 };

/* Copies from @at to the end. Returns the new position. */
static off_t copy(int fd, off_t at)
{
	char buf[16384];
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
			return -1;
		at += n;
	}
	return fflush(stdout) ? -1 : at;
}

int logs_show(const char *run_dir, const char *name, bool follow)
{
	char path[512];
	struct stat st;
	off_t at = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/log/%s.log.1", run_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		copy(fd, 0);
		close(fd);
	}
	snprintf(path, sizeof(path), "%s/log/%s.log", run_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "svcctl: %s: %s; svcctl status lists the processes of a node\n", path,
			strerror(errno));
		return 1;
	}
	at = copy(fd, 0);
	while (follow && at >= 0) {
		usleep(FOLLOW_US);
		if (fstat(fd, &st) == 0 && st.st_size < at)
			at = 0; /* it was moved aside */
		at = copy(fd, at);
	}
	close(fd);
	return at < 0;
}
