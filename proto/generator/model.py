# SPDX-License-Identifier: Apache-2.0
"""The schema as checked Python objects.

load() takes one or more TOML files: the first holds [proto], the others may add limits, records,
enums, flags and opcodes (a service can bring its own file). Every fault raises SchemaError, whose
text names the file, the entry and the key.
"""

import re
import tomllib
from dataclasses import dataclass, field

TYPES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "char": 1}
WHERES = ["dataplane", "service", "link", "client"]
ARGS_MAX = 22
PAYLOAD_MAX = 8192
SERVICE_FIRST = 0x1000  # opcodes from here on belong to services
U64_MAX = 2**64 - 1

NAME_RE = re.compile(r"^[a-z][a-z0-9_]*$")
UPPER_RE = re.compile(r"^[A-Z][A-Z0-9_]*$")
OPCODE_RE = re.compile(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")


class SchemaError(Exception):
    pass


@dataclass
class Value:
    value: int
    name: str
    doc: str


@dataclass
class Enum:
    name: str
    values: list
    bits: bool  # flags: each value is one bit
    doc: str = ""

    @property
    def prefix(self):
        return self.name.upper()

    @property
    def mask(self):
        return sum({v.value for v in self.values})


@dataclass
class Field:
    at: int
    name: str
    type: str
    count: int
    doc: str
    values: object = None  # Enum

    @property
    def size(self):
        return TYPES[self.type] * self.count

    @property
    def reserved(self):
        return re.fullmatch(r"reserved\d*", self.name) is not None


@dataclass
class Record:
    name: str
    size: int
    magic: int | None
    doc: str
    fields: list


@dataclass
class Arg:
    name: str
    type: str
    min: int
    max: int
    unit: str
    doc: str
    values: object = None  # Enum


@dataclass
class Payload:
    type: str  # "none", "bytes" or "string"
    min: int
    max: int
    doc: str


@dataclass
class Body:
    args: list = field(default_factory=list)
    payload: Payload = field(default_factory=lambda: Payload("none", 0, 0, ""))


@dataclass
class Opcode:
    name: str
    value: int
    to: list
    doc: str
    is_async: bool
    request: Body
    reply: Body | None

    @property
    def ident(self):
        return self.name.replace(".", "_").upper()

    @property
    def event(self):
        return "client" in self.to


@dataclass
class Limit:
    name: str
    value: int
    unit: str
    doc: str


@dataclass
class Model:
    major: int = 0
    features: list = field(default_factory=list)
    limits: list = field(default_factory=list)
    statuses: list = field(default_factory=list)
    records: list = field(default_factory=list)
    enums: list = field(default_factory=list)
    opcodes: list = field(default_factory=list)

    def enum(self, name):
        return next((e for e in self.enums if e.name == name), None)

    def record(self, name):
        return next((r for r in self.records if r.name == name), None)


class Entry:
    """One table of the schema, read with the keys it may have; says where it is in every error."""

    def __init__(self, file, path, table):
        self.file, self.path, self.table = file, path, table
        if not isinstance(table, dict):
            self.fail(None, "must be a table")

    def fail(self, key, what):
        where = f"{self.path}.{key}" if key else self.path
        raise SchemaError(f"{self.file}: {where}: {what}")

    def only(self, *keys):
        for k in self.table:
            if k not in keys:
                self.fail(k, "unknown key; known are " + ", ".join(keys))

    def get(self, key, kind, default=None, required=True):
        if key not in self.table:
            if required and default is None:
                self.fail(key, "is missing")
            return default
        v = self.table[key]
        if not isinstance(v, kind) or (isinstance(v, bool) and kind is int):
            self.fail(key, f"must be {kind.__name__}, not {v!r}")
        return v

    def number(self, key, default=None, low=0, high=U64_MAX, required=True):
        v = self.get(key, int, default, required)
        if v is not None and not low <= v <= high:
            self.fail(key, f"{v} is not in {low} to {high}")
        return v

    def text(self, key, default=None, required=True):
        v = self.get(key, str, default, required)
        if v is not None and any(ord(c) < 32 or ord(c) > 126 or c in '"\\' for c in v):
            self.fail(key, "may hold printable ASCII without quotes and backslashes only")
        return v

    def name(self, pattern, key="name"):
        v = self.get(key, str)
        if not pattern.match(v):
            self.fail(key, f"{v!r} does not match {pattern.pattern}")
        return v

    def children(self, key, default=None):
        for i, t in enumerate(self.get(key, list, default)):
            label = t.get("name", i) if isinstance(t, dict) else i
            yield Entry(self.file, f"{self.path}.{key}[{label}]", t)


def _unique(entry, key, value, seen):
    if value in seen:
        entry.fail(key, f"{value!r} is already that of {seen[value]}")
    seen[value] = entry.path


def _enum(model, e, bits):
    e.only("name", "doc", "bits" if bits else "values")
    out = Enum(e.name(NAME_RE), [], bits, e.text("doc", ""))
    names, values = {}, {}
    for v in e.children("bits" if bits else "values"):
        key = "bit" if bits else "value"
        v.only(key, "name", "doc")
        n = v.number(key, high=30 if bits else 0x7FFFFFFF)
        _unique(v, key, n, values)
        name = v.name(UPPER_RE)
        _unique(v, "name", name, names)
        out.values.append(Value(1 << n if bits else n, name, v.text("doc")))
    if not out.values:
        e.fail("bits" if bits else "values", "is empty")
    model.enums.append(out)


def _values(model, e):
    name = e.text("values", required=False)
    if name is None:
        return None
    if name == "status":
        return Enum("status", model.statuses, False)
    found = model.enum(name)
    if not found:
        e.fail("values", f"no enum or flags {name!r}")
    return found


def _record(model, e):
    e.only("name", "magic", "size", "doc", "fields")
    r = Record(e.name(NAME_RE), e.number("size", low=1, high=4096),
               e.number("magic", high=0xFFFF, required=False), e.text("doc"), [])
    end, widest, names, before = 0, 1, {}, "the start"
    for f in e.children("fields"):
        f.only("at", "name", "type", "count", "doc", "values")
        t = f.get("type", str)
        if t not in TYPES:
            f.fail("type", f"unknown type {t!r}; known are " + ", ".join(TYPES))
        x = Field(f.number("at"), f.name(NAME_RE), t, f.number("count", 1, low=1, high=4096),
                  f.text("doc"), _values(model, f))
        _unique(f, "name", x.name, names)
        if x.at % TYPES[t]:
            f.fail("at", f"{x.at} is not aligned for {t}")
        if x.at < end:
            f.fail("at", f"{x.at} overlaps {before}, which ends at {end}")
        if x.at > end:
            f.fail("at", f"{x.at} leaves a hole after {before}, which ends at {end}")
        end, widest, before = x.at + x.size, max(widest, TYPES[t]), x.name
        if end > r.size:
            f.fail("at", f"ends at {end}, past the record's size {r.size}")
        r.fields.append(x)
    if end != r.size:
        e.fail("size", f"is {r.size}, but the fields end at {end}")
    if r.size % widest:
        e.fail("size", f"{r.size} is not a multiple of its widest field, {widest}")
    if (r.magic is not None) != (r.fields[0].name == "magic"):
        e.fail("magic", "a record with a magic starts with a field of that name, and only such")
    model.records.append(r)


def _body(model, e):
    body, names = Body(), {}
    for a in e.children("args", []):
        a.only("name", "type", "min", "max", "values", "unit", "doc")
        t = a.get("type", str)
        if t not in TYPES or t == "char":
            a.fail("type", f"unknown type {t!r}; known are u8, u16, u32, u64")
        top = 2 ** (8 * TYPES[t]) - 1
        values = _values(model, a)
        if values and ("min" in a.table or "max" in a.table):
            a.fail("values", "gives the range; min and max do not go with it")
        low, high = 0, top
        if values and values.bits:
            high = values.mask
        elif values:
            low, high = min(v.value for v in values.values), max(v.value for v in values.values)
            if high > 63:
                a.fail("values", "an enum of an arg may have values up to 63")
        low, high = a.number("min", low, high=top), a.number("max", high, high=top)
        if low > high:
            a.fail("min", f"{low} is above max, {high}")
        x = Arg(a.name(NAME_RE), t, low, high, a.text("unit", ""), a.text("doc"), values)
        _unique(a, "name", x.name, names)
        body.args.append(x)
    if len(body.args) > ARGS_MAX:
        e.fail("args", f"has {len(body.args)}, more than {ARGS_MAX}")
    if "payload" in e.table:
        p = Entry(e.file, e.path + ".payload", e.table["payload"])
        p.only("type", "min", "max", "doc")
        t = p.get("type", str)
        if t not in ("bytes", "string"):
            p.fail("type", f"unknown type {t!r}; known are bytes, string")
        high = p.number("max", low=1, high=PAYLOAD_MAX)
        body.payload = Payload(t, p.number("min", 0, high=high), high, p.text("doc"))
    return body


def _opcode(model, e, names, values):
    e.only("name", "value", "to", "doc", "async", "args", "payload", "reply")
    name, value = e.name(OPCODE_RE), e.number("value", low=1, high=0xFFFF)
    _unique(e, "name", name, names)
    _unique(e, "value", value, values)
    to = e.get("to", list)
    for w in to:
        if w not in WHERES:
            e.fail("to", f"unknown place {w!r}; known are " + ", ".join(WHERES))
    if len(to) != 1:
        e.fail("to", "must name exactly one place")
    if (to == ["service"]) != (value >= SERVICE_FIRST):
        e.fail("value", f"opcodes to a service, and only they, start at {SERVICE_FIRST:#x}")
    is_async = e.get("async", bool, False)
    reply = None
    if "reply" in e.table:
        r = Entry(e.file, e.path + ".reply", e.table["reply"])
        r.only("args", "payload")
        reply = _body(model, r)
    if (is_async or to == ["client"]) and reply is not None:
        e.fail("reply", "an event or an async opcode has none")
    if is_async and to == ["client"]:
        e.fail("async", "an event is never answered anyway")
    if not is_async and to != ["client"] and reply is None:
        e.fail("reply", "is missing; write reply = {} or async = true")
    model.opcodes.append(Opcode(name, value, to, e.text("doc"), is_async, _body(model, e), reply))


def load(paths):
    model = Model()
    roots = []
    for path in paths:
        try:
            with open(path, "rb") as f:
                table = tomllib.load(f)
        except (OSError, tomllib.TOMLDecodeError) as err:
            raise SchemaError(f"{path}: {err}") from err
        root = Entry(path, "schema", table)
        root.only("proto", "limits", "status", "record", "flags", "enum", "opcode")
        roots.append(root)

    def entries(kind):
        for root in roots:
            for i, t in enumerate(root.get(kind, list, [])):
                label = t.get("name", i) if isinstance(t, dict) else i
                yield Entry(root.file, f"{kind}[{label}]", t)

    proto = Entry(roots[0].file, "proto", roots[0].get("proto", dict))
    proto.only("major", "features")
    model.major = proto.number("major", low=1, high=255)
    model.features = proto.get("features", list)
    for x in model.features:
        if not isinstance(x, str) or not NAME_RE.match(x) or model.features.count(x) > 1:
            proto.fail("features", f"{x!r} is no name or stands twice")

    seen = {}
    for root in roots:
        for name, t in root.get("limits", dict, {}).items():
            e = Entry(root.file, f"limits.{name}", t)
            e.only("value", "unit", "doc")
            _unique(e, "name", name, seen)
            model.limits.append(Limit(name, e.number("value", high=0x7FFFFFFF), e.text("unit"),
                                      e.text("doc")))
    for name, want in (("payload_max", PAYLOAD_MAX), ("args_max", ARGS_MAX), ("slots_max", 4)):
        if not any(x.name == name and x.value == want for x in model.limits):
            raise SchemaError(f"{roots[0].file}: limits.{name}: must be {want}: layouts rest on it")

    seen = {}
    for e in entries("status"):
        e.only("name", "text")
        name = e.name(UPPER_RE)
        _unique(e, "name", name, seen)
        model.statuses.append(Value(len(model.statuses), name, e.text("text")))
    if not model.statuses or model.statuses[0].name != "OK" or len(model.statuses) > 255:
        raise SchemaError(f"{roots[0].file}: status: the first is OK, and there are at most 255")

    seen = {"status": "status"}
    for kind in ("enum", "flags"):
        for e in entries(kind):
            _unique(e, "name", e.table.get("name"), seen)
            _enum(model, e, kind == "flags")
    seen, magics = {}, {}
    for e in entries("record"):
        _unique(e, "name", e.table.get("name"), seen)
        if "magic" in e.table:
            _unique(e, "magic", e.table["magic"], magics)
        _record(model, e)
    names, values = {}, {}
    for e in entries("opcode"):
        _opcode(model, e, names, values)
    model.opcodes.sort(key=lambda o: o.value)
    return model
