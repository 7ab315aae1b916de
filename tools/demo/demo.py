#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: two nodes on this machine, an index in the memory of one, a client on the other.

A client on node A writes every word of a dictionary into an index that node B hosts, by one-sided verbs
alone, in a table that grows under it. Meanwhile a second client that writes the same keys dies in the middle of
a split, which others finish, the echo service is restarted with
requests outstanding, and node A's dataplane is killed with requests outstanding. Then every word is read
back and compared. Then a CUDA program runs, and a Python process with a warm state is forked from node A onto node B.
Needs no root, no hugepages, no special hardware.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

WORDS = "/usr/share/dict/words"

NODE = """[node]
name = {name}
id = {id}
run_dir = {dir}
heartbeat_ms = 100
core = {core}

[port]
port = {port}
address = {address}

[peer {peer}]
id = {peer_id}
address = {peer_address}
"""

FORK = """
[service fork-pager]
exec = fork-pager
core = {core}
"""

SERVICES = """
[service index]
exec = index-shard
args = --groups 512
core = {core}

[service repair-worker]
exec = repair-worker
args = --target index
core = {core}

[service echo]
exec = echo
core = {core}

[service gpu-exec]
exec = gpu-exec
core = {core}
"""


class Failed(Exception):
    pass


def say(text=""):
    print(text, flush=True)


