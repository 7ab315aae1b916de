/* SPDX-License-Identifier: Apache-2.0 */
/* Figures by key, printed as one JSON object or as a table. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/bench/bench.h"

enum { RESULTS_MAX = 160 };

struct figure {
	char key[64];
	char text[96]; /* instead of a number */
	double value, least, most, goal;
	const char *unit;
	bool spread;
};

static struct figure figures[RESULTS_MAX];
static unsigned nfigures;

static struct figure *figure_new(const char *key)
{
	struct figure *f = &figures[nfigures < RESULTS_MAX - 1 ? nfigures++ : nfigures];

	memset(f, 0, sizeof(*f));
	snprintf(f->key, sizeof(f->key), "%s", key);
	f->unit = "";
	return f;
}

void result(const char *key, const struct rounds *r, const char *unit, double goal)
{
	struct figure *f = figure_new(key);

	f->value = rounds_median(r);
	f->least = f->most = f->value;
	for (unsigned i = 0; i < r->n; i++) {
		f->least = fmin(f->least, r->v[i]);
		f->most = fmax(f->most, r->v[i]);
	}
	f->spread = true;
	f->unit = unit;
	f->goal = goal;
}

void result_latency(const char *prefix, const struct latency_rounds *r)
{
	char key[64];

	snprintf(key, sizeof(key), "%s_p99_ns", prefix);
	result(key, &r->p99, "ns", 0);
	snprintf(key, sizeof(key), "%s_p99_9_ns", prefix);
	result(key, &r->p999, "ns", 0);
}

void result_one(const char *key, double value, const char *unit, double goal)
{
	struct figure *f = figure_new(key);

	f->value = value;
	f->unit = unit;
	f->goal = goal;
}

void result_text(const char *key, const char *text)
{
	struct figure *f = figure_new(key);

	snprintf(f->text, sizeof(f->text), "%s", text);
}

static void number(double v)
{
	if (fabs(v) >= 1000)
		printf("%.0f", v);
	else if (fabs(v) >= 10)
		printf("%.1f", v);
	else
		printf("%.3f", v);
}

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	putchar('"');
}

static void json_leaf(const struct figure *f, const char *name, bool *first)
{
	if (!*first)
		fputs(", ", stdout);
	*first = false;
	json_string(name);
	fputs(": ", stdout);
	if (f->text[0]) {
		json_string(f->text);
		return;
	}
	number(f->value);
	if (f->spread) {
		printf(", \"%s_spread\": [", name);
		number(f->least);
		fputs(", ", stdout);
		number(f->most);
		putchar(']');
	}
}

/* The members of the object at @prefix (with its dot). Each nested object where its first key stands. */
static void json_object(const char *prefix)
{
	size_t n = strlen(prefix);
	bool first = true;

	putchar('{');
	for (unsigned i = 0; i < nfigures; i++) {
		const char *rest = figures[i].key + n, *dot;
		char inner[64];
		bool seen = false;

		if (strncmp(figures[i].key, prefix, n) != 0)
			continue;
		dot = strchr(rest, '.');
		if (!dot) {
			json_leaf(&figures[i], rest, &first);
			continue;
		}
		snprintf(inner, sizeof(inner), "%.*s", (int)(dot + 1 - figures[i].key), figures[i].key);
		for (unsigned k = 0; k < i; k++)
			seen |= !strncmp(figures[k].key, inner, strlen(inner));
		if (seen)
			continue;
		if (!first)
			fputs(", ", stdout);
		first = false;
		printf("\"%.*s\": ", (int)(dot - rest), rest);
		json_object(inner);
	}
	putchar('}');
}

static void table(const struct bench *b)
{
	printf("cores %d and %d, median of %u rounds%s\n\n", b->core[0], b->core[1], b->rounds,
	       b->quick ? " (quick: not to be quoted)" : "");
	for (unsigned i = 0; i < nfigures; i++) {
		const struct figure *f = &figures[i];
		bool good = f->goal >= 0 ? f->value <= f->goal : f->value >= -f->goal;
		char text[96] = "";
		size_t n = 0;

		if (f->text[0]) {
			printf("  %-28s %s\n", f->key, f->text);
			continue;
		}
		printf("  %-28s %12.*f %-9s", f->key, fabs(f->value) < 100 ? 2 : 0, f->value, f->unit);
		if (f->spread)
			n = (size_t)snprintf(text, sizeof(text), "(%.*f to %.*f)",
					     fabs(f->least) < 100 ? 2 : 0, f->least,
					     fabs(f->most) < 100 ? 2 : 0, f->most);
		(void)n;
		printf(" %-26s", text);
		if (f->goal != 0)
			printf(" %s %.*f%s", f->goal > 0 ? "at most" : "at least",
			       fabs(f->goal) < 100 ? 2 : 0, fabs(f->goal), good ? "" : "  MISSED");
		putchar('\n');
	}
}

void results_print(const struct bench *b)
{
	if (b->json) {
		json_object("");
		putchar('\n');
	} else {
		table(b);
	}
}
