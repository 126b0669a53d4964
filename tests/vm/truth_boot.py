# SPDX-License-Identifier: GPL-2.0-only
"""One boot of truth_guest.c: what the guest told of itself, and what was read from outside."""

import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgpack

from ktstr.capture.monitor import GuestMonitor, Moment
from ktstr.introspect import Kernel, SnapshotPlan, attach, copy, decode, list_maps, make_plan
from ktstr.introspect.globals import find_global
from ktstr.introspect.maps import STRUCT_OPS
from ktstr.introspect.monitor import make_monitor_plan
from ktstr.kernels import resolve_kernel
from ktstr.kernels.sysroot import libbpf_sysroot
from ktstr.model.topology import Topology
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.sample import Sample
from ktstr.series.snapshot import Snapshot
from ktstr.session.guest_snapshots import GuestSnapshots
from ktstr.session.guest_types import GuestTypes, kernel_types
from ktstr.vm.accel import Accelerator
from ktstr.vm.cpio import Entry, write_cpio
from ktstr.vm.launch import launch
from ktstr.vm.machine import Machine
from ktstr.vm.spec import VmSpec

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TCG = Accelerator("tcg", "the same guest on every host")
BOOT_S, ANSWER_S = 240.0, 120.0
ROUNDS, COUNTING_FREEZES, STAT_FREEZES = 6, 8, 6
POSSIBLE, ONLINE = 4, 3
"""CPUs of the guest. The last is never brought up; its per-CPU values are there all the same."""

IDLE, CROWD, LOCKUP, BETWEEN = 1, 2, 3, 0
_PER_CPU = frozenset({5, 6, 10})
_QUIRKS = {"6.12": ("clearcpuid=cx16",)}
"""QEMU 7.2 spoils the flags after cmpxchg16b now and then, on which 6.12's allocator lives: two of
three boots end in a panic. Newer kernels boot, and refuse scx_ktstr without the instruction."""


@dataclass(frozen=True)
class ToldMap:
    """A map as bpf(2) shows it.

    :param entries: by key, the value, or each possible CPU's.
    :param variables: by name, offset and size.
    """

    id: int
    map_type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    entries: dict[bytes, list[bytes]] = field(default_factory=dict)
    variables: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, key: str, value: str) -> None:
        raw = bytes.fromhex(value)
        stride = (self.value_size + 7) // 8 * 8 if self.map_type in _PER_CPU else len(raw)
        values = [raw[at : at + self.value_size] for at in range(0, len(raw), stride)]
        self.entries[bytes.fromhex(key)] = values


@dataclass(frozen=True)
class Told:
    """One answer of the guest: maps by id, lines of /proc/stat by their first word."""

    maps: dict[int, ToldMap]
    stat: dict[str, list[int]]

    @classmethod
    def parse(cls, text: str) -> "Told":
        maps: list[ToldMap] = []
        stat: dict[str, list[int]] = {}
        for line in text.splitlines():
            kind, *words = line.split()
            if kind == "MAP":
                numbers = [int(word) for word in words[:6]]
                maps.append(ToldMap(*numbers, name=words[6] if len(words) > 6 else ""))
            elif kind == "ENTRY":
                maps[-1].add(*words)
            elif kind == "VAR":
                maps[-1].variables[words[0]] = (int(words[1]), int(words[2]))
            elif kind == "STAT":
                stat[words[0]] = [int(word) for word in words[1:]]
        return cls({told.id: told for told in maps}, stat)

    def named(self, name: str) -> ToldMap:
        (found,) = [told for told in self.maps.values() if told.name == name]
        return found


@dataclass
class Evidence:
    """What one boot brought back.

    :param rounds: random contents, told and captured while nobody wrote.
    :param own: the same, captured by the guest itself.
    :param before: told while the counters ran, before the ``counting`` captures; ``after`` later.
        Every other one is the guest's own.
    :param stats: /proc/stat right before a capture, the capture, and /proc/stat right after it.
        Every other one is the guest's own.
    :param operations: places of the sched_ext operations' members in their map's value.
    """

    release: str
    sched_ext: bool
    cpus: tuple[int, ...]
    rounds: list[tuple[Told, Snapshot]]
    own: list[tuple[Told, Snapshot]]
    before: Told
    counting: list[Snapshot]
    after: Told
    stats: list[tuple[Told, Snapshot, Told]]
    operations: dict[str, tuple[int, int]]
    monitor: MonitorReport


