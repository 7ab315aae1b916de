/* SPDX-License-Identifier: Apache-2.0 */
/* agpu - starts CUDA programs on remote devices, and shows what these do. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/gpu/agpu.h"

static const char usage[] =
	"usage: agpu run [--device NODE/SERVICE[,...]] [--socket PATH] PROGRAM [ARG...]\n"
	"       agpu run --local [--device cpu|interpreter|null] PROGRAM [ARG...]\n"
	"       agpu trace [-o FILE] [--chrome FILE] [--range] [--device cpu|interpreter|null] PROGRAM [ARG...]\n"
	"       agpu smi [--device NODE/SERVICE[,...]] [--socket PATH] [--json]\n"
	"run starts a CUDA program, unchanged, whose devices are those services ($ATOLL_GPU, or gpu-exec of this\n"
	"node), or with --local in the program's own process; trace does that, too, and\n"
	"writes each call to FILE (agpu.trace), for netreq; with --range only those between cudaProfilerStart and\n"
	"cudaProfilerStop; with --chrome also for Chrome's trace viewer. smi shows a device and its sessions. The socket is the dataplane's ($ATOLL_SOCKET).\n";

/* The directory of the libraries that stand in for CUDA's: beside this program in a build, else installed. */
static int library_dir(char *out, size_t size)
{
	static const char *const installed = AGPU_LIBDIR;
	char self[512], probe[600];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = 0;
		*strrchr(self, '/') = 0;
		snprintf(probe, sizeof(probe), "%s/libcudart.so.13", self);
		if (access(probe, R_OK) == 0)
			return snprintf(out, size, "%s", self) < (int)size ? 0 : -ENAMETOOLONG;
	}
	snprintf(probe, sizeof(probe), "%s/libcudart.so.13", installed);
	if (access(probe, R_OK))
		return -ENOENT;
	return snprintf(out, size, "%s", installed) < (int)size ? 0 : -ENAMETOOLONG;
}

/* The file that calls are to be recorded in, wherever the program goes. */
static int trace_to(const char *variable, const char *file)
{
	char path[4096], here[2048];

	if (*file != '/' && !getcwd(here, sizeof(here)))
		return -errno;
	if (snprintf(path, sizeof(path), "%s%s%s", *file == '/' ? "" : here, *file == '/' ? "" : "/", file) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	return setenv(variable, path, 1);
}

static void preload(const char *dir, const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s%s%s", dir, library, old && *old ? ":" : "", old ? old : "");
	setenv("LD_PRELOAD", path, 1);
}

static int run(char **argv, bool local)
{
	char dir[512], path[4096];
	const char *old = getenv("LD_LIBRARY_PATH"), *why;
	bool replace;

	if (!argv[0]) {
		fputs(usage, stderr);
		return 2;
	}
	if (library_dir(dir, sizeof(dir))) {
		fprintf(stderr, "agpu: the libraries are neither beside this program nor in %s\n", AGPU_LIBDIR);
		return 2;
	}
	why = agpu_refuse(argv[0], &replace);
	if (why) {
		fprintf(stderr, "agpu: %s: %s\n", argv[0], why);
		return 2;
	}
	snprintf(path, sizeof(path), "%s%s%s", dir, old && *old ? ":" : "", old ? old : "");
	setenv("LD_LIBRARY_PATH", path, 1);
	if (replace) /* the runtime is inside the program */
		preload(dir, "libatoll_gpu_static.so");
	if (local) /* it takes the place of the library that talks to services */
		preload(dir, "libatoll_gpu_local.so");
	execvp(argv[0], argv);
	fprintf(stderr, "agpu: %s: %s\n", argv[0], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"device", 1, NULL, 'd'}, {"socket", 1, NULL, 's'}, {"json", 0, NULL, 'j'}, {"local", 0, NULL, 'l'}, {"range", 0, NULL, 'r'}, {"chrome", 1, NULL, 'k'}, {"help", 0, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *command = argc > 1 ? argv[1] : "";
	const char *device = NULL, *file = "agpu.trace", *chrome = NULL;
	bool json = false, local = false;
	int c;

	if (argc > 1)
		optind = 2;
	while ((c = getopt_long(argc, argv, "+o:", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 's':
			setenv("ATOLL_SOCKET", optarg, 1);
			break;
		case 'o':
			file = optarg;
			break;
		case 'l':
			local = true;
			break;
		case 'k':
			chrome = optarg;
			break;
		case 'r':
			setenv("ATOLL_GPU_TRACE_RANGE", "profiler", 1);
			break;
		case 'j':
			json = true;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (!strcmp(command, "--help") || !strcmp(command, "help"))
		return fputs(usage, stdout) < 0;
	if (!strcmp(command, "trace")) {
		if (trace_to("ATOLL_GPU_TRACE", file) || (chrome && trace_to("ATOLL_GPU_TRACE_CHROME", chrome))) {
			fprintf(stderr, "agpu: %s: %s\n", file, strerror(errno));
			return 2;
		}
		local = true;
	}
	if (local && (!strcmp(command, "run") || !strcmp(command, "trace"))) {
		setenv("ATOLL_GPU", device ? device : "cpu", 1);
		return run(argv + optind, true);
	}
	if (device || !getenv("ATOLL_GPU"))
		setenv("ATOLL_GPU", device ? device : "gpu-exec", 1);
	if (!getenv("ATOLL_SOCKET")) {
		fprintf(stderr, "agpu: which node is this? Set ATOLL_SOCKET or --socket to RUN_DIR/dataplane.sock; "
				"svcctl status says where it is\n");
		return 2;
	}
	if (!strcmp(command, "run"))
		return run(argv + optind, false);
	if (!strcmp(command, "smi") && optind == argc)
		return agpu_smi(getenv("ATOLL_GPU"), json);
	fputs(usage, stderr);
	return 2;
}
