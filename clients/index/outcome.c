/* SPDX-License-Identifier: Apache-2.0 */
/* Results and operations in words. */
#include "clients/index/atoll_index.h"

static const struct {
	enum atoll_class class;
	const char *text;
} results[ATOLL_RESULTS] = {
	[ATOLL_OK] = {ATOLL_EXECUTED, "done"},
	[ATOLL_NOT_FOUND] = {ATOLL_EXECUTED, "the key is not in the index"},
	[ATOLL_EXISTS] = {ATOLL_EXECUTED, "the key is in the index already"},
	[ATOLL_FULL] = {ATOLL_NOT_EXECUTED, "no free slot for this key: the table is too small"},
	[ATOLL_NO_SPACE] = {ATOLL_NOT_EXECUTED, "the shard's heap is used up"},
	[ATOLL_BUSY] = {ATOLL_NOT_EXECUTED, "another client's insert of this key, or a split, does not end"},
	[ATOLL_CORRUPT] = {ATOLL_NOT_EXECUTED, "a checksum or layout in the index is wrong"},
	[ATOLL_FENCED] = {ATOLL_NOT_EXECUTED, "this client was declared dead: reconnect"},
	[ATOLL_NOT_SENT] = {ATOLL_NOT_EXECUTED, "not sent, the connection is gone: reconnect"},
	[ATOLL_UNREACHABLE] = {ATOLL_NOT_EXECUTED, "no answer, nothing changed: reconnect"},
	[ATOLL_REFUSED] = {ATOLL_NOT_EXECUTED, "the shard's node refused it"},
	[ATOLL_IN_DOUBT] = {ATOLL_UNKNOWN, "no answer, it may have been done: reconnect, and ask or look"},
};

enum atoll_class atoll_result_class(enum atoll_result result)
{
	return (unsigned)result < ATOLL_RESULTS ? results[result].class : ATOLL_UNKNOWN;
}

const char *atoll_result_text(enum atoll_result result)
{
	return (unsigned)result < ATOLL_RESULTS ? results[result].text : "not a result";
}

const char *atoll_op_name(enum atoll_op op)
{
	static const char *const names[ATOLL_OPS] = {
		[ATOLL_GET] = "get",       [ATOLL_PUT] = "put",       [ATOLL_INSERT] = "insert",
		[ATOLL_UPDATE] = "update", [ATOLL_DELETE] = "delete",
	};

	return (unsigned)op < ATOLL_OPS ? names[op] : "?";
}
