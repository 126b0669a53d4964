# SPDX-License-Identifier: GPL-2.0-only
"""Captures of a guest that a watch has stopped already."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.capture import freezer as module
from ktstr.capture.freezer import Freezer
from ktstr.vm.events import MachineEvent

pytestmark = pytest.mark.anyio


class Machine:
    """Stands still when it is stopped, and tells when."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.tell: Callable[[MachineEvent], None] = lambda event: None

    def on_event(self, receive: Callable[[MachineEvent], None]) -> None:
        self.tell = receive

    async def stop(self) -> None:
        self.did.append("stop")

    async def cont(self) -> None:
        self.did.append("cont")
        self.tell(MachineEvent("RESUME", 5_000, {}))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A freezer whose plans are numbers; plan 1 is out of date when it is used."""
    machine = Machine()
    memory: Any = None
    freezer = Freezer(machine, memory, memory)
    plans = iter(range(1, 9))

    def make_plan(kernel: object) -> Any:
        return SimpleNamespace(
            number=next(plans), total_bytes=10, stale_reason=None, readers=(), settle=lambda: None
        )

    def copy(plan: Any, memory: object) -> Any:
        machine.did.append(f"copy {plan.number}")
        return plan.number

    monkeypatch.setattr(module, "make_plan", make_plan)
    monkeypatch.setattr(module, "copy", copy)
    monkeypatch.setattr(module, "change", lambda plan, copied: "changed" if copied == 1 else None)
    monkeypatch.setattr(
        module, "decode", lambda plan, copied, kernel: SimpleNamespace(stale=None, number=copied)
    )
    return SimpleNamespace(machine=machine, freezer=freezer)


async def test_a_plan_out_of_date_is_made_anew_while_the_guest_stands(bench: Any) -> None:
    bench.machine.tell(MachineEvent("STOP", 2_000, {}))

    async def look() -> bool:
        bench.machine.did.append("look")
        return True

    taken = await bench.freezer.capture_now(time.perf_counter_ns(), look)
    assert bench.machine.did == ["stop", "look", "copy 1", "copy 2", "cont"]
    assert taken.snapshot.snapshot().number == 2
    # From STOP at 2 ms to RESUME at 5 ms, although the hit was noticed later.
    assert taken.paused_ns == 3_000_000


async def test_nothing_to_capture_lets_the_guest_go_on(bench: Any) -> None:
    async def look() -> bool:
        return False

    assert await bench.freezer.capture_now(0, look) is None
    assert bench.machine.did == ["stop", "cont"]


async def test_whatever_goes_wrong_the_guest_goes_on(bench: Any) -> None:
    async def look() -> bool:
        raise RuntimeError("hostile")

    with pytest.raises(RuntimeError):
        await bench.freezer.capture_now(0, look)
    assert bench.machine.did == ["stop", "cont"]
