#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that run on one node, forked onto another one by afork: they end as if they had never been forked, whatever
dies meanwhile ends clearly, and nothing is left."""
import concurrent.futures
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from forking import AFORK, MEMORY, Forking, building, children, pids  # noqa: E402
from node import BUILD, svcctl, wait_for  # noqa: E402

FUNCTION = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fork", "function.py")
CARRIED = os.path.join(BUILD, "tests/fork/carried")
ITEMS = os.path.join(BUILD, "tests/fork/items")
KILLAT = os.path.join(BUILD, "tests/fork/killat")
FULL = os.environ.get("ATOLL_TEST_FULL") == "1"
API = os.path.join(BUILD, "tests/fork/api")

PYTHON = """
import hashlib, os, time
d = {i: str(i) * 5 for i in range(60000)}
h = hashlib.sha256()
n = 0
for n in range(300):
    h.update(d[(n * 7919) % 60000].encode())
    d[n] = d[n][::-1]
    time.sleep(0.005)
h.update(repr(sorted(d.items())).encode())
print(os.getpid(), h.hexdigest())
"""

# Two users that nobody is.
MINE, OTHER = 60001, 60002

THREADS = """
import os, threading, time
def work(k):
    while True:
        if sum(range(k, 1000 + k)) != 499500 + 1000 * k:
            os._exit(3)
        time.sleep(0.001)
for k in range(3):
    threading.Thread(target=work, args=(k,)).start()
