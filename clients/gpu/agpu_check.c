/* SPDX-License-Identifier: Apache-2.0 */
/* A look into a program's file: device code without a CUDA library to ask for it cannot be reached. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients/gpu/agpu.h"

struct file {
	const uint8_t *p;
	uint64_t size;
};

static const void *at(const struct file *f, uint64_t offset, uint64_t n)
{
	return offset <= f->size && n <= f->size - offset ? f->p + offset : NULL;
}

static bool name_is(const struct file *f, const Elf64_Shdr *names, uint64_t offset, const char *what)
{
	const char *s = offset < names->sh_size ? at(f, names->sh_offset + offset, strlen(what) + 1) : NULL;

	return s && !memcmp(s, what, strlen(what) + 1);
}

/* Does it name a library that begins so? */
static bool needs(const struct file *f, const Elf64_Shdr *sections, unsigned n, const char *prefix)
{
	for (unsigned k = 0; k < n; k++) {
		const Elf64_Shdr *d = &sections[k];
		uint64_t count = d->sh_size / sizeof(Elf64_Dyn);
		const Elf64_Dyn *list = d->sh_type == SHT_DYNAMIC ? at(f, d->sh_offset, d->sh_size) : NULL;

		if (!list || d->sh_link >= n || (uintptr_t)list % 8)
			continue;
		for (uint64_t i = 0; i < count && list[i].d_tag != DT_NULL; i++) {
			const char *s = list[i].d_tag == DT_NEEDED && list[i].d_un.d_val < sections[d->sh_link].sh_size
						? at(f, sections[d->sh_link].sh_offset + list[i].d_un.d_val,
						     strlen(prefix))
						: NULL;

			if (s && !memcmp(s, prefix, strlen(prefix)))
				return true;
		}
	}
	return false;
}

/* Has it the runtime's functions by name? Then they can be replaced. */
static bool has_symbols(const struct file *f, const Elf64_Shdr *sections, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		const Elf64_Shdr *t = &sections[k];
		const Elf64_Sym *s = t->sh_type == SHT_SYMTAB ? at(f, t->sh_offset, t->sh_size) : NULL;

		if (!s || t->sh_link >= n || (uintptr_t)s % 8)
			continue;
		for (uint64_t i = 0; i < t->sh_size / sizeof(*s); i++)
			if (ELF64_ST_TYPE(s[i].st_info) == STT_FUNC &&
			    name_is(f, &sections[t->sh_link], s[i].st_name, "__cudaRegisterFatBinary"))
				return true;
	}
	return false;
}

static const char *look(const struct file *f, bool *replace)
{
	const Elf64_Ehdr *h = at(f, 0, sizeof(*h));
	const Elf64_Shdr *sections;
	bool fatbin = false;

	if (!h || memcmp(h->e_ident, ELFMAG, 4) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_shentsize != sizeof(*sections) || h->e_shoff % 8)
		return NULL; /* a script, or another machine's: whoever runs it says so */
	sections = at(f, h->e_shoff, (uint64_t)h->e_shnum * sizeof(*sections));
	if (!sections || h->e_shstrndx >= h->e_shnum)
		return NULL;
	for (unsigned k = 0; k < h->e_shnum; k++)
		fatbin |= name_is(f, &sections[h->e_shstrndx], sections[k].sh_name, ".nvFatBinSegment");
	*replace = has_symbols(f, sections, h->e_shnum);
	if (fatbin && !*replace && !needs(f, sections, h->e_shnum, "libcudart.so") &&
	    !needs(f, sections, h->e_shnum, "libcuda.so"))
		return "it was linked with the static CUDA runtime and has no symbols by which that could be replaced: "
		       "relink it with -cudart shared, or do not strip it";
	return NULL;
}

/* The file that execvp would take. */
static int open_program(const char *name)
{
	const char *path = getenv("PATH");
	char list[4096], full[4096], *save = NULL;

	if (strchr(name, '/') || !path)
		return open(name, O_RDONLY | O_CLOEXEC);
	snprintf(list, sizeof(list), "%s", path);
	for (char *d = strtok_r(list, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
		if (snprintf(full, sizeof(full), "%s/%s", d, name) < (int)sizeof(full) && !access(full, X_OK))
			return open(full, O_RDONLY | O_CLOEXEC);
	}
	return -1;
}

const char *agpu_refuse(const char *program, bool *replace)
{
	const char *why = NULL;
	struct stat st;
	struct file f;
	int fd = open_program(program);

	*replace = false;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		f.size = (uint64_t)st.st_size;
		f.p = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (f.p != MAP_FAILED) {
			why = look(&f, replace);
			munmap((void *)(uintptr_t)f.p, f.size);
		}
	}
	close(fd);
	return why;
}
