/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "services/gpu-exec/ptx/fatbin.h"
#include "services/gpu-exec/ptx/ptx.h"

#define TEXTS_MAX 4096u

/* As nvcc 13.0 writes them. */
struct fatbin_header {
	uint32_t magic;
	uint16_t version;
	uint16_t header_size;
	uint64_t size; /* of all entries */
};

struct entry_header {
	uint16_t kind;
	uint16_t version;
	uint32_t header_size;
	uint64_t payload_size; /* padded */
	uint32_t packed_size;  /* 0: not packed */
	uint32_t options;
	uint16_t minor, major;
	uint32_t arch;
	uint32_t name, name_size; /* offset in the header */
	uint64_t flags;
	uint64_t zero;
	uint64_t unpacked_size;
};

_Static_assert(sizeof(struct fatbin_header) == 16, "as in the file");
_Static_assert(sizeof(struct entry_header) == 64, "as in the file");

#define FLAG_LZ4  UINT64_C(0x2000)
#define FLAG_ZSTD UINT64_C(0x8000)

uint64_t fatbin_size(const void *image, uint64_t room)
{
	struct fatbin_header h;

	if (room < sizeof(h))
		return 0;
	memcpy(&h, image, sizeof(h));
	if (h.magic != FATBIN_MAGIC || h.header_size < sizeof(h) || h.header_size > room ||
	    h.size > room - h.header_size)
		return 0;
	return h.header_size + h.size;
}

int fatbin_next(const void *image, uint64_t size, uint64_t *offset, struct fatbin_entry *entry)
{
	const uint8_t *base = image;
	struct fatbin_header h;
	struct entry_header e;
	uint64_t total = fatbin_size(image, size), room;

	if (total == 0)
		return -EBADMSG;
	memcpy(&h, image, sizeof(h));
	if (*offset == 0)
		*offset = h.header_size;
	if (*offset >= total || total - *offset < sizeof(e))
		return 0;
	room = total - *offset;
	memcpy(&e, base + *offset, sizeof(e));
	if (e.header_size < sizeof(e) || e.header_size > room ||
	    e.payload_size > room - e.header_size || e.packed_size > e.payload_size)
		return -EBADMSG;
	*entry = (struct fatbin_entry){.kind = e.kind,
				       .arch = e.arch,
				       .version = e.kind == FATBIN_PTX && e.major < 100
							  ? 10u * e.major + e.minor % 10u
							  : 0,
				       .payload = base + *offset + e.header_size,
				       .payload_size = e.packed_size ? e.packed_size
								     : e.payload_size,
				       .unpacked_size = e.unpacked_size};
	if (e.flags & FLAG_ZSTD)
		entry->packing = FATBIN_ZSTD;
	else if (e.flags & FLAG_LZ4)
		entry->packing = FATBIN_LZ4;
	else
		entry->packing = e.packed_size ? FATBIN_UNKNOWN : FATBIN_PLAIN;
	if (entry->packing == FATBIN_PLAIN)
		entry->unpacked_size = entry->payload_size;
	if (e.name_size && e.name < e.header_size && e.name_size <= e.header_size - e.name) {
		entry->name = (const char *)base + *offset + e.name;
		entry->name_size = e.name_size;
	}
	*offset += e.header_size + e.payload_size;
	return 1;
}

static int unpack(const struct fatbin_entry *e, char *out)
{
	switch (e->packing) {
	case FATBIN_PLAIN:
		memcpy(out, e->payload, e->payload_size);
		return 0;
#ifdef HAVE_LZ4
	case FATBIN_LZ4:
		if (e->payload_size > INT32_MAX)
			return -EBADMSG;
		return LZ4_decompress_safe((const char *)e->payload, out, (int)e->payload_size,
					   (int)e->unpacked_size) == (int)e->unpacked_size
			       ? 0
			       : -EBADMSG;
#endif
#ifdef HAVE_ZSTD
	case FATBIN_ZSTD:
		return ZSTD_decompress(out, e->unpacked_size, e->payload, e->payload_size) ==
				       e->unpacked_size
			       ? 0
			       : -EBADMSG;
#endif
	default:
		return -ENOTSUP;
	}
}

