/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, and how far it is, for a person or for a program. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipc/sock.h"
#include "proto/fork_report.h"
#include "services/fork-pager/afork.h"

static struct {
	int fd; /* 0: none */
	int rc;
	char text[sizeof(((struct fork_report *)0)->text)];
} report;

void afork_pass(const char *text)
{
	size_t at = strlen(report.text);

	if (report.fd)
		snprintf(report.text + at, sizeof(report.text) - at, "%s", text);
	else
		fputs(text, stderr);
}

void afork_say(int rc, const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line) - 1, format, ap);
	va_end(ap);
	if (rc)
		report.rc = rc;
	if (!report.fd)
		afork_pass("afork: ");
	strcat(line, "\n");
	afork_pass(line);
}

/* The program may have to let us trace it first. */
int afork_report_open(int fd)
{
	struct fork_report go;
	unsigned none = 0;
	int rc = sock_recv_timeout(fd, &go, sizeof(go), NULL, &none, AFORK_WAIT_MS);

	if (rc || go.magic != FORK_REPORT_MAGIC || go.kind != FORK_REPORT_GO)
		return rc ? rc : -EPROTO;
	report.fd = fd;
	return 0;
}

void afork_report(uint32_t kind, const char *handle, int status)
{
	struct fork_report r = {.magic = FORK_REPORT_MAGIC, .kind = kind, .status = status};

	if (!report.fd)
		return;
	if (kind == FORK_REPORT_FAILED)
		r.rc = report.rc ? report.rc : -EIO;
	if (kind == FORK_REPORT_FAILED || kind == FORK_REPORT_ENDED)
		snprintf(r.text, sizeof(r.text), "%s", report.text);
	snprintf(r.handle, sizeof(r.handle), "%s", handle);
	sock_send(report.fd, &r, sizeof(r), NULL, 0); /* if nobody cares, nobody cares */
}
