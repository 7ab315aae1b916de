/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roce_peer.c - Atoll's RoCEv2 engine on a port, as the peer of programs that others wrote.
 */
#include <stdio.h>
#include <string.h>

#include "tests/interop/programs.h"

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} programs[] = {
	{"pingpong", pingpong_main},
	{"rping", rping_main},
	{"serve", serve_main},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned i = 0; argc > 1 && i < sizeof(programs) / sizeof(*programs); i++)
		if (!strcmp(argv[1], programs[i].name))
			return programs[i].main(argc - 1, argv + 1);
	fprintf(stderr, "usage: roce_peer PROGRAM ...; programs:");
	for (unsigned i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		fprintf(stderr, " %s", programs[i].name);
	fprintf(stderr, "\n");
	return 2;
}
