/* SPDX-License-Identifier: Apache-2.0 */
/* pcapng_impl.h - numbers of the format that reader and writer share. */
#ifndef ATOLL_MSGDUMP_PCAPNG_IMPL_H
#define ATOLL_MSGDUMP_PCAPNG_IMPL_H

#include "tools/msgdump/pcapng.h"

enum {
	BLOCK_SECTION = 0x0A0D0D0A,
	BLOCK_INTERFACE = 1,
	BLOCK_SIMPLE = 3, /* a packet without time, on interface 0 */
	BLOCK_PACKET = 6, /* an enhanced packet */
	BYTE_ORDER_MAGIC = 0x1A2B3C4D,
	OPTION_END = 0,
	OPTION_IF_NAME = 2,
	OPTION_EPB_FLAGS = 2,
	OPTION_SHB_USERAPPL = 4,
	OPTION_IF_TSRESOL = 9,
	OPTION_IF_TSOFFSET = 14,
};

#endif
