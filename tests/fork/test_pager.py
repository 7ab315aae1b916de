# SPDX-License-Identifier: Apache-2.0
"""Each program of memory.c and some of items.c, forked at random instants on this host, with a pager: the child does what
it does to its memory while its pages are still coming, at once or late and out of order. Then pages that cannot be
had: the child is ended by SIGBUS, and the reason is said."""
import os
import random
import subprocess
import sys
import time

BUILD = os.environ.get("ATOLL_BUILD", "build")
FULL = os.environ.get("ATOLL_TEST_FULL") == "1"
MEMORY = os.path.join(BUILD, "tests/fork/memory")
ITEMS = os.path.join(BUILD, "tests/fork/items")
TWIN = os.path.join(BUILD, "tests/fork/twin")


def forked(command, delay, options):
    """(output of the parent, output of the child, what twin said)"""
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    time.sleep(delay)
    for _ in range(30):
        child = subprocess.run([TWIN, "--pager", *options, str(parent.pid)], capture_output=True,
                               text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
        if "its child processes" not in child.stderr:  # else at another instant
            break
        time.sleep(0.015)
    out, _ = parent.communicate(timeout=60)
    return (parent.returncode, out), (child.returncode, child.stdout), child.stderr


def main():
    if os.geteuid() != 0:
        print("a fork that keeps its pid, and events of userfaultfd, need root")
        return 77
    seed = int(os.environ.get("ATOLL_SEED", time.time_ns() % 1000000))
    rng = random.Random(seed)
    names = subprocess.run([MEMORY], capture_output=True, text=True, check=True).stdout.split()
    work = [(name, [MEMORY, name, "1.0"], opts) for name in names for opts in ([], ["--late"])]
    work += [(name, [ITEMS, name, "1.0"], ["--late"]) for name in ("memory", "shared", "threads", "signals", "self")]
    bad = done = 0
    for _ in range(20 if FULL else 1):
        for name, command, options in work:
            delay = rng.uniform(0.1, 0.4)
            parent, child, said = forked(command, delay, options)
            if parent[0] == 77:
                continue
            if "Function not implemented" in said:
                print("no userfaultfd with events and with minor faults of shared memory in this kernel")
                return 77
            done += 1
            if parent[0] != 0 or parent != child:
                bad += 1
                print(f"{name} {options} after {delay:.3f} s: parent {parent}, child {child}: {said}")
    for cut in (20, 60):
        parent, child, said = forked([MEMORY, "read", "1.0"], 0.2, ["--cut", str(cut)])
        done += 1
        # 122: not even the pages that it needs to begin with
        if parent[0] != 0 or child[0] not in (122, 128 + 7) or child[1] or "No route to host" not in said:
            bad += 1
            print(f"cut after {cut} reads: parent {parent}, child {child}: {said}")
    print(f"{done} forks, {bad} bad (seed {seed})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
