# SPDX-License-Identifier: Apache-2.0
"""A Linux guest under QEMU that has the kernel's RDMA stack, for tests that want it as a peer.

The machine that runs the tests needs neither KVM, nor modules, nor root: Debian's kernel runs on an
emulated processor, with all of its files in memory. What goes in: busybox, iproute2, the kernel
modules asked for with all they need, the programs asked for with the libraries they are linked
with, and a script, whose output comes back over a serial line.
"""
import glob
import lzma
import os
import re
import shutil
import stat
import subprocess
import time

LIBS = "usr/lib/x86_64-linux-gnu"
VERBS_PROVIDER = "/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so"
VERBS_DRIVER = "/etc/libibverbs.d/rxe.driver"
BOOT_SECONDS = 60  # a guest that has not reached /init by then is started again
BOOT_TRIES = 3

INIT = """#!/bin/sh
export PATH=/bin LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
/bin/busybox --install -s /bin 2>/dev/null
mount -t proc p /proc
mount -t sysfs s /sys
mount -t devtmpfs d /dev 2>/dev/null
mkdir -p /dev/shm
mount -t tmpfs t /dev/shm
mount -t tmpfs t /tmp
mount -t tmpfs t /run
chmod 755 /
for m in $(cat /modules/order); do
	insmod /modules/$m.ko || echo "insmod $m failed" >/dev/ttyS0
done
echo @@INIT >/dev/ttyS0
ip link set lo up
ulimit -l unlimited
cd /w
sh ./run.sh >/dev/ttyS1 2>&1 </dev/null
echo "@@END $?" >/dev/ttyS0
sync
reboot -f
"""


class Missing(Exception):
    """Something that the machine lacks; the text says what, and how to get it."""


