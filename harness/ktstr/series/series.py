# SPDX-License-Identifier: GPL-2.0-only
"""The samples of a run in order, and their projections along four axes (seed 004).

Every projection gives a :class:`ktstr.series.field.SeriesField`: one value per sample, and where a
sample has none, the error that says why.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ktstr.series.axes.bpf import (
    BpfMapProjector,
    live_vars_via,
    project_live,
    project_snapshots,
)
from ktstr.series.axes.host import HostView
from ktstr.series.axes.monitor import MonitorReport, MonitorView
from ktstr.series.axes.stats import StatsPathProjector, StatsValue, stats_of
from ktstr.series.entry import NOBODY_ASKED, Sample
from ktstr.series.field import SeriesField
from ktstr.series.projection import project
from ktstr.series.records import series_columns, series_records
from ktstr.series.snapshot import Snapshot
from ktstr.series.stats_meta import StatsMeta
from ktstr.series.values import RenderedValue

T = TypeVar("T")

Drained = tuple[str, Snapshot | None, Mapping[str, object] | None, int | None]
"""Tag, snapshot, statistics and workload time in ms, of a capture without a stamp."""


class SampleSeries:
    """The ordered samples of one run.

    :param monitor: what the monitor reported of the same run; ``None`` when it did not run.
    :param stats_meta: what the scheduler says about its statistics.
    """

    __slots__ = ("_monitor", "_samples", "stats_meta")

    def __init__(
        self,
        samples: Sequence[Sample],
        monitor: MonitorReport | None = None,
        stats_meta: StatsMeta | None = None,
    ) -> None:
        self._samples = tuple(samples)
        self._monitor = monitor
        self.stats_meta = stats_meta

    @classmethod
    def from_drained(
        cls, drained: Iterable[Drained], monitor: MonitorReport | None = None
    ) -> "SampleSeries":
        """A series of unstamped captures; without statistics they had no scheduler to ask."""
        return cls(
            [
                Sample(
                    tag,
                    elapsed_ms=elapsed_ms,
                    snapshot=snapshot,
                    stats=NOBODY_ASKED if stats is None else stats,
                )
                for tag, snapshot, stats, elapsed_ms in drained
            ],
            monitor,
        )

    @classmethod
    def from_drained_typed(
        cls,
        drained: Iterable[Sample],
        monitor: MonitorReport | None = None,
        stats_meta: StatsMeta | None = None,
    ) -> "SampleSeries":
        """The series of everything the snapshot bridge held, in its order."""
        return cls(tuple(drained), monitor, stats_meta)

    @classmethod
    def empty(cls) -> "SampleSeries":
        """The series of a run without captures."""
        return cls(())

    def _with(self, samples: Sequence[Sample]) -> "SampleSeries":
        return SampleSeries(samples, self._monitor, self.stats_meta)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def is_empty(self) -> bool:
        """Whether there is no sample at all."""
        return not self._samples

    def iter_samples(self) -> Iterator[Sample]:
        """The samples in order."""
        return iter(self._samples)

    def periodic_only(self) -> "SampleSeries":
        """Without on-demand captures, which would be off-cadence outliers."""
        return self._with(list(self.periodic_ref()))

    def periodic_ref(self) -> Iterator[Sample]:
        """The samples that a scheduled boundary fired, in order."""
        return (sample for sample in self._samples if sample.is_periodic)

    def by_phase(self) -> dict[int, list[Sample]]:
        """Samples by stamped step index, ascending; an unstamped sample counts as BASELINE."""
        phases: dict[int, list[Sample]] = {}
        for sample in self._samples:
            phases.setdefault(sample.step_index or 0, []).append(sample)
        return dict(sorted(phases.items()))

    # The BPF axis

    def bpf(self, label: str, read: Callable[[Snapshot], T]) -> SeriesField[T]:
        """What ``read`` makes of every snapshot.

        A :class:`SnapshotError` it raises takes the place of that sample's value, and so does an
        ArithmeticError, LookupError or ValueError, as ``ProjectionFailed``.
        """
        return project_snapshots(self._samples, label, read)

    def bpf_live_u64(self, name: str) -> SeriesField[int]:
        """A variable of the attached scheduler, or a part of it, as an unsigned number."""
        return project_live(self._samples, name, RenderedValue.as_u64)

    def bpf_live_i64(self, name: str) -> SeriesField[int]:
        """A variable of the attached scheduler, or a part of it, as a signed number."""
        return project_live(self._samples, name, RenderedValue.as_i64)

    def bpf_live_f64(self, name: str) -> SeriesField[float]:
        """A variable of the attached scheduler, or a part of it, as a floating-point number."""
        return project_live(self._samples, name, RenderedValue.as_f64)

    def live_bpf_vars_via(
        self, names: Sequence[str], pick: Callable[[Sequence[RenderedValue]], Sequence[T]]
    ) -> tuple[SeriesField[T], ...]:
        """Several variables of the attached scheduler, picked together once per snapshot."""
        return live_vars_via(self._samples, names, pick)

    def bpf_map(self, name: str) -> BpfMapProjector:
        """A map by name: choose an entry of it, then a field."""
        return BpfMapProjector(self._samples, name, name)

    # The statistics axis

    def stats(self, label: str, read: Callable[[StatsValue], T]) -> SeriesField[T]:
        """What ``read`` makes of every sample's statistics; errors as for :meth:`bpf`."""
        return project(self._samples, label, lambda s: read(stats_of(s, self.stats_meta)))

    def stats_path(self, path: str = "") -> StatsPathProjector:
        """A place in the statistics by its dotted path, ``""`` for all of them."""
        parts = tuple(path.split(".")) if path else ()
        return StatsPathProjector(self._samples, parts, self.stats_meta)

    def stats_live_u64(self, path: str) -> SeriesField[int]:
        """A figure of the statistics as an unsigned number."""
        return self.stats_path().field_u64(path)

    def stats_live_i64(self, path: str) -> SeriesField[int]:
        """A figure of the statistics as a signed number."""
        return self.stats_path().field_i64(path)

    def stats_live_f64(self, path: str) -> SeriesField[float]:
        """A figure of the statistics as a floating-point number."""
        return self.stats_path().field_f64(path)

    # The host's axes

    def host(self) -> HostView | None:
        """Each CPU's accounting; ``None`` without samples."""
        return HostView(self._samples) if self._samples else None

    def monitor(self) -> MonitorView | None:
        """What the monitor counted; ``None`` when it did not run."""
        return None if self._monitor is None else MonitorView(self._monitor)

    # All at once

    def to_records(self) -> list[dict[str, object]]:
        """One plain table per sample: its stamps, and every figure by a flat name.

        ``var.`` variables of the attached scheduler (of all programs, where it is not known),
        ``stats.`` its statistics, ``cpu.N.`` runqueues, ``scx.`` event counters. A figure that a
        sample does not have is absent from its table.
        """
        return series_records(self._samples)

    def to_numpy(self) -> tuple[npt.NDArray[np.float64], dict[str, npt.NDArray[np.float64]]]:
        """Times in ms, and each number of :meth:`to_records` by name, NaN where it is absent."""
        return series_columns(self._samples)
