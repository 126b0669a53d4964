# SPDX-License-Identifier: GPL-2.0-only
"""Readings of the host's monitor as pure data (reference-04 sections 7.5 to 7.7).

A reading that a kernel or a source does not have is ``None``, never 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from ktstr.series.host import PerCpuTime
from ktstr.series.sample import SampleSeries
from ktstr.series.snapshot import CpuSnapshot, Snapshot

MAX_PLAUSIBLE_DSQ_DEPTH = 10_000
"""A local queue deeper than this was read from memory that is not (yet) a runqueue."""

PREEMPTION_TICKS = 10
"""Ticks of CPU time a vCPU must have had for its silence to count."""

DEFAULT_PREEMPTION_THRESHOLD_NS = PREEMPTION_TICKS * 1_000_000_000 // 250
"""Of a guest with 250 ticks a second."""

WARM_UP_SAMPLES = 20
"""Readings of a monitor with a clock of its own that are taken before the guest has settled."""

_RENAMED_EVENTS = {"enq_slice_dfl": "refill_slice_dfl"}
_NS_PER_MS = 1_000_000


def canonical_events(events: Mapping[str, int]) -> dict[str, int]:
    """Event counters by one name each, whatever the kernel's version calls them.

    ``SCX_EV_DISPATCH_KEEP_LAST`` is ``dispatch_keep_last``; ``enq_slice_dfl`` became
    ``refill_slice_dfl``.
    """
    short = {name.lower().removeprefix("scx_ev_"): count for name, count in events.items()}
    return {_RENAMED_EVENTS.get(name, name): count for name, count in short.items()}


@dataclass(frozen=True, slots=True)
class Schedstat:
    """A runqueue's cumulative counters; ``run_delay`` in ns.

    The first two are always counted, the others only while ``kernel.sched_schedstats`` is on:
    ``None`` while it is off.
    """

    run_delay: int
    pcount: int
    sched_count: int | None = None
    yld_count: int | None = None
    sched_goidle: int | None = None
    ttwu_count: int | None = None
    ttwu_local: int | None = None


SCHEDSTAT_NAMES = tuple(item.name for item in fields(Schedstat))


@dataclass(frozen=True, slots=True)
class CpuReading:
    """One CPU at one moment.

    :param nr_running: runnable tasks of all classes.
    :param scx_nr_running: runnable tasks of sched_ext.
    :param local_dsq_depth: tasks waiting in the CPU's local dispatch queue.
    :param rq_clock: runqueue clock in ns.
    :param scx_flags: ``rq.scx.flags``.
    :param events: cumulative sched_ext event counters of this CPU, by canonical name.
    :param vcpu_cpu_time_ns: host CPU time of the vCPU's thread so far.
    :param irq_util: PELT utilisation of interrupts, 0 to 1024 (``rq.avg_irq.util_avg``).
    :param curr_pid: the task that was current, and ``curr_comm`` its name.
    :param time: the kernel's accounting of the CPU.
    """

    cpu: int
    nr_running: int | None = None
    scx_nr_running: int | None = None
    local_dsq_depth: int | None = None
    rq_clock: int | None = None
    scx_flags: int | None = None
    events: Mapping[str, int] | None = None
    schedstat: Schedstat | None = None
    vcpu_cpu_time_ns: int | None = None
    irq_util: int | None = None
    curr_pid: int | None = None
    curr_comm: str | None = None
    time: PerCpuTime | None = None


@dataclass(frozen=True, slots=True)
class MonitorSample:
    """All CPUs at one moment.

    :param elapsed_ms: its place on the timeline of the phases it is compared with.
    :param taken_ms: the moment it was really taken, where that differs; rates use it.
    :param events: cumulative event counters of the machine, from a source without per-CPU ones.
    :param psi_irq_full_avg10: share of the last ten seconds lost to interrupts, in percent.
    :param psi_irq_full_total_us: time lost to interrupts so far.
    :param step_index: the step it was taken in, counted from 1; ``None`` where only the time says.
    :param held: whether a step was being held. What lies between steps belongs to no phase.
    :param state: of sched_ext (``enabled`` …), and ``ops`` the loaded scheduler's name.
    :param exit_kind: ``enum scx_exit_kind``; 0 while a scheduler runs.
    :param preemption_threshold_ns: ten ticks of this guest; see :func:`stuck_cpus`.
    """

    elapsed_ms: int
    cpus: tuple[CpuReading, ...] = ()
    taken_ms: int | None = None
    events: Mapping[str, int] | None = None
    psi_irq_full_avg10: float | None = None
    psi_irq_full_total_us: int | None = None
    step_index: int | None = None
    held: bool = True
    state: str | None = None
    ops: str | None = None
    exit_kind: int | None = None
    bypass_depth: int | None = None
    preemption_threshold_ns: int = DEFAULT_PREEMPTION_THRESHOLD_NS

    @property
    def clock_ms(self) -> int:
        """The moment it was taken."""
        return self.elapsed_ms if self.taken_ms is None else self.taken_ms

    def run_lengths(self) -> list[int]:
        """``nr_running`` of every CPU that has it."""
        return [cpu.nr_running for cpu in self.cpus if cpu.nr_running is not None]

    def local_depths(self) -> list[int]:
        """``local_dsq_depth`` of every CPU that has it."""
        return [cpu.local_dsq_depth for cpu in self.cpus if cpu.local_dsq_depth is not None]

    def imbalance_ratio(self) -> float:
        """Longest runqueue over shortest, the shortest counted as at least 1; 1.0 without CPUs."""
        lengths = self.run_lengths()
        return max(lengths) / max(1, min(lengths)) if lengths else 1.0

    def event_totals(self) -> dict[str, int] | None:
        """Event counters summed over CPUs; ``None`` when no source reported any."""
        if self.events is not None:
            return dict(self.events)
        reported = [cpu.events for cpu in self.cpus if cpu.events is not None]
        if not reported:
            return None
        names = dict.fromkeys(name for events in reported for name in events)
        return {name: sum(events.get(name, 0) for events in reported) for name in names}


def sample_looks_valid(sample: MonitorSample) -> bool:
    """Whether no local queue is deeper than any real one could be."""
    return all(depth <= MAX_PLAUSIBLE_DSQ_DEPTH for depth in sample.local_depths())


def clocks_look_initialised(samples: Sequence[MonitorSample]) -> bool:
    """Whether the runqueue clocks are being written.

    Several clock readings that are all the same come from memory nothing has set up yet.
    """
    clocks = [cpu.rq_clock for s in samples for cpu in s.cpus if cpu.rq_clock is not None]
    return len(clocks) < 2 or len(set(clocks)) > 1


def stuck_cpus(
    previous: MonitorSample,
    current: MonitorSample,
    preemption_threshold_ns: int | None = None,
) -> list[int] | None:
    """CPUs whose runqueue clock stood still although they had work and host time to do it.

    A vCPU cannot have run longer than the time between the readings, which stands in for its CPU
    time where that was not measured. ``None`` when no CPU could be compared.

    :param preemption_threshold_ns: in place of the reading's own.
    """
    if preemption_threshold_ns is None:
        preemption_threshold_ns = current.preemption_threshold_ns
    before = {reading.cpu: reading for reading in previous.cpus}
    between_ns = (current.clock_ms - previous.clock_ms) * _NS_PER_MS
    stuck, compared = [], False
    for after in current.cpus:
        earlier = before.get(after.cpu)
        if earlier is None or not (_comparable(earlier) and _comparable(after)):
            continue
        compared = True
        idle = earlier.nr_running == after.nr_running == 0
        still = after.rq_clock == earlier.rq_clock != 0
        if still and not idle and _ran_ns(earlier, after, between_ns) >= preemption_threshold_ns:
            stuck.append(after.cpu)
    return stuck if compared else None


def is_cpu_stuck(
    previous: MonitorSample,
    current: MonitorSample,
    cpu: int,
    preemption_threshold_ns: int | None = None,
) -> bool:
    """Whether ``cpu`` is among :func:`stuck_cpus`; false when it could not be compared."""
    return cpu in (stuck_cpus(previous, current, preemption_threshold_ns) or ())


def _comparable(reading: CpuReading) -> bool:
    return reading.rq_clock is not None and reading.nr_running is not None


def _ran_ns(earlier: CpuReading, after: CpuReading, between_ns: int) -> int:
    if earlier.vcpu_cpu_time_ns is None or after.vcpu_cpu_time_ns is None:
        return between_ns
    return after.vcpu_cpu_time_ns - earlier.vcpu_cpu_time_ns


def monitor_samples(series: SampleSeries) -> list[MonitorSample]:
    """The frozen captures as monitor readings, in order.

    A capture that failed or has no place in time gives none. Each stands where its phase expects
    it, at its scheduled offset, and remembers when it was really taken.
    """
    readings = []
    for sample in series.iter_samples():
        snapshot, place = sample.snapshot, sample.anchor_ms
        if not isinstance(snapshot, Snapshot) or place is None:
            continue
        events = snapshot.sched_ext.events
        readings.append(
            MonitorSample(
                elapsed_ms=place,
                cpus=tuple(_reading(cpu) for cpu in snapshot.cpus),
                taken_ms=sample.elapsed_ms,
                events=None if events is None else canonical_events(events),
            )
        )
    return readings


def _reading(cpu: CpuSnapshot) -> CpuReading:
    return CpuReading(
        cpu=cpu.cpu,
        nr_running=cpu.nr_running,
        scx_nr_running=cpu.scx_nr_running,
        local_dsq_depth=cpu.local_dsq_depth,
        rq_clock=cpu.clock,
        scx_flags=cpu.scx_flags,
    )


def without_warm_up(samples: Iterable[MonitorSample], least: int = 1) -> list[MonitorSample]:
    """Without the first :data:`WARM_UP_SAMPLES`, when at least ``least`` remain.

    Frozen captures begin after the warm-up.
    """
    kept = list(samples)
    return kept[WARM_UP_SAMPLES:] if len(kept) >= WARM_UP_SAMPLES + least else kept
