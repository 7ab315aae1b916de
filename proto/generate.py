#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the C code, the reference and the dissector from the schema. See --help."""

import argparse
import importlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from generator import model  # noqa: E402

KINDS = {
    "header": ("cheader", "atoll_proto.h: layouts, enums, opcodes"),
    "source": ("csource", "atoll_proto.c: the tables behind proto/proto.h"),
    "dissector": ("dissector", "atoll.lua: plug-in for Wireshark"),
    "plugin": ("plugin", "the same as a C string, for msgdump"),
    "docs": ("reference", "reference of every message, record and status, as Markdown"),
}


def main():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="kinds:\n" + "\n".join(f"  {k:8} {v[1]}" for k, v in KINDS.items()))
    p.add_argument("kind", choices=[*KINDS, "check"], help="what to make; check only reads")
    p.add_argument("schema", nargs="+", help="schema files; the first holds [proto]")
    p.add_argument("-o", "--output", help="file to write; without it standard output")
    args = p.parse_args()
    try:
        m = model.load(args.schema)
    except model.SchemaError as err:
        print(f"generate.py: {err}", file=sys.stderr)
        return 1
    if args.kind == "check":
        return 0
    text = importlib.import_module("generator." + KINDS[args.kind][0]).emit(m)
    if args.output:
        with open(args.output, "w", encoding="ascii") as f:
            f.write(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
