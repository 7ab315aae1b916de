# SPDX-License-Identifier: Apache-2.0
"""Each program of items.c, and unmodified programs, forked at random instants on this host without a pager.

Both the parent and the child must come to the same good end. ATOLL_TEST_FULL=1: a thousand forks."""
import concurrent.futures
import os
import random
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("ATOLL_BUILD", "build")
FULL = os.environ.get("ATOLL_TEST_FULL") == "1"
ITEMS = os.path.join(BUILD, "tests/fork/items")
CARRIED = os.path.join(BUILD, "tests/fork/carried")
TWIN = os.path.join(BUILD, "tests/fork/twin")

PYTHON = """
import hashlib, threading, time
d = {i: str(i) * 3 for i in range(50000)}
total = [0] * 3
def work(k):
    for i in range(75):
        total[k] += sum(len(d[j]) for j in range(k, 20000, 7))
        time.sleep(0.02)
threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print(hashlib.sha256(repr((total, sorted(d.items()))).encode()).hexdigest())
"""
BASH = """
declare -A table
x=1
for ((i = 0; i < 450000; i++)); do x=$(( (x * 31 + i) % 1000003 )); table[$((i % 100))]=$x; done
echo $x ${table[7]} ${table[42]} $$
"""


def forked(command, delay):
    """(output of the parent, output of the child, what twin said)"""
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    time.sleep(delay)
    child = subprocess.run([TWIN, str(parent.pid)], capture_output=True, text=True, timeout=60,
                           stdin=subprocess.DEVNULL, check=False)
    out, _ = parent.communicate(timeout=60)
    return (parent.returncode, out), (child.returncode, child.stdout), child.stderr


def rest(command, most):
    """A wait goes on with what was left of it: 0.4 of 2 s."""
    parent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(1.6)
    start = time.monotonic()
    child = subprocess.run([TWIN, str(parent.pid)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                           check=False)
    took = time.monotonic() - start
    out, _ = parent.communicate(timeout=60)
    if (parent.returncode, child.returncode, child.stdout) != (0, 0, out) or took > most:
        print(f"{command}: parent {parent.returncode}, child {child.returncode} after {took:.2f} s: {child.stderr}")
        return 1
    return 0


def main():
    if os.geteuid() != 0:
        print("a fork that keeps its pid needs root, or a user namespace of its own")
        return 77
    seed = int(os.environ.get("ATOLL_SEED", time.time_ns() % 1000000))
    rng = random.Random(seed)
    names = subprocess.run([ITEMS], capture_output=True, text=True, check=True).stdout.split()
    # Each runs well beyond its span, however fast the machine: who has ended cannot be forked.
    # Times of programs that know of them vary; what they say must not.
    work = [(name, [ITEMS, name, "1.0"], 0.5) for name in names]
    more = subprocess.run([CARRIED], capture_output=True, text=True, check=True).stdout.split()
    work += [(name, [CARRIED, name, "1.0"], 0.5) for name in more if not name.startswith("rest-") and not name.endswith("-listener")]
    work += [("python", [sys.executable, "-S", "-c", PYTHON], 0.9), ("bash", ["bash", "-c", BASH], 0.5)]
    rounds = 1000 // len(work) + 1 if FULL else 2
    bad = done = 0
    for _ in range(rounds):
        for name, command, span in work:
            delay = rng.uniform(0.1, span) if name != "python" else rng.uniform(0.3, span)
            parent, child, said = forked(command, delay)
            if parent[0] == 77:
                continue
            done += 1
            if parent[0] != 0 or parent != child:
                bad += 1
                print(f"{name} after {delay:.3f} s: parent {parent}, child {child}: {said}")
    # What began anew would take 2 s more; poll does, and there is nothing to be known of what was left of it.
    waits = [([ITEMS, "rest"], 1.9)] + [([CARRIED, name], 1.9) for name in more if name.startswith("rest-")]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        bad += sum(pool.map(lambda w: rest(w[0], 60 if w[0][-1] == "rest-poll" else w[1]), waits))
    print(f"{done} forks, {bad} bad (seed {seed})")
    return 1 if bad else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="atoll.") as here:
        os.environ["TMPDIR"] = here  # what the programs leave goes with it
        sys.exit(main())
