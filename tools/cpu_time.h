/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_time.h - how long a process has been on a core. */
#ifndef ATOLL_TOOLS_CPU_TIME_H
#define ATOLL_TOOLS_CPU_TIME_H

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/types.h>

/* Of all its threads that live, ns; 0 where there is no such process. */
static inline uint64_t process_cpu_ns(pid_t pid)
{
	char path[300];
	uint64_t all = 0, ns;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		FILE *f;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%" SCNu64, &ns) == 1)
			all += ns;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return all;
}

#endif