int fatbin_unpack(const struct fatbin_entry *entry, char **data, size_t *size)
{
	char *out;
	int rc;

	*data = NULL;
	*size = 0;
	if (entry->unpacked_size > FATBIN_TEXT_MAX)
		return -E2BIG;
	out = malloc(entry->unpacked_size + 1);
	if (!out)
		return -ENOMEM;
	rc = unpack(entry, out);
	if (rc) {
		free(out);
		return rc;
	}
	out[entry->unpacked_size] = 0;
	*data = out;
	*size = entry->unpacked_size;
	return 0;
}

void fatbin_texts_free(struct fatbin_texts *t)
{
	for (unsigned k = 0; k < t->count; k++)
		free(t->list[k].text);
	free(t->list);
	*t = (struct fatbin_texts){0};
}

/* ------------------------------------------------------------------------------ which PTX */

static int text_add(struct fatbin_texts *t, char *text, size_t size, unsigned arch, unsigned version)
{
	struct fatbin_text *list;

	if (t->count == TEXTS_MAX)
		return -E2BIG;
	list = realloc(t->list, (t->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	t->list = list;
	list[t->count++] = (struct fatbin_text){text, size, arch, version};
	return 0;
}

/* Newest not above the machine; else the oldest there is. */
static bool better(const struct fatbin_entry *a, const struct fatbin_entry *b, unsigned capability)
{
	bool fits = a->arch <= capability, fits_b = b->arch <= capability;

	if (fits != fits_b)
		return fits;
	return fits ? a->arch > b->arch : a->arch < b->arch;
}

static bool same_file(const struct fatbin_entry *a, const struct fatbin_entry *b)
{
	if (!a->name || !b->name)
		return true;
	return a->name_size == b->name_size && memcmp(a->name, b->name, a->name_size) == 0;
}

struct found {
	unsigned cubin_arch, ptx;
	int rc;
};

static void one_fatbin(const uint8_t *image, uint64_t size, unsigned capability,
		       struct fatbin_texts *t, struct found *f)
{
	uint64_t offset = 0;
	struct fatbin_entry e;
	int rc;

	while ((rc = fatbin_next(image, size, &offset, &e)) == 1) {
		uint64_t other = 0;
		struct fatbin_entry o;
		bool best = true;
		char *text;
		size_t length;

		if (e.kind == FATBIN_CUBIN)
			f->cubin_arch = e.arch;
		if (e.kind != FATBIN_PTX)
			continue;
		f->ptx++;
		/* Of several for one architecture, the first. */
		while (fatbin_next(image, size, &other, &o) == 1)
			if (o.kind == FATBIN_PTX && same_file(&e, &o) &&
			    (better(&o, &e, capability) ||
			     (o.arch == e.arch && o.payload < e.payload)))
				best = false;
		if (!best)
			continue;
		rc = fatbin_unpack(&e, &text, &length);
		if (rc == 0) {
			rc = text_add(t, text, length, e.arch, e.version);
			if (rc)
				free(text);
		}
		if (rc) {
			f->rc = rc;
			return;
		}
	}
	if (rc < 0)
		f->rc = rc;
}

/* A section of fat binaries, one behind the other at multiples of 8. */
static void many_fatbins(const uint8_t *image, uint64_t size, unsigned capability,
			 struct fatbin_texts *t, struct found *f)
{
	uint64_t at = 0;

	while (f->rc == 0 && at + sizeof(struct fatbin_header) <= size) {
		uint64_t n = fatbin_size(image + at, size - at);

		if (n == 0) {
			at += 8;
			continue;
		}
		one_fatbin(image + at, n, capability, t, f);
		at += (n + 7) & ~UINT64_C(7);
	}
}

static bool elf_sections(const uint8_t *image, uint64_t size, unsigned capability,
			 struct fatbin_texts *t, struct found *f)
{
	Elf64_Ehdr h;
	Elf64_Shdr names;

	memcpy(&h, image, sizeof(h));
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_shentsize != sizeof(Elf64_Shdr) ||
	    h.e_shoff > size || (uint64_t)h.e_shnum * sizeof(Elf64_Shdr) > size - h.e_shoff ||
	    h.e_shstrndx >= h.e_shnum)
		return false;
	memcpy(&names, image + h.e_shoff + h.e_shstrndx * sizeof(names), sizeof(names));
	if (names.sh_offset > size || names.sh_size > size - names.sh_offset)
		return false;
	for (unsigned k = 0; k < h.e_shnum; k++) {
		static const char *const wanted[] = {".nv_fatbin", "__nv_relfatbin"};
		Elf64_Shdr s;

		memcpy(&s, image + h.e_shoff + k * sizeof(s), sizeof(s));
		if (s.sh_type == SHT_NOBITS || s.sh_offset > size || s.sh_size > size - s.sh_offset)
			continue;
		for (unsigned n = 0; n < 2; n++) {
			size_t length = strlen(wanted[n]) + 1;

			if (s.sh_name < names.sh_size && length <= names.sh_size - s.sh_name &&
			    memcmp(image + names.sh_offset + s.sh_name, wanted[n], length) == 0)
				many_fatbins(image + s.sh_offset, s.sh_size, capability, t, f);
		}
	}
	return true;
}

static bool looks_like_ptx(const uint8_t *image, uint64_t size)
{
	uint64_t n = size < 65536 ? size : 65536;

	if (n && memchr(image, 0, n) && memchr(image, 0, n) < (const void *)(image + n / 2))
		return false;
	return memmem(image, n, ".version", 8) != NULL;
}

int fatbin_ptx_load(const void *image, uint64_t size, unsigned capability,
		    struct fatbin_texts *texts, char reason[200])
{
	const uint8_t *bytes = image;
	struct found f = {0};

	*texts = (struct fatbin_texts){0};
	reason[0] = 0;
	if (size >= sizeof(Elf64_Ehdr) && memcmp(bytes, ELFMAG, SELFMAG) == 0) {
		Elf64_Ehdr h;

		memcpy(&h, bytes, sizeof(h));
		if (h.e_machine == 190) { /* EM_CUDA */
			snprintf(reason, 200, "This is a cubin, machine code of a GPU: without its PTX it "
					      "cannot be run here. Compile with -gencode "
					      "arch=compute_XX,code=compute_XX.");
			return PTX_ERR_NO_IMAGE;
		}
		if (!elf_sections(bytes, size, capability, texts, &f))
			f.rc = -EBADMSG;
	} else if (fatbin_size(bytes, size)) {
		many_fatbins(bytes, size, capability, texts, &f);
	} else if (looks_like_ptx(bytes, size)) {
		const uint8_t *nul = memchr(bytes, 0, size);
		size_t length = nul ? (size_t)(nul - bytes) : size;
		char *text = length > FATBIN_TEXT_MAX ? NULL : malloc(length + 1);

		f.rc = -ENOMEM;
		if (text) {
			memcpy(text, bytes, length);
			text[length] = 0;
			f.rc = text_add(texts, text, length, 0, 0);
			if (f.rc)
				free(text);
		}
	} else {
		f.rc = -EBADMSG;
	}
	if (f.rc == 0 && texts->count)
		return PTX_OK;
	fatbin_texts_free(texts);
	switch (f.rc) {
	case 0:
		if (f.cubin_arch)
			snprintf(reason, 200,
				 "There is only machine code for sm_%u and no PTX, which is what "
				 "can be run here. Compile with -gencode "
				 "arch=compute_%u,code=compute_%u.",
				 f.cubin_arch, f.cubin_arch, f.cubin_arch);
		else
			snprintf(reason, 200, "There is no PTX in it.");
		return PTX_ERR_NO_IMAGE;
	case -ENOTSUP:
		snprintf(reason, 200, "The PTX is packed in a way that this build cannot unpack "
				      "(LZ4 needs liblz4, zstd needs libzstd).");
		return PTX_ERR_NOT_SUPPORTED;
	case -ENOMEM:
	case -E2BIG:
		snprintf(reason, 200, "The PTX is too large.");
		return PTX_ERR_MEMORY;
	default:
		snprintf(reason, 200, "This is no fat binary, no program with one, and no PTX; or "
				      "it is damaged.");
		return PTX_ERR_INVALID_PTX;
	}
}
