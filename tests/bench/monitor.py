# SPDX-License-Identifier: GPL-2.0-only
"""How much slower a CPU-bound guest is for being watched, in pairs of windows of one run.

Steps of equal length take turns, with and without the monitor and ten snapshots a second; a
Backdrop of spinning workers counts iterations through all of them. The host's clock counts, so
that what the guest stands still for a snapshot is part of the price.
"""

import tempfile
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from platformdirs import user_cache_path
from tests.bench.boot import Booted, booted, unspoiled

from ktstr.capture.freezer import Freezer
from ktstr.capture.monitor import GuestMonitor, Moment
from ktstr.introspect import attach
from ktstr.introspect.monitor import MonitorPlan, make_monitor_plan
from ktstr.session.definition import define
from ktstr.session.dump import exit_kind
from ktstr.session.events import ignore
from ktstr.session.needs import vm_spec
from ktstr.session.options import RunOptions
from ktstr.session.prepare import prepared
from ktstr.session.scopes import task_scope

WINDOW_S = 1
SNAPSHOT_EVERY_S = 0.1

SCENARIO = """
name = "watched"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[[backdrop.cgroups]]
name = "busy"
works = [{ type = "SpinWait", workers = 2 }]
[checks]
not_starved = true
"""
STEP = '\n[[steps]]\nhold = "{}s"\n'


@dataclass
class Figures:
    """Iterations per second of host time, window by window.

    :param slowdown_pct: of each pair of neighbouring windows, what watching cost in percent.
    :param stood_pct: of each watched window, the share in which the guest stood still.
    :param harness_pct: CPU time that the harness took in each watched window beyond the other of
        its pair, in percent of one CPU.
    :param tick_ms: one reading of the monitor: copied and decoded.
    """

    watched: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    slowdown_pct: list[float] = field(default_factory=list)
    tick_ms: list[float] = field(default_factory=list)
    stood_pct: list[float] = field(default_factory=list)
    harness_pct: list[float] = field(default_factory=list)
    readings: int = 0
    snapshots: int = 0


async def measure(pairs: int) -> Figures:
    """Compare ``pairs`` pairs of windows."""
    return await unspoiled(partial(_measure, pairs))


async def _measure(pairs: int) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
        folder = Path(scratch)
        path = folder / "watched.toml"
        path.write_text(SCENARIO + STEP.format(WINDOW_S) * 2 * pairs)
        options = RunOptions()
        async with (
            prepared(define(path, options), options, folder, ignore) as found,
            booted(found, replace(vm_spec(found), watch=True), folder) as guest,
        ):
            await _watch_in_turn(guest, pairs, figures)
    return figures


async def _watch_in_turn(guest: Booted, pairs: int, figures: Figures) -> None:
    rates: dict[int, float] = {}
    begun: dict[int, tuple[float, int, float]] = {}
    used: dict[int, float] = {}
    stood_ns: dict[int, int] = {}
    watching = _Switch()

    def on_step(index: int, begins: bool) -> None:
        now, count = time.monotonic(), guest.recorder.events[-1].total_iterations
        assert count is not None
        if begins:
            begun[index] = now, count, time.process_time()
            if _is_watched(index):
                watching.on()
        else:
            watching.off()
            since, before, spent = begun[index]
            rates[index] = (count - before) / (now - since)
            used[index] = 100.0 * (time.process_time() - spent) / (now - since)
            if _is_watched(index):
                figures.stood_pct.append(stood_ns.get(index, 0) / 1e7 / (now - since))

    guest.recorder.on_step = on_step
    hello = guest.recorder.hello
    assert hello is not None
    kernel = await anyio.to_thread.run_sync(
        partial(attach, guest.machine.ram, hello.vmcoreinfo, cache_dir=user_cache_path("ktstr"))
    )
    await guest.attach_scheduler()
    # Runs with a scheduler watch its exit kind, so their freezes go by way of QEMU's gdb stub.
    target = exit_kind(kernel)
    assert target is not None
    await guest.machine.stop()
    debugger = await guest.machine.debugger()
    await debugger.watch(target.address, target.size)
    await guest.machine.cont()
    freezer = Freezer(guest.machine, guest.machine.ram, kernel)

    async def plan() -> MonitorPlan:
        return make_monitor_plan(kernel)

    began = time.monotonic()
    monitor = GuestMonitor(
        guest.machine.ram,
        plan,
        lambda: Moment(0, round((time.monotonic() - began) * 1000), held=True, step_index=1),
        standing_still=lambda: not watching.is_on,
    )

    async def snapshots() -> None:
        due = time.monotonic()
        while True:
            await watching.wait()
            index = guest.recorder.step_index
            taken = await freezer.capture()
            stood_ns[index] = stood_ns.get(index, 0) + taken.paused_ns
            figures.snapshots += 1
            # Ten a second, as far as the host keeps up.
            due += SNAPSHOT_EVERY_S
            due = max(due, time.monotonic())
            await anyio.sleep(max(0.0, due - time.monotonic()))

    async def scheduler_ends() -> None:
        debugger.take_hit()
        await debugger.resume()

    async with task_scope() as group:
        debugger.on_hit = lambda: group.start_soon(scheduler_ends)
        group.start_soon(monitor.run)
        group.start_soon(snapshots)
        await guest.conversation.finished()
    figures.readings = len(monitor.samples)
    made = make_monitor_plan(kernel)
    for _ in range(20):
        before = time.perf_counter_ns()
        made.decode(made.copy(guest.machine.ram))
        figures.tick_ms.append((time.perf_counter_ns() - before) / 1e6)
    for first in range(1, 2 * pairs, 2):
        one, two = rates[first], rates[first + 1]
        watched, alone = (one, two) if _is_watched(first) else (two, one)
        more = used[first] - used[first + 1]
        figures.harness_pct.append(more if _is_watched(first) else -more)
        figures.watched.append(watched)
        figures.alone.append(alone)
        figures.slowdown_pct.append(100.0 * (1.0 - watched / alone))


def _is_watched(index: int) -> bool:
    """Pairs go with-without, without-with and so on, so that a drift of the host falls on both."""
    return index % 4 in (1, 0)


class _Switch:
    """On while a window is to be watched."""

    def __init__(self) -> None:
        self.is_on = False
        self._event = anyio.Event()

    def on(self) -> None:
        self.is_on = True
        self._event.set()

    def off(self) -> None:
        self.is_on = False
        if self._event.is_set():
            self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()
