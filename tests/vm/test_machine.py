# SPDX-License-Identifier: GPL-2.0-only
"""Real virtual machines: a real kernel and a small init of our own."""

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from ktstr.errors import GuestHung, HostUnfit, QemuDied
from ktstr.kernels import Kernel, resolve_kernel
from ktstr.model.topology import Topology, parse_cpulist
from ktstr.vm.accel import Accelerator, choose_accelerator
from ktstr.vm.cpio import Entry, write_cpio
from ktstr.vm.launch import launch
from ktstr.vm.machine import Machine
from ktstr.vm.probe import trial_boot
from ktstr.vm.qemu import find_qemu
from ktstr.vm.spec import VmSpec

pytestmark = [pytest.mark.vm, pytest.mark.anyio, pytest.mark.timeout(240)]

BOOT_S = 120.0
ANSWER_S = 60.0
GIB = 1 << 30


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return anyio.run(resolve_kernel, os.environ.get("KTSTR_TEST_KERNEL", "debian:7"))


@pytest.fixture(scope="module")
def accel() -> Accelerator:
    return anyio.run(choose_accelerator, "auto")


@pytest.fixture(scope="module")
def initrd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("initrd")
    source = Path(__file__).with_name("machine_guest.c")
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-static", "-o", folder / "init", source], check=True
    )
    archive = folder / "initrd.cpio"
    write_cpio(
        archive,
        [
            Entry.file("init", (folder / "init").read_bytes(), 0o755),
            Entry.node("dev/console", "char", 5, 1),
            *(Entry.directory(name) for name in ("proc", "sys", "dev")),
        ],
    )
    return archive


@pytest.fixture
def spec(kernel: Kernel, initrd: Path, accel: Accelerator) -> VmSpec:
    pvh = kernel.vmlinux is not None and bool(kernel.features.pvh)
    image = kernel.vmlinux if pvh and kernel.vmlinux is not None else kernel.image
    # One thread: what QEMU before 8.1 may do to a guest on several is no subject of these tests.
    return VmSpec(
        image,
        initrd,
        Topology.parse("1n1l1c1t"),
        accel,
        memory_mib=256,
        pvh=pvh,
        one_thread=True,
    )


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Each test must leave no process of its run folder, no descriptor and no shared memory."""
    before = descriptors(), set(os.listdir("/dev/shm"))
    yield
    assert processes_naming(tmp_path) == []
    assert not list(tmp_path.rglob("*.sock"))
    assert descriptors() <= before[0]
    assert set(os.listdir("/dev/shm")) <= before[1]


def descriptors() -> set[str]:
    """What our descriptors lead to, without the ones pytest and the event loop come and go with."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if "memfd:ktstr" in target or "pidfd" in target or target.startswith("/tmp/"):
            found.add(f"{fd} {target}")
    return found


