# SPDX-License-Identifier: GPL-2.0-only
"""What the monitor of a run is told by host, machine and configuration."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ktstr.capture.boundaries import WorkloadClock
from ktstr.session import monitor as module
from ktstr.session.monitor import HostClock, VcpuTimes, configured_hz, vcpu_threads
from ktstr.vm.events import MachineEvent

pytestmark = pytest.mark.anyio


class ScriptedMachine:
    """Answers ``query-cpus-fast`` and hands out events."""

    def __init__(self, reply: object = None) -> None:
        self.reply = reply
        self.pid = os.getpid()
        self.listeners: list[Any] = []

    async def qmp(self, command: str) -> object:
        assert command == "query-cpus-fast"
        return self.reply

    def on_event(self, receive: Any) -> None:
        self.listeners.append(receive)

    def tell(self, name: str) -> None:
        for listener in self.listeners:
            listener(MachineEvent(name, {}, 0))


def live(machine: ScriptedMachine) -> Any:
    recorder = SimpleNamespace(clock=WorkloadClock(), step_index=3)
    return SimpleNamespace(machine=machine, recorder=recorder)


def test_what_the_guest_stands_still_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    machine = ScriptedMachine()
    run = live(machine)
    clock = HostClock(run)
    run.recorder.clock.start(100.0)
    now[0] = 101.0
    machine.tell("STOP")
    assert clock.standing_still
    now[0] = 101.4
    machine.tell("STOP")
    now[0] = 101.5
    machine.tell("RESUME")
    machine.tell("RESUME")
    assert not clock.standing_still
    now[0] = 102.0
    moment = clock.moment()
    assert (moment.taken_ms, moment.elapsed_ms) == (1500, 2000)
    assert (moment.held, moment.step_index) == (True, 3)


async def test_a_vcpus_time_is_that_of_its_thread() -> None:
    machine = ScriptedMachine([{"cpu-index": 0, "thread-id": os.getpid(), "qom-path": "/x"}])
    times = VcpuTimes()
    await times.find(live(machine))
    first = times.read()
    assert first is not None and first.keys() == {0} and times.reason is None
    sum(range(2_000_000))
    after = times.read()
    assert after is not None and after[0] >= first[0] > 0


async def test_vcpus_of_one_thread_cannot_be_told_apart() -> None:
    tid = os.getpid()
    machine = ScriptedMachine([{"cpu-index": n, "thread-id": tid} for n in (0, 1)])
    times = VcpuTimes()
    await times.find(live(machine))
    assert times.read() is None
    assert times.reason == "host CPU time of each vCPU: all vCPUs share one host thread"


async def test_a_thread_that_is_not_there_is_told() -> None:
    times = VcpuTimes()
    await times.find(live(ScriptedMachine([{"cpu-index": 0, "thread-id": 1 << 30}])))
    assert times.read() is None and times.reason is not None


def test_answers_of_another_kind_name_no_thread() -> None:
    assert vcpu_threads(None) == {}
    assert vcpu_threads([{"cpu-index": "0", "thread-id": 5}, {"cpu-index": 1}]) == {}


@pytest.mark.parametrize(
    ("text", "hz"),
    [
        *[("CONFIG_HZ=1000\n", 1000), ("# CONFIG_HZ is not set\n", None), ("CONFIG_HZ=0\n", None)],
        *[("CONFIG_HZ=x\n", None), ("CONFIG_HZ_250=y\n", None)],
    ],
)
def test_the_tick_rate_of_a_configuration(tmp_path: Path, text: str, hz: int | None) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    assert configured_hz(path) == hz
    assert configured_hz(tmp_path / "none") is None
    assert configured_hz(None) is None
