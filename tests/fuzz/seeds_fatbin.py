#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""seeds_fatbin.py DIR - writes the seeds of fuzz_fatbin: fat binaries with texts as they are and packed by LZ4."""
import os
import struct
import sys

TEXT = b".version 8.4\n.target sm_%d\n.address_size 64\n.visible .entry k(){ret;}\n"


def entry(arch, kind=1, packed=False):
    text = TEXT % arch
    # LZ4: one token of literals only
    data = bytes([0xf0, len(text) - 15]) + text if packed else text
    head = struct.pack("<HHIQIIHHIIIQQQ", kind, 0x101, 64, (len(data) + 7) & ~7, len(data) if packed else 0, 0, 4,
                       8, arch, 0, 0, 0x2011 if packed else 0x11, 0, len(text) if packed else 0)
    return head + data.ljust((len(data) + 7) & ~7, b"\0")


def image(*entries):
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xba55ed50, 1, 16, len(body)) + body


def elf(body):
    names = b"\0.nv_fatbin\0.shstrtab\0"
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    at = 64 + len(body) + len(names)
    head += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, 3, 2)
    section = "<IIQQQQIIQQ"
    table = bytes(64) + struct.pack(section, 1, 1, 0, 0, 64, len(body), 0, 0, 8, 0)
    table += struct.pack(section, 12, 3, 0, 0, 64 + len(body), len(names), 0, 0, 1, 0)
    return head + body + names + table


SEEDS = {
    "plain": image(entry(50)),
    "two": image(entry(50), entry(80)),
    "packed": image(entry(75, packed=True)),
    "cubin": image(entry(75, kind=2)),
    "several": image(entry(50)) + image(entry(60)),
    "text": TEXT % 50,
    "elf": elf(image(entry(50))),
}

for name, data in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)
