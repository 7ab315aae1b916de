#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generated dissector against the C decoder: the same random records, valid and not, field by field;
and messages inside RoCEv2 against the same messages in a trace."""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

SOURCE = os.environ.get("ATOLL_SOURCE", os.getcwd())
BUILD = os.environ.get("ATOLL_BUILD", os.path.join(os.getcwd(), "build"))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SOURCE, "proto"))
from generator import model  # noqa: E402

MSGDUMP = os.path.join(BUILD, "tools/msgdump/msgdump")
SCHEMA = model.load([os.path.join(SOURCE, "proto/schema.toml")])
RECORDS = 600
USER0, ETHERNET = 0, 1
POINTS = {"FROM_RING": 1, "TO_RING": 2, "TO_LINK": 3, "FROM_LINK": 4, "VERB": 5, "COMPLETION": 6, "REFUSED": 7}
REPLY = 1
U64 = 2**64 - 1


def block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def capture(packets):
    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack("<HHI", 147, 0, 0)) + block(1, struct.pack("<HHI", 1, 0, 0))
    for i, (interface, data) in enumerate(packets):
        out += block(6, struct.pack("<IIIII", interface, 0, i, len(data), len(data)) + data)
    return out


def message(r, slots=None):
    """A record of random content: of a known opcode with good registers, or of any."""
    op = r.choice(SCHEMA.opcodes)
    good = r.random() < 0.5
    flags = r.choice((0, REPLY)) if good else r.choice((0, 1, 2, 4, 7, r.randrange(2**16)))
    status = 0 if not flags & REPLY or r.random() < 0.5 else r.randrange(len(SCHEMA.statuses) + 3)
    body = (op.reply or op.request) if flags & REPLY else op.request
    args = [r.randint(a.min, a.max) if good else r.choice((0, a.max, r.randint(0, U64)))
            for a in body.args]
    args += [0 if good else r.choice((0, r.randint(0, U64))) for _ in range(22 - len(args))]
    if slots is None:
        slots = r.choice((1, 2)) if good else r.randrange(256)
    opcode = op.value if good or r.random() < 0.7 else r.randrange(2**16)
    head = struct.pack("<HBBHHIIIHHQIIIIQII", 0xA701, SCHEMA.major, slots, opcode, flags,
                       r.choice((0, 5, 30, 8192, r.randrange(2**32))), r.randrange(2**32), r.randrange(2**32),
                       status, r.randrange(2**16), r.randint(0, U64), r.randrange(2**32),
                       r.randrange(2**32), r.choice((0, r.randrange(2**32))),
                       r.choice((0, r.randrange(2**32))), args[0], r.randrange(2**32), 0)
    more = [struct.pack("<7QII", *args[1 + s * 7:8 + s * 7], 0, 0) for s in range(3)]
    return head + b"".join(more)


def entry(r):
    point = r.choice(list(POINTS.values()))
    if point in (POINTS["VERB"], POINTS["COMPLETION"]):
        slots = r.randbytes(128)
        if point == POINTS["VERB"] and r.random() < 0.7:
            slots = slots[:4] + bytes((r.randrange(6), r.randrange(4))) + slots[6:]
        elif r.random() < 0.7:
            slots = slots[:6] + bytes((r.randrange(20),)) + slots[7:]
            slots = slots[:16] + bytes(r.randrange(25) for _ in range(16)) + slots[32:]
        captured = 0
    else:
        slots = message(r)[:128]
        captured = r.choice((0, 5, 32, r.randrange(2**32)))
    text = bytes(r.randrange(0x20, 0x7f) for _ in range(32))
    return struct.pack("<HBBIQII", 0xA730, point, r.randrange(1, 255), r.randrange(2**32), r.randint(0, U64),
                       r.randrange(2**32), captured) + slots + text + struct.pack("<Q", r.randint(0, U64))


def roce(payload):
    bth = struct.pack(">BBHIBBHB", 4, 0x40, 0xffff, 0x000012, 0, 0, 7, 0)[:12]
    data = bth + payload + bytes(4)
    udp = struct.pack(">HHHH", 0xc001, 4791, len(data) + 8, 0)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(data), 0, 0x4000, 64, 17, 0, 0x0a000001, 0x0a000002)
    return bytes(12) + b"\x08\x00" + ip + udp + data


def number(text):
    return int(text, 0)


class Shown:
    """The fields of one `atoll` tree of tshark's, nested trees left out."""

    def __init__(self, proto):
        self.fields = {}
        for f in proto.iter("field"):
            self.fields.setdefault(f.get("name"), []).append(f.get("show"))

    def has(self, name):
        return name in self.fields

    def one(self, name):
        return self.fields[name][-1]

    def number(self, name):
        return number(self.one(name))


