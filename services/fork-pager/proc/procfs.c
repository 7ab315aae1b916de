/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
	CHUNK = 65536,
	TEXT_MAX = 64 << 20,
};

char *procfs_read(size_t *len, const char *format, ...)
{
	char path[512], *text = NULL;
	size_t n = 0, room = 0;
	ssize_t got = 1;
	va_list ap;
	int fd;

	va_start(ap, format);
	vsnprintf(path, sizeof(path), format, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	while (got > 0 && n < TEXT_MAX) {
		if (room - n < 4096) {
			char *more = realloc(text, room + CHUNK + 1);

			if (!more) {
				got = -1;
				break;
			}
			text = more;
			room += CHUNK;
		}
		got = read(fd, text + n, room - n);
		if (got > 0)
			n += (size_t)got;
	}
	close(fd);
	if (got < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	if (len)
		*len = n;
	return text;
}

char *procfs_link(const char *format, ...)
{
	char path[512], to[4096];
	ssize_t n;
	va_list ap;

	va_start(ap, format);
	vsnprintf(path, sizeof(path), format, ap);
	va_end(ap);
	n = readlink(path, to, sizeof(to));
	return n < 0 ? NULL : strndup(to, (size_t)n);
}

const char *procfs_field(const char *text, const char *name)
{
	size_t n = strlen(name);

	while (text && *text) {
		if (strncmp(text, name, n) == 0 && text[n] == ':')
			return text + n + 1 + strspn(text + n + 1, " \t");
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

uint64_t procfs_number(const char *text, const char *name, int base, uint64_t otherwise)
{
	const char *v = procfs_field(text, name);

	return v ? strtoull(v, NULL, base) : otherwise;
}

uint64_t procfs_last(const char *text, const char *name)
{
	const char *v = procfs_field(text, name);
	uint64_t last = 0;
	char *end;

	while (v && *v && *v != '\n') {
		last = strtoull(v, &end, 10);
		if (end == v)
			break;
		v = end + strspn(end, " \t");
	}
	return last;
}

static size_t line_length(const char *at)
{
	const char *end = strchr(at, '\n');

	return end ? (size_t)(end - at) : strlen(at);
}

bool procfs_map_next(const char **at, struct procfs_map *m)
{
	unsigned major_nr, minor_nr;
	char perms[5];
	int used = 0;

	memset(m, 0, sizeof(*m));
	if (!*at || sscanf(*at, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n",
			   &m->start, &m->end, perms, &m->offset, &major_nr, &minor_nr, &m->ino,
			   &used) != 7)
		return false;
	m->dev = makedev(major_nr, minor_nr);
	m->prot = (uint8_t)((perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) |
			    (perms[2] == 'x' ? PROT_EXEC : 0));
	m->shared = perms[3] == 's';
	m->path = *at + used + strspn(*at + used, " ");
	m->path_len = line_length(m->path);
	m->flags = "";
	*at = m->path + m->path_len;
	while (**at == '\n') {
		(*at)++;
		/* Lines of smaps begin with a capital letter, mappings with a hexadecimal digit. */
		if (**at < 'A' || **at > 'Z')
			break;
		if (strncmp(*at, "VmFlags:", 8) == 0)
			m->flags = *at + 8;
		*at += line_length(*at);
	}
	return true;
}

bool procfs_map_flag(const struct procfs_map *m, const char *flag)
{
	const char *f = m->flags;

	for (; f && *f && *f != '\n'; f += strcspn(f, " \n")) {
		f += strspn(f, " ");
		if (f[0] == flag[0] && f[1] == flag[1])
			return true;
	}
	return false;
}
