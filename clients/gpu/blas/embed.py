#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A text file as an array of C."""
import sys

name, source, out = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read() + b"\0"
with open(out, "w", encoding="ascii") as f:
    f.write(f"/* Made by embed.py. */\nextern const char {name}[];\nconst char {name}[] = {{\n")
    for at in range(0, len(data), 20):
        f.write(",".join(str(b) for b in data[at:at + 20]) + ",\n")
    f.write("};\n")
