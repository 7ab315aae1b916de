/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that have the CUDA runtime inside them (nvcc's default). Loaded before the program starts: in the
 * program, and in each library that it was linked with, the runtime's functions are found by their symbols and
 * a jump is written over each, to the function of the same name in this project's libcudart. The runtime
 * that they had is then never asked for anything.
 *
 * A function of which this libcudart has nothing stays as it was: it finds no driver of NVIDIA's and says so.
 * A file without symbols cannot be treated so; agpu says it before it starts one.
 *
 * x86-64 only. Code goes by a table of far jumps close to the file, which may be anywhere.
 */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)

enum {
	PAGE = 4096,
	JUMP = 5,  /* e9 and 32 bits */
	FAR = 16,  /* ff 25 0, the address, two bytes that are not used */
	FUNCTIONS_MAX = 1024,
};

#define NEAR (1ull << 30) /* a jump of 32 bits reaches 2 GiB; the file itself takes some of it */

struct file {
	const uint8_t *p;
	uint64_t size;
	uint64_t base; /* where it was loaded */
	uint8_t *table; /* of far jumps */
	unsigned used;
};

static const void *at(const struct file *f, uint64_t offset, uint64_t n)
{
	return offset <= f->size && n <= f->size - offset ? f->p + offset : NULL;
}

/* A page within reach of @near, NULL: all is taken. */
static uint8_t *table_near(uint64_t near)
{
	for (uint64_t step = 1 << 20; step < NEAR; step += 1 << 20)
		for (int up = 0; up < 2; up++) {
			uint64_t to = (up ? near + step : near - step) / PAGE * PAGE;
			void *p;

			if (!up && step > near)
				continue;
			p = mmap((void *)(uintptr_t)to, FUNCTIONS_MAX * FAR, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
			if (p == (void *)(uintptr_t)to)
				return p;
			if (p != MAP_FAILED)
				munmap(p, FUNCTIONS_MAX * FAR);
		}
	return NULL;
}

static int protect(uint8_t *code, int prot)
{
	uintptr_t low = (uintptr_t)code / PAGE * PAGE, high = ((uintptr_t)code + JUMP + PAGE - 1) / PAGE * PAGE;

	return mprotect((void *)low, high - low, prot);
}

/* True if @code is now a jump to @to. */
static bool patch(struct file *f, uint8_t *code, void *to)
{
	uint8_t *far, jump[JUMP] = {0xe9};
	int64_t distance;
	int32_t d;

	if (!f->table)
		f->table = table_near((uint64_t)(uintptr_t)code);
	if (!f->table || f->used == FUNCTIONS_MAX)
		return false;
	far = f->table + f->used * FAR;
	distance = (int64_t)((uintptr_t)far - ((uintptr_t)code + JUMP));
	d = (int32_t)distance;
	if (d != distance || protect(code, PROT_READ | PROT_WRITE))
		return false;
	memcpy(far, (uint8_t[]){0xff, 0x25, 0, 0, 0, 0}, 6);
	memcpy(far + 6, &to, sizeof(to));
	memcpy(jump + 1, &d, sizeof(d));
	memcpy(code, jump, sizeof(jump));
	f->used++;
	return protect(code, PROT_READ | PROT_EXEC) == 0;
}

/* Replaces the functions that @runtime has, and counts; NULL only asks if there is one, and which of the two. */
static unsigned symbols(struct file *f, const Elf64_Shdr *table, const Elf64_Shdr *names, void *runtime, bool *is_12)
{
	const Elf64_Sym *s = at(f, table->sh_offset, table->sh_size);
	const char *text = at(f, names->sh_offset, names->sh_size);
	unsigned n = 0;

	if (!s || !text || !names->sh_size || text[names->sh_size - 1] || (uintptr_t)s % _Alignof(Elf64_Sym))
		return 0;
	for (uint64_t k = 0; k < table->sh_size / sizeof(*s); k++) {
		const char *name = s[k].st_name < names->sh_size ? text + s[k].st_name : "";
		void *to;

		if (ELF64_ST_TYPE(s[k].st_info) != STT_FUNC || s[k].st_shndx == SHN_UNDEF ||
		    (strncmp(name, "cuda", 4) && strncmp(name, "__cuda", 6)))
			continue;
		*is_12 |= !strcmp(name, "cudaGetDeviceProperties_v2");
		if (!strcmp(name, "__cudaRegisterFatBinary"))
			n++; /* it is a runtime, not a program's own functions that are called so */
		if (!runtime || s[k].st_size < JUMP)
			continue;
		to = dlsym(runtime, name);
		if (to && patch(f, (uint8_t *)(uintptr_t)(f->base + s[k].st_value), to))
			n++;
	}
	return n;
}

static unsigned look(struct file *f, void *runtime, bool *is_12)
{
	const Elf64_Ehdr *h = at(f, 0, sizeof(*h));
	const Elf64_Shdr *sections;

	if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_shentsize != sizeof(*sections) || h->e_shoff % 8)
		return 0;
	sections = at(f, h->e_shoff, (uint64_t)h->e_shnum * sizeof(*sections));
	for (unsigned k = 0; sections && k < h->e_shnum; k++)
		if (sections[k].sh_type == SHT_SYMTAB && sections[k].sh_link < h->e_shnum)
			return symbols(f, &sections[k], &sections[sections[k].sh_link], runtime, is_12);
	return 0;
}

