#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes C from the table of a device's calls, gpu_calls.toml, and documentation from it and the lists of functions."""

import argparse
import re
import sys
import tomllib

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "char": 1}
C = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "char": "char"}
NAME = re.compile(r"^[a-z][a-z0-9_]*$")
HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n/* Made from gpu_calls.toml by gpu_generate.py. */\n"


class TableError(Exception):
    pass


def layout(what, fields):
    """Sizes of a struct's fields; every field must lie at a multiple of its size, and the end at one of 8."""
    at = 0
    for f in fields:
        if not NAME.match(f["name"]) or f["type"] not in SIZES:
            raise TableError(f"{what}: field {f.get('name')} has a bad name or type")
        size = SIZES[f["type"]]
        if at % size:
            raise TableError(f"{what}.{f['name']}: not at a multiple of its size")
        f["at"] = at
        at += size * f.get("count", 1)
    return at


def load(path):
    with open(path, "rb") as f:
        t = tomllib.load(f)
    seen = set()
    for n, c in enumerate(t["call"], 1):
        if not NAME.match(c["name"]) or c["name"] in seen:
            raise TableError(f"call {c['name']}: bad name, or there twice")
        seen.add(c["name"])
        c["id"] = n
        if c["class"] not in ("async", "sync"):
            raise TableError(f"call {c['name']}: class {c['class']}")
        if c["class"] == "async" and ("result" in c or "gives" in c):
            raise TableError(f"call {c['name']}: an async call gives nothing")
        c["size"] = layout(c["name"], c["args"])
        c["result_size"] = layout(c["name"] + " result", c.get("result", []))
    for r in t["record"]:
        r["size"] = layout(r["name"], r["fields"])
    return t


def struct(name, fields, size, doc):
    out = [f"/* {doc} */" if doc else "", f"struct {name} {{"]
    for f in fields:
        count = f"[{f['count']}]" if "count" in f else ""
        doc = f" /* {f['doc']} */" if f.get("doc") else ""
        out.append(f"\t{C[f['type']]} {f['name']}{count};{doc}")
    out.append("};")
    padded = (size + 7) // 8 * 8 if any(f["type"] == "u64" for f in fields) else size
    out.append(f'_Static_assert(sizeof(struct {name}) == {padded}, "{name}");')
    for f in fields:
        out.append(f'_Static_assert(offsetof(struct {name}, {f["name"]}) == {f["at"]}, "{name}");')
    return "\n".join(x for x in out if x) + "\n"


def header(t):
    out = [HEAD, "#ifndef ATOLL_GPU_CALLS_H\n#define ATOLL_GPU_CALLS_H\n",
           "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n",
           "enum {",
           f"\tGPU_CALLS_VERSION = {t['gpu']['version']},",
           f"\tGPU_DATA_MAX = {t['gpu']['data_max']}, /* bytes of data of one call */",
           "\tGPU_BATCH_MAX = 8192, /* bytes of a batch */", "};\n",
           "enum gpu_call_id {"]
    out += [f"\tGPU_CALL_{c['name'].upper()} = {c['id']}," for c in t["call"]]
    out += [f"\tGPU_CALLS = {len(t['call']) + 1},", "};\n",
            "/* In front of every call. */",
            "struct gpu_call {",
            "\tuint16_t id;   /* enum gpu_call_id */",
            "\tuint16_t size; /* of the whole, bytes, a multiple of 8 */",
            "\tuint32_t data; /* bytes of it that are data */",
            "};", '_Static_assert(sizeof(struct gpu_call) == 8, "gpu_call");\n',
            "struct gpu_call_desc {", "\tconst char *name;",
            "\tuint16_t args, result; /* bytes */", "\tuint8_t sync, data;", "};\n",
            "extern const struct gpu_call_desc gpu_call_descs[GPU_CALLS];\n",
            "/**",
            " * gpu_call_check - is there a whole, well-formed call at @at?",
            " * @room: bytes there; the memory is nobody else's to write",
            " * Return: its size in bytes, 0: no.",
            " */",
            "uint32_t gpu_call_check(const void *at, uint32_t room);\n"]
    for c in t["call"]:
        if c["args"]:
            out.append(struct("gpu_call_" + c["name"], c["args"], c["size"], c["doc"]))
        if c.get("result"):
            out.append(struct("gpu_result_" + c["name"], c["result"], c["result_size"], None))
    for r in t["record"]:
        out.append(struct(r["name"], r["fields"], r["size"], r["doc"]))
    out.append("""/* Writes a call at @at. Its size, 0: it does not fit in @room bytes. */
static inline uint32_t gpu_call_put(void *at, uint32_t room, uint16_t id, const void *args, uint32_t size,
				    const void *data, uint32_t n)
{
	uint32_t whole;
	struct gpu_call h;

	if (n > GPU_DATA_MAX)
		return 0;
	whole = (8 + size + n + 7) / 8 * 8;
	if (whole > room)
		return 0;
	h = (struct gpu_call){id, (uint16_t)whole, n};
	memset((char *)at + whole - 8, 0, 8);
	memcpy(at, &h, 8);
	if (size)
		memcpy((char *)at + 8, args, size);
	if (n)
		memcpy((char *)at + 8 + size, data, n);
	return whole;
}
""")
    for c in t["call"]:
        args = "".join(f", {C[a['type']]} {a['name']}" for a in c["args"])
        data = ", const void *data, uint32_t n" if "data" in c else ""
        out.append(f"static inline uint32_t gpu_put_{c['name']}(void *at, uint32_t room{args}{data})\n{{")
        tail = "data, n" if "data" in c else "NULL, 0"
        if c["args"]:
            init = ", ".join(f".{a['name']} = {a['name']}" for a in c["args"])
            out.append(f"\tconst struct gpu_call_{c['name']} args = {{{init}}};\n")
            out.append(f"\treturn gpu_call_put(at, room, GPU_CALL_{c['name'].upper()}, &args, "
                       f"{c['size']}, {tail});\n}}\n")
        else:
            out.append(f"\treturn gpu_call_put(at, room, GPU_CALL_{c['name'].upper()}, NULL, 0, {tail});\n}}\n")
    out.append("#endif\n")
    return "\n".join(out)


