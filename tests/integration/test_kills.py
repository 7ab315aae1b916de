#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of client, service, dataplane, keeper and supervisor at random moments, on two nodes.

After each kill the nodes must be whole again (or, when a keeper or a supervisor was killed, must have ended
without leaving a process behind, and start anew), and every request of every client that lived must have
ended with a status. Seed: $ATOLL_SEED; count: $ATOLL_KILLS, 50, or 500 with $ATOLL_TEST_FULL.
"""
import os
import random
import signal
import subprocess
import sys
import time

from node import BUILD, Dir, status, svcctl, two_nodes, wait_for

CLIENT = os.path.join(BUILD, "tests/integration/kill_client")
SEED = int(os.environ.get("ATOLL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
COUNT = int(os.environ.get("ATOLL_KILLS", "500" if os.environ.get("ATOLL_TEST_FULL") else "50"))

SERVICE = """
[service echo]
exec = echo
backoff_ms = 5
"""

# what is killed, and how often out of a hundred
VICTIMS = [("client", 25), ("echo", 20), ("dataplane", 30), ("keeper", 12), ("svcctl", 13)]


class Failed(Exception):
    pass


class Test:
    def __init__(self, where):
        self.dir = where
        self.random = random.Random(SEED)
        self.udp = 20000 + self.random.randrange(20000)
        self.files = two_nodes(where, self.udp, {"b": SERVICE}, "heartbeat_ms = 100")
        self.client = None
        self.unanswered = 0
        self.endings = {}

    def up(self, name):
        out = svcctl("up", "-d", self.files[name])
        if out.returncode:
            raise Failed(f"up {name}: {out.stdout}{out.stderr}")

    def client_start(self):
        env = dict(os.environ, ATOLL_SOCKET=os.path.join(self.dir.path, "a", "dataplane.sock"))
        self.client = subprocess.Popen([CLIENT, "b/echo"], env=env, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)

    def client_end(self):
        """The client that lived through it all: everything that it sent has ended."""
        self.client.send_signal(signal.SIGTERM)
        try:
            out, err = self.client.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.client.kill()
            raise Failed("the client does not end: requests without an answer?") from None
        lines = out.splitlines()
        if self.client.returncode:
            raise Failed(f"client: exit {self.client.returncode}: {out} {err}")
        for line in lines[2:]:
            key, value = line.split()
            self.endings[key] = self.endings.get(key, 0) + int(value)

    def pid(self, name, process):
        return status(self.files[name])["processes"].get(process, {}).get("pid", 0)

    def whole(self, name):
        state = status(self.files[name])
        return state.get("state") == "up" and all(
            p["state"] == "ready" for p in state["processes"].values())

    def ended(self, name):
        """No process of the node is left."""
        mark = f"ATOLL_SOCKET={self.dir.path}/{name}/".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if mark in f.read() and int(pid) != self.client.pid:
                        return False
            except OSError:
                pass
        return True

    def kill_one(self):
        kind = self.random.choices([v[0] for v in VICTIMS], [v[1] for v in VICTIMS])[0]
        node = self.random.choice("ab")
        time.sleep(self.random.random() * 0.2)
        if kind == "client":
            self.client.kill()
            self.client.communicate()
            self.client_start()
            return kind
        if kind == "echo":
            node = "b"
        if kind == "svcctl":
            pids = [p for p in self.dir.supervisors() if self.of_node(p, node)]
        else:
            pids = [self.pid(node, kind)]
        for pid in filter(None, pids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        # Until it is reaped, its supervisor does not know, and says that all is well.
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in filter(None, pids)), 5)
        if kind in ("keeper", "svcctl"):
            if not wait_for(lambda: self.ended(node), 10):
                raise Failed(f"node {node} has not ended 10 s after its {kind} was killed")
            self.up(node)
        if not wait_for(lambda: self.whole(node), 15, 0.05):
            raise Failed(f"node {node} is not whole 15 s after its {kind} was killed:\n"
                         f"{status(self.files[node])}")
        return f"{kind} {node}"

    def of_node(self, pid, node):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return self.files[node].encode() in f.read()
        except OSError:
            return False

    def works(self):
        """A fresh client gets answers."""
        env = dict(os.environ, ATOLL_SOCKET=os.path.join(self.dir.path, "a", "dataplane.sock"))
        with subprocess.Popen([CLIENT, "b/echo"], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as probe:
            time.sleep(0.5)
            probe.send_signal(signal.SIGTERM)
            out, err = probe.communicate(timeout=60)
        if probe.returncode or "OK " not in out:
            raise Failed(f"after all of it a fresh client gets no answer: {out} {err}")

    def run(self):
        kinds = {}
        for name in "ba":
            self.up(name)
        self.client_start()
        for i in range(COUNT):
            kind = self.kill_one()
            kinds[kind] = kinds.get(kind, 0) + 1
            if self.client.poll() is not None:
                out, err = self.client.communicate()
                raise Failed(f"kill {i + 1} ({kind}): the client ended by itself: {out} {err}")
        time.sleep(0.5)
        self.client_end()
        wait_for(lambda: self.whole("a") and self.whole("b"), 15, 0.05)
        self.works()
        for name in "ab":
            out = svcctl("down", self.files[name])
            if out.returncode:
                raise Failed(f"down {name}: {out.stdout}{out.stderr}")
        left = self.dir.processes() + self.dir.supervisors()
        if left:
            raise Failed(f"processes are left after down: {left}")
        sockets = [os.path.join(d, f) for d, _, files in os.walk(self.dir.path) for f in files
                   if f.endswith(".sock")]
        if sockets:
            raise Failed(f"sockets are left after down: {sockets}")
        print(f"{COUNT} kills: " + ", ".join(f"{v} {k}" for k, v in sorted(kinds.items())))
        print("requests ended: " + ", ".join(f"{v} {k}" for k, v in sorted(self.endings.items())))


def main():
    print(f"seed {SEED} (ATOLL_SEED={SEED} replays the order of kills)", flush=True)
    where = Dir()
    test = Test(where)
    try:
        test.run()
    except Failed as e:
        print(f"FAILED: {e}")
        for name in "ab":
            for log in ("dataplane", "keeper", "echo"):
                out = svcctl("logs", test.files[name], log)
                print(f"--- {name}/{log}\n{out.stdout[-1500:]}")
        return 1
    finally:
        if test.client and test.client.poll() is None:
            test.client.kill()
        where.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
