/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/svcctl/json.h"

enum { DOCTOR_PATH_MAX = 512 };

/* ---------------------------------------------------------------- files below the root */

static int open_below(const struct doctor *d, const char *path, int flags)
{
	char full[DOCTOR_PATH_MAX];
	int fd;

	if ((size_t)snprintf(full, sizeof(full), "%s%s", d->root, path) >= sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int doctor_read(const struct doctor *d, const char *path, char *out, size_t len)
{
	int fd = open_below(d, path, O_RDONLY);
	size_t at = 0;
	ssize_t n = 0;

	out[0] = 0;
	if (fd < 0)
		return fd;
	while (at < len - 1 && (n = read(fd, out + at, len - 1 - at)) > 0)
		at += (size_t)n;
	close(fd);
	out[at] = 0;
	return n < 0 ? -EIO : 0;
}

int doctor_line(const struct doctor *d, const char *path, char *out, size_t len)
{
	int rc = doctor_read(d, path, out, len);

	out[strcspn(out, "\n")] = 0;
	return rc;
}

int doctor_number(const struct doctor *d, const char *path, uint64_t *out)
{
	char text[64], *end;
	int rc = doctor_line(d, path, text, sizeof(text));

	if (rc)
		return rc;
	*out = strtoull(text, &end, 10);
	return end == text || *end ? -EINVAL : 0;
}

int doctor_write(const struct doctor *d, const char *path, const char *text)
{
	int fd = open_below(d, path, O_WRONLY | O_TRUNC), rc;

	if (fd < 0)
		return fd;
	rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
	close(fd);
	return rc;
}

bool doctor_exists(const struct doctor *d, const char *path)
{
	char full[DOCTOR_PATH_MAX];

	return (size_t)snprintf(full, sizeof(full), "%s%s", d->root, path) < sizeof(full) &&
	       access(full, F_OK) == 0;
}

/* ---------------------------------------------------------------- all stages */

static const char *verdict_name(enum doctor_verdict v)
{
	switch (v) {
	case DOCTOR_GOOD:
		return "good";
	case DOCTOR_INFO:
		return "info";
	case DOCTOR_FAULT:
		return "fault";
	}
	return "?";
}

static void print_text(const char *name, const struct doctor_result *r)
{
	printf("%-5s  %-12s  %s\n", verdict_name(r->verdict), name, r->found);
	if (r->means[0])
		printf("%21s%s\n", "", r->means);
	if (r->did[0])
		printf("%21sfix: %s\n", "", r->did);
	if (r->verdict == DOCTOR_FAULT && r->mend[0])
		printf("%21sto mend it: %s\n", "", r->mend);
}

static void print_json(const char *name, const struct doctor_result *r, bool first)
{
	printf("%s{\"stage\": \"%s\", \"verdict\": \"%s\"", first ? "" : ", ", name,
	       verdict_name(r->verdict));
	json_member(stdout, ", ", "found", r->found);
	json_member(stdout, ", ", "means", r->means);
	json_member(stdout, ", ", "mend", r->mend);
	json_member(stdout, ", ", "did", r->did);
	putchar('}');
}

int doctor_run(const struct doctor *d, bool fix, bool json)
{
	unsigned faults = 0;

	if (json) {
		json_member(stdout, "{", "node", d->conf ? d->conf->name : "");
		fputs(", \"stages\": [", stdout);
	}
	for (const struct doctor_stage *s = doctor_stages; s->name; s++) {
		struct doctor_result r = {0}, again = {0};

		s->check(d, &r);
		if (fix && r.verdict == DOCTOR_FAULT) {
			if (!s->fix) {
				snprintf(r.did, sizeof(r.did), "nothing: there is no safe way for a program");
			} else if (s->fix(d, &r) == 0) {
				s->check(d, &again);
				memcpy(again.did, r.did, sizeof(again.did));
				r = again;
			}
		}
		faults += r.verdict == DOCTOR_FAULT;
		if (json)
			print_json(s->name, &r, s == doctor_stages);
		else
			print_text(s->name, &r);
	}
	if (json)
		printf("], \"faults\": %u}\n", faults);
	else
		printf("%u fault%s\n", faults, faults == 1 ? "" : "s");
	return faults ? 1 : 0;
}