def source(t):
    out = [HEAD, '#include "proto/gpu_calls.h"\n',
           "const struct gpu_call_desc gpu_call_descs[GPU_CALLS] = {"]
    for c in t["call"]:
        out.append(f'\t[GPU_CALL_{c["name"].upper()}] = {{"{c["name"]}", {c["size"]}, {c["result_size"]}, '
                   f'{int(c["class"] == "sync")}, {int("data" in c)}}},')
    out.append("""};

uint32_t gpu_call_check(const void *at, uint32_t room)
{
	const struct gpu_call_desc *d;
	struct gpu_call h;

	if (room < sizeof(h))
		return 0;
	memcpy(&h, at, sizeof(h));
	if (h.id == 0 || h.id >= GPU_CALLS || h.size > room || h.data > GPU_DATA_MAX)
		return 0;
	d = &gpu_call_descs[h.id];
	if ((h.data && !d->data) || h.size != (8u + d->args + h.data + 7) / 8 * 8)
		return 0;
	return h.size;
}
""")
    return "\n".join(out)


def dispatch(t):
    """For the service: the handlers that it must have, and the table that calls them."""
    out = [HEAD, "#ifndef ATOLL_GPU_DISPATCH_H\n#define ATOLL_GPU_DISPATCH_H\n",
           '#include "proto/gpu_calls.h"\n',
           "struct gpu_worker;\n",
           "/* Each does one call and returns a cudaError_t. A sync call writes its result, and data, of which @out",
           " * has room for 8192 bytes, and says in @n how much. */"]
    for c in t["call"]:
        out.append(f"int gpu_do_{c['name']}({params(c)});")
    out += ["", "static inline int gpu_dispatch(struct gpu_worker *w, const void *call, uint8_t *out, uint32_t *n)",
            "{", "\tstruct gpu_call h;", "\tconst uint8_t *args = (const uint8_t *)call + 8;\n",
            "\tmemcpy(&h, call, sizeof(h));", "\tswitch (h.id) {"]
    for c in t["call"]:
        out.append(f"\tcase GPU_CALL_{c['name'].upper()}: {{")
        pass_ = "w"
        if c["args"]:
            out.append(f"\t\tstruct gpu_call_{c['name']} a;\n")
            out.append(f"\t\tmemcpy(&a, args, {c['size']});")
            pass_ += ", &a"
        if "data" in c:
            pass_ += f", args + {c['size']}, h.data"
        if c.get("result"):
            out.append(f"\t\t*n = {c['result_size']};")
            pass_ += f", (struct gpu_result_{c['name']} *)(void *)out"
        if "gives" in c:
            pass_ += f", out + {c['result_size']}, n"
        out.append(f"\t\treturn gpu_do_{c['name']}({pass_});\n\t}}")
    out += ["\t}", "\treturn 801;", "}\n", "#endif\n"]
    return "\n".join(out)


def params(c):
    p = "struct gpu_worker *w"
    if c["args"]:
        p += f", const struct gpu_call_{c['name']} *a"
    if "data" in c:
        p += ", const uint8_t *data, uint32_t data_size"
    if c.get("result"):
        p += f", struct gpu_result_{c['name']} *result"
    if "gives" in c:
        p += ", uint8_t *out, uint32_t *n"
    return p


def docs(t):
    out = ["# Calls of a device\n", "Made from `proto/gpu_calls.toml`.\n",
           "| id | call | class | arguments | data | gives | makes | errors |", "|---|---|---|---|---|---|---|---|"]
    for c in t["call"]:
        args = ", ".join(f"{a['name']} {a['type']}" for a in c["args"])
        gives = ", ".join([r["name"] for r in c.get("result", [])] + ([c["gives"]] if "gives" in c else []))
        out.append(f"| {c['id']} | `{c['name']}` {c['doc']} | {c['class'].upper()} | {args} | {c.get('data', '')} | "
                   f"{gives} | {c.get('makes', '')} | {', '.join(map(str, c['errors']))} |")
    return "\n".join(out) + "\n"


KINDS = {"header": header, "source": source, "dispatch": dispatch, "docs": docs}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("kind", choices=KINDS)
    p.add_argument("table")
    p.add_argument("-o", "--output")
    args = p.parse_args()
    try:
        text = KINDS[args.kind](load(args.table))
    except (TableError, KeyError, tomllib.TOMLDecodeError) as err:
        print(f"gpu_generate.py: {args.table}: {err}", file=sys.stderr)
        return 1
    if args.output:
        with open(args.output, "w", encoding="ascii") as f:
            f.write(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