def need(path_or_program, package):
    if "/" in path_or_program:
        found = path_or_program if os.path.exists(path_or_program) else None
    else:
        found = shutil.which(path_or_program, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not found:
        raise Missing(f"{path_or_program} is not installed (apt-get install {package})")
    return os.path.realpath(found)


def is_elf(path):
    with open(path, "rb") as f:
        return f.read(4) == b"\x7fELF"


# ------------------------------------------------------------------ the kernel


def kernel_version(root):
    """The newest kernel with rdma_rxe below @root, or None."""
    found = glob.glob(f"{root}/lib/modules/*/kernel/drivers/infiniband/sw/rxe/rdma_rxe.ko*")
    versions = sorted(path.split("/lib/modules/")[1].split("/")[0] for path in found)
    for version in reversed(versions):
        if os.access(f"{root}/boot/vmlinuz-{version}", os.R_OK):
            return version
    return None


def kernel_download(cache):
    """Debian's kernel package, fetched and unpacked into the build directory, not installed."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise Missing(f"no kernel with rdma_rxe in /boot and /lib/modules, and no {tool}")
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True,
                             text=True).stdout
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    if not package:
        raise Missing("apt-cache knows no linux-image-amd64 (apt-get update)")
    fetch = subprocess.run(["apt-get", "download", package[1]], cwd=cache, capture_output=True,
                           text=True)
    debs = sorted(glob.glob(f"{cache}/linux-image-*.deb"))
    if fetch.returncode or not debs:
        raise Missing(f"apt-get download {package[1]}: "
                      f"{(fetch.stderr.strip().splitlines() or ['failed'])[-1]}")
    partial = f"{cache}/kernel.partial"
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", debs[-1], partial], check=True)
    os.rename(partial, f"{cache}/kernel")
    for deb in debs:
        os.unlink(deb)


def kernel_find(cache):
    """(root, version) of a kernel: an installed one, or one in @cache, fetched if need be."""
    for root in ("", f"{cache}/kernel"):
        version = kernel_version(root)
        if version:
            return root, version
    kernel_download(cache)
    version = kernel_version(f"{cache}/kernel")
    if not version:
        raise Missing("the package linux-image-amd64 has no rdma_rxe")
    return f"{cache}/kernel", version


def kernel_image(root, version, cache):
    """The kernel unpacked: an emulated processor takes seconds to do that itself."""
    packed, image = f"{root}/boot/vmlinuz-{version}", f"{cache}/vmlinux-{version}"
    if os.path.exists(image):
        return image
    with open(packed, "rb") as f:
        data = f.read()
    at = data.find(b"\xfd7zXZ\0")
    if at < 0:
        return packed
    try:
        data = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[at:])
    except lzma.LZMAError:
        return packed
    if data[:4] != b"\x7fELF":
        return packed
    with open(image + ".partial", "wb") as f:
        f.write(data)
    if shutil.which("strip"):
        subprocess.run(["strip", "-s", image + ".partial"], capture_output=True)
    os.rename(image + ".partial", image)
    return image


class Modules:
    """Kernel modules in an order in which they can be loaded."""

    def __init__(self, root, version):
        self.paths = {}
        for path in glob.glob(f"{root}/lib/modules/{version}/kernel/**/*.ko*", recursive=True):
            self.paths[os.path.basename(path).split(".ko")[0].replace("-", "_")] = path
        self.loaded = {}

    def add(self, name):
        """True if the kernel has it as a module."""
        name = name.replace("-", "_")
        if name in self.loaded or name not in self.paths:
            return name in self.loaded
        path = self.paths[name]
        with open(path, "rb") as f:
            data = f.read()
        if path.endswith(".xz"):
            data = lzma.decompress(data)
        self.loaded[name] = None
        info = re.findall(rb"\0(?:depends=|softdep=pre: )([^\0]*)", data)
        for depends in info:
            for other in re.split("[, ]+", depends.decode()):
                if other:
                    self.add(other)
        del self.loaded[name]
        self.loaded[name] = data
        return True


# ------------------------------------------------------------------ the files


class Files:
    """An initial RAM disk in cpio's "newc" form."""

    def __init__(self):
        self.entries = {}

    def directory(self, path):
        parts = path.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            self.entries.setdefault("/".join(parts[:i]), (stat.S_IFDIR | 0o755, b""))

    def add(self, path, data, mode=0o644):
        path = path.strip("/")
        if "/" in path:
            self.directory(os.path.dirname(path))
        self.entries[path] = (stat.S_IFREG | mode, data if isinstance(data, bytes) else data.encode())

    def link(self, path, target):
        self.entries[path.strip("/")] = (stat.S_IFLNK | 0o777, target.encode())

    def copy(self, source, path):
        with open(source, "rb") as f:
            self.add(path, f.read(), 0o755)

    def program(self, source, path):
        """A program and every library that it is linked with."""
        self.copy(source, path)
        if not is_elf(source):
            return
        listed = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        for library in re.findall(r"(?:=> )?(/\S+) \(0x", listed):
            if library.startswith("/lib64/"):
                self.copy(library, library)
            else:
                self.copy(library, f"{LIBS}/{os.path.basename(library)}")

    def cpio(self):
        out = bytearray()
        for i, (path, (mode, data)) in enumerate(list(self.entries.items()) +
                                                 [("TRAILER!!!", (0, b""))]):
            name = path.encode() + b"\0"
            head = [i + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
            out += b"070701" + b"".join(b"%08x" % field for field in head) + name
            out += b"\0" * (-len(out) % 4) + data
            out += b"\0" * (-len(data) % 4)
        return bytes(out)


# ------------------------------------------------------------------ the guest


class Guest:
    """@cache: a directory of the build, kept between runs. Raises Missing."""

    def __init__(self, cache, modules, memory_mb=1024, cpus=2):
        os.makedirs(cache, exist_ok=True)
        self.cache, self.memory_mb, self.cpus = cache, memory_mb, cpus
        self.qemu = need("qemu-system-x86_64", "qemu-system-x86")
        busybox = need("/bin/busybox", "busybox-static")
        if "=>" in subprocess.run(["ldd", busybox], capture_output=True, text=True).stdout:
            raise Missing("busybox is not the static one (apt-get install busybox-static)")
        root, self.version = kernel_find(cache)
        self.image = kernel_image(root, self.version, cache)
        self.files = Files()
        for path in ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "w", "lib64", LIBS, "var"):
            self.files.directory(path)
        self.files.link("lib", "usr/lib")
        self.files.link("var/run", "/run")
        self.files.copy(busybox, "bin/busybox")
        self.files.program(os.path.realpath("/bin/sh"), "bin/sh")
        self.files.add("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        self.files.add("etc/hosts", "127.0.0.1 localhost\n")
        for tool in ("ip", "tc", "rdma"):
            self.program(tool, "iproute2")
        self.files.add("init", INIT, 0o755)
        # threads that end open it by name
        self.files.copy(os.path.realpath("/lib/x86_64-linux-gnu/libgcc_s.so.1"),
                        f"{LIBS}/libgcc_s.so.1")
        wanted = Modules(root, self.version)
        self.absent = [name for name in modules if not wanted.add(name)]
        self.files.add("modules/order", "\n".join(wanted.loaded) + "\n")
        for name, data in wanted.loaded.items():
            self.files.add(f"modules/{name}.ko", data)

    def program(self, name, package):
        source = need(name, package)
        self.files.program(source, "bin/" + os.path.basename(name))

    def verbs(self):
        """libibverbs' driver for rxe."""
        self.files.program(need(VERBS_PROVIDER, "ibverbs-providers"),
                           f"{LIBS}/libibverbs/{os.path.basename(VERBS_PROVIDER)}")
        self.files.copy(need(VERBS_DRIVER, "ibverbs-providers"), VERBS_DRIVER)

    def run(self, script, timeout, line=None):
        """Runs @script in the guest's /w. @line is called with each line of its output as it comes.
        Returns (exit status or None, output, console)."""
        self.files.add("w/run.sh", script)
        initrd, console, output = (f"{self.cache}/{name}" for name in ("initrd", "console", "output"))
        with open(initrd, "wb") as f:
            f.write(self.files.cpio())
        for _ in range(BOOT_TRIES):
            for name in (console, output):
                open(name, "wb").close()
            status = self.boot(initrd, console, output, timeout, line)
            if status != "hung":
                break
        with open(output, errors="replace") as f:
            text = f.read().replace("\r", "")
        with open(console, errors="replace") as f:
            return (None if status == "hung" else status), text, f.read().replace("\r", "")

    def boot(self, initrd, console, output, timeout, line):
        append = ("console=ttyS0 quiet loglevel=4 panic=-1 reboot=t mitigations=off nokaslr audit=0 "
                  "random.trust_cpu=on tsc=reliable no_timer_check nowatchdog "
                  "rcupdate.rcu_expedited=1 cryptomgr.notests 8250.nr_uarts=2")
        qemu = subprocess.Popen(
            [self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-M", "q35,smbus=off,sata=off,usb=off,hpet=off", "-accel", "tcg,thread=multi,tb-size=512",
             "-cpu", "max", "-smp", str(self.cpus), "-m", str(self.memory_mb),
             "-kernel", self.image, "-initrd", initrd, "-serial", f"file:{console}",
             "-serial", f"file:{output}", "-append", append],
            stdin=subprocess.DEVNULL)
        began = time.monotonic()
        reached, shown = False, 0
        try:
            while True:
                ended = qemu.poll() is not None
                with open(output, "rb") as f:
                    f.seek(shown)
                    new = f.read()
                whole = new.rfind(b"\n") + 1
                shown += whole
                for text in new[:whole].decode(errors="replace").replace("\r", "").splitlines():
                    if line:
                        line(text)
                with open(console, errors="replace") as f:
                    said = f.read()
                reached = reached or "@@INIT" in said
                if ended:
                    end = re.search(r"@@END (\d+)", said)
                    return int(end[1]) if end else None
                late = time.monotonic() - began
                if not reached and late > BOOT_SECONDS:
                    return "hung"
                if late > timeout:
                    return None
                time.sleep(0.2)
        finally:
            if qemu.poll() is None:
                qemu.kill()
            qemu.wait()
