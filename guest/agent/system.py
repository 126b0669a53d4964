# SPDX-License-Identifier: GPL-2.0-only
"""Small readers and writers of /proc and /sys."""

from __future__ import annotations

import fcntl
import os
import struct
import time

PORTS = "/sys/class/virtio-ports"
CPUS = "/sys/devices/system/cpu"
NODES = "/sys/devices/system/node"
ZONES = "/proc/zoneinfo"
SCHED_EXT = "/sys/kernel/sched_ext"
PORT_S = 10.0
PORT_PAUSE_S = 0.01
# More than the largest log buffer of a guest of ours holds.
KMSG_RECORDS = 200_000
EPIPE = 32
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207


def read_text(path: str, limit: int = 65536) -> str | None:
    """The file's text without surrounding white space, or None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    data = b""
    try:
        # A long file, as a cgroup.procs of a thousand tasks, comes a page at a time.
        while len(data) < limit:
            piece = os.read(fd, limit - len(data))
            if not piece:
                break
            data += piece
    except OSError:
        return None
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace").strip()


def write_text(path: str, text: str) -> None:
    """Write one value to a control file.

    :raise OSError: as the kernel answers, with the path in it.
    """
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"writing {text!r}: {error.strerror}", path) from None
    finally:
        os.close(fd)


def parse_cpus(text: str) -> list[int]:
    """A kernel CPU list ("0-2,5") as numbers."""
    cpus: list[int] = []
    for part in text.split(","):
        if part:
            low, _, high = part.partition("-")
            cpus.extend(range(int(low), int(high or low) + 1))
    return cpus


def find_port(name: str) -> str:
    """Device of the virtio-serial port called ``name``.

    The driver learns of its ports from the device while user space starts already.

    :raise FileNotFoundError: when the VM shows no such port within ten seconds.
    """
    deadline = time.monotonic() + PORT_S
    while True:
        for entry in os.listdir(PORTS) if os.path.isdir(PORTS) else ():
            device = f"/dev/{entry}"
            if read_text(f"{PORTS}/{entry}/name") == name and os.path.exists(device):
                return device
        if time.monotonic() >= deadline:
            raise FileNotFoundError(f"no virtio-serial port is named {name!r}")
        time.sleep(PORT_PAUSE_S)


def numbers(text: str) -> list[int]:
    """Decimal numbers between white space."""
    return [int(word) for word in text.split()]


def memory_of_nodes() -> dict[int, int]:
    """KiB of RAM in each node, what the kernel keeps for itself included.

    A node's meminfo leaves out the kernel's image and page descriptors; its zones do not.
    """
    pages: dict[int, int] = {}
    node = 0
    for line in (read_text(ZONES, 1 << 22) or "").splitlines():
        words = line.replace(",", " ").split()
        if words[:1] == ["Node"]:
            node = int(words[1])
        elif words[:1] == ["present"]:
            pages[node] = pages.get(node, 0) + int(words[1])
    page_kib = os.sysconf("SC_PAGE_SIZE") // 1024
    return {node: count * page_kib for node, count in pages.items()}


def topology() -> dict[str, object]:
    """CPUs, last-level-cache domains and NUMA nodes as this kernel sees them."""
    cpus = parse_cpus(read_text(f"{CPUS}/online") or "0")
    llcs: dict[str, list[int]] = {}
    threads: dict[str, list[int]] = {}
    for cpu in cpus:
        base = f"{CPUS}/cpu{cpu}"
        shared = read_text(f"{base}/cache/index3/shared_cpu_list")
        if shared is not None:
            llcs[shared] = parse_cpus(shared)
        siblings = read_text(f"{base}/topology/thread_siblings_list")
        if siblings is not None:
            threads[siblings] = parse_cpus(siblings)
    memory = memory_of_nodes()
    nodes = [
        {
            "node": number,
            "cpus": parse_cpus(read_text(f"{NODES}/node{number}/cpulist") or ""),
            "distances": numbers(read_text(f"{NODES}/node{number}/distance") or ""),
            "memory_kib": memory.get(number, 0),
        }
        for number in parse_cpus(read_text(f"{NODES}/online") or "")
    ]
    return {
        "cpus": len(cpus),
        "llcs": list(llcs.values()),
        "nodes": nodes,
        "cores": list(threads.values()),
    }


def sched_ext_state() -> str | None:
    """ "enabled", "disabled", … or None on a kernel without sched_ext."""
    return read_text(f"{SCHED_EXT}/state")


def sched_ext_ops() -> str:
    """Name of the attached scheduler as the kernel shows it; empty without one."""
    return read_text(f"{SCHED_EXT}/root/ops") or ""


def facts() -> dict[str, object]:
    """What the host wants to know of this guest before it sends a scenario."""
    vmcoreinfo = (read_text("/sys/kernel/vmcoreinfo") or "0 0").split()
    return {
        "release": os.uname().release,
        "cmdline": read_text("/proc/cmdline") or "",
        "vmcoreinfo": [int(word, 16) for word in vmcoreinfo[:2]],
        "sched_ext": sched_ext_state(),
        "topology": topology(),
        "agent_start_s": max(0.0, time.monotonic() - float(os.environ.get("KTSTR_STARTED", "inf"))),
    }


def refresh_entropy(data: bytes, device: str = "/dev/urandom") -> None:
    """Give the kernel random bytes and have it draw on them at once (random(4)).

    :raise OSError: as the kernel answers.
    """
    fd = os.open(device, os.O_WRONLY)
    try:
        # struct rand_pool_info: credit in bits, size in bytes, the bytes.
        fcntl.ioctl(fd, RNDADDENTROPY, struct.pack("<ii", 8 * len(data), len(data)) + data)
        # Without it the kernel reseeds when a minute is over.
        fcntl.ioctl(fd, RNDRESEEDCRNG)
    finally:
        os.close(fd)


def kernel_log_lines(needle: str, limit: int = 64) -> list[str]:
    """The last kernel messages that contain ``needle``."""
    lines: list[str] = []
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return lines
    try:
        for _ in range(KMSG_RECORDS):
            try:
                record = os.read(fd, 8192).decode("utf-8", "replace")
            except OSError as error:
                if error.errno == EPIPE:
                    continue  # the ring overwrote records since the last read
                break
            text = record.partition(";")[2].partition("\n")[0]
            if needle in text:
                lines.append(text)
    finally:
        os.close(fd)
    return lines[-limit:]