class Demo:
    def __init__(self, build, words):
        self.build = build
        self.words = words
        self.dir = tempfile.mkdtemp(prefix="atoll-demo-")
        os.chmod(self.dir, 0o755)
        self.started = time.monotonic()
        self.confs = {}
        self.children = []
        self.results = {}
        self.port = None

    def binary(self, name):
        for folder, _, files in os.walk(self.build):
            path = os.path.join(folder, name)
            if name in files and os.access(path, os.X_OK):
                return path
        raise Failed(f"{name} is not in {self.build}: the build is incomplete")

    def has(self, name):
        try:
            return bool(self.binary(name))
        except Failed:
            return False

    def step(self, text):
        say(f"[{time.monotonic() - self.started:6.2f} s] {text}")

    # -------------------------------------------------------------- nodes

    def svcctl(self, *args, check=True, timeout=60):
        run = subprocess.run([self.binary("svcctl"), *args], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=timeout)
        if check and run.returncode:
            raise Failed(f"svcctl {' '.join(args)} failed:\n{run.stdout.strip()}")
        return run.stdout

    def write_confs(self, ports):
        cores = sorted(os.sched_getaffinity(0))
        core = {"node-a": cores[0], "node-b": cores[1 % len(cores)]}
        # with cores to spare the services have one of their own
        service_core = cores[2] if len(cores) > 3 else core["node-b"]
        for name, number in (("node-a", 1), ("node-b", 2)):
            folder = os.path.join(self.dir, name)
            os.makedirs(folder, exist_ok=True)
            other = "node-b" if name == "node-a" else "node-a"
            text = NODE.format(name=name, id=number, dir=folder, core=core[name],
                               port=ports[name], address=f"127.0.0.{number + 1}", peer=other,
                               peer_id=3 - number, peer_address=f"127.0.0.{4 - number}")
            if name == "node-b":
                text += SERVICES.format(core=service_core)
            if self.has("afork"):
                text += FORK.format(core=service_core)
            self.confs[name] = os.path.join(folder, "node.conf")
            with open(self.confs[name], "w", encoding="utf-8") as f:
                f.write(text)

    def up(self):
        drivers = subprocess.run([self.binary("atoll-dataplane"), "--drivers"],
                                 stdout=subprocess.PIPE, text=True, check=False).stdout.split()
        link = os.path.join(self.dir, "link.sock")
        choices = []
        if "shm" in drivers:
            choices.append(("DPDK, the shared-memory link (virtio-user to vhost-user)",
                            {"node-b": f"shm:{link},side=a", "node-a": f"shm:{link},side=b"}))
        choices.append(("io_uring, UDP over the loopback interface",
                        {"node-a": "uring:", "node-b": "uring:"}))
        for text, ports in choices:
            self.write_confs(ports)
            try:
                for name in ("node-b", "node-a"):
                    self.svcctl("check", self.confs[name])
                    self.svcctl("up", "-d", self.confs[name])
                self.port = text
                return
            except (Failed, subprocess.TimeoutExpired) as e:
                self.down()
                if ports["node-a"] == "uring:":
                    raise
                say(f"    {text} is not to be had here:\n    {e}")
        raise Failed("no port works")

    def status(self, name):
        data = json.loads(self.svcctl("status", "--json", self.confs[name]))
        return data[0] if isinstance(data, list) else data

    def pid(self, node, process):
        nodes = self.status(node)
        nodes = nodes.get("nodes", [nodes]) if isinstance(nodes, dict) else nodes
        for p in nodes[0]["processes"]:
            if p["name"] == process:
                return p["pid"]
        raise Failed(f"{node} has no process {process}")

    def down(self):
        for conf in self.confs.values():
            self.svcctl("down", conf, check=False)

    # -------------------------------------------------------------- clients

    def env(self):
        return dict(os.environ, ATOLL_SOCKET=os.path.join(self.dir, "node-a", "dataplane.sock"))

    def client(self, mode):
        child = subprocess.Popen([self.binary("atoll-demo"), mode, self.words, "node-b/index",
                                  "node-b/echo"], env=self.env(), stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.children.append(child)
        return child

    def msgdump(self, count, *filters):
        run = subprocess.run([self.binary("msgdump"), "--count", str(count), *filters],
                             env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=10, check=False)
        return run.stdout.splitlines()[:count]

    def show_messages(self):
        """A few lines of what passes, while it passes."""
        self.step("msgdump, a few lines of what passes on node A:")
        try:
            for line in self.msgdump(6):
                say("             " + line[:150])
        except (subprocess.TimeoutExpired, Failed) as e:
            say(f"             (none: {e})")

    def kill_dataplane(self):
        pid = self.pid("node-a", "dataplane")
        self.step(f"kill -9 {pid}: dataplane A, with operations and requests outstanding")
        os.kill(pid, signal.SIGKILL)

    def restart_echo(self):
        self.step("svcctl restart echo on node B, with requests outstanding")
        self.svcctl("restart", self.confs["node-b"], "echo")

    def kill_writer(self):
        writer = self.writer
        writer.send_signal(signal.SIGUSR1)
        try:
            writer.wait(timeout=10)
            self.step(f"the second client ({writer.pid}) died of kill -9 in the middle of a split of the table")
        except subprocess.TimeoutExpired:
            writer.kill()
            writer.wait()
            self.step(f"kill -9 {writer.pid}: the second client, in the middle of its writes")

    def load(self):
        self.writer = self.client("write")
        writer_lines = threading.Thread(target=lambda: [None for _ in self.writer.stdout], daemon=True)
        writer_lines.start()
        loader = self.client("load")
        # what is done when so much of the load is
        todo = [(0.15, self.show_messages), (0.35, self.kill_writer), (0.55, self.restart_echo),
                (0.75, self.kill_dataplane)]
        tenth = 0
        busy = []
        for line in loader.stdout:
            words = line.split()
            if not words:
                continue
            if words[0] == "progress" and len(words) == 4:
                done, total = int(words[2]), int(words[3])
                if done * 10 // total != tenth:
                    tenth = done * 10 // total
                    verb = {"load": "written", "read": "read back and compared"}[words[1]]
                    self.step(f"{done:7d} of {total} words {verb}")
                if words[1] == "load" and todo and done >= todo[0][0] * total:
                    action = todo.pop(0)[1]
                    # beside the client, which goes on
                    thread = threading.Thread(target=self.guard, args=(action,))
                    thread.start()
                    busy.append(thread)
            elif words[0] == "lost":
                self.step(f"the client's {words[1]} session is lost")
            elif words[0] == "joined":
                self.step(f"the client has joined the new dataplane, {words[1]} ms after the loss; its "
                          "old epoch is fenced off")
            elif words[0] == "result":
                self.results[words[1]] = float(words[2])
            else:
                say("    " + line.rstrip())
        for thread in busy:
            thread.join()
        return loader.wait()

    def fsck(self):
        """Nothing is left of the dead, and every byte is accounted for."""
        for line in self.svcctl("logs", self.confs["node-b"], "repair-worker", check=False).splitlines():
            if "taken back" in line:
                say("             " + line.strip())
        self.step("atoll-index fsck: the whole table, and every byte of its heap")
        run = subprocess.run([self.binary("atoll-index"), "--quiet", "--target", "node-b/index", "fsck"],
                             env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=60, check=False)
        for line in run.stdout.splitlines():
            say("             " + line)
        return run.returncode

    def cuda(self):
        """A program of CUDA's driver on node A; its device is node B's."""
        self.step("a CUDA program on node A computes a picture on node B's device")
        ptx = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mandelbrot.ptx")
        run = subprocess.run([self.binary("agpu"), "run", "--device", "node-b/gpu-exec", self.binary("cuda-demo"), ptx],
                             env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=120, check=False)
        for line in run.stdout.splitlines():
            say("             " + line)
        self.step("done" if run.returncode == 0 else "it FAILED")
        return run.returncode

    # -------------------------------------------------------------- fork

    def afork(self, node, *args):
        return [self.binary("afork"), "--node", os.path.join(self.dir, node), *args]

    def answer(self, command):
        """How many ms after the command was started its first statement ran, and what it said."""
        start = time.monotonic()
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, timeout=60, check=False)
        at, _, said = run.stdout.strip().partition(" ")
        if run.returncode or not said:
            raise Failed(f"{' '.join(command[:4])}: {run.stderr.strip() or 'no answer'}")
        return (float(at) - start) * 1000, said

    def fork(self):
        """A Python process that is slow to warm up, forked to the other node; its first statement there against a cold start."""
        warm = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warm.py")
        program = [sys.executable, "-S", warm, self.words]
        if not self.has("afork"):
            self.step("remote fork: skipped, afork is not in this build (x86-64 only)")
            return 0
        self.step("a Python process on node A warms up, and is forked onto node B")
        cold, right = min(self.answer([*program, "cold"]) for _ in range(2))
        parent = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.children.append(parent)
        parent.stdout.readline()
        taken = subprocess.run(self.afork("node-a", "-v", "prepare", str(parent.pid)), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        if "not permitted" in taken.stderr:
            say("             skipped: this machine does not let a process trace another one (ptrace)")
            return 0
        if taken.returncode:
            raise Failed(f"afork prepare: {taken.stderr.strip()}")
        handle = taken.stdout.strip()
        for line in taken.stderr.splitlines():
            say("             " + line)
        options = []
        if os.geteuid():
            options = ["--no-pids"]
            say("             not root: the child gets a new process number, and all its memory before it starts")
        resume = self.afork("node-b", "resume", *options, handle)
        first, said = self.answer(resume)
        later = min(self.answer(resume) for _ in range(5))
        parent.kill()
        parent.wait()
        same = said == right == later[1]
        subprocess.run(self.afork("node-a", "reclaim", "--force", handle), stderr=subprocess.DEVNULL, timeout=60, check=False)
        say(f"             first statement, after the command was typed: cold start {cold:.0f} ms; first child on node B "
            f"{first:.0f} ms")
        say(f"             ({cold / first:.1f} times sooner), later children {later[0]:.0f} ms ({cold / later[0]:.0f} times); "
            f"{'all say the same' if same else 'they say DIFFERENT things'}")
        return 0 if same else 1

    def guard(self, action):
        try:
            action()
        except (Failed, OSError, subprocess.TimeoutExpired) as e:
            self.results["trouble"] = 1
            say(f"    {e}")

    def summary(self, code):
        r = self.results
        n = lambda key: int(r.get(key, 0))
        echoes = ", ".join(f"{int(v)} {k[5:]}" for k, v in sorted(r.items())
                           if k.startswith("echo_") and k[5:].isupper())
        say()
        say("Summary")
        say(f"  link between the nodes   {self.port}")
        say(f"  words written            {n('acked')} acknowledged, {r.get('load_rate', 0):,.0f} a second, "
            f"p50 {r.get('load_p50', 0):.0f} us, p99 {r.get('load_p99', 0):.0f} us")
        say(f"  words read back          {n('words')}, {r.get('read_rate', 0):,.0f} a second, "
            f"p50 {r.get('read_p50', 0):.0f} us, p99 {r.get('read_p99', 0):.0f} us")
        say(f"  operations that failed   {n('retried')} certainly not executed: given again; "
            f"{n('in_doubt')} in doubt: {n('resolved')} resolved by reading the key")
        say(f"  echo requests            {n('echo_sent')} sent, {n('echo_unanswered')} without an answer"
            f" ({echoes})")
        say(f"  dump of the index        {n('entries')} entries, {n('torn')} torn, "
            f"{n('duplicates')} duplicate, {n('misplaced')} misplaced, {n('pending')} unfinished inserts")
        say(f"  differences              {n('differ')}")
        good = (code == 0 and n("words") == n("entries") == n("acked") and n("words") > 0
                and not n("differ") and not n("echo_unanswered") and not n("trouble"))
        say()
        if good:
            say(f"All {n('words')} words were written through three kills, read back and found right.")
        else:
            say("The demonstration FAILED: see above.")
        return 0 if good else 1

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        self.down()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="two nodes, a remote index, and things that die around it")
    parser.add_argument("--build", required=True, help="build directory")
    parser.add_argument("--words", default=WORDS, help="word list, one a line")
    parser.add_argument("--keep", action="store_true", help="leave the nodes running and say where")
    options = parser.parse_args()
    if not options.keep:
        os.environ["SVCCTL_WHILE_PID"] = str(os.getpid())
    demo = Demo(options.build, options.words)
    code = 1
    try:
        demo.step("starting two nodes, each with a keeper, a polled dataplane and its services")
        demo.up()
        demo.step(f"both are up; between them: {demo.port}")
        say(demo.svcctl("status", *demo.confs.values()).rstrip())
        demo.step("a client on node A loads every word; a second one writes the same keys")
        code = demo.load()
        code = demo.fsck() or code
        code = demo.summary(code)
        code = demo.cuda() or code
        code = demo.fork() or code
        if code:
            for name in demo.confs:
                say(demo.svcctl("logs", demo.confs[name], "dataplane", check=False)[-2000:])
    except (Failed, subprocess.TimeoutExpired) as e:
        say(f"The demonstration FAILED: {e}")
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        if options.keep and code == 0:
            say(f"The nodes go on in {demo.dir}; end them with: svcctl down "
                f"{' '.join(demo.confs.values())}")
        else:
            demo.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
