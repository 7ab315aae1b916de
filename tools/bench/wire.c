/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "tools/bench/bench.h"
int bench_wire(struct bench *b) { (void)b; return -ENOSYS; }
