# SPDX-License-Identifier: GPL-2.0-only
"""Freezes on the wire of a QMP session, against a scripted QEMU at its other end."""

import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from ktstr.errors import GuestHung, GuestLost, QemuDied
from ktstr.vm import freeze as module
from ktstr.vm.freeze import Freezes
from ktstr.vm.gdb import Stop
from ktstr.vm.qmp_line import QmpLine

pytestmark = pytest.mark.anyio


def event(name: str, at_us: int) -> dict[str, Any]:
    stamp = {"seconds": 7, "microseconds": at_us}
    return {"timestamp": stamp, "event": name}


class Qemu:
    """Answers stop and cont; ``log`` has what was asked and done, in order."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.log: list[str] = []
        self.on_stop: Callable[[], list[dict[str, Any]]] = lambda: [event("STOP", 100)]
        self.refuses: str | None = None
        self.answers = True

    async def serve(self) -> None:
        begun = b""
        while True:
            await anyio.wait_readable(self.sock)
            data = self.sock.recv(65536)
            if not data:
                return
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                self.take(json.loads(line))

    def take(self, command: dict[str, Any]) -> None:
        name = command["execute"]
        self.log.append(name)
        if not self.answers:
            return
        if self.refuses == name:
            self.tell({"id": command["id"], "error": {"class": "GenericError", "desc": "ended"}})
            return
        if name == "stop":
            self.tell(*self.on_stop())
        elif name == "cont":
            self.tell(event("RESUME", 350))
        self.tell({"return": {}, "id": command.get("id")})

    def tell(self, *messages: dict[str, Any]) -> None:
        self.sock.send(b"".join(json.dumps(m).encode() + b"\r\n" for m in messages))


class Bench:
    def __init__(self, line: QmpLine, qemu: Qemu) -> None:
        self.line = line
        self.qemu = qemu
        self.freezes = Freezes(line)

    def act(self) -> None:
        self.qemu.log.append("act")

    def heard(self) -> list[Any]:
        """What the client has been handed."""
        try:
            data = self.line.client.recv(65536)
        except BlockingIOError:
            return []
        return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        line = QmpLine(ours)
        made = Bench(line, Qemu(theirs))
        async with anyio.create_task_group() as group:
            group.start_soon(made.qemu.serve)
            yield made
            group.cancel_scope.cancel()
        line.close()
        line.client.close()


async def test_the_copy_lies_between_stop_and_continue(bench: Bench) -> None:
    stood = await bench.freezes.freeze(bench.act, None)
    assert bench.qemu.log == ["stop", "act", "cont"]
    assert stood.paused_ns == 250_000  # from 100 to 350 us
    assert stood.request_ns >= stood.paused_ns
    assert bench.heard() == []


async def test_the_client_hears_all_but_the_freeze(bench: Bench) -> None:
    bench.line.client.send(b'{"execute":"query-status","id":"client"}\n')
    bench.qemu.on_stop = lambda: [event("RTC_CHANGE", 90), event("STOP", 100)]
    await anyio.sleep(0.02)
    await bench.freezes.freeze(bench.act, None)
    bench.qemu.tell(event("STOP", 900))
    await anyio.sleep(0.02)
    heard = [said.get("event") or said.get("id") for said in bench.heard()]
    # The last stop is nobody's freeze.
    assert heard == ["client", "RTC_CHANGE", "STOP"]


async def test_whatever_the_copy_raises_the_guest_goes_on(bench: Bench) -> None:
    def fail() -> None:
        raise RuntimeError("hostile")

    with pytest.raises(RuntimeError, match="hostile"):
        await bench.freezes.freeze(fail, None)
    assert bench.qemu.log == ["stop", "cont"]
    await bench.freezes.freeze(bench.act, None)
    assert bench.qemu.log == ["stop", "cont", "stop", "act", "cont"]


async def test_cancelling_does_not_keep_the_guest(bench: Bench) -> None:
    with anyio.move_on_after(0):
        await bench.freezes.freeze(bench.act, None)
    assert bench.qemu.log == ["stop", "act", "cont"]


async def test_a_guest_that_stood_already_is_copied_too(bench: Bench) -> None:
    bench.qemu.on_stop = list
    stood = await bench.freezes.freeze(bench.act, None)
    assert bench.qemu.log == ["stop", "act", "cont"]
    assert stood.paused_ns == stood.request_ns


async def test_a_guest_that_has_ended_is_told_of(bench: Bench) -> None:
    bench.qemu.refuses = "cont"
    with pytest.raises(GuestLost, match="ended"):
        await bench.freezes.freeze(bench.act, None)


async def test_silence_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    bench.qemu.answers = False
    with pytest.raises(GuestHung, match="did not stop the guest"):
        await bench.freezes.freeze(bench.act, None)
    # A stop that comes too late must not keep the guest.
    await anyio.sleep(0.02)
    assert bench.qemu.log == ["stop", "cont"]


async def test_qemu_gone_is_noticed(bench: Bench) -> None:
    bench.qemu.answers = False
    async with anyio.create_task_group() as group:

        async def hang_up() -> None:
            await anyio.sleep(0.02)
            bench.qemu.sock.shutdown(socket.SHUT_RDWR)

        group.start_soon(hang_up)
        with pytest.raises(QemuDied, match="closed its QMP connection"):
            await bench.freezes.freeze(bench.act, None)


class Stub:
    """The debugger's side: tells of the stop when asked the ``late``-th time."""

    def __init__(self, log: list[str], tell: Callable[[], None]) -> None:
        self.log = log
        self.tell = tell
        self.hit: Stop | None = None
        self.stands = True

    def caught_up(self) -> bool:
        return self.stands

    async def wait_standing(self) -> None:
        self.log.append("stub waited for")
        self.stands = True

    def send_resume(self) -> None:
        self.log.append("c")
        self.tell()


async def test_with_a_stub_the_stub_continues(bench: Bench) -> None:
    stub: Any = Stub(bench.qemu.log, lambda: bench.qemu.tell(event("RESUME", 500)))
    stood = await bench.freezes.freeze(bench.act, stub)
    assert bench.qemu.log == ["stop", "act", "c"]
    assert stood.paused_ns == 400_000


async def test_a_stub_that_is_late_is_waited_for(bench: Bench) -> None:
    stub: Any = Stub(bench.qemu.log, lambda: bench.qemu.tell(event("RESUME", 500)))
    stub.stands = False
    await bench.freezes.freeze(bench.act, stub)
    assert bench.qemu.log == ["stop", "stub waited for", "act", "c"]


async def test_a_hit_meanwhile_keeps_the_guest_for_its_owner(bench: Bench) -> None:
    stub: Any = Stub(bench.qemu.log, lambda: None)
    stub.hit = Stop(5, 1, 0x1000)
    await bench.freezes.freeze(bench.act, stub)
    assert bench.qemu.log == ["stop", "act"]
