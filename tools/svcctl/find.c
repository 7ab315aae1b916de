/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/svcctl/node.h"

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Where programs lie: beside svcctl when installed; in a build, in the directories of their parts. */
static const char *const places[] = {
	".", "../../ipc", "../../dataplane", "../../services/echo", "../../services/index-shard",
	"../../services/repair-worker", "../../services/gpu-exec", "../../services/fork-pager",
};

static int find_in(const char *dir, const char *name, char *out, size_t len)
{
	char path[1024], *real;
	int rc = -ENOENT;

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]) && rc; i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", dir, places[i], name);
		if (!is_program(path))
			continue;
		real = realpath(path, NULL);
		if (real && strlen(real) < len) {
			memcpy(out, real, strlen(real) + 1);
			rc = 0;
		}
		free(real);
	}
	return rc;
}

int program_find(const char *name, char *out, size_t len)
{
	char self[512], prefixed[CONF_TEXT_MAX + 8], list[1024], *save = NULL;
	const char *path = getenv("ATOLL_PATH");
	ssize_t n;

	if (strchr(name, '/')) {
		char *real = realpath(name, NULL);
		int rc = real && is_program(real) && strlen(real) < len ? 0 : -ENOENT;

		if (!rc)
			memcpy(out, real, strlen(real) + 1);
		free(real);
		return rc;
	}
	snprintf(prefixed, sizeof(prefixed), "atoll-%s", name);
	snprintf(list, sizeof(list), "%s", path ? path : "");
	for (char *d = strtok_r(list, ":", &save); d; d = strtok_r(NULL, ":", &save))
		if (find_in(d, name, out, len) == 0 || find_in(d, prefixed, out, len) == 0)
			return 0;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return -ENOENT;
	self[n] = 0;
	*strrchr(self, '/') = 0;
	if (find_in(self, name, out, len) == 0)
		return 0;
	return find_in(self, prefixed, out, len);
}
