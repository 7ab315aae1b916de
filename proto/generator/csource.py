# SPDX-License-Identifier: Apache-2.0
"""atoll_proto.c: what proto/proto.h declares and the schema says, as constant tables."""

WHERE = {"dataplane": "PROTO_TO_DATAPLANE", "service": "PROTO_TO_SERVICE",
         "link": "PROTO_TO_LINK", "client": "PROTO_TO_CLIENT"}
PAYLOAD = {"none": "PROTO_PAYLOAD_NONE", "bytes": "PROTO_PAYLOAD_BYTES",
           "string": "PROTO_PAYLOAD_STRING"}


def _values(name, values, bits):
    out = [f"static const struct proto_value values_{name}[] = {{"]
    out += [f'\t{{{v.value:#x}, "{v.name}", "{v.doc}"}},' for v in values]
    out += ["};", f"const struct proto_enum proto_enum_{name} = {{",
            f'\t"{name}", values_{name}, {len(values)}, {str(bits).lower()}}};', ""]
    return out


def _allowed(a):
    if not a.values:
        return 0
    if a.values.bits:
        return a.values.mask
    return sum(1 << v.value for v in a.values.values)


def _args(name, args):
    if not args:
        return []
    out = [f"static const struct proto_arg {name}[] = {{"]
    for a in args:
        values = f"&proto_enum_{a.values.name}" if a.values else "NULL"
        out.append(f"\t{{{a.min:#x}u, {a.max:#x}u, {_allowed(a):#x}u, {values}, "
                   f'"{a.name}", "{a.unit}", "{a.doc}"}},')
    return out + ["};", ""]


def _body(name, b):
    args = name if b.args else "NULL"
    return (f'{{{args}, "{b.payload.doc}", {b.payload.min}, {b.payload.max}, '
            f"{PAYLOAD[b.payload.type]}, {len(b.args)}}}")


def emit(model):
    out = ["/* SPDX-License-Identifier: Apache-2.0 */",
           "/* Generated from proto/schema.toml by proto/generate.py. */",
           '#include "proto/proto.h"', ""]
    out += _values("status", model.statuses, False)
    for e in model.enums:
        out += _values(e.name, e.values, e.bits)
    for o in model.opcodes:
        ident = o.ident.lower()
        out += _args(f"args_{ident}", o.request.args)
        if o.reply:
            out += _args(f"reply_{ident}", o.reply.args)
    out.append("const struct proto_op proto_ops[] = {")
    none = '{NULL, "", 0, 0, PROTO_PAYLOAD_NONE, 0}'
    for o in model.opcodes:
        ident = o.ident.lower()
        out += [f"\t{{{o.value:#06x}, {WHERE[o.to[0]]}, {str(o.is_async).lower()}, "
                f'{str(o.reply is not None).lower()}, "{o.name}",',
                f'\t "{o.doc}",',
                f"\t {_body('args_' + ident, o.request)},",
                f"\t {_body('reply_' + ident, o.reply) if o.reply else none}}},"]
    out += ["};", f"const unsigned proto_ops_count = {len(model.opcodes)};", ""]
    pages = sorted({o.value >> 8 for o in model.opcodes})
    out.append("const uint8_t proto_op_pages[256] = {")
    out += [f"\t[{p:#04x}] = {i + 1}," for i, p in enumerate(pages)]
    out += ["};", f"const uint16_t proto_op_index[{len(pages) + 1}][256] = {{"]
    for i, o in enumerate(model.opcodes):
        out.append(f"\t[{pages.index(o.value >> 8) + 1}][{o.value & 0xff:#04x}] = {i + 1},")
    return "\n".join(out + ["};", ""])
