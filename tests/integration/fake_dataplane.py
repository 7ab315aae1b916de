#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for atoll-dataplane where svcctl alone is tested.

Speaks the admin protocol of ipc/admin.h: remembers which pid may claim which name, lets processes
"attach" by connecting to dataplane.sock and sending the name, and counts. It asks the keeper for
memory, as a real one does. How it misbehaves is in the file run_dir/fake (words):

  exit       ends with status 3 before it is ready
  mute       never answers on the admin socket
  refuse     refuses every service
"""
import array
import mmap
import os
import select
import socket
import struct
import sys

CONF, KEEPER, ADMIN = 3, 4, 5
SERVICE, STATUS, COUNTERS = 7, 8, 6
OK, NOT_FOUND, DENIED = 0, 7, 18


def run_dir():
    for line in os.fdopen(CONF).read().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "run_dir":
            return value.strip()
    sys.exit("no run_dir")


def keeper_file(keeper, size):
    keeper.send(struct.pack("<HHiQQII", 0x4174, 1, 0, 0, size, 0, 0))
    data, anc, _, _ = keeper.recvmsg(32, socket.CMSG_SPACE(4))
    error = struct.unpack("<HHiQQII", data)[2]
    if error:
        sys.exit(f"keeper: {error}")
    fds = array.array("i")
    fds.frombytes(anc[0][2][:4])
    return fds[0]


def counters(keeper):
    size = 64 + 128 * 256 + 8 * 256 + 128 * 192
    fd = keeper_file(keeper, size)
    page = mmap.mmap(fd, size)
    page[0:16] = struct.pack("<IIII", 0x41746E43, 1, 2, os.getpid())
    for i, name in enumerate((b"messages", b"attached")):
        page[64 + 128 * i:64 + 128 * i + len(name)] = name
    page[64 + 128 * 256:64 + 128 * 256 + 16] = struct.pack("<QQ", 42, 0)
    return fd, page


def main():
    path = run_dir()
    how = ""
    if os.path.exists(path + "/fake"):
        how = open(path + "/fake").read()
    print("fake dataplane", os.getpid(), how, flush=True)
    if "exit" in how:
        print("this is why", file=sys.stderr)
        sys.exit(3)
    keeper = socket.socket(fileno=KEEPER)
    admin = socket.socket(fileno=ADMIN)
    page_fd, page = counters(keeper)
    listen = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listen.bind(path + "/dataplane.sock")
    os.chmod(path + "/dataplane.sock", 0o666)
    listen.listen(16)
    lifeline = int(os.environ["ATOLL_LIFELINE"])
    may, attached, waiting = {}, {}, set()
    while True:
        ready, _, _ = select.select([admin, listen, lifeline, *waiting], [], [])
        for s in ready:
            if s is lifeline:
                os.unlink(path + "/dataplane.sock")
                sys.exit(0)
            if s is listen:
                waiting.add(listen.accept()[0])
            elif s is admin:
                data = admin.recv(256)
                if not data:
                    os.unlink(path + "/dataplane.sock")
                    sys.exit(0)
                if "mute" in how:
                    continue
                op, = struct.unpack_from("<H", data, 4)
                pid, = struct.unpack_from("<I", data, 48)
                name = data[56:120].rstrip(b"\0").decode()
                status, text = OK, b""
                if op == SERVICE:
                    may[name] = pid
                    if "refuse" in how:
                        status, text = DENIED, b"it has been told to"
                elif op == STATUS and name and name not in attached.values():
                    status = NOT_FOUND
                reply = struct.pack("<HBBHH", 0xA711, 1, 0, op, status).ljust(96, b"\0") + text
                fds = [page_fd] if op == COUNTERS else []
                socket.send_fds(admin, [reply.ljust(256, b"\0")], fds)
            else:
                name = s.recv(64).decode()
                if not name:
                    waiting.discard(s)
                    attached.pop(s, None)
                    s.close()
                    continue
                pid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                if may.get(name) == pid:
                    attached[s] = name
                    s.send(b"welcome")
                else:
                    s.send(b"not you")


main()
