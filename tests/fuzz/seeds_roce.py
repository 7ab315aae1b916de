#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the seeds of fuzz_roce: seeds_roce.py DIRECTORY.

Each is a dialogue with the QP that goes as the protocol wants it, so that the fuzzer starts from
deep states: see the steps in fuzz_roce.c.
"""
import struct
import sys
from pathlib import Path

KEY, BASE = 0x1234, 0x100000
RAW, PACKET, POST, TIME, HOST, MAD = range(6)
SEND, WRITE, READ, CAS, FAA = range(5)
SE, ACK_REQ, FULL = 0x80, 0x01, 0x02


def packet(opcode, body=b'', flags=0, psn=0):
    return struct.pack('>BBBbH', PACKET, opcode, flags, psn, len(body)) + body


def full(opcode, flags=0, ext=b'', psn=0):
    """A packet with a whole MTU of payload behind its extended header."""
    return struct.pack('>BBBbH', PACKET, opcode, flags | FULL, psn, len(ext)) + ext


def post(op, length, flags=2):
    return struct.pack('>BBBH', POST, op, flags, length)


def host(bits):
    return bytes([HOST, bits])


def time(units):
    return bytes([TIME, units])


def reth(length, offset=0, key=KEY):
    return struct.pack('>QII', BASE + offset, key, length)


def atomic(offset, swap, compare=0):
    return struct.pack('>QIQQ', BASE + offset, KEY, swap, compare)


def aeth(syndrome=0x1f, msn=0):
    return struct.pack('>I', syndrome << 24 | msn)


def conf(atoll=1, mtu=0, depth=4, recv=1):
    return bytes([atoll | mtu << 1 | depth << 3 | recv << 6])


SEEDS = {
    'send_only': conf() + packet(0x04, b'hello', SE | ACK_REQ),
    'send_long': conf() + full(0x00) + full(0x01) + packet(0x02, b'end', SE | ACK_REQ),
    'send_too_long': conf(recv=0) + full(0x00) + packet(0x02, b'end', ACK_REQ),
    'send_busy': conf() + host(2) + packet(0x04, b'wait') + host(0) + packet(0x04, b'wait'),
    'write_only': conf() + packet(0x0a, reth(64) + bytes(64), ACK_REQ),
    'write_long': conf() + full(0x06, 0, reth(600)) + full(0x07) + packet(0x08, bytes(88), ACK_REQ),
    'write_revoked': conf() + full(0x06, 0, reth(600)) + host(8) + full(0x07)
    + packet(0x08, bytes(88), ACK_REQ),
    'write_refused': conf() + packet(0x0a, reth(64, 5000) + bytes(64), 0)
    + packet(0x0a, reth(8) + bytes(8), SE) + packet(0x0a, reth(8) + bytes(8), SE, -1),
    'write_refused_stock': conf(atoll=0) + packet(0x0a, reth(64, 5000) + bytes(64), ACK_REQ),
    'read': conf() + packet(0x0c, reth(2000)) + packet(0x0c, reth(2000), 0, -8),
    'read_revoked': conf() + host(96) + packet(0x0c, reth(3000)) + time(1) + host(8) + time(1),
    'read_revoked_stock': conf(atoll=0) + host(96) + packet(0x0c, reth(3000)) + host(8) + time(1),
    'answers_pile_up': conf(depth=7) + host(32) + packet(0x0c, reth(3000)) * 7
    + packet(0x14, atomic(8, 1)) * 2 + packet(0x0c, reth(300), 0, -14) + host(0),
    'atomics': conf() + packet(0x13, atomic(8, 5)) + packet(0x14, atomic(8, 1), SE)
    + packet(0x14, atomic(8, 1), SE, -1) + packet(0x14, atomic(9, 1), SE),
    'gap': conf() + packet(0x04, b'late', ACK_REQ, 1) + packet(0x04, b'first', ACK_REQ),
    'post_send': conf() + post(SEND, 700) + packet(0x11, aeth(), 0, 2),
    'post_write_status': conf() + post(WRITE, 700) + packet(0xc1, aeth(3), 0, 2),
    'post_write_lost_status': conf() + post(WRITE, 8) + post(WRITE, 8)
    + packet(0x11, aeth(0x1f, 1), 0, 1) + packet(0xc1, aeth(3)) + packet(0x11, aeth(0x1f, 1)),
    'post_read': conf() + post(READ, 700) + full(0x0d, 0, aeth()) + full(0x0e)
    + packet(0x0f, aeth() + bytes(188)),
    'post_read_cut': conf() + post(READ, 700) + full(0x0d, 0, aeth()) + time(60) + time(60)
    + full(0x0d, 0, aeth()) + packet(0x0f, aeth() + bytes(188)),
    'post_read_one': conf() + post(READ, 64) + packet(0x10, aeth() + bytes(64)),
    'post_atomic': conf() + post(CAS, 8) + post(FAA, 8) + packet(0x12, aeth() + bytes(8))
    + packet(0x12, aeth() + bytes(8)),
    'post_rnr': conf() + post(SEND, 8) + packet(0x11, aeth(0x26)) + time(5) + packet(0x11, aeth()),
    'post_nak': conf() + post(SEND, 600) + packet(0x11, aeth(0x60)) + packet(0x11, aeth(), 0, 2),
    'post_fatal': conf(atoll=0) + post(WRITE, 8) + packet(0x11, aeth(0x62)),
    'post_silence': conf() + post(WRITE, 600) + time(255) * 10,
    'post_late_status': conf() + post(READ, 700) + full(0x0d, 0, aeth())
    + packet(0xc1, aeth(0x83), 0, 1),
    'congestion': conf() + packet(0x04, b'x', 4 | ACK_REQ) + packet(0x81, bytes(16)),
    'port_full': conf() + host(4) + post(SEND, 2000) + time(250) + host(0) + time(1),
    'raw': conf() + struct.pack('>BH', RAW, 44) + bytes([0x45]) + bytes(43),
    'mad_req': conf() + bytes([MAD, 0x10]) + bytes(232),
    'mad_rej': conf() + bytes([MAD, 0x12]) + bytes(8) + b'\x40\x06\0\x1c' + bytes(220),
}


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (out / name).write_bytes(data)


if __name__ == '__main__':
    main()
