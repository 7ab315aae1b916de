#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs of node a on the cpu device of node b: what they compute, and what is left when something is killed."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, SOURCE, Dir, status, svcctl, wait_for  # noqa: E402

AGPU = os.path.join(BUILD, "clients/gpu/agpu")
CLIENT = os.path.join(BUILD, "tests/integration/gpu_client")
RUNTIME = os.path.join(BUILD, "tests/integration/gpu_runtime")
FOREIGN = os.path.join(BUILD, "tests/integration/gpu_foreign")
NETREQ = os.path.join(BUILD, "tools/netreq/netreq")
DEVICE = os.path.join(BUILD, "tests/unit/test_gpu_device")
CUDA = os.path.join(BUILD, "clients/gpu/libcuda.so.1")
LOCAL = os.path.join(BUILD, "clients/gpu/libatoll_gpu_local.so")
PTX = os.path.join(SOURCE, "tests/kernels/basic.ptx")
PROGRAMS = os.path.join(SOURCE, "tests/cuda")
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


FULL = bool(os.environ.get("ATOLL_TEST_FULL"))
SAMPLE = 4  # programs of a run that is not full: to compile one takes seconds, those of Thrust a minute


def notes(name, what):
    """Lines of a program's first comment: what it is compiled with, what it prints."""
    with open(os.path.join(PROGRAMS, name), encoding="utf-8") as f:
        return re.findall(rf"^ \* {what}: (.*)$", f.read(), re.M)


def flags(name):
    """What a program is compiled with beside the usual."""
    return [flag for line in notes(name, "nvcc") for flag in line.split()]


