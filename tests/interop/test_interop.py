#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The RoCEv2 engine against Linux's own RDMA stack (rdma_rxe) in a guest, with unmodified RDMA tools.

In the guest a veth pair joins two network namespaces: rxe0 is at one end, the engine at the other, over
the kernel's UDP. One guest runs every step.

test_interop.py [PATTERN...]   only the steps whose names match
"""
import fnmatch
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guest  # noqa: E402

BUILD = os.environ.get("ATOLL_BUILD", "build")
FULL = os.environ.get("ATOLL_TEST_FULL") == "1"
SEED = int(os.environ.get("ATOLL_SEED", "1"))
RXE, OURS, CONTROL = "10.77.0.1", "10.77.0.2", "10.78.0.2"
PORTS = {"uring": "uring:", "dpdk": "dpdk:net_af_packet0,iface=p1;huge=off;memory_mb=160"}
DPDK_PLUGINS = ("mempool_ring", "bus_vdev", "net_af_packet")  # the library opens them by name
MODULES = ["veth", "crc32_generic", "crc32_pclmul", "rdma_rxe", "ib_uverbs", "rdma_ucm", "sch_netem"]

PRELUDE = f"""
cat >/bin/listens <<'E' # PORT: waits until somebody in the engine's namespace accepts there
#!/bin/sh
for i in $(seq 100); do
	ip netns exec b netstat -ltn | grep -q ":$1 " && exit
	[ $i -lt 20 ] || pidof roce_peer >/dev/null || exit 1
	sleep 0.1
done
E
chmod +x /bin/listens
ours() {{ ip netns exec b "$@"; }}
step() {{ # NAME SECONDS COMMAND
	setsid /bin/sh -c "$3" >/tmp/out 2>&1 &
	pid=$!
	( sleep "$2"; kill -9 -$pid; echo "no end after $2 s" >>/tmp/out ) 2>/dev/null &
	clock=$!
	wait $pid
	rc=$?
	kill $clock 2>/dev/null
	wait $clock 2>/dev/null
	kill -9 -$pid 2>/dev/null # what it started and left
	[ $rc -eq 0 ] || sed 's/^/  | /' /tmp/out
	echo "@@step $1 $rc $(cut -d' ' -f1 /proc/uptime) $(tail -n 1 /tmp/out)"
}}
ip netns add b
ip link add p0 type veth peer name p1 netns b
ip link set p0 mtu 4400
ours ip link set p1 mtu 4400
ip addr add {RXE}/24 dev p0
ours ip addr add {OURS}/24 dev p1
ip link set p0 up
ours ip link set p1 up
ours ip link set lo up
# what the test's own programs say to each other does not share the losses
ip link add q0 type veth peer name q1 netns b
ip addr add 10.78.0.1/24 dev q0
ours ip addr add {CONTROL}/24 dev q1
ip link set q0 up
ours ip link set q1 up
rdma link add rxe0 type rxe netdev p0 || echo "@@norxe"
for i in 1 2 3 4 5 6 7 8 9 10; do
	grep -q ACTIVE /sys/class/infiniband/rxe0/ports/1/state && break
	sleep 0.2
