# SPDX-License-Identifier: Apache-2.0
"""docs/reference.md: every record, message, status and limit as Markdown tables."""


def _cell(text):
    return str(text).replace("|", "\\|")


def _table(head, rows):
    if not rows:
        return []
    out = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return out + ["| " + " | ".join(_cell(c) for c in r) + " |" for r in rows] + [""]


def _range(a):
    if a.values:
        return ("bits of " if a.values.bits else "") + f"`{a.values.name}`"
    top = 2 ** {"u8": 8, "u16": 16, "u32": 32, "u64": 64}[a.type] - 1
    if a.max == top:
        return f"from {a.min}" if a.min else "any"
    return f"{a.min} to {a.max}"


def _body(title, b):
    out = _table([title, "name", "type", "unit", "range", "meaning"],
                 [(i, f"`{a.name}`", a.type, a.unit, _range(a), a.doc)
                  for i, a in enumerate(b.args)])
    if b.payload.type != "none":
        p = b.payload
        out += [f"{title.capitalize()} payload: {p.type}, {p.min} to {p.max} bytes: {p.doc}.", ""]
    elif not b.args:
        out += [f"The {title} is empty.", ""]
    return out


def _enum(e):
    rows = [(f"bit {v.value.bit_length() - 1}" if e.bits else v.value, f"`{v.name}`", v.doc)
            for v in e.values]
    return [f"### {e.name}", ""] + _table(["bit" if e.bits else "value", "name", "meaning"], rows)


def emit(model):
    out = ["# Reference of the protocol", "",
           "Made from `proto/schema.toml` by `proto/generate.py`. Records are little-endian and",
           f"naturally aligned; reserved bytes are zero and checked. Major version {model.major}.",
           "Features: " + ", ".join(f"`{x}`" for x in model.features) + ".", "",
           "A message's registers are numbered from 0: one in the header slot, seven in each",
           "further slot. A register that is left out is zero.", "",
           "## Limits", ""]
    out += _table(["limit", "value", "unit", "meaning"],
                  [(f"`{x.name}`", x.value, x.unit, x.doc) for x in model.limits])
    out += ["## Statuses", ""]
    out += _table(["number", "name", "meaning"],
                  [(v.value, f"`{v.name}`", v.doc) for v in model.statuses])
    heads = {"dataplane": "Messages to the own dataplane", "client": "Events to an endpoint",
             "link": "Messages between dataplanes, on a link", "service": "Messages to services"}
    for where, head in heads.items():
        out += [f"## {head}", ""]
        for o in (o for o in model.opcodes if o.to == [where]):
            out += [f"### {o.name}", "", f"Opcode {o.value:#06x}"
                    + (", async: never answered" if o.is_async else "") + f". {o.doc}", ""]
            out += _body("event" if o.event else "request", o.request)
            if o.reply:
                out += _body("reply", o.reply)
    out += ["## Records", ""]
    for r in model.records:
        magic = f", magic {r.magic:#06x}" if r.magic is not None else ""
        out += [f"### {r.name}", "", f"{r.size} bytes{magic}. {r.doc}", ""]
        out += _table(["offset", "field", "type", "meaning"],
                      [(f.at, f"`{f.name}`", f.type + (f"[{f.count}]" if f.count > 1 else ""),
                        f.doc + (f" (`{f.values.name}`)" if f.values else "")) for f in r.fields])
    out += ["## Values and flags", ""]
    for e in model.enums:
        out += _enum(e)
    return "\n".join(out)
