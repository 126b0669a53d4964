# SPDX-License-Identifier: GPL-2.0-only
"""The host axis: each CPU's accounting over the samples (reference-06 section 6.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktstr.series.entry import Sample
from ktstr.series.errors import HostFieldUnavailable
from ktstr.series.field import SeriesField
from ktstr.series.host import PerCpuTime
from ktstr.series.projection import project, snapshot_of
from ktstr.series.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class HostView:
    """What the samples say about each CPU; made by ``SampleSeries.host``."""

    samples: Sequence[Sample]

    def cpus(self) -> list[int]:
        """Every CPU that any sample has accounting of, ascending."""
        return sorted({time.cpu for sample in self.samples for time in _times(sample)})

    def per_cpu_time_timeline(self, cpu: int) -> list[tuple[int | None, PerCpuTime]]:
        """Workload time in ms and accounting of one CPU, in order of time.

        Samples without it are left out; those of unknown time come first.
        """
        found = [(s.elapsed_ms, t) for s in self.samples for t in _times(s) if t.cpu == cpu]
        return sorted(found, key=lambda pair: -1 if pair[0] is None else pair[0])

    def per_cpu_field_u64(
        self, cpu: int, label: str, read: Callable[[PerCpuTime], int]
    ) -> SeriesField[int]:
        """A figure of one CPU over the samples."""

        def one(sample: Sample) -> int:
            times = snapshot_of(sample).host.per_cpu_time
            for time in times:
                if time.cpu == cpu:
                    return read(time)
            raise HostFieldUnavailable(sample.tag, cpu, [time.cpu for time in times])

        return project(self.samples, label, one)


def _times(sample: Sample) -> tuple[PerCpuTime, ...]:
    snapshot = sample.snapshot
    return snapshot.host.per_cpu_time if isinstance(snapshot, Snapshot) else ()
