/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_pcapng - any file: each packet's bytes are there, and the end is clean or has a reason. */
#include <stdlib.h>

#include "tools/msgdump/pcapng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *from = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	struct pcapng *r = from ? pcapng_open(from) : NULL;
	struct pcapng_packet p;
	volatile uint8_t seen;
	int rc;

	if (!r)
		return 0;
	while ((rc = pcapng_next(r, &p)) > 0) {
		if (p.captured > PCAPNG_BLOCK_MAX)
			abort();
		for (uint32_t i = 0; i < p.captured; i++)
			seen = p.data[i];
	}
	if (rc < 0 && !pcapng_error(r)[0])
		abort();
	(void)seen;
	pcapng_close(r);
	fclose(from);
	return 0;
}
