/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a fat binary or as a program that holds some: texts that end, or a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/fatbin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fatbin_texts texts;
	struct fatbin_entry entry;
	uint64_t offset = 0;
	char reason[200] = "";
	/* what is read past the end is seen */
	uint8_t *image = malloc(size ? size : 1);
	int rc;

	if (!image)
		return 0;
	memcpy(image, data, size);
	if (fatbin_size(image, size) > size)
		abort();
	while ((rc = fatbin_next(image, size, &offset, &entry)) == 1)
		if (entry.payload < image || entry.payload_size > size ||
		    (size_t)(entry.payload - image) > size - entry.payload_size)
			abort();
	memset(&texts, 0, sizeof(texts));
	rc = fatbin_ptx_load(image, size, 90, &texts, reason);
	if (rc) {
		if (!reason[0] || !memchr(reason, 0, sizeof(reason)))
			abort();
	} else {
		if (!texts.count)
			abort();
		for (unsigned i = 0; i < texts.count; i++)
			if (texts.list[i].text[texts.list[i].size])
				abort();
		fatbin_texts_free(&texts);
	}
	free(image);
	return 0;
}
