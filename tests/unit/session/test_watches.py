# SPDX-License-Identifier: GPL-2.0-only
"""Watches from a request to their end: hits become samples, and the guest always goes on."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ktstr.capture.freezer import Capture
from ktstr.errors import GuestLost, QemuDied
from ktstr.introspect.memory import UnreadableMemory
from ktstr.introspect.watch import BadWatch, Watched
from ktstr.series.sample import Sample
from ktstr.series.stats_reason import DURING_FREEZE
from ktstr.session import watches as module
from ktstr.session.dump import Guard
from ktstr.session.inspector import Inspector
from ktstr.session.recorder import Recorder
from ktstr.session.watches import Watches
from ktstr.vm.gdb import GdbFault, Stop
from ktstr.wire import WireError

pytestmark = pytest.mark.anyio

FIELDS: dict[str, Any] = {
    "tag": "w", "step": 1, "hits": 1, "symbol": None, "variable": "v", "section": None,
    "size": None,
}  # fmt: skip


class FakeMachine:
    """A machine and the debugger attached to it; notes what was done, and whether it runs."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.running = True
        self.hit: Stop | None = None
        self.on_hit: Callable[[], None] = lambda: None
        self.fail: Exception | None = None
        self.pointer: int | Exception = 0x1234
        self.dropped = False

    async def stop(self) -> None:
        if self.fail is not None:
            raise self.fail
        self.running = False

    async def cont(self) -> None:
        if self.hit is None:
            self.running = True

    async def debugger(self) -> Any:
        assert not self.running
        return self

    async def drop_debugger(self) -> None:
        self.dropped = self.running = True

    async def watch(self, address: int, size: int) -> None:
        assert not self.running
        self.did.append(("watch", address, size))

    async def unwatch(self, address: int, size: int) -> None:
        assert not self.running
        self.did.append(("unwatch", address, size))

    async def instruction_pointer(self, thread: int) -> int:
        if isinstance(self.pointer, Exception):
            raise self.pointer
        return self.pointer

    def take_hit(self) -> Stop | None:
        hit, self.hit = self.hit, None
        return hit

    def write(self, address: int, cpu: int = 0) -> None:
        """A vCPU writes to a watch."""
        assert self.running
        self.running = False
        self.hit = Stop(5, cpu + 1, address)
        self.on_hit()


class FakeFreezer:
    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self.fail: Exception | None = None

    async def capture_now(
        self, began_ns: int, look: Callable[[], Awaitable[bool]]
    ) -> Capture | None:
        assert not self.machine.running
        try:
            if not await look():
                return None
            if self.fail is not None:
                raise self.fail
        finally:
            await self.machine.cont()
        return Capture("frozen", 5, 6, 7, None)  # type: ignore[arg-type]


