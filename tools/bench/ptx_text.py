#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints a file of PTX as the C string gpu_kernels_ptx."""
import json
import sys

print("extern const char gpu_kernels_ptx[];\nconst char gpu_kernels_ptx[] =")
with open(sys.argv[1], encoding="ascii") as f:
    print("\n".join(json.dumps(line) for line in f) + ";")
