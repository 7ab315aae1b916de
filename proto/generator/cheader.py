# SPDX-License-Identifier: Apache-2.0
"""atoll_proto.h: layouts with asserted offsets, enums, opcodes and argument numbers."""

import textwrap

from generator.model import Enum

CTYPES = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "char": "char"}

INTRO = """\
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll_proto.h - layouts, opcodes and names of Atoll's protocol. Generated from
 * proto/schema.toml by proto/generate.py: change the schema, never this file.
 *
 * To add an opcode: add an [[opcode]] entry to the schema with a value of its own in the page
 * of its service (0x01 own dataplane, 0x02 links, from 0x10 on a page a service), its args in
 * the order of the message registers, and a reply (or async = true). That is all: the numbers
 * OP_..., ARG_... and REPLY_... below, the check that every receiver runs (proto/proto.h), the
 * text form, the dissector and the reference come from that entry. New args go to the end;
 * changing or removing one needs a new opcode.
 *
 * struct proto_... are the bytes on rings, links and the control socket. C code works on struct
 * proto_msg (proto/proto.h), a private copy taken apart.
 */
#ifndef ATOLL_PROTO_ATOLL_PROTO_H
#define ATOLL_PROTO_ATOLL_PROTO_H

#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "records are little-endian and used in place: big-endian hosts are not supported");
"""


def comment(text, indent="", width=96):
    one = f"{indent}/* {text} */"
    if len(one.expandtabs(8)) <= width:
        return [one]
    room = width - len(indent.expandtabs(8)) - 3
    lines = textwrap.wrap(text, room)
    return [f"{indent}/*"] + [f"{indent} * {x}" for x in lines] + [f"{indent} */"]


def described(code, text, indent="\t"):
    """A line of code with its comment behind it, or above where it does not fit."""
    one = f"{indent}{code} /* {text} */"
    if not text:
        return [indent + code]
    if len(one.expandtabs(8)) <= 96:
        return [one]
    return comment(text, indent) + [indent + code]


def _enum(tag, prefix, values, bits, count=False):
    out = [f"enum {tag} {{"]
    for v in values:
        number = f"1 << {v.value.bit_length() - 1}" if bits else str(v.value)
        out += described(f"{prefix}_{v.name} = {number},", v.doc)
    if count:
        out.append(f"\t{prefix}_COUNT = {len(values)},")
    if bits:
        out.append(f"\t{prefix}_ALL = {sum(v.value for v in values):#x},")
    return out + ["};", ""]


def _record(r):
    out = comment(r.doc)
    out.append(f"struct proto_{r.name} {{")
    for f in r.fields:
        array = f"[{f.count}]" if f.count > 1 else ""
        out += described(f"{CTYPES[f.type]} {f.name}{array};", f.doc)
    out += ["};", ""]
    out.append(f'_Static_assert(sizeof(struct proto_{r.name}) == {r.size}, "{r.name}");')
    for f in r.fields:
        what = f"offsetof(struct proto_{r.name}, {f.name}) == {f.at}"
        out.append(f'_Static_assert({what}, "{r.name}.{f.name}");')
    return out + [""]


def _args(prefix, args):
    out = []
    for i, a in enumerate(args):
        out += described(f"{prefix}_{a.name.upper()} = {i},",
                         a.doc + (f", {a.unit}" if a.unit else ""))
    return out


def emit(model):
    out = INTRO.split("\n")
    out += ["enum {", f"\tPROTO_MAJOR = {model.major},"]
    for x in model.limits:
        out += described(f"PROTO_{x.name.upper()} = {x.value},", f"{x.unit}: {x.doc}")
    out += ["\tPROTO_SLOT_SIZE = 64, /* bytes */",
            "\tPROTO_ARGS_FIRST = 1, /* message registers in the header slot */",
            "\tPROTO_ARGS_MORE = 7, /* and in each further slot */",
            "\tPROTO_SERVICE_FIRST = 0x1000, /* opcodes from here on belong to services */",
            "};", ""]
    out += ["/* Feature bits, negotiated at attach and once a link. */", "enum proto_feature {"]
    out += [f"\tFEATURE_{x.upper()} = 1 << {i}," for i, x in enumerate(model.features)]
    out += [f"\tPROTO_FEATURES = {(1 << len(model.features)) - 1:#x}, /* all of them */", "};", ""]
    out += _enum("status", "STATUS", model.statuses, False, count=True)
    for e in model.enums:
        if e.doc:
            out += comment(e.doc)
        out += _enum(f"proto_{e.name}", e.prefix, e.values, e.bits)
    out += ["/* Their names, for proto_value_name() in proto/proto.h. */", "struct proto_enum;"]
    out += [f"extern const struct proto_enum proto_enum_{e.name};"
            for e in model.enums + [Enum("status", [], False)]]
    out += ["", "/* First field of every record that starts one. */", "enum {"]
    out += [f"\tPROTO_{r.name.upper()}_MAGIC = {r.magic:#06x}," for r in model.records if r.magic]
    out += ["};", ""]
    for r in model.records:
        out += _record(r)
    out += ["enum proto_opcode {"]
    for o in model.opcodes:
        out += described(f"OP_{o.ident} = {o.value:#06x},", o.doc)
    out += ["};", "", "/* Numbers of the registers: ARG_ of a request, REPLY_ of its answer. */",
            "enum {"]
    for o in model.opcodes:
        out += _args(f"ARG_{o.ident}", o.request.args)
        if o.reply:
            out += _args(f"REPLY_{o.ident}", o.reply.args)
    out += ["};", "", "#endif", ""]
    return "\n".join(out)
