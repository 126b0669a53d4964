# SPDX-License-Identifier: GPL-2.0-only
"""The talk with a guest, against one that is scripted: milestones, deadlines, losses."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from ktstr.errors import BootTimeout, ChannelLost, GuestHung, GuestPanicked, QemuDied
from ktstr.session.conversation import Conversation
from ktstr.session.link import Link
from ktstr.session.options import Deadlines
from ktstr.session.recorder import Recorder
from ktstr.session.scopes import task_scope
from ktstr.testing.guest import ScriptedGuest, ScriptedMachine
from ktstr.vm.events import MachineEnd

pytestmark = pytest.mark.anyio
SHORT = Deadlines(boot=0.2, attach=0.2, set_up=0.2, step_grace=0.1, reports=0.2)


@dataclass
class Talk:
    guest: ScriptedGuest
    machine: ScriptedMachine
    link: Link
    recorder: Recorder
    conversation: Conversation


@asynccontextmanager
async def talk(
    folder: Path, deadlines: Deadlines = SHORT, limit_s: float = 30.0
) -> AsyncIterator[Talk]:
    recorder = Recorder({(1, "left"): 1})
    machine = ScriptedMachine(folder / "console.log")
    with ScriptedGuest() as guest:
        link = Link(guest.bulk, guest.ctl, folder / "frames.bin", recorder.on_frame)
        conversation = Conversation(
            machine, link, recorder, deadlines, (100,), 0.0, time.monotonic() + limit_s
        )
        async with task_scope() as group:
            group.start_soon(link.serve)
            yield Talk(guest, machine, link, recorder, conversation)


async def test_a_whole_scenario(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.hello()
        await t.conversation.hello()
        t.guest.attached("fifo")
        t.guest.start(1)
        assert await t.conversation.attached()
        t.guest.step(1, (0, 100), (0, 50))
        t.guest.report(1, "left")
        t.guest.end(100, 50)
        await t.conversation.finished()
        assert t.recorder.goodbye == "done"
        assert [event.label for event in t.recorder.events] == [
            "StepStart[0]",
            "StepEnd[0]",
            "ScenarioEnd",
        ]
        assert len(t.recorder.reports) == 1
        assert t.recorder.missing_reports() == {}
    assert (tmp_path / "frames.bin").read_bytes()[:4] == b"HELO"


async def test_no_hello_is_a_boot_time_out(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        with pytest.raises(BootTimeout, match="within 0 s of starting QEMU"):
            await t.conversation.hello()


async def test_a_scheduler_that_is_refused_ends_the_wait(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.goodbye("scheduler-not-attached")
        assert not await t.conversation.attached()


async def test_a_step_that_never_ends_names_the_step(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.start(1)
        t.guest.step_start(1, 0, 0)
        with pytest.raises(GuestHung, match=r"Step\[0\] should have ended after 0\.1 s"):
            await t.conversation.finished()


async def test_a_step_that_never_begins_names_the_step(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.start(1)
        with pytest.raises(GuestHung, match=r"Step\[0\] did not begin"):
            await t.conversation.finished()


async def test_each_milestone_renews_the_deadline(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:

        async def slowly() -> None:
            t.guest.start(1)
            t.guest.step_start(1, 0, 0)
            await anyio.sleep(0.15)
            t.guest.step_end(1, 100, 1)
            await anyio.sleep(0.15)
            t.guest.report(1, "left")
            await anyio.sleep(0.15)
            t.guest.end(100, 1)

        async with task_scope() as group:
            group.start_soon(slowly)
            await t.conversation.finished()


async def test_the_time_limit_of_the_whole_run(tmp_path: Path) -> None:
    async with talk(tmp_path, Deadlines(), limit_s=0.2) as t:
        with pytest.raises(GuestHung, match="time limit"):
            await t.conversation.hello()


async def test_what_a_run_waits_for_others_does_not_count_against_its_limit(tmp_path: Path) -> None:
    async with talk(tmp_path, replace(Deadlines(), boot=0.1), limit_s=-5.0) as t:
        t.conversation.postpone(60.0)
        # Its own deadline expires, not that of the whole run.
        with pytest.raises(BootTimeout):
            await t.conversation.hello()


async def test_frames_sent_before_the_end_still_count(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.goodbye()
        t.machine.end = MachineEnd("guest-shutdown", "the guest powered itself off")
        await t.conversation.finished()


@pytest.mark.parametrize(
    ("end", "console", "error", "words"),
    [
        (MachineEnd("guest-panic", "the guest kernel panicked: x"), "", GuestPanicked, "panicked"),
        (MachineEnd("qemu-exit", "QEMU was killed by SIGKILL", -9), "", QemuDied, "SIGKILL"),
        (
            MachineEnd("guest-shutdown", "the guest powered itself off"),
            "[    4.5] ktstr-init: agent killed by signal 9\n",
            ChannelLost,
            "ktstr-init: agent killed by signal 9",
        ),
    ],
)
async def test_how_the_machine_ended_is_the_error(
    tmp_path: Path, end: MachineEnd, console: str, error: type[Exception], words: str
) -> None:
    (tmp_path / "console.log").write_text(console)
    async with talk(tmp_path) as t:

        async def end_it() -> None:
            await anyio.sleep(0.05)
            t.machine.end = end
            t.link.nudge()

        async with task_scope() as group:
            group.start_soon(end_it)
            with pytest.raises(error, match=words):
                await t.conversation.hello()


async def test_a_port_that_closes_is_a_lost_channel(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.close_bulk()
        with pytest.raises(ChannelLost, match="bulk port closed"):
            await t.conversation.hello()


async def test_garbage_before_hello_delays_nothing(tmp_path: Path) -> None:
    async with talk(tmp_path, Deadlines(boot=5)) as t:
        t.guest.raw(bytes(range(256)) * 64)
        t.guest.hello()
        await t.conversation.hello()
        assert t.link.decoder.stats.dropped_bytes == 256 * 64


async def test_a_hello_of_another_protocol_is_refused(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:
        t.guest.hello(protocol=99)
        with pytest.raises(ChannelLost, match="speaks protocol 99"):
            await t.conversation.hello()


async def test_a_port_that_closes_just_before_the_end_is_known_is_that_end(tmp_path: Path) -> None:
    async with talk(tmp_path) as t:

        async def die() -> None:
            t.guest.close_bulk()
            await anyio.sleep(0.1)
            t.machine.end = MachineEnd("qemu-exit", "QEMU was killed by SIGKILL", -9)

        async with task_scope() as group:
            group.start_soon(die)
            with pytest.raises(QemuDied, match="SIGKILL"):
                await t.conversation.hello()