def programs():
    """All, or some by a seed that is printed."""
    names = sorted(n for n in os.listdir(PROGRAMS) if n.endswith(".cu"))
    if FULL:
        return names
    seed = int(os.environ.get("ATOLL_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"ATOLL_SEED={seed}", file=sys.stderr)
    names = [n for n in names if not notes(n, "slow")]
    return sorted(random.Random(seed).sample(names, min(SAMPLE, len(names))))


class Gpu(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ.pop("ATOLL_PATH", None)
        cls.dir = Dir()
        cls.addClassCleanup(cls.dir.remove)
        out = svcctl("up", "--local", "2", "--dir", cls.dir.path, "--services", "echo,gpu-exec", "--heartbeat-ms", "500",
                     "--udp-port", str(random.randrange(20000, 60000)))
        assert out.returncode == 0, out.stderr
        cls.env = dict(os.environ, ATOLL_SOCKET=f"{cls.dir.path}/a/dataplane.sock", ATOLL_GPU="b/gpu-exec")
        assert wait_for(cls.idle, 10, 0.05), "gpu-exec does not answer"

    @classmethod
    def smi(cls):
        out = subprocess.run([AGPU, "smi", "--json"], env=cls.env, capture_output=True, text=True,
                             timeout=20, check=False)
        return json.loads(out.stdout)[0] if out.returncode == 0 else None

    @classmethod
    def idle(cls):
        """Nobody has a session, and nobody has memory."""
        s = cls.smi()
        return s is not None and s["sessions"] == [] and s["leased_bytes"] == 0

    def client(self, *args, **more):
        return subprocess.run([CLIENT, *args], env=self.env, capture_output=True, text=True, timeout=60,
                              check=False, **more)

    def start(self, *args):
        p = subprocess.Popen([CLIENT, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.assertEqual(p.stdout.readline(), "ready\n")
        return p

    def check(self):
        out = self.client("check", PTX)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)

    def pid(self, name):
        return status(f"{self.dir.path}/b")["processes"][name]["pid"]

    def tearDown(self):
        self.assertTrue(wait_for(self.idle, 15, 0.05), f"not all is freed: {self.smi()}")

    def test_client(self):
        self.check()

    def test_fault(self):
        """An error that ends the context, and a new context after it."""
        out = self.client("fault")
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertRegex(out.stderr, "poke")

    def test_four(self):
        """Four clients at once."""
        many = [subprocess.Popen([CLIENT, "fault"], env=self.env, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True) for _ in range(4)]
        for p in many:
            out, _ = p.communicate(timeout=60)
            self.assertEqual(p.returncode, 0, out)

    def test_killed_client(self):
        """Killed in mid-copy and in mid-kernel; another one is not disturbed."""
        other = self.start("copy")
        for what in ("copy", "spin", "copy"):
            victim = self.start(what)
            self.assertEqual(len(self.smi()["sessions"]), 2)
            time.sleep(random.uniform(0.0, 0.1))
            victim.kill()
            victim.wait()
            self.assertTrue(wait_for(lambda: len(self.smi()["sessions"]) == 1, 10, 0.02))
        self.assertIsNone(other.poll())
        other.kill()

    def test_killed_session(self):
        """The process of one session dies: its client gets an error, another goes on."""
        other = self.start("copy")
        victim = self.start("copy")
        sessions = {s["session"]: s for s in self.smi()["sessions"]}
        self.assertEqual(len(sessions), 2)
        inside = sessions[max(sessions)]["pid"]  # in the service's own namespace
        nursery, = self.children(self.pid("gpu-exec"))
        for pid in self.children(nursery):
            with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                names = next(line for line in f if line.startswith("NSpid:")).split()
            if int(names[-1]) == inside:
                os.kill(pid, signal.SIGKILL)
        self.assertEqual(victim.wait(10), 3)
        self.assertIsNone(other.poll())
        other.kill()

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            return [int(p) for p in f.read().split()]

    def test_killed_service(self):
        """gpu-exec dies: no client hangs, no process of a session stays, and the next one is served."""
        copying, spinning = self.start("copy"), self.start("spin")
        old = self.pid("gpu-exec")
        nursery, = self.children(old)
        sessions = self.children(nursery)
        self.assertEqual(len(sessions), 2)
        os.kill(old, signal.SIGKILL)
        self.assertEqual(copying.wait(10), 3)
        self.assertEqual(spinning.wait(10), 3)
        self.assertIn("is lost", copying.stdout.read())
        self.assertTrue(wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in [nursery, *sessions]), 5))
        self.assertTrue(wait_for(self.idle, 15, 0.1))

    def test_killed_nursery(self):
        """Without the process that starts sessions there is no service, and svcctl starts both again."""
        copying, old = self.start("copy"), self.pid("gpu-exec")
        os.kill(self.children(old)[0], signal.SIGKILL)
        self.assertEqual(copying.wait(15), 3)
        self.assertTrue(wait_for(lambda: self.pid("gpu-exec") not in (0, None, old), 15, 0.1))
        self.assertTrue(wait_for(self.idle, 15, 0.1))

    def test_rights(self):
        """The process on the ring has less than its page says, by one more filter."""
        def filters(pid):
            with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                return [int(line.split()[1]) for line in f if line.startswith("Seccomp_filters:")]

        service = self.pid("gpu-exec")
        nursery, = self.children(service)
        if not filters(service):
            self.skipTest("this kernel does not say how many filters a process has")
        self.assertEqual(filters(service)[0], filters(nursery)[0] + 1)

    def test_killed_dataplane(self):
        for node in "ab":
            copying = self.start("copy")
            os.kill(status(f"{self.dir.path}/{node}")["processes"]["dataplane"]["pid"], signal.SIGKILL)
            self.assertEqual(copying.wait(15), 3)
            self.assertTrue(wait_for(self.idle, 15, 0.1))

    def test_foreign(self):
        """Who uses another's session is refused, and the other is not disturbed."""
        other = self.start("copy")
        session = self.smi()["sessions"][0]
        numbers = [session["session"] + d for d in (0, 1, -1, 256, 1 << 20)]
        out = subprocess.run([FOREIGN, *map(str, numbers)], env=self.env, capture_output=True, text=True,
                             timeout=60, check=False)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertIsNone(other.poll())
        self.assertTrue(wait_for(lambda: self.smi()["sessions"][0]["calls"] > session["calls"] + 100, 10))
        other.kill()

    def test_no_device(self):
        for device, why in (("b/nothing", "no such service"), ("b/echo", "no gpu-exec")):
            out = subprocess.run([CLIENT, "fault"], env=dict(self.env, ATOLL_GPU=device), capture_output=True,
                                 text=True, timeout=30, check=False)
            self.assertEqual(out.returncode, 1)
            self.assertIn(why, out.stderr)

    def test_runtime(self):
        """A program of the runtime's functions where there is no nvcc: on the other node's device, and on its own."""
        for how in ([], ["--local"]):
            with self.subTest(how=how):
                out = subprocess.run([AGPU, "run", *how, RUNTIME, PTX], env=dict(self.env, ATOLL_GPU="cpu") if how else self.env,
                                     capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(out.returncode, 0, out.stdout + out.stderr)

    @unittest.skipUnless(os.path.exists(DEVICE), "test_gpu_device is not built")
    def test_cuda_device(self):
        """The device that is NVIDIA's driver, held to the contract of devices: the driver is this project's own libcuda."""
        out = subprocess.run([DEVICE], env=dict(self.env, ATOLL_CUDA_LIBRARY=CUDA), capture_output=True, text=True,
                             timeout=120, check=False)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertIn("\ndevice cuda\n", out.stdout)

    def test_nvml(self):
        """What monitors ask: devices, names, memory; and a question that is not answered."""
        code = """
import ctypes
n = ctypes.CDLL("libnvidia-ml.so.1")
count, device, name, memory = ctypes.c_uint(), ctypes.c_void_p(), ctypes.create_string_buffer(96), (ctypes.c_ulonglong * 3)()
assert n.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 1  # not begun
assert n.nvmlInit_v2() == 0 and n.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 and count.value == 1
assert n.nvmlDeviceGetHandleByIndex_v2(1, ctypes.byref(device)) == 2
assert n.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)) == 0
assert n.nvmlDeviceGetName(device, name, 4) == 7
assert n.nvmlDeviceGetName(device, name, 96) == 0
assert n.nvmlDeviceGetMemoryInfo(device, memory) == 0 and memory[0] == memory[1] + memory[2] > 0
assert n.nvmlDeviceGetTemperature(device, 0, ctypes.byref(count)) == 3
assert n.nvmlDeviceGetName(ctypes.c_void_p(8), name, 96) == 2
assert n.nvmlShutdown() == 0
print(name.value.decode())
"""
        out = subprocess.run([AGPU, "run", sys.executable, "-c", code], env=self.env, capture_output=True, text=True,
                             timeout=60, check=False)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertIn("Atoll", out.stdout)

    @unittest.skipUnless(NVCC, "nvcc is not installed: no CUDA programs to run")
    def test_programs(self):
        """CUDA programs as their users compile them."""
        with tempfile.TemporaryDirectory(prefix="atoll.") as d:
            names = programs()
            compilers = [subprocess.Popen([NVCC, "-cudart", "shared", "-o", os.path.join(d, name[:-3]),
                                           os.path.join(PROGRAMS, name), *flags(name)]) for name in names]
            for name, compiler in zip(names, compilers):
                self.assertEqual(compiler.wait(300), 0, name)
            for name in names:
                with self.subTest(name):
                    out = subprocess.run([AGPU, "run", os.path.join(d, name[:-3])], env=self.env,
                                         capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
                    for line in notes(name, "prints"):
                        self.assertIn(line, out.stdout)

    @unittest.skipUnless(NVCC, "nvcc is not installed: no CUDA programs to run")
    def test_static(self):
        """The runtime inside the program, which is what nvcc does unless told otherwise; and a stripped one."""
        with tempfile.TemporaryDirectory(prefix="atoll.") as d:
            exe = os.path.join(d, "vadd")
            subprocess.run([NVCC, "-o", exe, os.path.join(PROGRAMS, "vadd.cu")], check=True, timeout=120)
            for stripped in (False, True):
                if stripped:
                    subprocess.run(["strip", exe], check=True, timeout=60)
                out = subprocess.run([AGPU, "run", exe], env=self.env, capture_output=True, text=True, timeout=60,
                                     check=False)
                self.assertEqual(out.returncode, 2 if stripped else 0, out.stdout + out.stderr)
                if stripped:
                    self.assertIn("relink it with -cudart shared", out.stderr)


@unittest.skipUnless(os.path.exists(LOCAL), "the device in a program's own process is not built")
class Trace(unittest.TestCase):
    """A program with its device in its own process, recorded, and which network it needs by that."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="atoll.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.file = os.path.join(self.dir, "trace")

    def command(self, *args):
        out = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False, cwd=self.dir)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        return out

    def test_local(self):
        self.command(AGPU, "run", "--local", CLIENT, "fault")
        out = subprocess.run([AGPU, "run", "--local", "--device", "cray", CLIENT, "fault"], capture_output=True, text=True,
                             timeout=60, check=False)
        self.assertEqual(out.returncode, 1)
        self.assertIn('there is no device "cray"', out.stderr)

    def test_trace(self):
        self.command(AGPU, "trace", "-o", "trace", CLIENT, "check", PTX)
        calls = [line.split() for line in self.command(NETREQ, "dump", self.file).stdout.splitlines() if line[0] != "#"]
        kinds = {(c[4], c[12]) for c in calls}
        self.assertLessEqual({("ASYNC", "launch"), ("ASYNC", "copy_in"), ("SYNC", "copy_out"), ("SYNC", "module_load"),
                              ("ASYNC", "mem_map"), ("LOCAL", "query"), ("SYNC", "sync")}, kinds)
        launches = [c for c in calls if c[12] == "launch"]
        self.assertGreaterEqual(len(launches), 20000)
        self.assertTrue(all(int(c[7]) == 0 and int(c[8]) > 0 for c in launches), "a launch is the device's time")
        self.assertIn("4194304", {c[9] for c in calls if c[12] == "copy_in"})

        # A smaller one, and what is printed for it.
        self.command(AGPU, "trace", "-o", "trace", CLIENT, "fault")
        out = self.command(NETREQ, "--json", "--plot", "plot.svg", "--plot", "plot.png", self.file)
        need = json.loads(out.stdout)["need"]
        self.assertTrue(need["possible"])
        self.assertLessEqual(need["overhead"], 0.0501)
        for plot, magic in (("svg", b"<svg"), ("png", b"PNG")):
            if shutil.which("gnuplot"):
                with open(os.path.join(self.dir, f"plot.{plot}"), "rb") as f:
                    self.assertIn(magic, f.read(4096))
            else:
                self.assertIn(f"plot.{plot}: there is no gnuplot", out.stderr)
        self.assertIn("round trip", self.command(NETREQ, "--plot", "text", self.file).stdout)

    def test_minimum(self):
        """At the least rate that is named the overhead is within the budget, at half of it it is not."""
        self.command(NETREQ, "synth", "--steps", "1", "--tflops", "1", "resnet18-train", self.file)
        for _ in range(2):
            out = subprocess.run([NETREQ, "replay", "--minimum", "--json", self.file], capture_output=True, text=True,
                                 timeout=60, check=False)
            self.assertIn(out.returncode, (0, 75), out.stdout + out.stderr)
            result = json.loads(out.stdout) if out.returncode == 0 else {"disturbed": 1}
            if result["disturbed"] == 0:
                break
        if result["disturbed"]:  # then what was measured is not the network's doing
            print(f"others had the cores: {result}", file=sys.stderr)
            return
        self.assertGreater(result["gbps_min"], 0)
        # a hundredth: what remains of costs that differ from one session to the next
        self.assertLess(result["overhead_at_minimum"], result["budget"] + 0.01)
        self.assertGreater(result["overhead_at_half"], result["budget"] + 0.01)

    def test_range(self):
        """Only what is asked between cudaProfilerStart and cudaProfilerStop is recorded."""
        self.command(AGPU, "trace", "--range", "-o", self.file, RUNTIME, PTX)
        names = [line.split()[-1] for line in self.command(NETREQ, "dump", self.file).stdout.splitlines() if line[0] != "#"]
        self.assertEqual([n for n in names if n != "error"], ["fill"] * 4 + ["sync"])

    def test_chrome(self):
        """Calls by thread and the device's work by stream, as viewers of traces read it."""
        self.command(AGPU, "trace", "--range", "--chrome", "chrome.json", "-o", self.file, RUNTIME, PTX)
        with open(os.path.join(self.dir, "chrome.json"), encoding="ascii") as f:
            events = json.load(f)["traceEvents"]
        spans = [e for e in events if e["ph"] == "X"]
        fills = [e for e in spans if e["name"] == "fill"]
        self.assertEqual(sorted(e["pid"] for e in fills), [1] * 4 + [2] * 4)
        work = [e for e in fills if e["pid"] == 2]
        for a, b in zip(work, work[1:]):
            self.assertGreaterEqual(b["ts"] + 0.001, a["ts"] + a["dur"])
        self.assertEqual(json.loads(self.command(NETREQ, "dump", "--chrome", self.file).stdout)["traceEvents"], events)


if __name__ == "__main__":
    unittest.main(verbosity=2)
