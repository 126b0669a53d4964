# SPDX-License-Identifier: GPL-2.0-only
"""The monitor of one run: what it is told by machine and guest, and when it reads."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from ktstr.capture.monitor import GuestMonitor, Moment
from ktstr.errors import GuestLost
from ktstr.kernels.features import parse_config
from ktstr.series.host import PerCpuTime
from ktstr.series.monitor.samples import MonitorSample
from ktstr.session.events import READING_PERIOD_MS, Emit, Reading, ignore, wants_readings
from ktstr.session.inspector import Inspector
from ktstr.session.live import Live
from ktstr.vm.events import MachineEvent

ONE_THREAD = "host CPU time of each vCPU: all vCPUs share one host thread"


async def watch(
    live: Live,
    inspector: Inspector,
    started: anyio.Event,
    on_exit_kind: Callable[[int, str], None] | None = None,
    emit: Emit = ignore,
) -> None:
    """Watch the guest from the scenario's start until cancelled.

    :param on_exit_kind: called once, when a reading first shows a scheduler that ended.
    :param emit: is told of readings if it wants them.
    """
    await started.wait()
    clock = HostClock(live)
    vcpus = VcpuTimes()
    try:
        await vcpus.find(live)
    except GuestLost as error:
        # The conversation notices the same loss and speaks for the run.
        live.recorder.note(f"no monitor: {error.message}")
        return
    live.monitor = GuestMonitor(
        live.machine.ram,
        inspector.monitor_plan,
        clock.moment,
        standing_still=lambda: clock.standing_still,
        vcpu_times=vcpus.read,
        on_exit_kind=on_exit_kind,
        hz=configured_hz(live.prepared.kernel.config),
        on_sample=Readings(emit) if wants_readings(emit) else None,
    )
    if vcpus.reason is not None:
        live.monitor.notes.append(vcpus.reason)
    try:
        await live.monitor.run()
    except GuestLost as error:
        live.monitor.notes.append(f"the monitor ended early: {error.message}")


class HostClock:
    """Host time since it was made, without the stretches in which the guest stood still."""

    def __init__(self, live: Live) -> None:
        self._recorder = live.recorder
        self._began = time.monotonic()
        self._stopped_at: float | None = None
        self._stood_s = 0.0
        live.machine.on_event(self._receive)

    @property
    def standing_still(self) -> bool:
        """Whether the guest is stopped just now."""
        return self._stopped_at is not None

    def _receive(self, event: MachineEvent) -> None:
        now = time.monotonic()
        if event.name == "STOP" and self._stopped_at is None:
            self._stopped_at = now
        elif event.name == "RESUME" and self._stopped_at is not None:
            self._stood_s += now - self._stopped_at
            self._stopped_at = None

    def moment(self) -> Moment:
        """When it is."""
        now, clock = time.monotonic(), self._recorder.clock
        return Moment(
            elapsed_ms=round(clock.elapsed_ms(now)),
            taken_ms=round((now - self._began - self._stood_s) * 1000),
            held=clock.running,
            step_index=self._recorder.step_index,
        )


class Readings:
    """Tells an observer of the monitor's readings: some of them, and of each a few figures."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._last: MonitorSample | None = None

    def __call__(self, sample: MonitorSample) -> None:
        """Take a reading."""
        last = self._last
        if last is not None and sample.clock_ms - last.clock_ms < READING_PERIOD_MS:
            return
        self._last = sample
        before = {} if last is None else {cpu.cpu: cpu.time for cpu in last.cpus}
        self._emit(
            Reading(
                sample.elapsed_ms,
                tuple(
                    (cpu.nr_running, _busy(before.get(cpu.cpu), cpu.time), cpu.local_dsq_depth)
                    for cpu in sample.cpus
                ),
            )
        )


def _busy(before: PerCpuTime | None, now: PerCpuTime | None) -> float | None:
    """Which share of the time that was accounted a CPU was not idle; None when not known."""
    if before is None or now is None:
        return None
    busy, idle = _busy_ns(now) - _busy_ns(before), _idle_ns(now) - _idle_ns(before)
    if busy < 0 or idle < 0 or busy + idle == 0:
        return None
    return round(busy / (busy + idle), 3)


def _busy_ns(time: PerCpuTime) -> int:
    return time.user_ns + time.nice_ns + time.system_ns + time.softirq_ns + time.irq_ns


def _idle_ns(time: PerCpuTime) -> int:
    # The kernel's own idle_ns leaves out the sleep that a CPU is in.
    idle = time.idle_ns if time.idle_sleeptime_ns is None else time.idle_sleeptime_ns
    return idle + time.iowait_ns


class VcpuTimes:
    """Host CPU time of each vCPU's thread (proc(5): /proc/pid/task/tid/schedstat).

    ``reason`` says why there is none.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._files: dict[int, Path] = {}

    async def find(self, live: Live) -> None:
        """Ask QEMU for the threads.

        :raise GuestLost: when it does not answer.
        """
        threads = vcpu_threads(await live.machine.qmp("query-cpus-fast"))
        if len(threads) > 1 and len(set(threads.values())) == 1:
            self.reason = ONE_THREAD
            return
        tasks = Path(f"/proc/{live.machine.pid}/task")
        self._files = {cpu: tasks / str(tid) / "schedstat" for cpu, tid in threads.items()}
        if self.read() is None:
            self.reason = "host CPU time of each vCPU: the host keeps no schedstat"

    def read(self) -> Mapping[int, int] | None:
        """Nanoseconds so far by vCPU; ``None`` when they cannot be read."""
        try:
            return {
                cpu: int(file.read_bytes().split()[0]) for cpu, file in self._files.items()
            } or None
        except (OSError, ValueError, IndexError):
            return None


def vcpu_threads(reply: object) -> dict[int, int]:
    """Host thread of each vCPU in the answer to ``query-cpus-fast``."""
    found = {}
    for vcpu in reply if isinstance(reply, list) else ():
        index, thread = vcpu.get("cpu-index"), vcpu.get("thread-id")
        if type(index) is int and type(thread) is int:
            found[index] = thread
    return found


def configured_hz(config: Path | None) -> int | None:
    """CONFIG_HZ of a kernel's configuration file; ``None`` when it does not say."""
    try:
        options = {} if config is None else parse_config(config.read_text("utf-8", "replace"))
    except OSError:
        return None
    text = options.get("CONFIG_HZ", "")
    return int(text) if text.isdigit() and 0 < int(text) <= 10_000 else None
