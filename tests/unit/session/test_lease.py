# SPDX-License-Identifier: GPL-2.0-only
"""Guests run under their lease only: from a machine to the scenario's end, with fake machines."""

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ktstr.session import warm as warm_module
from ktstr.session.boot import begin
from ktstr.session.events import RunEvent, StageDone, StageStarted
from ktstr.session.lease import Lease
from ktstr.session.mailbox import EMPTY, HEADER, MAGIC, RUNG
from ktstr.session.pool import Budget, Cost, Pool
from ktstr.session.recorder import Recorder
from ktstr.session.warm import READY, Level, Warm
from ktstr.wire import Frame, MsgType, Stimulus

pytestmark = pytest.mark.anyio


class Memory:
    """One page that is a mailbox."""

    def __init__(self) -> None:
        self.data = bytearray(4096)
        HEADER.pack_into(self.data, 0, MAGIC, EMPTY, 0, 0, 0, 0)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.data[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.data[address : address + len(data)] = data

    @property
    def rung(self) -> bool:
        return struct.unpack_from("<I", self.data, 8)[0] == RUNG


class Run:
    """A run whose guest stands where its template was saved."""

    def __init__(self, lease: Lease) -> None:
        self.memory = Memory()
        self.events: list[RunEvent] = []
        self.running = False
        self.postponed_s: list[float] = []
        self.lease = lease
        self.warm = SimpleNamespace(
            standing=True, reached=READY, preparation=b"x", go_on=self._go_on
        )
        self.looking = anyio.Event()

    async def _go_on(self, machine: object) -> None:
        assert self.lease.held and self.memory.rung
        self.running = True

    async def attached(self) -> bool:
        return True

    def postpone(self, seconds: float) -> None:
        self.postponed_s.append(seconds)

    async def begin(self) -> bool:
        live: Any = SimpleNamespace(
            warm=self.warm,
            lease=self.lease,
            machine=SimpleNamespace(ram=self.memory),
            link=SimpleNamespace(forget=lambda: None),
            definition=SimpleNamespace(plan={"clock": "wall"}),
        )
        talk: Any = self
        hello: Any = SimpleNamespace(mailbox=[0])
        return await begin(live, talk, hello, self.looking, self.events.append)


async def test_alone_a_guest_goes_on_at_once_and_says_nothing_of_turns() -> None:
    run = Run(Lease())
    run.looking.set()
    assert await run.begin()
    assert run.running and run.postponed_s == [run.lease.waited_s] and run.events == []


async def test_a_prepared_guest_is_told_nothing_before_it_is_its_turn() -> None:
    pool = Pool([Cost(1), Cost(2)], Budget(cpus=2))
    runs: dict[int, Run] = {}

    async def work(index: int, lease: Lease) -> None:
        run = runs[index] = Run(lease)
        run.looking.set()
        if index == 0:
            await run.begin()
            while 1 not in pool.admission._asking:
                await anyio.lowlevel.checkpoint()
            other = runs[1]
            # Its wall clock and its random numbers come with the ring, so it must not be early.
            assert not other.memory.rung and not other.running
            assert other.events == [StageStarted("turn", "waiting for CPUs")]
            lease.leave()
            while not other.running:
                await anyio.lowlevel.checkpoint()
        else:
            await run.begin()
            assert run.postponed_s == [lease.waited_s] and lease.waited_s > 0
            assert isinstance(run.events[-1], StageDone)

    await pool.run(work)
    assert runs[1].running


async def test_a_guest_that_is_not_looked_into_yet_asks_for_no_cpus() -> None:
    asked: list[bool] = []

    class Watched(Lease):
        shared = True

        async def _granted(self) -> None:
            asked.append(run.looking.is_set())

    run = Run(Watched())
    async with anyio.create_task_group() as group:
        group.start_soon(run.begin)
        await anyio.wait_all_tasks_blocked()
        assert asked == []
        run.looking.set()
    assert asked == [True] and run.running


def test_the_lease_is_left_when_the_scenario_is_over() -> None:
    recorder, over = Recorder({}), []
    recorder.on_over = lambda: over.append(recorder.ended_at)
    stimulus = Stimulus().to_payload()
    for number, kind in enumerate((MsgType.STEP_START, MsgType.STEP_END)):
        recorder.on_frame(Frame(kind, number, stimulus), 1.0)
    assert over == []
    recorder.on_frame(Frame(MsgType.SCENARIO_END, 2, stimulus), 2.0)
    assert over == [2.0]


class Templates:
    """A store into which another run puts a template while this one waits to boot."""

    def __init__(self) -> None:
        self.there = False

    @contextmanager
    def using(self, key: str, remark: object) -> Iterator[object]:
        found = SimpleNamespace(incoming=lambda run_dir, look: "saved", frames=b"said")
        yield found if self.there else None


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_who_waits_to_boot_looks_for_a_template_again(
    meanwhile: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[str] = []
    store = Templates()

    @asynccontextmanager
    async def launch(*_: object, incoming: object = None, **__: object) -> AsyncIterator[str]:
        order.append("continued" if incoming else "booted")
        yield "machine"

    async def turn() -> None:
        order.append("turn")
        store.there = meanwhile

    monkeypatch.setattr(warm_module, "launch", launch)
    warm: Any = Warm.__new__(Warm)
    warm._levels, warm._store, warm._before_boot = (Level(READY, "key"),), store, turn
    warm._spec = warm._qemu = None
    warm._remark, warm.reached, warm.standing = print, 0, False
    async with warm.machine(tmp_path, attach=False) as (machine, past):
        assert machine == "machine"
        assert past == (b"said" if meanwhile else b"")
    assert order == ["turn", "continued" if meanwhile else "booted"]


async def test_a_template_that_is_there_needs_no_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = Templates()
    store.there = True

    @asynccontextmanager
    async def launch(*_: object, **__: object) -> AsyncIterator[str]:
        yield "machine"

    async def turn() -> None:
        pytest.fail("it took CPUs to stand")

    monkeypatch.setattr(warm_module, "launch", launch)
    warm: Any = Warm.__new__(Warm)
    warm._levels, warm._store, warm._before_boot = (Level(READY, "key"),), store, turn
    warm._spec = warm._qemu = None
    warm._remark, warm.reached, warm.standing = print, 0, False
    async with warm.machine(tmp_path, attach=False):
        assert warm.standing
