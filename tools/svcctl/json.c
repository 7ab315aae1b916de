/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/json.h"

#include <stdint.h>

void json_string(FILE *f, const char *s, size_t max)
{
	fputc('"', f);
	for (size_t i = 0; i < max && s[i]; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < ' ' || c > '~')
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

void json_member(FILE *f, const char *before, const char *key, const char *value)
{
	fprintf(f, "%s\"%s\": ", before, key);
	json_string(f, value, SIZE_MAX);
}
