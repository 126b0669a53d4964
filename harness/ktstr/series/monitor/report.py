# SPDX-License-Identifier: GPL-2.0-only
"""What the monitor of one run saw, and what that comes to (reference-04 section 7.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktstr.series.monitor.samples import (
    DEFAULT_PREEMPTION_THRESHOLD_NS,
    PREEMPTION_TICKS,
    WARM_UP_SAMPLES,
    MonitorSample,
    clocks_look_initialised,
    monitor_samples,
    sample_looks_valid,
    without_warm_up,
)
from ktstr.series.monitor.window import MonitorSummary, ProgramStats
from ktstr.series.sample import SampleSeries

TICK_RATES = (100, 250, 300, 1000)
"""What CONFIG_HZ can be."""


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """Everything the monitor of one run brought back. Make it with :meth:`of`.

    :param summary: the readings of held steps in figures. When every runqueue clock stands at one
        value, nothing had been set up, and it gives none.

    :param torn_reads: readings that contradicted themselves, also the second time, and were
        dropped.
    :param missed_ticks: readings that were due and not taken: the host was late, or the guest
        stood still for a snapshot.
    :param notes: what a reader should know, in sentences.
    :param unavailable: what this guest could not show, and why.
    """

    samples: tuple[MonitorSample, ...] = ()
    summary: MonitorSummary = field(default_factory=lambda: MonitorSummary(0))
    torn_reads: int = 0
    missed_ticks: int = 0
    notes: tuple[str, ...] = ()
    preemption_threshold_ns: int = DEFAULT_PREEMPTION_THRESHOLD_NS
    programs: tuple[ProgramStats, ...] | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        samples: Sequence[MonitorSample],
        *,
        preemption_threshold_ns: int = DEFAULT_PREEMPTION_THRESHOLD_NS,
        programs: tuple[ProgramStats, ...] | None = None,
        torn_reads: int = 0,
        missed_ticks: int = 0,
        notes: Sequence[str] = (),
        unavailable: Mapping[str, str] | None = None,
    ) -> "MonitorReport":
        """The report of ``samples`` with its summary worked out."""
        own = tuple(
            replace(sample, preemption_threshold_ns=preemption_threshold_ns) for sample in samples
        )
        held = [sample for sample in own if sample.held]
        usable = held if clocks_look_initialised(held) else []
        return cls(
            samples=own,
            summary=MonitorSummary.of(usable, programs=programs),
            torn_reads=torn_reads,
            missed_ticks=missed_ticks,
            notes=tuple(notes),
            preemption_threshold_ns=preemption_threshold_ns,
            programs=programs,
            unavailable=dict(unavailable or {}),
        )

    def held_samples(self) -> list[MonitorSample]:
        """The readings taken while a step was held: those that belong to a phase."""
        return [sample for sample in self.samples if sample.held]

    def judged_samples(self) -> list[MonitorSample]:
        """The readings that limits are judged by: of held steps, without the warm-up.

        A run too short to have as much again after its warm-up is judged by all of them.
        """
        return without_warm_up(self.held_samples(), least=WARM_UP_SAMPLES)

    @property
    def saw_something(self) -> bool:
        """Whether there is a reading that can be judged."""
        usable = [s for s in self.held_samples() if s.cpus and sample_looks_valid(s)]
        return bool(usable) and clocks_look_initialised(usable)


def phase_readings(report: MonitorReport | None, captures: SampleSeries) -> list[MonitorSample]:
    """What phases are folded from: the monitor's readings, or captures where it saw nothing.

    Frozen captures begin when the workload does: none of them is of a warm-up.
    """
    if report is not None and report.saw_something:
        return report.held_samples()
    return monitor_samples(captures.periodic_only())


def tick_rate(ticks: int, seconds: float) -> int | None:
    """The CONFIG_HZ that ``ticks`` in ``seconds`` speak for; ``None`` when they fit none."""
    if seconds < 1.0:
        return None
    found = ticks / seconds
    near = min(TICK_RATES, key=lambda rate: abs(rate - found))
    return near if abs(near - found) <= 0.15 * near else None


def preemption_threshold(hz: int) -> int:
    """Host time in ns that ten ticks of a guest with ``hz`` ticks a second take."""
    return PREEMPTION_TICKS * 1_000_000_000 // hz


def program_growth(
    first: Sequence[ProgramStats], last: Sequence[ProgramStats]
) -> tuple[ProgramStats, ...]:
    """What each program of ``last`` added since ``first``; a new one counts in full."""
    before = {program.id: program for program in first}
    grown = []
    for program in last:
        old = before.get(program.id)
        cnt, nsecs = (old.cnt, old.nsecs) if old is not None else (0, 0)
        grown.append(
            replace(program, cnt=max(program.cnt - cnt, 0), nsecs=max(program.nsecs - nsecs, 0))
        )
    return tuple(grown)