def value_of(enum, shown):
    """What the C decoder says about a value: its name, a number, or names and what is left of bits."""
    if enum.bits:
        rest, value = 0, 0
        for x in shown:
            hit = [v.value for v in enum.values if v.name == x]
            value |= hit[0] if hit else number(x)
        return value | rest
    hit = [v.value for v in enum.values if v.name == shown]
    return hit[0] if hit else int(shown)


STATUS = model.Enum("status", SCHEMA.statuses, False)


class Dissector(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="atoll.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.lua = os.path.join(self.dir, "atoll.lua")
        with open(self.lua, "wb") as f:
            subprocess.run([MSGDUMP, "--plugin"], stdout=f, check=True)
        self.seed = int(os.environ.get("ATOLL_SEED") or 1)

    def tshark(self, packets):
        path = os.path.join(self.dir, "capture.pcapng")
        with open(path, "wb") as f:
            f.write(capture(packets))
        out = subprocess.run(["tshark", "-X", f"lua_script:{self.lua}", "-r", path, "-T", "pdml"], check=False,
                             capture_output=True, timeout=60, env=dict(os.environ, HOME=self.dir))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertNotIn(b"Lua", out.stderr)
        found = []
        for packet in xml.etree.ElementTree.fromstring(out.stdout).iter("packet"):
            found.append([Shown(p) for p in packet.findall("proto") if p.get("name") == "atoll"])
        return path, found

    def compare_args(self, body, c, t, prefix):
        args = dict(c["args"])
        for a in body.args if body else []:
            shown = args.pop(a.name)
            value = value_of(a.values, shown) if a.values else int(shown)
            self.assertEqual(value, t.number(prefix + a.name), a.name)
        rest = [number(x) for x in t.fields.get("atoll.register", [])]
        self.assertEqual([int(v) for v in args.values()], rest)

    def compare_message(self, c, t):
        self.assertEqual(c["opcode"], t.number("atoll.message.opcode"))
        self.assertEqual(c["kind"], t.one("atoll.kind"))
        self.assertEqual(int(c["req"]), t.number("atoll.message.req_id"))
        self.assertEqual(c["length"], t.number("atoll.message.length"))
        self.assertEqual(c.get("budget_us", 0), t.number("atoll.message.budget_us"))
        self.assertEqual(c.get("trace", 0), t.number("atoll.message.trace_id"))
        reply, failed = c["kind"] == "reply", False
        if reply:
            value = value_of(STATUS, c["status"])
            self.assertEqual(value, t.number("atoll.message.status"))
            failed = value != 0
        else:
            self.assertEqual(c["handle"],
                             f"{t.number('atoll.message.dst_slot')}:{t.number('atoll.message.dst_gen')}")
        op = next((o for o in SCHEMA.opcodes if o.value == c["opcode"]), None)
        self.assertEqual(c["name"], op.name if op else None)
        self.assertEqual(t.one("atoll.name"), op.name if op else f"opcode 0x{c['opcode']:04x}")
        body = op and not failed and (op.reply if reply else op.request)
        self.compare_args(body or None, c, t, f"atoll.{op.name}.{'reply' if reply else 'request'}." if op else "")
        shown = t.fields.get("atoll.payload.data", [None])[0]
        if shown is not None:
            self.assertEqual(c["payload"], shown.replace(":", ""))
        elif t.has("atoll.payload.text"):
            self.assertEqual(bytes.fromhex(c["payload"]).decode(), t.one("atoll.payload.text"))
        else:
            self.assertNotIn("payload", c)

    def compare_verb(self, c, t):
        op = next(e for e in SCHEMA.enums if e.name == "verb_op")
        flags = next(e for e in SCHEMA.enums if e.name == "verb_flag")
        self.assertEqual(value_of(op, c["op"]), t.number("atoll.verb.op"))
        self.assertEqual(value_of(flags, c["flags"]), t.number("atoll.verb.flags"))
        for mine, its in (("lane", "lane"), ("cookie", "cookie"), ("length", "len"),
                          ("remote_offset", "remote_offset"), ("local_offset", "local_offset")):
            self.assertEqual(int(c[mine]), t.number(f"atoll.verb.{its}"), mine)
        for side in ("remote", "local"):
            self.assertEqual(c[side],
                             f"{t.number(f'atoll.verb.{side}_slot')}:{t.number(f'atoll.verb.{side}_gen')}")
        atomic = c["op"] in ("CAS", "FAA")
        self.assertEqual(atomic, t.has("atoll.verb_operands.swap"))
        if c["op"] == "CAS":
            self.assertEqual(int(c["compare"]), t.number("atoll.verb_operands.compare"))
        if atomic:
            self.assertEqual(int(c["swap" if c["op"] == "CAS" else "add"]),
                             t.number("atoll.verb_operands.swap"))

    def compare_completion(self, c, t):
        self.assertEqual(c["lane"], t.number("atoll.completion.lane"))
        self.assertEqual(int(c["cookie"]), t.number("atoll.completion.cookie"))
        self.assertEqual([value_of(STATUS, s) for s in c["status"]],
                         [number(s) for s in t.fields.get("atoll.verb_status", [])])

    def test_same_as_the_c_decoder(self):
        r = random.Random(self.seed)
        path, shown = self.tshark([(USER0, entry(r)) for _ in range(RECORDS)])
        out = subprocess.run([MSGDUMP, "--heartbeats", "--read", path, "--json"], capture_output=True,
                             check=True, timeout=30)
        decoded = [json.loads(line) for line in out.stdout.splitlines()]
        self.assertEqual((len(decoded), len(shown)), (RECORDS, RECORDS))
        seen = set()
        for i, (c, trees) in enumerate(zip(decoded, shown)):
            with self.subTest(record=i, seed=self.seed):
                self.assertEqual(len(trees), 1)
                t = trees[0]
                self.assertEqual(POINTS[c["point"].upper().replace("-", "_")], t.number("atoll.trace_entry.point"))
                self.assertEqual(c["node"], t.number("atoll.trace_entry.node"))
                compare = {"verb": self.compare_verb, "completion": self.compare_completion}
                compare.get(c["kind"], self.compare_message)(c, t)
                seen.add(c["kind"])
        self.assertLessEqual({"request", "reply", "verb", "completion"}, seen)

    def test_messages_inside_rocev2(self):
        """Several messages a packet, payloads between them; the same in traces of two slots each."""
        r = random.Random(self.seed + 1)
        traces, packets, counts = [], [], []
        for _ in range(60):
            payload, n = b"", r.randrange(1, 5)
            for _ in range(n):
                slots = r.choice((1, 2))
                m = bytearray(message(r, slots)[:slots * 64])
                m[6] &= 7
                m[7] = 0
                length = r.choice((0, 5, 30))
                m[8:12] = struct.pack("<I", length)
                data = bytes(r.randrange(0x20, 0x7f) for _ in range(length))
                payload += bytes(m) + data + bytes(-length % 8)
                traces.append((USER0, struct.pack("<HBBIQII", 0xA730, 3, 1, 0, 0, 0, length)
                               + bytes(m) + bytes(128 - len(m)) + data + bytes(40 - length)))
            packets.append((ETHERNET, roce(payload)))
            counts.append(n)
        _, alone = self.tshark(traces)
        _, inside = self.tshark(packets)
        self.assertEqual([len(p) for p in inside], counts)
        flat = [t for p in inside for t in p]
        for i, (a, b) in enumerate(zip(alone, flat)):
            with self.subTest(message=i, seed=self.seed + 1):
                mine = {k: v for k, v in a[0].fields.items() if k.startswith("atoll.") and ".trace_entry." not in k}
                its = {k: v for k, v in b.fields.items() if k.startswith("atoll.")}
                self.assertEqual(mine, its)

    def test_nonsense_inside_rocev2_is_left_alone(self):
        r = random.Random(self.seed + 2)
        packets = []
        for _ in range(100):
            m = bytearray(message(r, r.randrange(6)))
            for _ in range(r.randrange(3)):
                m[r.randrange(4)] = r.randrange(256)
            packets.append((ETHERNET, roce(bytes(m)[:r.choice((4, 60, 64, 100, 256))])))
        _, shown = self.tshark(packets)
        self.assertEqual(len(shown), 100)


if __name__ == "__main__":
    if not shutil.which("tshark"):
        print("skipped: tshark is not installed (./atoll deps --full)")
        sys.exit(77)
    unittest.main(verbosity=1)
