# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of a program, against a guest that is scripted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from ktstr.errors import GuestHung, GuestPanicked
from ktstr.session import program as module
from ktstr.session.link import Link
from ktstr.session.program import STDERR, STDOUT, Program, Size, read_frame
from ktstr.session.recorder import Recorder
from ktstr.session.scopes import task_scope
from ktstr.testing.guest import ScriptedGuest, ScriptedMachine
from ktstr.vm.events import MachineEnd
from ktstr.wire import FrameDecoder, MsgType, unpack_map
from ktstr.wire.messages import INPUT_WINDOW, OUTPUT_WINDOW

pytestmark = pytest.mark.anyio


@dataclass
class Talk:
    guest: ScriptedGuest
    machine: ScriptedMachine
    link: Link
    recorder: Recorder
    program: Program
    decoder: FrameDecoder
    silences: list[float]

    def says(self, data: bytes, fd: int = STDOUT) -> None:
        self.guest.send(MsgType.PROGRAM_OUTPUT, {"id": 1, "fd": fd, "data": data})

    def ends(self, **how: object) -> None:
        self.guest.send(MsgType.PROGRAM_END, {"id": 1, **how})

    def told(self) -> list[tuple[int, dict[str, Any]]]:
        frames = self.decoder.feed(self.guest.received())
        return [(frame.msg_type, unpack_map(frame.payload)) for frame in frames]


@asynccontextmanager
async def talk(folder: Path, *, listens: bool = False) -> AsyncIterator[Talk]:
    recorder = Recorder({})
    machine = ScriptedMachine(folder / "console.log")
    silences: list[float] = []
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, folder / "frames.bin", recorder.on_frame)
        program = Program(1, machine, link, silences.append if listens else None)

        def take(msg_type: int, payload: bytes) -> None:
            program.take(msg_type, read_frame(payload)[1])

        recorder.on_program = take
        async with task_scope() as group:
            group.start_soon(link.serve)
            with anyio.fail_after(20):
                yield Talk(guest, machine, link, recorder, program, FrameDecoder(), silences)


async def heard(t: Talk, deadline_s: float | None = None) -> list[tuple[int, bytes]]:
    return [piece async for piece in t.program.output(deadline_s)]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"exit": {"kind": "Exited", "code": 7}}, 7),
        ({"exit": {"kind": "Signaled", "signal": 11}}, 139),
    ],
)
async def test_output_in_order_and_the_exit_code(
    tmp_path: Path, how: dict[str, object], code: int
) -> None:
    async with talk(tmp_path) as t:
        t.says(b"one")
        t.says(b"two", STDERR)
        t.says(b"three")
        t.ends(**how)
        assert await heard(t) == [(STDOUT, b"one"), (STDERR, b"two"), (STDOUT, b"three")]
        assert t.program.exit_code == code


