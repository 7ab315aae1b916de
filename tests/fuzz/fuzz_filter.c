/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_filter - a trace entry (the first 192 bytes) against a filter (the rest). The filter is taken or
 * refused with a position inside its text; what the entry holds can be asked about and printed.
 */
#include <stdlib.h>

#include "tools/msgdump/filter.h"
#include "tools/msgdump/show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	struct proto_trace_entry e;
	struct filter_error err = {0};
	struct filter *f;
	struct event ev;
	char *text;

	if (!null)
		null = fopen("/dev/null", "w");
	if (!null || size < sizeof(e))
		return 0;
	memcpy(&e, data, sizeof(e));
	e.magic = PROTO_TRACE_ENTRY_MAGIC;
	e.point = (uint8_t)(e.point % 8);
	text = strndup((const char *)data + sizeof(e), size - sizeof(e));
	f = filter_new();
	if (!text || !f)
		abort();
	if (filter_and(f, text, NULL, &err) && (err.at > strlen(text) || !err.text[0]))
		abort();
	if (event_read(&e, &ev)) {
		filter_match(f, &ev);
		show_text(null, &ev, 0);
		show_json(null, &ev);
	}
	filter_free(f);
	free(text);
	return 0;
}