class Yard:
    """Watches on fakes; ``memory`` has the values at addresses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = FakeMachine()
        self.memory = {0x1000: 5, 0x2000: 6, 0x3000: 7, 0x4000: 8}
        self.gone: set[int] = set()
        self.samples: list[Sample] = []
        self.recorder = Recorder({})
        live: Any = SimpleNamespace(recorder=self.recorder, machine=self.machine)
        inspector = Inspector(live)
        self.freezer = FakeFreezer(self.machine)
        kernel: Any = self
        inspector._kernel, inspector._freezer = kernel, self.freezer  # type: ignore[assignment]
        monkeypatch.setattr(module, "watched_symbol", self._symbol)
        monkeypatch.setattr(module, "watched_variable", self._variable)
        monkeypatch.setattr(module, "code_at", lambda kernel, address: f"f+{address:#x}")
        monkeypatch.setattr(Watched, "is_there", lambda w, kernel: w.address not in self.gone)
        self.watches = Watches(live, inspector, self.samples.append)

    def _symbol(self, kernel: Any, name: str, size: int | None) -> Watched:
        if name == "unknown":
            raise BadWatch("no symbol 'unknown'; near it: known")
        return Watched(name, "", 0x4000, size or 4)

    def _variable(self, kernel: Any, name: str, section: Any, size: int | None) -> Watched:
        at = {"v": 0x1000, "w": 0x2000, "x": 0x3000}[name]
        return Watched(name, "s.bss", at, size or 8, 3)

    def read_unsigned(self, address: int, size: int) -> int:
        if address not in self.memory:
            raise UnreadableMemory("nothing is mapped")
        return self.memory[address]

    async def run(self, *acts: Callable[[], Awaitable[object] | object]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.watches.serve)
            for act in acts:
                result = act()
                if isinstance(result, Awaitable):
                    await result
                # Nothing here waits for anything but another task's turn.
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(0.01)  # the lookup of a name takes a thread
                assert self.machine.hit is None and self.machine.running
            group.cancel_scope.cancel()
        await self.watches.close()

    def write(self, address: int, value: int, cpu: int = 0) -> Callable[[], None]:
        def act() -> None:
            self.memory[address] = value
            self.machine.write(address, cpu)

        return act

    def add(self, **fields: Any) -> Callable[[], Awaitable[None]]:
        return lambda: self.watches.add(FIELDS | fields)


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Yard:
    return Yard(monkeypatch)


async def test_each_hit_is_a_sample_and_the_last_ends_the_watch(yard: Yard) -> None:
    await yard.run(yard.add(hits=2), yard.write(0x1000, 9, 1), yard.write(0x1000, 11))
    first, second = yard.samples
    assert (first.tag, second.tag) == ("w", "w#2")
    assert (first.step_index, first.snapshot, first.error) == (1, "frozen", None)
    assert first.trigger is not None and second.trigger is not None
    assert (first.trigger.old, first.trigger.new, first.trigger.cpu) == (5, 9, 1)
    assert (second.trigger.old, second.trigger.new, second.trigger.cpu) == (9, 11, 0)
    assert (first.trigger.watch, first.trigger.holder) == ("v", "s.bss")
    assert first.trigger.in_words() == "v 5 -> 9 by f+0x1234 on CPU 1"
    assert first.stats == second.stats == DURING_FREEZE  # nobody in a guest that stands can answer
    assert yard.machine.did == [("watch", 0x1000, 8), ("unwatch", 0x1000, 8)]
    assert yard.machine.dropped
    assert [note for note in yard.recorder.notes if "never" in note] == []


async def test_a_watch_of_the_backdrop_takes_the_step_that_runs(yard: Yard) -> None:
    yard.recorder.step_index = 3
    await yard.run(yard.add(step=0), yard.write(0x1000, 1))
    assert [sample.step_index for sample in yard.samples] == [3]


async def test_at_most_three_and_a_free_slot_is_free(yard: Yard) -> None:
    async def fourth() -> None:
        with pytest.raises(BadWatch, match="3 watches are set already: w, b, c"):
            await yard.watches.add(FIELDS | {"tag": "d", "variable": None, "symbol": "known"})

    await yard.run(
        yard.add(),
        yard.add(tag="b", variable="w"),
        yard.add(tag="c", variable="x"),
        fourth,
        yard.write(0x1000, 1),
        yard.add(tag="d", variable=None, symbol="known"),
    )
    assert yard.machine.did[-4:-1] == [("watch", 0x4000, 4), *yard.machine.did[-3:-1]]
    assert sum(done[0] == "watch" for done in yard.machine.did) == 4
    assert sum(done[0] == "unwatch" for done in yard.machine.did) == 4


async def test_what_failed_takes_no_slot_and_no_name(yard: Yard) -> None:
    async def unknown() -> None:
        with pytest.raises(BadWatch, match="near it: known"):
            await yard.watches.add(FIELDS | {"variable": None, "symbol": "unknown"})

    async def same() -> None:
        with pytest.raises(BadWatch, match="watched already, as w"):
            await yard.watches.add(FIELDS | {"tag": "other"})

    await yard.run(unknown, unknown, unknown, unknown, yard.add(), same)
    assert yard.machine.did == [("watch", 0x1000, 8), ("unwatch", 0x1000, 8)]


async def test_a_watch_ends_with_its_step_and_says_that_it_never_fired(yard: Yard) -> None:
    await yard.run(
        yard.add(),
        yard.add(tag="kept", variable="w", step=0),
        lambda: yard.watches.end_step(1),
        yard.write(0x2000, 1),
    )
    assert yard.machine.did[2:3] == [("unwatch", 0x1000, 8)]
    assert [sample.tag for sample in yard.samples] == ["kept"]
    notes = [note for note in yard.recorder.notes if "never" in note]
    assert notes == ["watch w never fired (v in s.bss)"]


async def test_a_hit_at_the_end_of_the_step_still_counts(yard: Yard) -> None:
    async def end_as_it_is_hit() -> None:
        stop = yard.machine.stop

        async def stop_late() -> None:
            yard.machine.stop = stop  # type: ignore[method-assign]
            yard.machine.write(0x1000)

        yard.machine.stop = stop_late  # type: ignore[method-assign]
        await yard.watches.end_step(1)

    await yard.run(yard.add(), end_as_it_is_hit)
    assert [sample.tag for sample in yard.samples] == ["w"]
    assert not any("never" in note for note in yard.recorder.notes)


async def test_nobodys_hit_lets_the_guest_go_on(yard: Yard) -> None:
    await yard.run(yard.add(), lambda: yard.machine.write(0x9999))
    assert yard.samples == []


async def test_a_variable_whose_scheduler_went_is_watched_no_more(yard: Yard) -> None:
    await yard.run(yard.add(hits=5), lambda: yard.gone.add(0x1000), yard.write(0x1000, 1))
    assert yard.samples == []
    assert yard.machine.did == [("watch", 0x1000, 8), ("unwatch", 0x1000, 8)]
    assert any("w ended: v in s.bss is gone" in note for note in yard.recorder.notes)


async def test_a_capture_that_fails_is_a_sample_that_failed(yard: Yard) -> None:
    yard.freezer.fail = RuntimeError("hostile")
    await yard.run(yard.add(), yard.write(0x1000, 1))
    (sample,) = yard.samples
    assert (sample.error, sample.snapshot) == ("RuntimeError: hostile", None)
    assert sample.trigger is not None and sample.trigger.new == 1


async def test_what_cannot_be_known_of_a_hit_is_left_out(yard: Yard) -> None:
    yard.machine.pointer = GdbFault("no registers")
    await yard.run(yard.add(), yard.write(0x1000, 1))
    assert yard.samples[0].trigger is not None
    assert yard.samples[0].trigger.in_words() == "v 5 -> 1 by unknown code on CPU 0"
    assert "no registers" in yard.recorder.notes


async def test_values_that_cannot_be_read_do_not_hold_the_guest(yard: Yard) -> None:
    await yard.run(yard.add(), lambda: yard.memory.pop(0x1000), lambda: yard.machine.write(0x1000))
    assert yard.machine.running
    assert any("a watch was hit, but: nothing is mapped" in n for n in yard.recorder.notes)


async def test_without_qemu_the_end_is_quiet(yard: Yard) -> None:
    await yard.run(yard.add(), lambda: setattr(yard.machine, "fail", QemuDied("gone")))
    assert yard.machine.dropped
    assert any("never fired" in note for note in yard.recorder.notes)


async def test_a_lost_guest_ends_the_serving(yard: Yard) -> None:
    async def lost(began_ns: int, look: Any) -> None:
        raise GuestLost("gone")

    yard.freezer.capture_now = lost  # type: ignore[method-assign]
    await yard.watches.add(FIELDS)
    with pytest.raises(GuestLost, match="gone"):
        yard.machine.write(0x1000)
        await yard.watches.serve()


@pytest.mark.parametrize(
    "fields",
    [
        {"hits": 0},
        {"hits": 17},
        {"hits": None},
        {"tag": ""},
        {"tag": "x" * 65},
        {"symbol": "s"},
        {"variable": None},
        {"variable": 5},
        {"variable": "x" * 600},
        {"variable": ""},
        {"section": ".rodata"},
        {"size": 3},
        {"size": True},
        {"size": "4"},
        {"step": -1},
    ],
)
async def test_hostile_requests_are_refused(yard: Yard, fields: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        await yard.watches.add(FIELDS | fields)
    assert yard.machine.did == []


async def test_the_guard_looks_at_its_hits_beside_the_watches_of_ops(yard: Yard) -> None:
    seen: list[int] = []

    async def look(kernel: Any, stop: Stop) -> bool:
        assert not yard.machine.running
        seen.append(kernel.read_unsigned(0x4000, 4))
        return seen[-1] > 1

    async def guard() -> None:
        await yard.watches.guard(Guard(Watched("kind", "", 0x4000, 4), look))

    await yard.run(
        guard,
        yard.add(hits=9),
        yard.write(0x4000, 0),
        yard.write(0x1000, 7),
        yard.write(0x4000, 2),
        yard.write(0x4000, 3),
    )
    assert seen == [0, 2]  # it had seen enough; the last write is nobody's
    assert [sample.tag for sample in yard.samples] == ["w"]
    assert yard.machine.did.index(("unwatch", 0x4000, 4)) == 2
    assert yard.machine.did.count(("unwatch", 0x4000, 4)) == 1


async def test_a_guard_that_was_never_hit_is_taken_away(yard: Yard) -> None:
    async def look(kernel: Any, stop: Stop) -> bool:
        raise AssertionError("nobody wrote")

    await yard.run(lambda: yard.watches.guard(Guard(Watched("kind", "", 0x4000, 4), look)))
    assert yard.machine.did == [("watch", 0x4000, 4), ("unwatch", 0x4000, 4)]
    assert yard.machine.dropped