async def test_a_program_that_could_not_be_started_says_why(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.ends(exit=None, error="x: there is no such program")
        assert await heard(t) == [(STDERR, b"x: there is no such program\n")]
        assert t.program.exit_code == 127


async def test_only_what_was_taken_up_makes_room(tmp_path: Path) -> None:
    piece = bytes(OUTPUT_WINDOW // 4)
    async with talk(tmp_path) as t:
        t.says(piece)
        t.says(piece)
        pieces = t.program.output()
        assert await anext(pieces) == (STDOUT, piece)
        assert t.told() == []
        assert await anext(pieces) == (STDOUT, piece)
        assert t.told() == [(MsgType.PROGRAM_CONTROL, {"id": 1, "read": len(piece)})]


async def test_a_guest_that_ignores_the_window_is_not_kept(tmp_path: Path) -> None:
    piece = bytes(OUTPUT_WINDOW)
    async with talk(tmp_path) as t:
        async with task_scope() as group:
            # A socket holds less than all of it.
            group.start_soon(anyio.to_thread.run_sync, lambda: [t.says(piece) for _ in range(4)])
            await t.link.until(lambda: bool(t.recorder.notes), float("inf"))
        assert "beyond what the guest has room for" in t.recorder.notes[0]


async def test_input_waits_for_room(tmp_path: Path) -> None:
    async with talk(tmp_path) as t, task_scope() as group:
        done = anyio.Event()

        async def send() -> None:
            await t.program.send(bytes(INPUT_WINDOW + 1))
            done.set()

        group.start_soon(send)
        await anyio.sleep(0.05)
        sent = sum(len(fields["data"]) for _, fields in t.told())
        assert sent == INPUT_WINDOW and not done.is_set()
        t.guest.send(MsgType.PROGRAM_STATE, {"id": 1, "taken": 4096})
        await done.wait()
        assert [fields["data"] for _, fields in t.told()] == [b"\0"]


async def test_what_it_is_told(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        await t.program.send(b"keys")
        t.program.close_input()
        t.program.resize(Size(20, 70))
        assert t.told() == [
            (MsgType.PROGRAM_INPUT, {"id": 1, "data": b"keys"}),
            (MsgType.PROGRAM_INPUT, {"id": 1, "data": b"", "end": True}),
            (MsgType.PROGRAM_CONTROL, {"id": 1, "size": [20, 70]}),
        ]


async def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    async with talk(tmp_path) as t, task_scope() as group:

        async def obey() -> None:
            heard: list[tuple[int, dict[str, Any]]] = []
            while not heard:
                await anyio.wait_readable(t.guest._ctl)
                heard = t.told()
            assert heard == [(MsgType.PROGRAM_CONTROL, {"id": 1, "signal": 9})]
            t.says(b"last")
            t.ends(exit={"kind": "Signaled", "signal": 9})

        group.start_soon(obey)
        with pytest.raises(TimeoutError, match=r"after 0\.1 s"):
            await heard(t, 0.1)
        assert t.program.exit_code == 137


async def test_one_that_does_not_die_is_a_hung_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KILL_S", 0.1)
    async with talk(tmp_path) as t:
        with pytest.raises(GuestHung, match="was killed and had not ended"):
            await heard(t, 0.05)


async def test_a_silent_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_S", 0.02)
    monkeypatch.setattr(module, "HUNG_S", 0.2)
    async with talk(tmp_path) as t:
        with pytest.raises(GuestHung, match="has not answered"):
            await heard(t)
        # It was asked for a sign of life before.
        assert (MsgType.PROGRAM_CONTROL, {"id": 1}) in t.told()


async def test_a_person_decides_how_long_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.02)
    monkeypatch.setattr(module, "HUNG_S", 0.1)
    async with talk(tmp_path, listens=True) as t:
        with anyio.move_on_after(0.5):
            await heard(t)
        assert len(t.silences) > 2 and t.silences[-1] > 0.1


async def test_a_guest_that_answers_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.05)
    monkeypatch.setattr(module, "HUNG_S", 0.5)
    async with talk(tmp_path) as t, task_scope() as group:

        async def answer() -> None:
            while True:
                await anyio.wait_readable(t.guest._ctl)
                assert t.told() == [(MsgType.PROGRAM_CONTROL, {"id": 1})]
                t.guest.send(MsgType.PROGRAM_STATE, {"id": 1, "taken": 0})

        group.start_soon(answer)
        with anyio.move_on_after(1.2) as waited:
            await heard(t)
        assert waited.cancelled_caught


async def test_a_panic(tmp_path: Path) -> None:
    async with talk(tmp_path) as t, task_scope() as group:

        async def panic() -> None:
            await anyio.sleep(0.05)
            t.machine.end = MachineEnd("guest-panic", "the guest kernel panicked: test")
            t.link.nudge()

        group.start_soon(panic)
        with pytest.raises(GuestPanicked, match="panicked: test"):
            await heard(t)


@pytest.mark.parametrize(
    "fields",
    [
        {"fd": 3, "data": b"x"},
        {"fd": 0, "data": b"x"},
        {"fd": 1, "data": "text"},
    ],
)
async def test_output_that_is_none(tmp_path: Path, fields: dict[str, object]) -> None:
    async with talk(tmp_path) as t:
        t.guest.send(MsgType.PROGRAM_OUTPUT, {"id": 1, **fields})
        t.guest.send(MsgType.PROGRAM_END, {"id": 1, "exit": {"kind": "Exited", "code": 1 << 20}})
        t.ends(exit={"kind": "Exited", "code": 0})
        assert await heard(t) == []
        assert len(t.recorder.notes) == 2
