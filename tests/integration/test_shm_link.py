#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shared-memory link: two processes, every byte checked, either of them killed at any moment.

What must hold: a side that starts alone waits and can be ended; whoever survives a SIGKILL of the other goes
on; traffic flows both ways again after the other starts again; no frame is ever wrong.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

PEER = os.path.join(os.environ["ATOLL_BUILD"], "tests", "integration", "shm_peer")
KILLS = 40 if os.environ.get("ATOLL_TEST_FULL") == "1" else 6
TURNS = 1000
SEED = int(os.environ.get("ATOLL_SEED", "1"))
LINE = re.compile(r"up (\d) tx (\d+) rx (\d+) bad (\d+)")
# virtio-user (22.11) leaks what it had allocated when its peer goes away while it starts
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
CORES = sorted(os.sched_getaffinity(0))


class Side:
    def __init__(self, path, side, *args):
        self.path, self.side, self.args = path, side, args
        self.address = {"a": "10.0.0.1", "b": "10.0.0.2"}[side]
        self.core = CORES[0 if side == "a" else -1]
        self.process = None
        self.up = self.tx = self.rx = self.bad = 0

    def start(self):
        self.up, self.tx, self.rx, self.bad = 0, 0, 0, 0
        self.process = subprocess.Popen(
            [PEER, f"shm:{self.path},side={self.side}", self.address, *self.args], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if not os.environ.get("V") else None,
            text=True, env=ENV, preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        threading.Thread(target=self.read, args=(self.process,), daemon=True).start()

    def read(self, process):
        for line in process.stdout:
            m = LINE.match(line)
            if m and process is self.process:
                self.up, self.tx, self.rx, self.bad = map(int, m.groups())

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def wait(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    fail(f"no {what} in {seconds} s")


def fail(text):
    print("FAILED:", text)
    for s in sides:
        print(f"  side {s.side}: up {s.up} tx {s.tx} rx {s.rx} bad {s.bad}, "
              f"{'runs' if s.process and s.alive() else 'ended'}")
        if s.process and s.alive():
            s.kill()
    sys.exit(1)


def flows(a, b, count=200):
    """Both receive @count more, from now on."""
    at = a.rx, b.rx
    start = time.monotonic()
    wait(f"traffic both ways (side a had {at[0]}, side b {at[1]})",
         lambda: a.rx > at[0] + count and b.rx > at[1] + count or not (a.alive() and b.alive()))
    for s in (a, b):
        if not s.alive():
            fail(f"side {s.side} ended by itself with {s.process.returncode}")
        if s.bad:
            fail(f"side {s.side} got {s.bad} wrong frames")
    return time.monotonic() - start


if not os.path.exists(PEER):
    print("SKIP: this build has no DPDK")
    sys.exit(77)
directory = tempfile.mkdtemp(prefix="atoll-shm-")
random.seed(SEED)
a, b = (Side(os.path.join(directory, "link.sock"), s) for s in "ab")
sides = (a, b)
try:
    # alone, each can be ended
    for s in sides:
        s.start()
        wait(f"line of side {s.side}", lambda: s.tx or s.up or s.alive(), 5)
        time.sleep(0.7)
        if not s.alive():
            fail(f"side {s.side} alone ended with {s.process.returncode}")
        if s.end():
            fail(f"side {s.side} alone ended badly: {s.process.returncode}")
    if os.path.exists(a.path):
        fail("side a left its socket behind")
    # either first
    a.start()
    time.sleep(0.3)
    b.start()
    flows(a, b)
    # a second server on the same path is told off, and does no harm
    second = subprocess.run([PEER, f"shm:{a.path},side=a", "10.0.0.3"], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=60)
    if second.returncode == 0 or "another process" not in second.stderr:
        fail(f"a second side a: {second.returncode}, {second.stderr}")
    flows(a, b)
    slowest = {"a": 0.0, "b": 0.0}
    for i in range(KILLS):
        victim = sides[i % 2]
        time.sleep(random.random() * 0.3)
        victim.kill()
        time.sleep(random.choice((0, 0.05, 0.3)))
        victim.start()
        if i % 3 == 2:  # again, while it starts
            time.sleep(random.random() * 0.3)
            victim.kill()
            victim.start()
        slowest[victim.side] = max(slowest[victim.side], flows(a, b))
    # both
    a.kill()
    b.kill()
    b.start()
    a.start()
    flows(a, b)
    # clean ends
    if b.end():
        fail(f"side b ended with {b.process.returncode}")
    b.start()
    flows(a, b)
    if a.end():
        fail(f"side a ended with {a.process.returncode}")
    a.start()
    flows(a, b)
    if a.end() or b.end():
        fail("a side ended badly")
    # both asleep but for the frame that is under way: each must be woken
    a, b = sides = [Side(a.path, s, "turns") for s in "ab"]
    a.start()
    b.start()
    flows(a, b)
    took = flows(a, b, TURNS)
    for victim in (a, b, a, b):
        victim.kill()
        time.sleep(random.random() * 0.2)
        victim.start()
        flows(a, b, TURNS)
    print(f"a turn by sleeping processes: {took / TURNS * 1e6:.0f} us")
    print(f"{KILLS} kills; traffic again after at most {slowest['a']:.2f} s (side a), "
          f"{slowest['b']:.2f} s (side b)")
finally:
    for s in sides:
        if s.process and s.alive():
            s.kill()
    shutil.rmtree(directory, ignore_errors=True)
