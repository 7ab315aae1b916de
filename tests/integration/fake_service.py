#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for a service where svcctl alone is tested: attaches to fake_dataplane.py, again and again.

Arguments: `once` ends with status 0 after it has attached; `fail` ends with status 5; `deaf` heeds
neither SIGTERM nor its lifeline; `child` leaves a child of its own behind.
"""
import os
import select
import signal
import socket
import subprocess
import sys
import time


def attach():
    for _ in range(1000):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            s.connect(os.environ["ATOLL_SOCKET"])
            s.send(os.environ["ATOLL_SERVICE"].encode())
            if s.recv(64) == b"welcome":
                return s
        except OSError:
            pass
        s.close()
        time.sleep(0.01)
    sys.exit("no dataplane")


def main():
    how = sys.argv[1:]
    with open("/proc/self/status", encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    print("uid", os.getuid(), "caps", status["CapEff"], "nnp", status["NoNewPrivs"],
          "net", sorted(name for _, name in socket.if_nameindex()),
          "cpus", sorted(os.sched_getaffinity(0)), "args", how,
          "fds", sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")), flush=True)
    with open(os.environ["ATOLL_STATE"] + "/lives", "a", encoding="ascii") as f:
        f.write("x")
    if "fail" in how:
        sys.exit(5)
    if "child" in how:
        subprocess.Popen(["sleep", "1000"], start_new_session=False)
    if "deaf" in how:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        s = attach()
        while s:
            time.sleep(100)
    lifeline = int(os.environ["ATOLL_LIFELINE"])
    while True:
        s = attach()
        if "once" in how:
            time.sleep(0.2)
            sys.exit(0)
        ready, _, _ = select.select([s, lifeline], [], [])
        if lifeline in ready:
            sys.exit(0)
        s.close()


main()