"""


class Fork(Forking):
    def setUp(self):
        self.linked()

    def test_memory(self):
        for item in ("all", "threads"):
            parent = self.program(MEMORY, item, "1.5")
            time.sleep(0.4)
            handle = self.prepare(parent)
            child = self.resume(handle)
            out, err = child.communicate(timeout=60)
            self.assertEqual((child.returncode, out), (0, f"good {parent.pid}\n"), err)
            self.assertEqual(parent.communicate(timeout=60)[0], out)
            self.reclaim(handle)

    def test_python_and_two_children(self):
        parent = self.program(sys.executable, "-S", "-c", PYTHON)
        time.sleep(0.8)
        handle = self.prepare(parent)
        children = [self.resume(handle), self.resume(handle, "-n", "2")]
        outs = [c.communicate(timeout=60) for c in children]
        mine = parent.communicate(timeout=60)[0]
        self.assertEqual((children[0].returncode, outs[0][0]), (0, mine), outs[0][1])
        self.assertEqual((children[1].returncode, outs[1][0]), (0, mine * 2), outs[1][1])
        stat = self.afork(self.b, "stat").stdout
        self.assertIn("processes in all             3", stat)
        self.assertIn("faults lost                  0", stat)
        self.reclaim(handle)

    def test_spawn(self):
        parent = self.program(MEMORY, "read", "1.5")
        time.sleep(0.4)
        out = self.afork(self.a, "spawn", "--on", self.b, str(parent.pid))
        self.assertEqual((out.returncode, out.stdout), (0, f"good {parent.pid}\n"), out.stderr)
        self.assertTrue(wait_for(lambda: f" {parent.pid} " not in self.afork(self.a, "ls").stdout, 3))

    def test_dataplanes_die(self):
        """Pages are asked for again when the link is back."""
        for node in (self.a, self.b):
            parent = self.program(MEMORY, "read", "2")
            time.sleep(0.3)
            child = self.resume(self.prepare(parent))
            self.runs()
            os.kill(self.process(node, "dataplane"), signal.SIGKILL)
            out, err = child.communicate(timeout=60)
            self.assertEqual((child.returncode, out), (0, f"good {parent.pid}\n"), err)
            self.linked()
        for line in self.afork(self.a, "ls").stdout.splitlines()[1:]:
            self.reclaim(line.split()[-1], "--force")

    def test_parent_dies(self):
        parent = self.program(MEMORY, "read", "3")
        time.sleep(0.3)
        handle = self.prepare(parent)
        parent.kill()
        child = self.resume(handle)
        out, err = child.communicate(timeout=60)
        self.assertEqual((child.returncode, out), (0, f"good {parent.pid}\n"), err)
        self.reclaim(handle)

    def test_pagers_die(self):
        """A child that needs more pages ends, and it is said why; afork ends with it."""
        for node, reason in ((self.a, "reclaimed"), (self.b, "the pager has ended")):
            parent = self.program(MEMORY, "empty", "8")
            time.sleep(0.3)
            child = self.resume(self.prepare(parent))
            self.runs()
            os.kill(self.process(node, "fork-pager"), signal.SIGKILL)
            out, err = child.communicate(timeout=30)
            self.assertNotEqual(child.returncode, 0)
            self.assertEqual(out, "")
            if node == self.b:
                self.assertIn(reason, err)
            else:
                self.assertRegex(err, "reclaimed|no such snapshot|does not answer")
            self.linked()

    def memories(self, afork):
        """Its children that run, without the helpers that hold their namespaces."""
        return [p for p in children(afork) if b"memory" in open(f"/proc/{p}/comm", "rb").read() and not building(p)]

    def whole(self, node, pid):
        said = f"child {pid}: all its pages are here"
        self.assertTrue(wait_for(lambda: said in svcctl("logs", node, "fork-pager").stdout, 8))

    def test_pager_dies_when_all_is_here(self):
        """Children that have all their pages live on, whatever they do to their memory, and however often the pager dies."""
        started = []
        for item, n in (("empty", 1), ("move", 2)):
            parent = self.program(MEMORY, item, "5")
            time.sleep(0.2)
            handle = self.prepare(parent)
            started.append((parent, n, handle, self.resume(handle, "-n", str(n), "--fill", "1000")))
        for _, n, _, child in started:
            mine = wait_for(lambda: (c := self.memories(child.pid)) and len(c) == n and c, 10)
            for pid in mine:
                self.whole(self.b, pid)
        for _ in range(2):
            os.kill(self.process(self.b, "fork-pager"), signal.SIGKILL)
            self.linked()
        for parent, n, handle, child in started:
            out, err = child.communicate(timeout=30)
            self.assertEqual((child.returncode, out), (0, f"good {parent.pid}\n" * n), err)
            self.assertEqual(parent.communicate(timeout=30)[0], f"good {parent.pid}\n")
            self.reclaim(handle)

    def test_listeners(self):
        """They listen again, where nobody else does."""
        for item in ("unix-listener", "tcp-listener"):
            parent = self.program(CARRIED, item, "2")
            time.sleep(0.3)
            handle = self.prepare(parent)
            out = self.afork(self.b, "resume", handle)
            self.assertIn("does not listen here: Address already in use", out.stderr)
            parent.kill()
            parent.wait()
            if item == "unix-listener":
                os.unlink(f"/tmp/atoll-carried-{parent.pid}")
            out = self.afork(self.b, "resume", handle)
            self.assertEqual((out.returncode, out.stdout), (0, f"good {parent.pid}\n"), out.stderr)
            self.reclaim(handle)

    def test_children_and_afork_die(self):
        parent = self.program(MEMORY, "fork", "8")
        time.sleep(0.3)
        handle = self.prepare(parent)
        child = self.resume(handle)
        self.runs()
        mark = f"{MEMORY}\0fork"
        inside = [p for p in pids(mark) if p != parent.pid]
        self.assertTrue(inside)
        child.kill()
        child.wait()
        parent.kill()
        parent.wait()
        self.assertTrue(wait_for(lambda: not pids(mark), 3), pids(mark))
        self.reclaim(handle)

    def killed_at(self, node, n, *args):
        """afork, killed as it enters its nth system call; how many there were."""
        out = subprocess.run([KILLAT, str(n), AFORK, "--node", node, *args], capture_output=True, text=True, timeout=60,
                             stdin=subprocess.DEVNULL, check=False)
        return int(out.stdout.split()[-1]), out

    def test_prepare_killed(self):
        """kill -9 of prepare at each of its system calls (a sample): the program notices nothing, and can be forked after."""
        seed = int(os.environ.get("ATOLL_SEED", time.time_ns() % 1000000))
        rng = random.Random(seed)
        span = "600" if FULL else "60"
        programs = [self.program(sys.executable, "-S", "-c", THREADS), self.program(ITEMS, "signals", span),
                    self.program(ITEMS, "pipes", span)]
        time.sleep(0.3)
        count, out = self.killed_at(self.a, 0, "prepare", str(programs[0].pid))
        self.assertEqual(out.returncode, 0, out.stderr)
        for n in range(1, count) if FULL else sorted(rng.sample(range(1, count), 30)):
            for p in programs[:1] if FULL else [rng.choice(programs)]:
                self.killed_at(self.a, n, "prepare", str(p.pid))
                time.sleep(0.01)
                self.assertIsNone(p.poll(), f"call {n} of {count}, seed {seed}: {p.args}: {p.returncode}")
        for p in programs:
            handle = self.prepare(p)
            with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
                self.assertIn("TracerPid:\t0\n", f.read())
            with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
                self.assertEqual(f.read(), "", f"seed {seed}")
            self.reclaim(handle)
            self.assertIsNone(p.poll())
        for line in self.afork(self.a, "ls").stdout.splitlines()[1:]:
            self.reclaim(line.split()[-1])

    def test_resume_killed(self):
        """The same of resume: its child ends with it, and nothing of it is left."""
        rng = random.Random(int(os.environ.get("ATOLL_SEED", time.time_ns() % 1000000)))
        parent = self.program(MEMORY, "threads", "1")
        time.sleep(0.3)
        handle = self.prepare(parent)
        parent.wait()
        inits = set(pids("atoll-init"))
        count, out = self.killed_at(self.b, 0, "resume", handle)
        self.assertEqual(out.returncode, 0, out.stderr)
        for n in range(1, count) if FULL else sorted(rng.sample(range(1, count), 12)):
            self.killed_at(self.b, n, "resume", *rng.choice([(), ("--container",)]), handle)
            self.assertTrue(wait_for(lambda: not pids(f"{MEMORY}\0threads"), 5), f"call {n} of {count}")
        self.assertTrue(wait_for(lambda: not set(pids(handle)) - inits, 5))
        self.assertEqual(self.killed_at(self.b, 0, "resume", "--container", handle)[1].returncode, 0)
        self.reclaim(handle)

    def said(self, node, *messages):
        """What the pager answers to messages of our own: (operation, handle, descriptors) each; the codes."""
        codes = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(10)
            s.connect(os.path.join(node, "state/fork-pager/fork.sock"))
            for op, handle, fds in messages:
                m = struct.pack("<IHHiI", 0x33434641, op, 0, 0, 0) + handle + struct.pack("<4Qii", 64, 1, 0, 0, 1, 0)
                socket.send_fds(s, [m.ljust(440, b"\0")], fds)
                answer, got, _, _ = socket.recv_fds(s, 4096, 4)
                for fd in got:
                    os.close(fd)
                codes.append(struct.unpack_from("<i", answer, 8)[0])
        return codes

    def test_stall(self):
        """What is no memory of this kernel is not read by the pager, which would wait for whoever is behind it."""
        parent = self.program(MEMORY, "read", "1.0")
        time.sleep(0.2)
        handle = self.prepare(parent)
        numbers, epoch, secret = handle.split("-")
        node, slot = numbers.split("/")
        packed = struct.pack("<4I2Q", int(node), int(slot), int(epoch), 0, int(secret[:16], 16), int(secret[16:], 16))
        ends = os.pipe()
        self.addCleanup(lambda: [os.close(e) for e in ends])
        pipes = [ends[0]] * 3
        for n in (self.a, self.b):
            self.assertEqual(self.said(n, (1, packed, pipes)), [-22])
        self.assertEqual(self.said(self.b, (2, packed, []), (4, packed, pipes)), [0, -22])
        with open("/proc/self/cmdline", "rb") as f:
            memory = os.memfd_create("x")
            self.addCleanup(lambda: os.close(memory))
            self.assertEqual(self.said(self.a, (1, packed, [memory, f.fileno(), memory])), [-22])
        out, err = self.resume(handle).communicate(timeout=30)
        self.assertEqual(out, f"good {parent.pid}\n", err)
        self.reclaim(handle)

    def figures(self, handle):
        """What stat says of one snapshot on node b, by name."""
        name, of = handle.rsplit("-", 1)[0], {}
        for part in self.afork(self.b, "stat").stdout.split("snapshot ")[1:]:
            lines = part.splitlines()
            if lines[0].startswith(name + ":"):
                of = {k.strip(): int(v) for k, _, v in (x.rpartition(" ") for x in lines[1:]) if v.isdigit()}
        return of

    def test_working_set(self):
        """What one child has wanted, a later one has before it asks, and ends as well."""
        parent = self.program(MEMORY, "read", "1.0")
        time.sleep(0.3)
        handle = self.prepare(parent)
        replayed = []
        for options in ((), ("--no-replay",), ()):
            out, err = self.resume(handle, *options).communicate(timeout=60)
            self.assertEqual(out, f"good {parent.pid}\n", err)
            replayed.append(self.figures(handle)["pages replayed"])
        self.assertEqual(replayed[:2], [0, 0])
        self.assertGreater(replayed[2], 0)
        self.reclaim(handle)

    def test_fill(self):
        """Once all is fetched, a child needs the other node no more: its snapshot is taken away, and it goes on."""
        parent = self.program(MEMORY, "read", "5")
        time.sleep(0.3)
        handle = self.prepare(parent)
        child = self.resume(handle, "--fill", "1000")

        def whole():
            of = self.figures(handle)
            return of and of["pages not here yet"] == 0
        self.assertTrue(wait_for(whole, 4))
        self.reclaim(handle, "--force")
        out, err = child.communicate(timeout=60)
        self.assertEqual((child.returncode, out), (0, f"good {parent.pid}\n"), err)

    def test_reclaim(self):
        parent = self.program(MEMORY, "empty", "8")
        time.sleep(0.3)
        handle = self.prepare(parent)
        child = self.resume(handle)
        self.runs()
        out = self.afork(self.a, "reclaim", handle)
        self.assertEqual(out.returncode, 1)
        self.assertIn("need it", out.stderr)
        self.reclaim(handle, "--force")
        out, err = child.communicate(timeout=30)
        self.assertNotEqual(child.returncode, 0)
        self.assertIn("reclaimed", err)
        again = self.resume(handle)
        _, err = again.communicate(timeout=30)
        self.assertGreaterEqual(again.returncode, 120)
        self.assertIn("no such snapshot", err)

    def as_user(self, uid, *args):
        return subprocess.run([AFORK, *args], capture_output=True, text=True, timeout=60, check=False, user=uid, group=uid,
                              extra_groups=[], stdin=subprocess.DEVNULL)

    def test_users(self):
        """Anybody may fork what is his; a child has the rights of who resumes it; nobody sees others' snapshots."""
        if subprocess.run([AFORK, "--help"], capture_output=True, check=False, user=MINE, group=MINE).returncode:
            self.skipTest("other users cannot reach this build")
        mine = subprocess.Popen([API, "who", "-"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                user=MINE, group=MINE, extra_groups=[])
        roots = self.program(API, "who", "-")
        self.addCleanup(lambda: (mine.kill(), mine.wait(), mine.stdout.close()))
        time.sleep(0.3)
        for pid in (mine.pid, roots.pid):
            out = self.as_user(OTHER, "--node", self.a, "prepare", str(pid))
            self.assertEqual((out.returncode, out.stdout), (1, ""))
            self.assertIn("not permitted", out.stderr)
        out = self.as_user(MINE, "--node", self.a, "prepare", str(mine.pid))
        self.assertEqual(out.returncode, 0, out.stderr)
        handle = out.stdout.strip()
        self.assertIn(handle, self.as_user(MINE, "--node", self.a, "ls").stdout)
        self.assertNotIn(handle[:5], self.as_user(OTHER, "--node", self.a, "ls").stdout)
        # who resumes it, who it is then, what is said
        root = self.prepare(roots)
        for handle_of, uid, is_now, said in ((handle, MINE, MINE, ""), (handle, OTHER, OTHER, "not carried: user"),
                                             (root, OTHER, OTHER, "not carried: user"), (handle, 0, MINE, "")):
            out = self.as_user(uid, "--node", self.b, "resume", "--no-pids", handle_of)
            self.assertEqual((out.returncode, out.stdout), (0, f"{is_now} {is_now} 0\n" if is_now else ""), out.stderr)
            self.assertIn(said, out.stderr)
            if not said:
                self.assertNotIn("not carried: user", out.stderr)
        # nobody has all of the table
        for _ in range(24):
            out = self.as_user(MINE, "--node", self.a, "prepare", str(mine.pid))
            if out.returncode:
                break
        self.assertIn("as one user can", out.stderr)
        for line in self.afork(self.a, "ls").stdout.splitlines()[1:]:
            self.reclaim(line.split()[-1], "--force")

    def api(self, name):
        env = dict(os.environ, ATOLL_AFORK=AFORK, ATOLL_SOCKET=os.path.join(self.a, "control.sock"))
        p = subprocess.Popen([API, name, self.b], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             stdin=subprocess.DEVNULL, env=env)
        out = p.communicate(timeout=60)[0]
        self.assertEqual(p.returncode, 0, out)
        return p.pid, out.splitlines()

    def test_api(self):
        """The C library: what returns twice does, and what fails says why."""
        pid, lines = self.api("fork")
        self.assertEqual(sorted(lines), [f"child {pid} 1 12", f"parent {pid} 1 0 7"])
        _, lines = self.api("prepare")
        self.assertEqual(sorted(lines), ["child 1 0"] * 3 + ["gone 1 said"])
        _, lines = self.api("refused")
        self.assertEqual(lines, ["1 1 1", "0 1", "1 1", "1 1", "1 1"])

    def where(self, handle, *options):
        out = self.afork(self.b, "resume", *options, handle)
        self.assertEqual(out.returncode, 0, out.stderr)
        return dict(line.split(" ", 1) for line in out.stdout.splitlines())

    def test_containers(self):
        """Namespaces, root directory, limits; and nothing is left of them."""
        def left():
            groups = [d for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu")
                      for d, _, _ in os.walk(base) if "/afork-" in d]
            return groups + [p for p in pids("atoll-init")]
        before = left()
        there = os.path.join(self.dir.path, "there")
        os.mkdir(there)
        inside = os.path.join(there, "file")
        with open(inside, "w", encoding="utf-8"):
            pass
        parent = self.program(API, "where", inside)
        time.sleep(0.2)
        handle = self.prepare(parent)
        own = {n: os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "mnt", "uts", "ipc", "net")}
        plain = self.where(handle)
        self.assertEqual([n for n in own if plain[n] != own[n]], ["pid"])
        self.assertEqual(plain["there"], "1")
        boxed = self.where(handle, "--private", there)
        self.assertEqual([n for n in own if boxed[n] != own[n]], ["pid", "mnt", "uts", "ipc"])
        self.assertEqual((boxed["self"], boxed["own"], boxed["there"]), (str(parent.pid), str(parent.pid), "0"))
        netted = self.where(handle, "--net")
        self.assertEqual([n for n in own if netted[n] != own[n]], list(own))
        self.assertEqual(netted["there"], "1")
        # many at once have one each
        out = self.afork(self.b, "resume", "--container", "-n", "5", handle)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(len({line for line in out.stdout.splitlines() if line.startswith("mnt ")}), 5)
        if os.path.isdir("/sys/fs/cgroup/unified") or os.path.exists("/sys/fs/cgroup/cgroup.procs"):
            self.assertIn("/afork-", boxed["cgroup"])
        # another root directory: what the program is made of is there, its file is not
        root = os.path.join(self.dir.path, "rootfs")
        for d in ("/usr", "/lib", "/lib64", "/proc", "/dev", os.path.dirname(os.path.realpath(API)),
                  os.path.realpath(os.path.join(BUILD, "clients/fork")), os.getcwd()):
            os.makedirs(root + d, exist_ok=True)
        mounts = "".join(f"mount --bind {d} {root}{d} && " for d in ("/usr", "/lib", "/lib64", "/dev")
                         if os.path.realpath(d) == d or d == "/usr" or os.path.isdir(d))
        copies = f"cp -a {os.path.realpath(API)} {root}{os.path.realpath(API)} && cp -a " \
                 f"{os.path.realpath(BUILD)}/clients/fork/libatoll_fork.so* {root}{os.path.realpath(BUILD)}/clients/fork/ && "
        out = subprocess.run(["unshare", "-m", "sh", "-c", mounts + copies +
                              f"exec {AFORK} --node {self.b} resume --rootfs {root} {handle}"],
                             capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("there 0", out.stdout)
        for bad, why in ((("--rootfs", "/nowhere"), "its root directory"), (("--private", "/nowhere/at/all"), "/nowhere/at/all"),
                         (("--memory-mib", "x"), "no limit")):
            out = self.afork(self.b, "resume", *bad, handle)
            self.assertNotEqual(out.returncode, 0)
            self.assertIn(why, out.stderr)
        self.reclaim(handle)
        parent = self.program(API, "where", "memory")
        time.sleep(0.2)
        handle = self.prepare(parent)
        out = self.afork(self.b, "resume", "--memory-mib", "256", "--cpu-percent", "80", handle)
        if "cannot be had" in out.stderr:
            self.assertEqual(out.returncode, 120)
            print("no limits: " + out.stderr.strip())
        else:
            self.assertEqual((out.returncode, out.stdout), (0, "has it\n"), out.stderr)
            out = self.afork(self.b, "resume", "--memory-mib", "32", handle)
            self.assertEqual((out.returncode, out.stdout), (128 + 9, ""), out.stderr)
            self.assertIn("over its memory limit", out.stderr)
        self.reclaim(handle)
        self.assertTrue(wait_for(lambda: not set(left()) - set(before), 3), left())

    def call(self, path, body=b"", times=1):
        """Answers of a function, over one connection."""
        conn = http.client.HTTPConnection("unix", timeout=30)
        with socket.socket(socket.AF_UNIX) as conn.sock:
            conn.sock.settimeout(30)
            conn.sock.connect(path)
            answers = []
            for _ in range(times):
                conn.request("POST", "/call", body, {"Fn-Call-Id": "1"})
                with conn.getresponse() as answer:
                    self.assertEqual((answer.status, answer.headers["Fn-Fdk-Version"]), (200, "example/1.0"))
                    answers.append(json.loads(answer.read()))
            return answers

    def test_serve(self):
        """One connection, one child, of a function that knows nothing; whatever dies, the next one is served."""
        iofs, path = (os.path.join(self.dir.path, n) for n in ("iofs", "serve.sock"))
        os.mkdir(iofs)
        own = os.path.join(iofs, "lsnr.sock")
        parent = subprocess.Popen([sys.executable, "-S", FUNCTION], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                  text=True, env=dict(os.environ, FN_LISTENER=f"unix:{own}", FN_FORMAT="http-stream"))
        self.addCleanup(lambda: (parent.kill(), parent.wait(), parent.stdout.close()))
        self.assertEqual(parent.stdout.readline(), "warm\n")
        self.assertEqual([a["calls"] for a in self.call(own, times=2)], [1, 2])
        handle = self.prepare(parent)
        server = subprocess.Popen([AFORK, "--node", self.b, "serve", "-n", "2", "--listen", path, handle],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (server.kill(), server.wait(), server.stdout.close(), server.stderr.close()))
        self.assertIn("serving on", server.stdout.readline())
        want = {"path": "/call", "pid": parent.pid, "calls": 3, "length": 5, "entry": "555"}
        for _ in range(3):
            self.assertEqual(self.call(path, b"12345"), [want])
        self.assertEqual([a["calls"] for a in self.call(path, b"x" * 300000, 3)], [3, 4, 5])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual(list(pool.map(lambda _: self.call(path, b"12345"), range(8))), [[want]] * 8)
        self.assertEqual(self.call(own)[0]["calls"], 3)  # the parent knows nothing of it
        # a client that goes, a child and a worker that are killed, a pager that is
        early = socket.socket(socket.AF_UNIX)
        early.connect(path)
        early.close()
        mine = lambda: [p for p in pids(FUNCTION) if p != parent.pid]
        for victims in (lambda: mine()[:1], lambda: children(server.pid)[:1],
                        lambda: [self.process(self.b, "fork-pager")]):
            victim = wait_for(victims, 10)
            self.assertTrue(victim)
            os.kill(victim[0], signal.SIGKILL)
            self.assertTrue(wait_for(lambda: self.served(path, want), 20))
            self.linked()
        server.terminate()
        _, err = server.communicate(timeout=20)
        self.assertEqual(server.returncode, 0, err)
        self.assertTrue(wait_for(lambda: not mine() and not os.path.exists(path), 5), mine())
        self.reclaim(handle, "--force")
        silent = self.program(MEMORY, "read", "5")
        time.sleep(0.2)
        handle = self.prepare(silent)
        out = self.afork(self.b, "serve", "--listen", path, handle)
        self.assertEqual(out.returncode, 120)
        self.assertIn("listens on one unix socket, this one on 0", out.stderr)
        self.reclaim(handle)

    def served(self, path, want):
        """A child that was killed before it answered is its client's to bear; the next is served."""
        try:
            return self.call(path, b"12345") == [want]
        except (OSError, http.client.HTTPException):
            return False

    def refused(self, p, why):
        out = self.afork(self.a, "prepare", str(p.pid))
        self.assertEqual((out.returncode, out.stdout), (1, ""))
        self.assertIn(why, out.stderr)
        self.assertIsNone(p.poll(), "it has not survived")

    def test_32_bit(self):
        # pause(2), again and again, as the kernel's 32-bit ABI has it
        code = bytes.fromhex("b81d000000cd80ebf7")
        head = b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32,
                                                            1, 0, 0, 0)
        load = struct.pack("<8I", 1, 0, 0x8048000, 0x8048000, 84 + len(code), 84 + len(code), 5, 4096)
        path = os.path.join(self.dir.path, "pause32")
        with open(path, "wb") as f:
            f.write(head + load + code)
        os.chmod(path, 0o755)
        try:
            p = self.program(path)
        except OSError:
            self.skipTest("this kernel runs no 32-bit programs")
        time.sleep(0.2)
        self.refused(p, "32-bit")

    def test_bad(self):
        parent = self.program(MEMORY, "read", "20")
        time.sleep(0.2)
        handle = self.prepare(parent)
        wrong = handle[:-1] + ("0" if handle[-1] != "0" else "1")
        for bad, why in ((wrong, "wrong"), ("7/0-1-" + "0" * 32, "does not answer|wrong|no such"),
                         ("nonsense", "no handle"), (handle[:-1], "no handle")):
            out = self.afork(self.b, "resume", bad)
            self.assertNotEqual(out.returncode, 0)
            self.assertRegex(out.stderr, why)
        for pid, why in (("999999", "No such process"), ("2", "kernel thread|No such process"), ("x", "no process")):
            out = self.afork(self.a, "prepare", pid)
            self.assertNotEqual(out.returncode, 0)
            self.assertRegex(out.stderr, why)
        # a process of somebody else, as for ptrace
        out = subprocess.run([AFORK, "--node", self.a, "prepare", str(parent.pid)], capture_output=True, text=True,
                             timeout=30, check=False, user=65534, group=65534, extra_groups=[])
        self.assertNotEqual(out.returncode, 0)
        self.assertRegex(out.stderr, "not permitted|Permission denied")
        # another root directory
        chroot = self.program(sys.executable, "-S", "-c", "import os, time; os.chroot('/tmp'); time.sleep(5)")
        time.sleep(0.5)
        self.refused(chroot, "its root directory")
        out = self.afork("/nowhere", "ls")
        self.assertEqual(out.returncode, 1)
        self.assertIn("no fork-pager listens", out.stderr)
        self.reclaim(handle)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("a fork that keeps its pid, and events of userfaultfd, need root")
        sys.exit(77)
    if not os.path.exists(AFORK):
        print("afork is not in this build (x86-64 only)")
        sys.exit(77)
    unittest.main()