done
mkdir -p /dev/infiniband
for u in /sys/class/infiniband_verbs/uverbs*; do
	[ -e /dev/infiniband/${{u##*/}} ] || mknod /dev/infiniband/${{u##*/}} c $(tr : ' ' <$u/dev)
done
"""


def pingpong(port, role, size, mtu, count):
    """Steps: our engine is @role, the tool is the other."""
    ours = (f"ip netns exec b roce_peer pingpong '{PORTS[port]}' {OURS} {RXE} {role} 18515 {size} {mtu} "
            f"{count}")
    tool = f"ibv_rc_pingpong -d rxe0 -g 1 -c -s {size} -m {mtu} -n {count}"
    if role == "server":
        command = f"{ours} & p=$!; listens 18515; {tool} {OURS} && wait $p"
    else:
        command = f"{tool} >/tmp/tool 2>&1 & p=$!; {ours} && wait $p || {{ cat /tmp/tool; exit 1; }}; ! grep invalid /tmp/tool"
    return f"pingpong.{port}.{role}.{size}.{mtu}", 60, command


def lossy(netem):
    """(before, after): shell that has both ends of the veth do @netem."""
    ends = (("tc", "p0"), ("ip netns exec b tc", "p1"))
    if not netem:
        return "", ""
    return ("".join(f"{tc} qdisc add dev {dev} root netem {netem}; " for tc, dev in ends),
            "".join(f"{tc} qdisc del dev {dev} root; " for tc, dev in ends))


def verbs(port, mtu, tests, netem="", seconds=90, rounds=20, seed=1):
    """Steps: libibverbs at the engine and the engine at libibverbs; @netem is what the veth does."""
    before, after = lossy(netem)
    command = (f"{before}ip netns exec b roce_peer serve '{PORTS[port]}' {OURS} {RXE} 7000 & "
               f"ROUNDS={rounds} SEED={seed} verbs_peer rxe0 1 {CONTROL} 7000 {mtu} {tests}; rc=$?; {after}exit $rc")
    name = f"verbs.{port}.{mtu}.{tests.replace(' ', '+')}" + (f".{netem.replace(' ', '_')}" if netem else "")
    return name, seconds, command


def rping(port, role, size, count, netem=""):
    """Steps: the connection is made and ended by the RDMA CM."""
    ours = f"ip netns exec b roce_peer rping '{PORTS[port]}' {OURS} {RXE} {role} 7174 {size} {count}"
    if role == "server":
        command = (f"{ours} & p=$!; sleep 1; rping -c -a {OURS} -p 7174 -C {count} -S {size} -V && wait $p")
    else:
        command = (f"rping -s -a {RXE} -p 7174 -C {count} -S {size} >/tmp/tool 2>&1 & sleep 1; "
                   f"{ours} || {{ cat /tmp/tool; exit 1; }}")
    before, after = lossy(netem)
    name = f"rping.{port}.{role}.{size}" + (f".{netem.replace(' ', '_')}" if netem else "")
    return name, 90, f"{before}({command}); rc=$?; {after}exit $rc"


def refusals(port):
    """Steps: nobody listens there."""
    ours = f"ip netns exec b roce_peer rping '{PORTS[port]}' {OURS} {RXE}"
    yield (f"refused.{port}.server", 60, f"{ours} server 7175 64 1 & p=$!; sleep 1; "
           f"rping -c -a {OURS} -p 7174 -C 1 -d 2>&1 | grep -i reject; r=$?; wait $p; [ $? -eq 3 -a $r -eq 0 ]")
    yield (f"refused.{port}.client", 60, f"{ours} client 7176 64 1 >/tmp/ours; [ $? -eq 3 ] && "
           "grep 'reason 8' /tmp/ours")


def steps():
    for port in PORTS:
        # net_af_packet carries no packets of 4096 bytes, and a client of the CM asks for what rxe can
        large = port != "dpdk"
        for role in ("server", "client"):
            for size, mtu, count in ((1, 1024, 1000), (65536, 1024, 50)):
                yield pingpong(port, role, size, mtu, count)
            if large:
                yield pingpong(port, role, 1023, 4096, 1000)
                yield pingpong(port, role, 65536, 4096, 50)
            if large or role == "client":
                yield rping(port, role, 64, 200)
                yield rping(port, role, 65000, 20)
                yield rping(port, role, 5000, 50, "loss 2%")
        yield from refusals(port)
        # the engine is the same above either port: the second one is tried with less
        for test in ("write_read", "send", "atomics", "refused", "engine_refused", "depth", "rnr") if (
                large or FULL) else ("write_read", "atomics", "refused"):
            yield verbs(port, 1024, test)
        if large:
            yield verbs(port, 4096, "write_read send")
        yield verbs(port, 1024, "mixed")
        yield verbs(port, 1024, "mixed", "loss 1%", rounds=100 if FULL else 20, seed=SEED)
        if large or FULL:
            yield verbs(port, 4096 if large else 1024, "mixed", "delay 1ms reorder 50% duplicate 3%",
                        rounds=100 if FULL else 20, seed=SEED, seconds=180)


def main():
    try:
        machine = guest.Guest(os.path.join(BUILD, "interop"), MODULES)
        machine.verbs()
        machine.program("ibv_rc_pingpong", "ibverbs-utils")
        machine.program("rping", "rdmacm-utils")
        for program in ("roce_peer", "verbs_peer"):
            machine.program(os.path.join(BUILD, "tests/interop", program), "libibverbs-dev, then build")
        for plugin in DPDK_PLUGINS:
            for path in glob.glob(f"/usr/lib/*/dpdk/pmds-*/librte_{plugin}.so.*.*"):
                machine.files.program(path, path)
    except guest.Missing as missing:
        print(f"skip: {missing}")
        return 77
    wanted = [step for step in steps()
              if not sys.argv[1:] or any(fnmatch.fnmatch(step[0], p) for p in sys.argv[1:])]
    script = PRELUDE + "".join(f"step {name} {seconds} '{command.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'\n"
                               for name, seconds, command in wanted)
    results = {}

    def line(text):
        if text.startswith("@@step "):
            _, name, status, at, *said = text.split(" ", 4)
            results[name] = int(status)
            verdict = {0: "ok", 77: "skipped"}.get(int(status), f"FAILED ({status})")
            print(f"{at:>7} s  {name}: {verdict}  {said[0] if said else ''}", flush=True)
        else:
            print(text, flush=True)

    print(f"Linux {machine.version}")
    status, _, console = machine.run(script, 1800 if FULL else 850, line)
    missing = [name for name, _, _ in wanted if name not in results]
    bad = [name for name, _, _ in wanted if results.get(name, 0) not in (0, 77)]
    if status is None or missing:
        print(console[-2000:])
        print(f"the guest ended early: no result of {', '.join(missing)}")
        return 1
    if bad:
        print(f"failed: {', '.join(bad)}")
        return 1
    print(f"{len(results)} steps with Linux {machine.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
