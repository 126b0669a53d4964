# SPDX-License-Identifier: GPL-2.0-only
"""What consecutive monitor readings say together, and the summary of a run (reference-06 25)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ktstr.series.monitor.samples import (
    SCHEDSTAT_NAMES,
    MonitorSample,
    Schedstat,
    sample_looks_valid,
    stuck_cpus,
)

FALLBACK = "select_cpu_fallback"
KEEP_LAST = "dispatch_keep_last"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


class MonitorWindow:
    """The usable readings among ``samples``, in order.

    Readings without CPUs and implausible ones are dropped. Every statistic is ``None`` when
    nothing measured it. Averages are means over readings of each reading's mean over its CPUs.
    """

    __slots__ = ("_preemption_threshold_ns", "samples")

    def __init__(
        self,
        samples: Iterable[MonitorSample],
        preemption_threshold_ns: int | None = None,
    ) -> None:
        self.samples = tuple(s for s in samples if s.cpus and sample_looks_valid(s))
        self._preemption_threshold_ns = preemption_threshold_ns

    def _imbalances(self) -> list[float]:
        return [sample.imbalance_ratio() for sample in self.samples if sample.run_lengths()]

    def _averages(self, per_cpu: Callable[[MonitorSample], Sequence[int]]) -> float | None:
        means = [_mean(values) for sample in self.samples if (values := per_cpu(sample))]
        return _mean([mean for mean in means if mean is not None])

    def avg_imbalance(self) -> float | None:
        """Mean of the readings' imbalance ratios."""
        return _mean(self._imbalances())

    def max_imbalance(self) -> float | None:
        """Largest of the readings' imbalance ratios."""
        return max(self._imbalances(), default=None)

    def avg_nr_running(self) -> float | None:
        """Mean length of a CPU's runqueue."""
        return self._averages(MonitorSample.run_lengths)

    def avg_dsq_depth(self) -> float | None:
        """Mean depth of a local dispatch queue."""
        return self._averages(MonitorSample.local_depths)

    def max_dsq_depth(self) -> int | None:
        """Depth of the deepest local dispatch queue."""
        return max((d for sample in self.samples for d in sample.local_depths()), default=None)

    def avg_irq_util(self) -> float | None:
        """Mean interrupt utilisation of a CPU, 0 to 1024."""
        return self._averages(_irq_utils)

    def max_irq_util(self) -> int | None:
        """Largest interrupt utilisation any CPU had."""
        return max((util for sample in self.samples for util in _irq_utils(sample)), default=None)

    def avg_psi_irq(self) -> float | None:
        """Mean share of time lost to interrupts, in percent."""
        shares = [s.psi_irq_full_avg10 for s in self.samples if s.psi_irq_full_avg10 is not None]
        return _mean(shares)

    def psi_irq_us(self) -> int | None:
        """Time lost to interrupts between the first and the last reading of it, in us."""
        totals = [s.psi_irq_full_total_us for s in self.samples]
        read = [total for total in totals if total is not None]
        return max(read[-1] - read[0], 0) if len(read) >= 2 else None

    def stuck_count(self) -> int | None:
        """How often a CPU was found stuck between two adjacent readings."""
        found = [stuck_cpus(a, b, self._preemption_threshold_ns) for a, b in pairwise(self.samples)]
        compared = [len(cpus) for cpus in found if cpus is not None]
        return sum(compared) if compared else None

    def _counted(self) -> list[tuple[MonitorSample, dict[str, int]]]:
        totals = ((sample, sample.event_totals()) for sample in self.samples)
        return [(sample, events) for sample, events in totals if events is not None]

    def event_deltas(self) -> dict[str, int] | None:
        """Growth of every event counter from its first reading to the last.

        A counter that went backward was reset and counts 0. ``None`` below two readings.
        """
        counted = self._counted()
        if len(counted) < 2:
            return None
        first, last = counted[0][1], counted[-1][1]
        return {name: max(last[name] - first[name], 0) for name in first if name in last}

    def event_delta(self, name: str) -> int | None:
        """Growth of one event counter."""
        return (self.event_deltas() or {}).get(name)

    def event_rate(self, name: str) -> float | None:
        """Growth of one event counter per second; ``None`` when no time passed."""
        delta, counted = self.event_delta(name), self._counted()
        if delta is None:
            return None
        seconds = (counted[-1][0].clock_ms - counted[0][0].clock_ms) / 1000.0
        return delta / seconds if seconds > 0.0 else None

    def event_burst(self, name: str) -> int | None:
        """Largest growth of one event counter between two adjacent readings of it."""
        values = [events[name] for _, events in self._counted() if name in events]
        return max((max(b - a, 0) for a, b in pairwise(values)), default=None)

    def schedstat_deltas(self) -> tuple[dict[str, int], float] | None:
        """Growth of the schedstat counters, summed over CPUs, and the seconds it took.

        Only CPUs that both ends have are counted: one that came or went would bring its whole
        past. A counter that is switched off is absent. ``None`` below two readings, or when no
        time passed.
        """
        read = [s for s in self.samples if any(cpu.schedstat is not None for cpu in s.cpus)]
        if len(read) < 2 or read[-1].clock_ms <= read[0].clock_ms:
            return None
        before = {cpu.cpu: cpu.schedstat for cpu in read[0].cpus if cpu.schedstat is not None}
        pairs = [
            (before[cpu.cpu], cpu.schedstat)
            for cpu in read[-1].cpus
            if cpu.schedstat is not None and cpu.cpu in before
        ]
        if not pairs:
            return None
        deltas = {
            name: sum(max(last - first, 0) for first, last in counted)
            for name in SCHEDSTAT_NAMES
            if (counted := _both(name, pairs))
        }
        return deltas, (read[-1].clock_ms - read[0].clock_ms) / 1000.0


