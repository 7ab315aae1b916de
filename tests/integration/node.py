# SPDX-License-Identifier: Apache-2.0
"""What integration tests share: a temporary directory with nodes in it, started by svcctl."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

BUILD = os.environ.get("ATOLL_BUILD", os.path.join(os.getcwd(), "build"))
SOURCE = os.environ.get("ATOLL_SOURCE", os.getcwd())
SVCCTL = os.path.join(BUILD, "tools/svcctl/svcctl")
# A test that is killed takes its nodes with it.
os.environ["SVCCTL_WHILE_PID"] = str(os.getpid())
HERE = os.path.join(SOURCE, "tests/integration")


def svcctl(*args, timeout=60, env=None, **more):
    """Runs svcctl to its end; the result has returncode, stdout, stderr."""
    return subprocess.run([SVCCTL, *args], capture_output=True, text=True, timeout=timeout,
                          env=env or os.environ, check=False, **more)


def wait_for(what, seconds=5.0, step=0.01):
    """Waits until what() is true; returns its value, or None when the time is up."""
    until = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() >= until:
            return None
        time.sleep(step)


class Dir:
    """A directory for nodes, short enough for socket paths, removed with everything in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="atoll.")
        os.chmod(self.path, 0o755)

    def file(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def processes(self):
        """Pids of everything that was started for nodes in here."""
        found = []
        mark = f"ATOLL_SOCKET={self.path}".encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if mark in f.read():
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def supervisors(self):
        """Pids of svcctl processes of nodes in here (and their guards)."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
                if words[0] == SVCCTL.encode() and any(self.path.encode() in w for w in words):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def remove(self):
        for pid in self.supervisors() + self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        wait_for(lambda: not self.processes(), 3)
        shutil.rmtree(self.path, ignore_errors=True)


NODE = """[node]
name = {name}
id = {id}
run_dir = {dir}/{name}
{more}
[port]
port = uring:
address = 127.0.0.{host}
udp_port = {udp}
[peer {peer}]
id = {peer_id}
address = 127.0.0.{peer_host}
"""


def two_nodes(where, udp, services, more=""):
    """Configurations of nodes a and b that are peers over kernel UDP: file by name. @services: sections by node; @more:
    further keys of [node]."""
    files = {}
    for i, name in enumerate("ab"):
        os.mkdir(os.path.join(where.path, name), 0o755)
        text = NODE.format(name=name, id=i + 1, host=i + 2, dir=where.path, udp=udp, more=more, peer="ba"[i],
                           peer_id=2 - i, peer_host=3 - i)
        files[name] = where.file(f"{name}/node.conf", text + services.get(name, ""))
    return files


def status(target, env=None):
    """The state of one node as svcctl status --json gives it, with processes by name."""
    out = svcctl("status", "--json", target, env=env)
    try:
        state = json.loads(out.stdout)
    except ValueError:
        return {"state": "unknown", "processes": {}, "text": out.stdout + out.stderr}
    state["processes"] = {p["name"]: p for p in state.get("processes", [])}
    return state
