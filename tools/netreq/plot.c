/* SPDX-License-Identifier: Apache-2.0 */
/* The least bandwidth over the round trip: by gnuplot where there is one, else in characters. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tools/netreq/report.h"

enum { WIDTH = 56 };

static void data(FILE *f, const double *gbps)
{
	for (unsigned i = 0; i < REPORT_RTTS; i++)
		if (isfinite(gbps[i]))
			fprintf(f, "%g %g\n", report_rtts_us[i], gbps[i] > 0.001 ? gbps[i] : 0.001);
	/* a curve without a point is an error to gnuplot */
	fprintf(f, "NaN NaN\ne\n");
}

static void script(FILE *f, const struct report *r, const char *path, const char *terminal)
{
	fprintf(f, "set terminal %s size 800,500\nset output '%s'\n", terminal, path);
	fprintf(f, "set title '%s: what an overhead of %g %% needs' noenhanced\n", r->t->program, 100 * r->conf.budget);
	fprintf(f, "set xlabel 'round trip, us'\nset ylabel 'least bandwidth, Gb/s'\nset logscale xy\n");
	fprintf(f, "set xrange [0.8:250]\nset yrange [0.0008:1000]\nset grid\nset key top left\n");
	fprintf(f, "plot '-' with linespoints title 'as it is', '-' with linespoints title 'changed as advised'\n");
	data(f, r->least_gbps);
	data(f, r->least_changed);
}

static int name_check(const char *path, const char **terminal)
{
	const char *dot = strrchr(path, '.');

	for (const char *c = path; *c; c++)
		if (*c == '\'' || *c == '\\' || (unsigned char)*c < ' ')
			return -EINVAL;
	*terminal = !dot		  ? NULL
		    : !strcmp(dot, ".png") ? "png"
		    : !strcmp(dot, ".svg") ? "svg"
					   : NULL;
	return *terminal ? 0 : -EINVAL;
}

int report_plot(const struct report *r, const char *path)
{
	const char *terminal;
	struct report quoted = *r;
	struct trace t = *r->t;
	int rc = name_check(path, &terminal);
	FILE *f;

	if (rc)
		return rc;
	/* the program's name goes into quotes */
	for (char *c = t.program; *c; c++)
		if (*c == '\'' || *c == '\\')
			*c = ' ';
	quoted.t = &t;
	if (system("command -v gnuplot >/dev/null 2>&1"))
		return -ENOENT;
	signal(SIGPIPE, SIG_IGN);
	f = popen("gnuplot 2>/dev/null", "we");
	if (!f)
		return -errno;
	script(f, &quoted, path, terminal);
	rc = pclose(f);
	return rc && !(WIFEXITED(rc) && WEXITSTATUS(rc) == 0) ? -EIO : 0;
}

void report_plot_text(const struct report *r)
{
	printf("\nLeast bandwidth over the round trip (# as it is, + changed as advised)\n");
	for (unsigned i = 0; i < REPORT_RTTS; i++) {
		char line[WIDTH + 1];

		memset(line, ' ', WIDTH);
		line[WIDTH] = 0;
		for (int k = 1; k >= 0; k--) {
			double g = k ? r->least_changed[i] : r->least_gbps[i];
			double at = (log10(g > 0.001 ? g : 0.001) + 3) / 6 * (WIDTH - 1);

			if (isfinite(g))
				line[at >= WIDTH ? WIDTH - 1 : (int)at] = k ? '+' : '#';
		}
		printf("%5g us |%s|\n", report_rtts_us[i], line);
	}
	printf("          0.001    0.01      0.1       1        10       100    1000 Gb/s\n");
}
