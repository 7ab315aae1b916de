#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the lists of functions.toml: exported functions that answer NotSupported, names of other streams' forms,
the linker's map, and the coverage table of the documentation."""

import argparse
import sys
import tomllib

CLASSES = ["local", "async", "sync"]


def load(path):
    with open(path, "rb") as f:
        t = tomllib.load(f)
    for name, api in t.items():
        seen = set()
        for n in [n for c in CLASSES + ["unsupported"] for n in api[c]] + list(api.get("same", {})):
            if n in seen:
                raise ValueError(f"{name}: {n} is there twice")
            seen.add(n)
    return t


def stubs(t, name):
    api = t[name]
    out = ["/* SPDX-License-Identifier: Apache-2.0 */", "/* Made from functions.toml by generate.py. */",
           f'#include "clients/gpu/{api["header"]}"', ""]
    for n in api["unsupported"]:
        out += [f"EXPORT int {n}(void);", f"EXPORT int {n}(void)", "{", f'\treturn {api["refuse"]}("{n}");', "}", ""]
    out += ["#if defined(__x86_64__)", '#define JUMP "jmp "', '#define AT "@PLT"', "#else", '#define JUMP "b "',
            '#define AT ""', "#endif",
            "#define SAME(name, other) __asm__(\".globl \" #name \"\\n.type \" #name \", %function\\n\" #name \": \" \\",
            "\tJUMP #other AT \"\\n\")"]
    for n, other in api.get("same", {}).items():
        out.append(f"SAME({n}, {other});")
    if api.get("table"):
        done = sorted([n for c in CLASSES for n in api[c]])
        out += ["#include <stdlib.h>", "#include <string.h>", ""] + [f"int {n}(void);" for n in done] + ["",
               "static const struct entry {", "\tconst char *name;", "\tvoid *function;", "} entries[] = {"]
        out += [f'\t{{"{n}", (void *){n}}},' for n in done]
        out += ["};", "", "static int compare(const void *key, const void *entry)", "{",
                "\treturn strcmp(key, ((const struct entry *)entry)->name);", "}", "",
                f"void *{api['table']}(const char *name)", "{", "\tconst struct entry *e;", "",
                "\te = bsearch(name, entries, sizeof(entries) / sizeof(entries[0]), sizeof(entries[0]), compare);",
                "\treturn e ? e->function : NULL;", "}", ""]
    return "\n".join(out).replace("%function", "@function") + "\n"


def linker_map(t, name):
    api = t[name]
    names = sorted([n for c in CLASSES + ["unsupported"] for n in api[c]] + list(api.get("same", {})))
    node = api.get("version", "")
    node += " " if node else ""
    return f"{node}{{\nglobal:\n" + "".join(f"\t{n};\n" for n in names) + "local:\n\t*;\n};\n"


def docs(t, _):
    out = ["# Functions of CUDA\n", "Made from `clients/gpu/functions.toml`. LOCAL: answered by the client library. ASYNC: sent,",
           "and not waited for. SYNC: costs a round trip. Everything else answers NotSupported (801).\n"]
    for name, api in t.items():
        count = sum(len(api[c]) for c in CLASSES)
        out.append(f"## {name}: {count} of {count + len(api['unsupported'])}\n")
        for c in CLASSES:
            out.append(f"**{c.upper()}**: " + ", ".join(f"`{n}`" for n in sorted(api[c])) + "\n")
        out.append("**NotSupported**: " + ", ".join(f"`{n}`" for n in sorted(api["unsupported"])) + "\n")
    return "\n".join(out)


KINDS = {"stubs": stubs, "map": linker_map, "docs": docs}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("kind", choices=KINDS)
    p.add_argument("table")
    p.add_argument("-a", "--api", default="")
    p.add_argument("-v", "--version", help="name of the map's node")
    p.add_argument("-o", "--output")
    args = p.parse_args()
    try:
        t = load(args.table)
        if args.version:
            t[args.api]["version"] = args.version
        text = KINDS[args.kind](t, args.api)
    except (KeyError, ValueError) as err:
        print(f"generate.py: {args.table}: {err}", file=sys.stderr)
        return 1
    if args.output:
        with open(args.output, "w", encoding="ascii") as f:
            f.write(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
