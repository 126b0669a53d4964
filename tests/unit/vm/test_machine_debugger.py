# SPDX-License-Identifier: GPL-2.0-only
"""A machine keeps in step with QEMU's gdb stub while that is attached."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.errors import GuestHung, GuestLost
from ktstr.vm.events import MachineEnd
from ktstr.vm.gdb import Stop
from ktstr.vm.machine import Machine

pytestmark = pytest.mark.anyio


class FakeMonitor:
    """Answers what it is told to, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.says = ""

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, timeout_s: float = 0.0
    ) -> object:
        self.asked.append(str((arguments or {}).get("command-line", command)))
        return self.says


class FakeDebugger:
    def __init__(self) -> None:
        self.hit: Stop | None = None
        self.standing = anyio.Event()
        self.did: list[str] = []

    async def resume(self) -> None:
        self.did.append("resume")

    async def wait_standing(self) -> None:
        if not self.standing.is_set():
            raise GuestHung("told of no stop")

    async def detach(self) -> None:
        self.did.append("detach")
        raise GuestLost("gone")

    def close(self) -> None:
        self.did.append("close")


@pytest.fixture
def bare() -> tuple[Machine, FakeMonitor]:
    nothing: Any = None
    machine = Machine(nothing, (), "", nothing, nothing, nothing, Path("/nowhere"), {})
    monitor: Any = FakeMonitor()
    machine._monitor = monitor
    return machine, monitor


async def test_without_a_debugger_qmp_does_it_all(bare: tuple[Machine, FakeMonitor]) -> None:
    machine, monitor = bare
    await machine.stop()
    await machine.cont()
    assert monitor.asked == ["stop", "cont"]


async def test_a_hit_keeps_the_guest_until_it_is_taken_up(
    bare: tuple[Machine, FakeMonitor],
) -> None:
    machine, monitor = bare
    debugger: Any = FakeDebugger()
    machine._debugger = debugger
    debugger.standing.set()
    await machine.stop()
    debugger.hit = Stop(5, 1, 0x1000)
    await machine.cont()
    assert (monitor.asked, debugger.did) == (["stop"], [])
    debugger.hit = None
    await machine.cont()
    assert (monitor.asked, debugger.did) == (["stop"], ["resume"])


async def test_a_stop_ends_with_the_stubs_word_of_it(
    bare: tuple[Machine, FakeMonitor],
) -> None:
    machine, _ = bare
    debugger: Any = FakeDebugger()
    machine._debugger = debugger
    with pytest.raises(GuestHung, match="told of no stop"):
        await machine.stop()
    # A guest that has ended does not stop once more.
    machine._finish(MachineEnd("guest-panic", "it panicked"))
    await machine.stop()


async def test_qemu_may_open_no_stub(bare: tuple[Machine, FakeMonitor]) -> None:
    machine, monitor = bare
    with pytest.raises(GuestLost, match="without a connection"):
        await machine.debugger()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        machine._debug_socket = ours
        monitor.says = "Could not open gdbserver on device 'chardev:watch'\r\n"
        with pytest.raises(GuestLost, match="opens no gdb stub: Could not open"):
            await machine.debugger()
    assert monitor.asked == ["gdbserver chardev:watch"]


async def test_what_cannot_be_detached_is_dropped(bare: tuple[Machine, FakeMonitor]) -> None:
    machine, _ = bare
    debugger: Any = FakeDebugger()
    machine._debugger = debugger
    await machine.drop_debugger()
    assert debugger.did == ["detach", "close"]
    await machine.drop_debugger()
    assert debugger.did == ["detach", "close"]
