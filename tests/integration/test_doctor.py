#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""svcctl doctor on machines that do not exist: a root directory with what /proc, /sys and /dev would say."""
import json
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import svcctl  # noqa: E402

HUGE = "sys/kernel/mm/hugepages/hugepages-2048kB/"
CLOCK = "sys/devices/system/clocksource/clocksource0/"
CPU = "sys/devices/system/cpu/"
STAGES = ["hugepages", "limits", "capabilities", "isolation", "frequency", "nic", "mtu", "rdma", "gpu",
          "userfaultfd", "clocks"]
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            4096                 1048576              files
Max locked memory         8388608              8388608              bytes
"""
FIB = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 192.0.2.2
        /32 host LOCAL
     |-- 192.0.2.9
        /24 link UNICAST
"""
ROUTE = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


class Doctor(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="atoll.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.root = os.path.join(self.dir, "root")
        # A machine with which nothing is wrong.
        self.file(HUGE + "nr_hugepages", "64\n")
        self.file(HUGE + "free_hugepages", "64\n")
        self.file("proc/meminfo", "MemTotal: 32000000 kB\nMemAvailable:   30000000 kB\n")
        self.file("proc/self/limits", LIMITS)
        self.file("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n")
        self.file("proc/sys/user/max_user_namespaces", "1000\n")
        self.file("proc/sys/vm/unprivileged_userfaultfd", "0\n")
        self.file("proc/net/fib_trie", FIB)
        self.file("proc/net/route", ROUTE)
        self.file(CPU + "online", "0-3\n")
        self.file(CPU + "isolated", "2-3\n")
        for core in range(4):
            self.file(f"{CPU}cpu{core}/cpufreq/scaling_governor", "performance\n")
        self.file("sys/class/net/eth0/mtu", "1500\n")
        self.file("sys/class/net/eth0/operstate", "up\n")
        self.file("sys/class/net/eth1/mtu", "9000\n")
        self.file("sys/class/net/lo/mtu", "65536\n")
        self.file(CLOCK + "current_clocksource", "tsc\n")
        self.file(CLOCK + "available_clocksource", "tsc hpet acpi_pm\n")

    def file(self, name, text):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)

    def read(self, name):
        with open(os.path.join(self.root, name), encoding="ascii") as f:
            return f.read()

    def conf(self, port="uring:", node="core = 2\n", more="", address="127.0.0.2"):
        path = os.path.join(self.dir, "n.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"[node]\nname = n\nid = 1\nrun_dir = {self.dir}/n\n{node}\n[port]\nport = {port}\n"
                    f"address = {address}\ntrust = none\n{more}\n")
        return path

    def look(self, *args, faults=None):
        """Stages by name; the exit status must fit, and those in @faults be the ones at fault."""
        out = svcctl("doctor", "--json", "--sysroot", self.root, *args)
        found = json.loads(out.stdout)
        self.assertEqual([s["stage"] for s in found["stages"]], STAGES)
        bad = [s["stage"] for s in found["stages"] if s["verdict"] == "fault"]
        self.assertEqual(found["faults"], len(bad))
        self.assertEqual(out.returncode, 1 if bad else 0, out.stderr)
        if faults is not None:
            self.assertEqual(bad, faults, found)
        for s in found["stages"]:
            self.assertTrue(s["found"], s)
            self.assertTrue(s["mend"] or s["verdict"] != "fault", s)
        return {s["stage"]: s for s in found["stages"]}

    def test_good(self):
        found = self.look(self.conf(), faults=[])
        self.assertEqual(found["isolation"]["verdict"], "good")
        self.assertEqual(found["mtu"]["verdict"], "good")
        for name in ("hugepages", "rdma", "gpu", "userfaultfd"):  # not used: for information
            self.assertEqual(found[name]["verdict"], "info", name)

    def test_no_configuration(self):
        self.look(faults=[])
        text = svcctl("doctor", "--sysroot", self.root).stdout
        self.assertRegex(text, "good +clocks")
        self.assertTrue(text.endswith("0 faults\n"))

    def test_empty_machine(self):
        """Nothing to be read at all is no crash, and no invented fault."""
        shutil.rmtree(self.root)
        os.mkdir(self.root)
        self.look(faults=[])
        self.look(self.conf(), faults=[])

    def test_hugepages(self):
        self.file(HUGE + "free_hugepages", "3\n")
        self.file(HUGE + "nr_hugepages", "3\n")
        port = "dpdk:net_af_packet0,iface=eth0"
        self.assertEqual(self.look(self.conf(port))["hugepages"]["verdict"], "info")
        found = self.look("--fix", self.conf(port + ";huge=on"))["hugepages"]
        self.assertIn("from 3 to 35", found["did"])
        self.assertEqual(self.read(HUGE + "nr_hugepages"), "35")
        self.file(HUGE + "free_hugepages", "35\n")
        self.assertEqual(self.look(self.conf(port + ";huge=on"))["hugepages"]["verdict"], "good")
        self.file(HUGE + "free_hugepages", "0\n")
        self.file("proc/meminfo", "MemAvailable: 500000 kB\n")
        found = self.look("--fix", self.conf(port + ";huge=on"), faults=["hugepages"])["hugepages"]
        self.assertIn("nothing", found["did"])
        self.assertEqual(self.read(HUGE + "nr_hugepages"), "35")

    def test_limits(self):
        self.file("proc/self/limits", LIMITS.replace("4096 ", "256  "))
        found = self.look("--fix", faults=["limits"])["limits"]
        self.assertIn("ulimit -n", found["mend"])
        self.assertIn("no safe way", found["did"])

    def test_capabilities(self):
        self.file("proc/self/status", "CapEff:\t0000000000000000\n")
        self.look(self.conf(), faults=[])
        found = self.look(self.conf("dpdk:net_af_packet0,iface=eth0"), faults=["capabilities"])
        self.assertIn("CAP_NET_ADMIN CAP_NET_RAW", found["capabilities"]["means"])
        self.file("proc/sys/user/max_user_namespaces", "0\n")
        found = self.look(self.conf(), faults=["capabilities"])
        self.assertIn("no namespaces", found["capabilities"]["means"])

    def test_isolation(self):
        self.assertEqual(self.look(self.conf(node="core = 1"))["isolation"]["verdict"], "info")
        self.assertIn("core 9", self.look(self.conf(node="core = 9"), faults=["isolation"])
                      ["isolation"]["means"])
        echo = "[service echo]\nexec = echo\ncore = 2\n"
        self.look(self.conf(more=echo), faults=[])
        self.look(self.conf(node="core = 2\nidle = spin", more=echo), faults=["isolation"])

    def test_frequency(self):
        self.file(CPU + "cpu2/cpufreq/scaling_governor", "powersave\n")
        self.look(self.conf(node="core = 3"), faults=[])
        self.look(self.conf(), faults=["frequency"])
        found = self.look("--fix", self.conf(), faults=[])
        self.assertIn("governor of 1 core set", found["frequency"]["did"])
        self.assertEqual(self.read(CPU + "cpu2/cpufreq/scaling_governor"), "performance")

    def test_nic(self):
        self.look(self.conf(address="192.0.2.2"), faults=[])
        self.look(self.conf(address="192.0.2.9"), faults=["nic"])
        self.look(self.conf("dpdk:net_af_packet0,iface=eth7"), faults=["nic"])
        self.file("sys/class/net/eth0/operstate", "down\n")
        self.look(self.conf("dpdk:net_af_packet0,iface=eth0"), faults=["nic"])
        self.look(self.conf("dpdk:0000:03:00.1"), faults=["nic"])
        device = os.path.join(self.root, "sys/bus/pci/devices/0000:03:00.1")
        os.makedirs(device)
        os.symlink("../../../bus/pci/drivers/ixgbe", device + "/driver")
        found = self.look("--fix", self.conf("dpdk:03:00.1"), faults=["nic"])["nic"]
        self.assertIn("ixgbe", found["found"])
        self.assertIn("vfio-pci", found["mend"])
        os.remove(device + "/driver")
        os.symlink("../../../bus/pci/drivers/vfio-pci", device + "/driver")
        self.look(self.conf("dpdk:03:00.1"), faults=[])

    def test_mtu(self):
        peer = "[peer b]\nid = 2\naddress = 192.0.2.7\n"
        found = self.look(self.conf(address="192.0.2.2", more=peer))["mtu"]
        self.assertIn("MTU of eth1 is 9000", found["found"])  # the longest mask wins
        self.assertIn("4096 bytes", found["means"])
        self.look(self.conf(address="192.0.2.2", more="mtu_bytes = 9500\n" + peer), faults=["mtu"])
        far = "[peer b]\nid = 2\naddress = 198.51.100.7\n"
        self.assertIn("1024 bytes", self.look(self.conf(address="192.0.2.2", more=far))["mtu"]["means"])
        self.file("sys/class/net/eth0/mtu", "900\n")
        self.look(self.conf(address="192.0.2.2", more=far), faults=["mtu"])

    def test_rdma(self):
        self.file("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN\n")
        self.assertIn("1 RDMA device, none active", self.look()["rdma"]["found"])
        self.file("sys/class/infiniband/mlx5_1/ports/1/state", "4: ACTIVE\n")
        self.assertIn("active: mlx5_1", self.look()["rdma"]["found"])

    def test_services(self):
        gpu = "[service g]\nexec = gpu-exec\nargs = --device cuda\n"
        self.look(self.conf(more=gpu), faults=["gpu"])
        self.file("dev/nvidiactl", "")
        self.look(self.conf(more=gpu), faults=[])
        fork = "[service f]\nexec = fork-pager\n"
        self.look(self.conf(more=fork), faults=[])
        self.file("proc/self/status", "CapEff:\t0000000000000000\n")
        found = self.look("--fix", self.conf(more=fork), faults=["userfaultfd"])["userfaultfd"]
        self.assertEqual(self.read("proc/sys/vm/unprivileged_userfaultfd"), "0\n")  # not its to decide
        self.assertIn("no safe way", found["did"])

    def test_clocks(self):
        self.file(CLOCK + "current_clocksource", "hpet\n")
        self.look(faults=["clocks"])
        self.assertIn("set to tsc", self.look("--fix", faults=[])["clocks"]["did"])
        self.assertEqual(self.read(CLOCK + "current_clocksource"), "tsc")
        self.file(CLOCK + "current_clocksource", "hpet\n")
        self.file(CLOCK + "available_clocksource", "hpet\n")
        self.assertIn("does not offer", self.look("--fix", faults=["clocks"])["clocks"]["did"])

    def test_usage(self):
        self.assertEqual(svcctl("doctor", "a", "b").returncode, 2)
        self.assertEqual(svcctl("doctor", "/no/such/file").returncode, 2)
        self.assertIn(svcctl("doctor").returncode, (0, 1))  # this machine, whatever it is


if __name__ == "__main__":
    unittest.main(verbosity=1)
