# SPDX-License-Identifier: GPL-2.0-only
"""The monitor against a scripted QMP server at the other end of a socket pair."""

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from ktstr.errors import GuestHung, GuestLost, QemuDied
from ktstr.vm.events import MachineEvent
from ktstr.vm.qmp import Monitor

pytestmark = pytest.mark.anyio

Reply = Callable[[dict[str, object]], list[dict[str, object]] | None]
GREETING = {"QMP": {"version": {}, "capabilities": []}}


@asynccontextmanager
async def served(reply: Reply, events: list[MachineEvent]) -> AsyncIterator[Monitor]:
    """A connected monitor; ``reply`` maps each command to messages, ``None`` hangs up."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    async def send(*messages: dict[str, object]) -> None:
        theirs.send(b"".join(json.dumps(m).encode() + b"\r\n" for m in messages))

    async def serve() -> None:
        await send(GREETING)
        pending = ""
        while True:
            await anyio.wait_readable(theirs)
            received = theirs.recv(65536)
            if not received:
                return
            pending += received.decode()
            while pending := pending.lstrip():
                command, used = json.JSONDecoder().raw_decode(pending)
                pending = pending[used:]
                if command["execute"] == "qmp_capabilities":
                    await send({"return": {}, "id": command.get("id")})
                    continue
                answer = reply(command)
                if answer is None:
                    theirs.close()
                    return
                await send(*({**m, "id": command["id"]} if "event" not in m else m for m in answer))

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        monitor = Monitor(ours, events.append)
        try:
            await monitor.connect()
            yield monitor
        finally:
            await monitor.close()
            group.cancel_scope.cancel()
            theirs.close()


async def test_result_and_events_in_order() -> None:
    def reply(command: dict[str, object]) -> list[dict[str, object]]:
        stop: dict[str, object] = {
            "event": "STOP",
            "timestamp": {"seconds": 1, "microseconds": 2},
        }
        return [stop, {"return": {"asked": command["execute"], "with": command.get("arguments")}}]

    events: list[MachineEvent] = []
    async with served(reply, events) as monitor:
        assert await monitor.execute("stop") == {"asked": "stop", "with": None}
        assert await monitor.execute("x", {"a": 1}) == {"asked": "x", "with": {"a": 1}}
    assert events == [MachineEvent("STOP", 1_000_002, {})] * 2


async def test_refused_command() -> None:
    def reply(_: dict[str, object]) -> list[dict[str, object]]:
        return [{"error": {"class": "GenericError", "desc": "not now"}}]

    async with served(reply, []) as monitor:
        with pytest.raises(GuestLost, match="QEMU refused 'cont': not now"):
            await monitor.execute("cont")


async def test_no_answer_and_the_late_one_does_no_harm() -> None:
    late: list[dict[str, object]] = []

    def reply(command: dict[str, object]) -> list[dict[str, object]]:
        if command["execute"] == "slow":
            late.append({"return": "late", "id": command["id"]})
            return []
        return [{"return": "prompt"}]

    async with served(reply, []) as monitor:
        with pytest.raises(GuestHung, match=r"did not answer 'slow' within 0\.05 s"):
            await monitor.execute("slow", timeout_s=0.05)
        assert await monitor.execute("quick") == "prompt"
    assert late


async def test_connection_lost_during_and_after_a_command() -> None:
    async with served(lambda _: None, []) as monitor:
        for _ in range(2):
            with pytest.raises(QemuDied, match="QEMU went away while it was asked to 'stop'"):
                await monitor.execute("stop")


async def test_peer_that_hangs_up_at_once() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    monitor = Monitor(ours, lambda _: None)
    with pytest.raises(QemuDied, match="closed its QMP connection at its start"):
        await monitor.connect()
    await monitor.close()
    assert ours.fileno() == -1


async def test_peer_that_never_greets() -> None:
    ours, theirs = socket.socketpair()
    monitor = Monitor(ours, lambda _: None)
    with pytest.raises(QemuDied, match=r"did not open its QMP session within 0\.05 s"):
        await monitor.connect(0.05)
    await monitor.close()
    theirs.close()
