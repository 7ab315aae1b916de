#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generator takes the schema and refuses a bad one: the message has the file and the key."""

import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("ATOLL_SOURCE") or os.path.join(os.path.dirname(__file__), "..", "..")
GENERATE = os.path.join(SOURCE, "proto", "generate.py")
SCHEMA = os.path.join(SOURCE, "proto", "schema.toml")

RECORD = """
[[record]]
name = "thing"
size = 16
doc = "a thing"
fields = [
  { at = 0, name = "a", type = "u32", doc = "a" },
  { at = 4, name = "b", type = "u32", doc = "b" },
  { at = 8, name = "c", type = "u64", doc = "c" },
]
"""
OPCODE = """
[[opcode]]
name = "test.do"
value = 0x7001
to = ["service"]
doc = "does it"
args = [{ name = "a", type = "u32", min = 1, max = 5, doc = "a" }]
payload = { type = "string", min = 1, max = 20, doc = "what" }
reply = {}
"""
ENUM = """
[[enum]]
name = "colour"
values = [{ value = 0, name = "RED", doc = "red" }, { value = 1, name = "BLUE", doc = "blue" }]
"""


def generate(kind, *extra):
    """Runs the generator over the schema and further files with these texts."""
    with tempfile.TemporaryDirectory() as d:
        files = []
        for i, text in enumerate(extra):
            files.append(os.path.join(d, f"extra{i}.toml"))
            with open(files[-1], "w") as f:
                f.write(text)
        return subprocess.run([sys.executable, GENERATE, kind, SCHEMA, *files],
                              capture_output=True, text=True, check=False)


class Good(unittest.TestCase):
    def test_schema(self):
        for kind in ("check", "header", "source", "docs"):
            done = generate(kind)
            self.assertEqual((done.returncode, done.stderr), (0, ""), kind)

    def test_same_twice(self):
        self.assertEqual(generate("source").stdout, generate("source").stdout)

    def test_file_of_a_service(self):
        done = generate("header", RECORD + OPCODE + ENUM)
        self.assertEqual(done.stderr, "")
        for want in ("OP_TEST_DO = 0x7001", "ARG_TEST_DO_A = 0", "struct proto_thing {",
                     "offsetof(struct proto_thing, c) == 8", "COLOUR_BLUE = 1"):
            self.assertIn(want, done.stdout)

    def test_every_opcode_is_documented(self):
        docs = generate("docs").stdout
        for line in generate("header").stdout.splitlines():
            if line.startswith("\tOP_"):
                self.assertIn(line.split("= ")[1][:6], docs)


class Bad(unittest.TestCase):
    def refused(self, text, *wants):
        done = generate("check", text)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for want in ("extra0.toml", *wants):
            self.assertIn(want, done.stderr)

    def edit(self, base, old, new, *wants):
        self.assertIn(old, base)
        self.refused(base.replace(old, new), *wants)

    def test_overlap(self):
        self.edit(RECORD, "at = 4,", "at = 0,", "record[thing].fields[b].at", "overlaps a")

    def test_misaligned(self):
        self.edit(RECORD, "at = 4,", "at = 6,", "record[thing].fields[b].at", "not aligned")

    def test_hole(self):
        self.edit(RECORD, 'at = 4, name = "b", type = "u32"', 'at = 4, name = "b", type = "u16"',
                  "record[thing].fields[c].at", "hole")

    def test_size(self):
        self.edit(RECORD, "size = 16", "size = 24", "record[thing].size")
        self.edit(RECORD, "size = 16", "size = 12", "record[thing].fields[c].at", "past")

    def test_magic(self):
        self.edit(RECORD, "size = 16", "size = 16\nmagic = 0x1234", "record[thing].magic")
        self.edit(RECORD, "size = 16", "size = 16\nmagic = 0xA701", "record[thing].magic",
                  "already")

    def test_record_twice(self):
        self.refused(RECORD + RECORD, "record[thing].name", "already")

    def test_field(self):
        self.edit(RECORD, 'name = "b"', 'name = "a"', "fields[a].name", "already")
        self.edit(RECORD, 'name = "b"', 'name = "B b"', "fields[B b].name")
        self.edit(RECORD, '"u64"', '"i64"', "fields[c].type", "u8, u16, u32, u64")
        self.edit(RECORD, 'doc = "b"', 'dox = "b"', "fields[b].dox", "unknown key")
        self.edit(RECORD, ', doc = "b"', "", "fields[b].doc", "missing")

    def test_opcode_twice(self):
        self.edit(OPCODE, "0x7001", "0x1001", "opcode[test.do].value", "echo.echo")
        self.edit(OPCODE, "test.do", "dp.ping", "opcode[dp.ping].name", "already")

    def test_opcode_page(self):
        self.edit(OPCODE, "0x7001", "0x0300", "opcode[test.do].value")
        self.edit(OPCODE, '"service"', '"link"', "opcode[test.do].value")
        self.edit(OPCODE, "0x7001", "0x70010", "opcode[test.do].value")

    def test_opcode_to(self):
        self.edit(OPCODE, '"service"', '"anybody"', "opcode[test.do].to", "anybody")
        self.edit(OPCODE, '["service"]', "[]", "opcode[test.do].to")

    def test_opcode_reply(self):
        self.edit(OPCODE, "reply = {}", "", "opcode[test.do].reply", "async")
        self.edit(OPCODE, "reply = {}", "reply = {}\nasync = true", "opcode[test.do].reply")
        self.edit(OPCODE, "reply = {}", "reply = { args = [{ name = 3 }] }",
                  "opcode[test.do].reply.args[3]")

    def test_arg_range(self):
        self.edit(OPCODE, "min = 1", "min = 6", "opcode[test.do].args[a].min", "above max")
        self.edit(OPCODE, "max = 5", "max = 0x100000000", "args[a].max")
        self.edit(OPCODE, "min = 1", "min = -1", "args[a].min")
        self.edit(OPCODE, "min = 1", "min = true", "args[a].min")

    def test_arg_values(self):
        self.edit(OPCODE, "min = 1, max = 5", 'values = "gone", max = 5', "args[a].values")
        self.edit(OPCODE, "min = 1, max = 5", 'values = "flavour"', "args[a].values", "flavour")

    def test_too_many_args(self):
        args = ", ".join(f'{{ name = "a{i}", type = "u8", doc = "x" }}' for i in range(23))
        self.edit(OPCODE, '{ name = "a", type = "u32", min = 1, max = 5, doc = "a" }', args,
                  "opcode[test.do].args", "23")

    def test_payload(self):
        self.edit(OPCODE, "max = 20", "max = 8193", "opcode[test.do].payload.max")
        self.edit(OPCODE, "min = 1, max = 20", "min = 21, max = 20", "opcode[test.do].payload.min")
        self.edit(OPCODE, '"string"', '"json"', "opcode[test.do].payload.type", "json")

    def test_enum(self):
        self.edit(ENUM, "value = 1", "value = 0", "enum[colour].values[BLUE].value", "already")
        self.edit(ENUM, '"BLUE"', '"RED"', "enum[colour].values[RED].name", "already")
        self.edit(ENUM, '"colour"', '"gone"', "enum[gone].name", "already")

    def test_toml(self):
        self.refused("[[record]", "line 1")
        self.refused("[colours]\nred = 1", "schema.colours", "unknown key")
        self.refused("record = 3", "schema.record")
        self.refused("record = [3]", "record[0]")

    def test_quotes(self):
        self.edit(OPCODE, 'doc = "does it"', "doc = 'a \"quote\"'", "opcode[test.do].doc")


if __name__ == "__main__":
    unittest.main()