def _both(name: str, pairs: Iterable[tuple[Schedstat, Schedstat]]) -> list[tuple[int, int]]:
    values = [(getattr(first, name), getattr(last, name)) for first, last in pairs]
    return [(a, b) for a, b in values if a is not None and b is not None]


def _irq_utils(sample: MonitorSample) -> list[int]:
    return [cpu.irq_util for cpu in sample.cpus if cpu.irq_util is not None]


@dataclass(frozen=True, slots=True)
class ProgramStats:
    """How often a BPF program ran and for how long, so far or in a run; ``nsecs`` in ns."""

    id: int
    name: str
    cnt: int
    nsecs: int

    @property
    def nsecs_per_call(self) -> float | None:
        """Mean of a call; ``None`` when there was none."""
        return self.nsecs / self.cnt if self.cnt else None


@dataclass(frozen=True, slots=True)
class MonitorSummary:
    """A run as the monitor saw it; ``None`` and absent keys were not measured.

    :param total_samples: usable readings.
    :param events: growth of each event counter over the run.
    :param fallback_rate: ``select_cpu_fallback`` per second; ``keep_last_rate`` likewise.
    :param fallback_burst: largest growth of ``select_cpu_fallback`` between adjacent readings.
    :param schedstat: growth of each schedstat counter over ``schedstat_wall_sec``.
    :param programs: what each BPF program added; ``None`` when the guest does not measure them.
    """

    total_samples: int
    max_imbalance_ratio: float | None = None
    avg_imbalance_ratio: float | None = None
    max_local_dsq_depth: int | None = None
    avg_local_dsq_depth: float | None = None
    avg_nr_running: float | None = None
    stuck_count: int | None = None
    events: dict[str, int] | None = None
    event_rates: dict[str, float] = field(default_factory=dict)
    fallback_rate: float | None = None
    keep_last_rate: float | None = None
    fallback_burst: int | None = None
    schedstat: dict[str, int] = field(default_factory=dict)
    schedstat_wall_sec: float | None = None
    programs: tuple[ProgramStats, ...] | None = None

    @property
    def stuck(self) -> bool | None:
        """Whether a CPU was found stuck; ``None`` when none could be compared."""
        return None if self.stuck_count is None else self.stuck_count > 0

    @property
    def schedstat_rates(self) -> dict[str, float]:
        """The schedstat counters per second."""
        seconds = self.schedstat_wall_sec
        return {name: delta / seconds for name, delta in self.schedstat.items()} if seconds else {}

    @classmethod
    def of(
        cls,
        samples: Iterable[MonitorSample],
        preemption_threshold_ns: int | None = None,
        programs: tuple[ProgramStats, ...] | None = None,
    ) -> "MonitorSummary":
        """The summary of ``samples``; leave out the warm-up first, where there was one."""
        window = MonitorWindow(samples, preemption_threshold_ns)
        schedstat = window.schedstat_deltas()
        events = window.event_deltas()
        rates = {name: window.event_rate(name) for name in events or ()}
        return cls(
            total_samples=len(window.samples),
            max_imbalance_ratio=window.max_imbalance(),
            avg_imbalance_ratio=window.avg_imbalance(),
            max_local_dsq_depth=window.max_dsq_depth(),
            avg_local_dsq_depth=window.avg_dsq_depth(),
            avg_nr_running=window.avg_nr_running(),
            stuck_count=window.stuck_count(),
            events=events,
            event_rates={name: rate for name, rate in rates.items() if rate is not None},
            fallback_rate=window.event_rate(FALLBACK),
            keep_last_rate=window.event_rate(KEEP_LAST),
            fallback_burst=window.event_burst(FALLBACK),
            schedstat={} if schedstat is None else schedstat[0],
            schedstat_wall_sec=None if schedstat is None else schedstat[1],
            programs=programs,
        )
