/* SPDX-License-Identifier: Apache-2.0 */
/* What the status of a verb means for the operation that it belongs to. */
#include "clients/index/core_op.h"

bool core_status_doubt(unsigned status)
{
	switch (status) {
	case STATUS_OK:
	case STATUS_AGAIN:
	case STATUS_BAD_MESSAGE:
	case STATUS_BAD_HANDLE:
	case STATUS_NO_RIGHT:
	case STATUS_RANGE:
	case STATUS_ALIGN:
	case STATUS_NOT_FOUND:
	case STATUS_NOT_SENT:
	case STATUS_FENCED:
	case STATUS_CANCELLED:
	case STATUS_TOO_BIG:
	case STATUS_LIMIT:
	case STATUS_DENIED:
	case STATUS_UNSUPPORTED:
		return false;
	default:
		return true;
	}
}

bool core_status_lost(unsigned status)
{
	switch (status) {
	case STATUS_BAD_HANDLE:
	case STATUS_NOT_SENT:
	case STATUS_FENCED:
	case STATUS_CANCELLED:
		return true;
	default:
		return core_status_doubt(status);
	}
}

enum atoll_result core_result_of(unsigned status)
{
	switch (status) {
	case STATUS_FENCED:
		return ATOLL_FENCED;
	case STATUS_NOT_SENT:
	case STATUS_CANCELLED:
		return ATOLL_NOT_SENT;
	default:
		return core_status_doubt(status) ? ATOLL_UNREACHABLE : ATOLL_REFUSED;
	}
}