def processes_naming(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(command.decode(errors="replace"))
    return found


async def line(machine: Machine, deadline_s: float = ANSWER_S) -> str:
    """The next line from the bulk port."""
    text = b""
    with anyio.fail_after(deadline_s):
        while not text.endswith(b"\n"):
            await anyio.wait_readable(machine.bulk)
            chunk = machine.bulk.recv(1)
            assert chunk, "the bulk port closed"
            text += chunk
    return text[:-1].decode()


async def ask(machine: Machine, command: str) -> str:
    machine.ctl.send(command.encode() + b"\n")
    return await line(machine)


@asynccontextmanager
async def booted(spec: VmSpec, folder: Path, *, attach: bool = False) -> AsyncIterator[Machine]:
    async with launch(spec, folder, attach=attach) as machine:
        assert await line(machine, BOOT_S) == "hello"
        yield machine


async def test_freeze_and_memory_on_both_sides_of_the_pci_hole(
    spec: VmSpec, tmp_path: Path
) -> None:
    names: list[str] = []
    async with booted(replace(spec, memory_mib=3072), tmp_path) as machine:
        machine.on_event(lambda event: names.append(event.name))
        assert await ask(machine, "echo over the wire") == "over the wire"

        # The kernel hands out high memory first, so this page lies above 4 GiB.
        address = int(await ask(machine, "page"), 16)
        assert address >= 4 * GIB
        assert machine.ram.read(address, 21) == b"written by the guest\0"
        machine.ram.write(address, b"written by the host\0")
        assert await ask(machine, "check") == "written by the host"

        where, size = (await ask(machine, "cat /sys/kernel/vmcoreinfo")).split()
        note = machine.ram.read(int(where, 16), int(size, 16))
        assert b"OSRELEASE=" in note
        if spec.pvh:  # not moved by KASLR: the image lies at 16 MiB
            assert b"Linux version " in machine.ram.read(16 << 20, 64 << 20)

        await machine.stop()
        assert await machine.query_status() == "paused"
        machine.ctl.send(b"echo thawed\n")
        before = machine.ram.read(0, 1 << 20)
        await anyio.sleep(0.2)
        assert machine.ram.read(0, 1 << 20) == before
        with pytest.raises(BlockingIOError):
            machine.bulk.recv(1)
        await machine.cont()
        assert await line(machine) == "thawed"
        assert names == ["STOP", "RESUME"]

        flat = str(await machine.qmp("human-monitor-command", {"command-line": "info mtree -f"}))
        assert "0000000100000000-000000013fffffff" in flat
        with pytest.raises(GuestHung, match=r"still runs after 0\.01 s"):
            await machine.wait_end(0.01)
    assert machine.end is not None
    assert (machine.end.kind, machine.end.status) == ("qemu-exit", 0)


@pytest.mark.parametrize("text", ["1n2l2c1t", "2n4l1c2t+1m"])
async def test_guest_sees_the_topology_asked_for(spec: VmSpec, tmp_path: Path, text: str) -> None:
    topology = Topology.parse(text)
    sys = "/sys/devices/system"
    async with booted(replace(spec, topology=topology, memory_mib=512), tmp_path) as machine:

        async def cpus(path: str) -> tuple[int, ...]:
            return parse_cpulist(await ask(machine, f"cat {sys}/{path}"))

        assert await cpus("cpu/online") == tuple(range(topology.cpus))
        for cpu in range(topology.cpus):
            llc = topology.llc_cpus(topology.llc_of(cpu))
            core = topology.core_cpus(cpu // topology.threads_per_core)
            assert await cpus(f"cpu/cpu{cpu}/cache/index3/shared_cpu_list") == llc
            assert await cpus(f"cpu/cpu{cpu}/topology/thread_siblings_list") == core
        assert await ask(machine, f"cat {sys}/node/online") == (
            f"0-{topology.nodes - 1}" if topology.nodes > 1 else "0"
        )
        for node in range(topology.nodes):
            assert await cpus(f"node/node{node}/cpulist") == topology.node_cpus(node)
            assert "MemTotal" in await ask(machine, f"cat {sys}/node/node{node}/meminfo")
        assert "unsupported" not in machine.qemu_log.read_text()


@pytest.mark.parametrize(
    ("order", "kind", "said"),
    [
        ("poweroff", "guest-shutdown", "powered itself off"),
        ("reboot", "guest-reset", "reset itself"),
        ("panic", "guest-panic", "sysrq triggered crash"),
    ],
)
async def test_ends_leave_a_readable_guest(
    spec: VmSpec, tmp_path: Path, order: str, kind: str, said: str
) -> None:
    async with booted(spec, tmp_path) as machine:
        address = int(await ask(machine, "page"), 16)
        machine.ctl.send(order.encode() + b"\n")
        end = await machine.wait_end(ANSWER_S)
        assert end.kind == kind
        assert said in end.detail
        assert machine.ram.read(address, 20) == b"written by the guest"
        assert await machine.query_status() in ("shutdown", "guest-panicked")
    assert machine.end == end
    if order == "panic":
        assert "Kernel panic - not syncing" in machine.console_log.read_text(errors="replace")


async def test_killed_qemu_is_told_and_ram_stays_readable(spec: VmSpec, tmp_path: Path) -> None:
    async with booted(spec, tmp_path) as machine:
        address = int(await ask(machine, "page"), 16)
        os.kill(machine.pid, signal.SIGKILL)
        end = await machine.wait_end(ANSWER_S)
        assert (end.kind, end.status) == ("qemu-exit", -signal.SIGKILL)
        with pytest.raises(QemuDied, match="killed by SIGKILL"):
            await machine.stop()
        assert machine.ram.read(address, 20) == b"written by the guest"


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.2, 1.0])
async def test_cancelled_at_any_time(spec: VmSpec, tmp_path: Path, after_s: float) -> None:
    with anyio.move_on_after(after_s) as scope:
        async with launch(spec, tmp_path, attach=True) as machine:
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    if after_s == 1.0:
        assert machine.end is not None
        assert machine.end.kind == "qemu-exit"


async def test_attach_offers_a_monitor_and_the_console(spec: VmSpec, tmp_path: Path) -> None:
    # Longer than a socket address can be.
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    async with booted(replace(spec, debug=True), folder, attach=True) as machine:
        assert set(machine.sockets) == {"qmp", "console", "gdb"}
        with socket.socket(socket.AF_UNIX) as people:
            people.settimeout(ANSWER_S)
            people.connect(str(machine.sockets["qmp"]))
            assert people.recv(8) == b'{"QMP": '
        with socket.socket(socket.AF_UNIX) as people:
            people.settimeout(ANSWER_S)
            people.connect(str(machine.sockets["console"]))
            machine.ctl.send(b"panic\n")
            assert people.recv(1)
        await machine.wait_end(ANSWER_S)
    assert not any(path.exists() or path.parent.exists() for path in [*machine.sockets.values()])
    assert "sysrq triggered crash" in machine.console_log.read_text(errors="replace")


async def test_refused_command_line_shows_what_qemu_said(spec: VmSpec, tmp_path: Path) -> None:
    rubbish = tmp_path / "kernel"
    rubbish.write_text("not a kernel")
    with pytest.raises(HostUnfit, match="QEMU refused to start this machine\n  qemu: "):
        async with launch(replace(spec, kernel=rubbish, pvh=False), tmp_path):
            pass


async def test_trial_guest_runs_under_tcg() -> None:
    trial = await trial_boot(find_qemu().program, "tcg", deadline_s=ANSWER_S)
    assert (trial.ran, trial.detail) == (True, "")