/* This project's runtime of that version: beside this library. */
static void *runtime_open(bool is_12)
{
	char path[4096];
	Dl_info self;
	char *slash;
	void *p;

	if (!dladdr((void *)(uintptr_t)runtime_open, &self) || strlen(self.dli_fname) > sizeof(path) - 32)
		return NULL;
	strcpy(path, self.dli_fname);
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, is_12 ? "libcudart.so.12" : "libcudart.so.13");
	p = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	if (!p)
		fprintf(stderr, "atoll-gpu: %s\n", dlerror());
	return p;
}

static int object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *name = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct file f = {.base = info->dlpi_addr};
	bool is_12 = false;
	struct stat st;
	void *runtime;

	(void)size, (void)arg;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0) {
		close(fd);
		return 0;
	}
	f.size = (uint64_t)st.st_size;
	f.p = mmap(NULL, f.size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (f.p == MAP_FAILED)
		return 0;
	if (look(&f, NULL, &is_12)) {
		runtime = runtime_open(is_12);
		if (runtime && look(&f, runtime, &is_12) <= 1)
			fprintf(stderr, "atoll-gpu: the CUDA runtime inside %s could not be replaced: relink it with "
					"-cudart shared\n", name);
		if (f.table)
			mprotect(f.table, FUNCTIONS_MAX * FAR, PROT_READ | PROT_EXEC);
	}
	munmap((void *)(uintptr_t)f.p, f.size);
	return 0;
}

struct list {
	struct dl_phdr_info *info;
	char (*names)[512];
	unsigned count, room;
};

/* What is loaded: noted first, as to open a runtime while the list is walked would wait for itself. */
static int note(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct list *l = arg;

	(void)size;
	if (l->count == l->room || strlen(info->dlpi_name) >= sizeof(l->names[0]) || strstr(info->dlpi_name, "/libcudart.so") ||
	    strstr(info->dlpi_name, "/libatoll_gpu"))
		return 0;
	strcpy(l->names[l->count], info->dlpi_name);
	l->info[l->count] = (struct dl_phdr_info){.dlpi_addr = info->dlpi_addr, .dlpi_name = l->names[l->count]};
	l->count++;
	return 0;
}

/* Before the program's own constructors, which register its kernels. */
__attribute__((constructor)) static void begin(void)
{
	enum { ROOM = 512 };
	struct list l = {.info = calloc(ROOM, sizeof(*l.info)), .names = calloc(ROOM, sizeof(*l.names)), .room = ROOM};

	if (l.info && l.names)
		dl_iterate_phdr(note, &l);
	for (unsigned k = 0; k < l.count; k++)
		object(&l.info[k], sizeof(l.info[k]), NULL);
	free(l.info);
	free(l.names);
}

#else

__attribute__((constructor)) static void begin(void)
{
	fprintf(stderr, "atoll-gpu: a CUDA runtime inside a program can be replaced on x86-64 only: relink it with "
			"-cudart shared\n");
	_exit(2);
}

#endif
