/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fatbin.h - what lies in a CUDA fat binary
 *
 * A fat binary is a header (magic 0xba55ed50) and entries, each PTX text or a cubin (an ELF file)
 * for one architecture, stored as it is or compressed with LZ4 or zstd. Programs hold one for
 * each compiled file in the ELF section .nv_fatbin, and point at it from .nvFatBinSegment by a
 * wrapper (magic 0x466243b1). The readers take any bytes: all lengths are checked, nothing outside
 * of the image is read, and what an entry claims to unpack to is bounded.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_FATBIN_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_FATBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FATBIN_MAGIC	     0xba55ed50u
#define FATBIN_WRAPPER_MAGIC 0x466243b1u

/* No PTX text is larger than this when unpacked; one that says so is refused. */
#define FATBIN_TEXT_MAX (256u << 20)

enum fatbin_kind { FATBIN_PTX = 1, FATBIN_CUBIN = 2 };

enum fatbin_packing { FATBIN_PLAIN, FATBIN_LZ4, FATBIN_ZSTD, FATBIN_UNKNOWN };

struct fatbin_entry {
	enum fatbin_kind kind;
	enum fatbin_packing packing;
	unsigned arch;		  /* sm_75: 75 */
	unsigned version;	  /* of the PTX, 10 * major + minor; 0: not said */
	const uint8_t *payload;	  /* in the image */
	uint64_t payload_size;	  /* bytes there */
	uint64_t unpacked_size;	  /* bytes after unpacking */
	const char *name;	  /* of the compiled file; not NUL-terminated; NULL: none */
	size_t name_size;
};

/* Bytes of the fat binary that begins at @image, header included; 0: none there. */
uint64_t fatbin_size(const void *image, uint64_t room);

/**
 * fatbin_next - walk through the entries of one fat binary
 * @offset: 0 at first, then left alone
 * Return: 1 an entry, 0 the end, -EBADMSG not a fat binary or damaged.
 */
int fatbin_next(const void *image, uint64_t size, uint64_t *offset, struct fatbin_entry *entry);

/**
 * fatbin_unpack - the entry's bytes
 * @data: to be freed by the caller; a NUL follows that @size does not count
 * Return: 0, -EBADMSG (damaged), -ENOTSUP (packing not known, or not in this build), -ENOMEM, -E2BIG.
 */
int fatbin_unpack(const struct fatbin_entry *entry, char **data, size_t *size);

/* One PTX text; several have to be linked. */
struct fatbin_text {
	char *text; /* NUL-terminated */
	size_t size;
	unsigned arch, version;
};

struct fatbin_texts {
	struct fatbin_text *list;
	unsigned count;
};

/**
 * fatbin_ptx_load - the PTX to run, out of an image
 * @image: a fat binary, several in a row, an ELF file (program, library or object) with
 *         .nv_fatbin, or a PTX text as it is
 * @capability: of the machine, 10 * major + minor: of each fat binary the newest PTX not above it
 *              is taken; if there is only newer PTX, the oldest of that
 * @reason: a sentence, where the return is not 0
 * Return: 0 with at least one text; 209 there is no PTX; 218 damaged; 2 no memory; 801 packed in a
 * way that this build cannot unpack. Free with fatbin_texts_free.
 */
int fatbin_ptx_load(const void *image, uint64_t size, unsigned capability,
		    struct fatbin_texts *texts, char reason[200]);
void fatbin_texts_free(struct fatbin_texts *texts);

#endif
