#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run to their end, leave nothing behind, and print the keys that others rely on."""
import glob
import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD  # noqa: E402

BENCH = os.path.join(BUILD, "tools/bench/atoll-bench")

KEYS = {
    "ops": ["ops.up_ms", "ops.service_restart_ms", "ops.clients_told_ms", "ops.idle_cpu",
            "ops.idle_mib"],
    "ipc": ["ipc.rtt_over_raw", "ipc.rtt_ns", "ipc.raw_ns", "ipc.stream_ns", "ipc.routed_over_unix",
            "ipc.idle_cost"],
    "gpu": ["gpu.launch.rate", "gpu.launch.client_ns", "gpu.launch.client_ns_over_raw", "gpu.sync.rtts", "gpu.read.rtts",
            "gpu.better_than_local", "gpu.overhead.chatty", "gpu.sync_ns", "gpu.module.again_us", "gpu.copy.h2d",
            "gpu.copy.d2h", "gpu.copy.h2d_pageable", "gpu.copy.d2h_pageable", "gpu.cpu.interp_over_jit.vadd",
            "gpu.netreq.error_median", "gpu.netreq.error_worst"],
    "fork": ["fork.first_instruction_ms.64", "fork.first_instruction_ms.512", "fork.parent_pause_ms.64",
             "fork.parent_pause_ms.512", "fork.touch100_over_local.first", "fork.touch100_over_local.cached",
             "fork.children_per_s", "fork.descriptor_bytes.64", "fork.descriptor_bytes.512", "fork.page_fetch_us.window",
             "fork.python_first_statement_ms"],
    "wire": ["wire.rtt_over_port", "wire.read8_over_port", "wire.mixed_p99", "wire.detect_ms.process",
             "wire.detect_ms.node", "wire.trace_off", "wire.trace_on",
             "wire.read64_rate", "wire.read1m_bytes"],
    "index": ["index.rtts.get", "index.rtts.put", "index.rtts.insert", "index.rtts.delete",
              "index.get_rate", "index.load_factor", "index.log_bytes", "index.rtts_cached.get", "index.splits", "index.ycsb_rate.A",
              "index.ycsb_rate_ft_off.A", "index.ycsb_rate.insert",
              "index.tree_rtts.get", "index.tree_rtts.put", "index.clients.64", "index.clients_64_over_best",
              "index.over_dtx.A", "index.over_dtx.F", "index.over_dtx.insert", "index.dtx_rtts.update",
              "index.scaling.model_C.1", "index.scaling.model_C.4", "index.scaling.here_C.2"],
    "repair": ["repair.recovery_ms"],
}


def bench(*args):
    return subprocess.run([BENCH, *args], capture_output=True, text=True, timeout=120, check=False)


class Bench(unittest.TestCase):
    def run_one(self, name):
        before = glob.glob("/tmp/atoll-bench-*")
        out = bench(name, "--quick", "--json")
        self.assertEqual(out.returncode, 0, out.stderr)
        found = json.loads(out.stdout)
        self.assertEqual(list(found), [name])
        for key in KEYS[name]:
            value = found
            for part in key.split("."):
                self.assertIn(part, value, key)
                value = value[part]
            self.assertGreater(value, 0, key)
        if name == "index" and shutil.which("redis-server") and shutil.which("redis-benchmark"):
            for workload in "ABC":
                self.assertGreater(found["index"]["over_redis"][workload], 0)
        self.assertEqual(glob.glob("/tmp/atoll-bench-*"), before)
        return found[name]

    def test_ipc(self):
        self.run_one("ipc")

    @unittest.skipUnless(os.path.exists(os.path.join(BUILD, "tools/bench/fork_work")), "fork-pager is not built")
    @unittest.skipUnless(os.geteuid() == 0, "a fork that keeps its pid needs root")
    def test_fork(self):
        self.run_one("fork")

    def test_wire(self):
        self.run_one("wire")

    @unittest.skipUnless(os.path.exists(os.path.join(BUILD, "tools/bench/gpu_work_local")), "gpu-exec is not built")
    def test_gpu(self):
        gpu = self.run_one("gpu")
        self.assertEqual((gpu["sync"]["rtts"], gpu["query"]["rtts"], gpu["read"]["rtts"]), (1, 0, 1))
        for program in ("matmul", "training", "nbody"):
            self.assertIn(program, gpu["overhead"])
            self.assertIn("rtt100_beyond", gpu["overhead"][program])

    def test_index(self):
        index = self.run_one("index")
        self.assertLessEqual({"A", "B", "C", "D", "E", "F", "insert"}, set(index["ft_overhead"]))
        trips = index["rtts_cached"]
        self.assertEqual([trips[op] for op in ("get", "update", "insert", "delete")], [1, 2, 3, 2])
        trips = index["rtts"]
        self.assertEqual([trips[op] for op in ("get", "put", "insert", "delete")], [2, 3, 3, 3])

    def test_repair(self):
        repair = self.run_one("repair")
        self.assertLess(repair["recovery_ms"], 4000)
        self.assertEqual(repair.get("failures", 0), 0)

    def test_ops(self):
        # Memory that nobody has used yet is none: a heap of 256 MiB is there, and empty.
        self.assertLess(self.run_one("ops")["idle_mib"], 150)

    def test_rivals_missing(self):
        """A rival that is not installed is said to be missing; what is ours is measured all the same."""
        env = dict(os.environ, PATH="/nonexistent")
        out = subprocess.run([BENCH, "rivals", "--quick", "--json"], capture_output=True, text=True,
                             timeout=100, check=False, env=env)
        self.assertEqual(out.returncode, 0, out.stderr)
        found = json.loads(out.stdout)["rivals"]
        self.assertEqual(found["missing"], "ucx-utils, libfabric-bin, sockperf, redis-server, dpdk-dev")
        self.assertEqual([k for k in found if "_over_" in k], [])
        for key in ("read64_rate", "read1m_bytes", "client_read64_ns", "message_rtt_ns", "index_get_rate",
                    "forward_rate"):
            self.assertGreater(found["atoll"][key], 0, key)

    def test_usage(self):
        self.assertEqual(bench().returncode, 2)
        out = bench("moon")
        self.assertEqual((out.returncode, out.stdout), (2, ""))
        self.assertIn("ipc, wire, index, repair, gpu, fork, ops and rivals", out.stderr)
        for args in (("index", "--part", "moon"), ("wire", "--part", "get"), ("index", "--part", "get,tree")):
            out = bench(*args)
            self.assertEqual((out.returncode, out.stdout), (2, ""))
            self.assertIn("has no part", out.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
