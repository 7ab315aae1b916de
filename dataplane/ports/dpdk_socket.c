/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ports/dpdk_socket.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int dpdk_socket_connect(const char *path, int type)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc = 0;

	if (fd < 0)
		return -errno;
	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		rc = -errno;
	close(fd);
	return rc;
}

int dpdk_socket_clear(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (dpdk_socket_connect(path, SOCK_DGRAM) != -ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

void dpdk_sockets_close(const char *path)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		struct sockaddr_un sa = {0};
		socklen_t len = sizeof(sa) - 1;
		int fd = atoi(e->d_name);

		if (isdigit((unsigned char)e->d_name[0]) &&
		    !getsockname(fd, (struct sockaddr *)&sa, &len) && sa.sun_family == AF_UNIX &&
		    !strcmp(sa.sun_path, path))
			close(fd);
	}
	if (dir)
		closedir(dir);
}