def build(folder: Path) -> list[Entry]:
    """The guest's files, compiled into ``folder``."""
    sysroot = anyio.run(libbpf_sysroot)

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True)

    multiarch = subprocess.check_output(["cc", "-print-multiarch"], text=True).strip()
    clang = "clang-19" if Path("/usr/bin/clang-19").exists() else "clang"
    include = f"-I{sysroot}/usr/include"
    run(
        *(clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", include),
        *(f"-I/usr/include/{multiarch}", "-c", HERE / "truth.bpf.c", "-o", folder / "truth.bpf.o"),
    )
    archive = sysroot / "usr" / "lib" / multiarch / "libbpf.a"
    run(
        *("gcc", "-std=gnu2x", "-O2", "-Wall", "-Werror", "-static", include),
        *(HERE / "truth_guest.c", "-o", folder / "init"),
        *(archive if archive.exists() else "-lbpf", "-lelf", "-lz"),
    )
    make = ["make", "-s", "-C", ROOT, "-f", "guest/sched/sched.mk"]
    run(*make, f"OUT={folder}", f"SYSROOT={sysroot}")
    executables = ("init", "scx_load", "scx_snap")
    objects = ("truth.bpf.o", "scx_ktstr.bpf.o", "snap.bpf.o")
    programs = dict.fromkeys(executables, 0o755) | dict.fromkeys(objects, 0o644)
    return [
        Entry.node("dev/console", "char", 5, 1),
        *(Entry.directory(name) for name in ("proc", "sys", "dev")),
        *(Entry.file(name, (folder / name).read_bytes(), mode) for name, mode in programs.items()),
    ]


class Guest:
    """The booted guest: asked, frozen, read."""

    def __init__(self, machine: Machine, kernel: Kernel, vmlinux: Path | None) -> None:
        self.machine = machine
        self.kernel = kernel
        self._taken: list[Sample] = []
        types = GuestTypes(partial(kernel_types, vmlinux))
        self._own = GuestSnapshots(kernel.release, types, self._taken.append, print, print)

    async def ask(self, order: str) -> Told:
        """What the guest answers to one letter."""
        return Told.parse((await self._asked(order)).decode())

    async def _asked(self, order: str) -> bytes:
        self.machine.ctl.send(order.encode())
        with anyio.fail_after(ANSWER_S):
            (length,) = struct.unpack("<I", await self._read(4))
            return await self._read(length)

    async def _read(self, size: int) -> bytes:
        parts = []
        while size:
            await anyio.wait_readable(self.machine.bulk)
            parts.append(self.machine.bulk.recv(size))
            assert parts[-1], self.machine.console_log.read_text(errors="replace")[-2000:]
            size -= len(parts[-1])
        return b"".join(parts)

    async def freeze(self, plan: SnapshotPlan) -> Snapshot:
        """One capture, as the product takes it."""
        await self.machine.stop()
        captured = copy(plan, self.machine.ram)
        await self.machine.cont()
        return decode(plan, captured, self.kernel)

    async def own(self) -> Snapshot:
        """One snapshot that the guest takes of itself, as the product reads it."""
        fields = {"tag": "own", "elapsed_ms": 0, "boundary_ms": None, "step": 0, "stats": None}
        body = await self._asked("g")
        self._own.receive(msgpack.packb({**fields, "meta": None, "body": body, "error": None}))
        return self._taken.pop().settled().taken()

    def write_global(self, name: str, value: int) -> None:
        """Write a variable of the attached scheduler."""
        variable = find_global(self.kernel, name)
        raw = variable.encode(value)
        for address, length in variable.ranges:
            self.machine.ram.write(address, raw[:length])
            raw = raw[length:]


async def collect(spec: str, entries: Sequence[Entry], folder: Path) -> Evidence:
    """Boot one kernel and have it tell everything."""
    resolved = await resolve_kernel(spec, need=())
    archive = folder / "initrd.cpio"
    write_cpio(archive, list(entries))
    topology = Topology.parse(f"1n1l{POSSIBLE}c1t")
    vm = VmSpec(
        resolved.image,
        archive,
        topology,
        TCG,
        512,
        cmdline=(f"maxcpus={ONLINE}", *_QUIRKS.get(resolved.release[:4], ())),
        pvh=resolved.image.name == "vmlinux",
        one_thread=True,
    )
    async with launch(vm, folder) as machine:
        place = await _ready(machine)
        kernel = await anyio.to_thread.run_sync(partial(attach, machine.ram, place))
        guest = Guest(machine, kernel, resolved.vmlinux)
        return await _collect(guest, bool(resolved.features.sched_ext))


async def _ready(machine: Machine) -> tuple[int, int]:
    with anyio.fail_after(BOOT_S):
        while True:
            text = machine.console_log.read_text(errors="replace")
            assert "FAILED" not in text, text[-2000:]
            lines = [x for x in text.splitlines(keepends=True) if x.startswith("READY")]
            if lines and lines[0].endswith("\n"):
                _, address, size = lines[0].split()[:3]
                return int(address, 16), int(size, 16)
            assert machine.end is None, f"{machine.end}\n{text[-2000:]}"
            await anyio.sleep(0.1)


async def _collect(guest: Guest, sched_ext: bool) -> Evidence:
    rounds, own, counting, stats = [], [], [], []
    plan = make_plan(guest.kernel)
    for _ in range(ROUNDS):
        told = await guest.ask("r")
        rounds.append((told, await guest.freeze(plan)))
        own.append((told, await guest.own()))
    before = await guest.ask("c")
    for _ in range(COUNTING_FREEZES):
        counting.append(await guest.freeze(plan))
        counting.append(await guest.own())
        await anyio.sleep(0.02)
    after = await guest.ask("d")
    for turn in range(STAT_FREEZES):
        if turn == STAT_FREEZES // 2:
            await guest.ask("x")
        if turn >= STAT_FREEZES // 2:
            await anyio.sleep(0.2)  # CPUs with nothing to do fall asleep for long
        early = await guest.ask("s")
        snapshot = await guest.freeze(plan)
        later = await guest.ask("s")
        inside = await guest.own()
        stats += [(early, snapshot, later), (later, inside, await guest.ask("s"))]
    return Evidence(
        release=guest.kernel.release,
        sched_ext=sched_ext,
        cpus=guest.kernel.cpus,
        rounds=rounds,
        own=own,
        before=before,
        counting=counting,
        after=after,
        stats=stats,
        operations=_operations(guest.kernel),
        monitor=await _monitor(guest, sched_ext),
    )


def _operations(kernel: Kernel) -> dict[str, tuple[int, int]]:
    for info in list_maps(kernel):
        if info.map_type == STRUCT_OPS:
            names = ("name", "flags", "timeout_ms", "enqueue", "dispatch", "init", "set_weight")
            places = {n: kernel.btf.field(info.vmlinux_value_type_id, f"data.{n}") for n in names}
            return {n: (place.offset, place.size) for n, place in places.items() if place}
    return {}


async def _monitor(guest: Guest, sched_ext: bool) -> MonitorReport:
    began, stage = time.monotonic(), BETWEEN

    def moment() -> Moment:
        now = int((time.monotonic() - began) * 1000)
        return Moment(now, now, held=stage != BETWEEN, step_index=stage)

    async def plan():  # type: ignore[no-untyped-def]
        return await anyio.to_thread.run_sync(make_monitor_plan, guest.kernel)

    monitor = GuestMonitor(guest.machine.ram, plan, moment)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run)
        await anyio.sleep(0.3)
        stage = IDLE
        await anyio.sleep(1.2)
        stage = BETWEEN
        if sched_ext:
            # Queues of single CPUs instead of one for all.
            guest.write_global("degrade_rt", 1)
        await guest.ask("k")
        await anyio.sleep(0.5)
        stage = CROWD
        await anyio.sleep(1.2)
        stage = BETWEEN
        await guest.ask("K")
        if sched_ext:
            guest.write_global("degrade_rt", 0)
        stage = LOCKUP
        await guest.ask("l")
        stage = BETWEEN
        tasks.cancel_scope.cancel()
    return monitor.report()
