# SPDX-License-Identifier: GPL-2.0-only
"""Frozen captures in the order they were taken (seed 004).

The snapshot is opaque here: only projections and metric readers look into it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

PERIODIC_PREFIX = "periodic_"


class MissingStats(Enum):
    """Why a sample has no scheduler statistics (reference-06 section 6.2)."""

    NO_SCHEDULER_BINARY = "no_scheduler_binary"
    NO_SCHEDULER = "no_scheduler"
    DURING_FREEZE = "during_freeze"
    CANCELLED = "cancelled"
    SCHEDULER_ERROR = "scheduler_error"
    MISSING_RESP = "missing_resp"
    REQUEST_TOO_LARGE = "request_too_large"
    RESPONSE_TOO_LARGE = "response_too_large"


@dataclass(frozen=True, slots=True)
class MissingStatsReason:
    """A failed statistics request.

    :param detail: what the relay or the scheduler said, if anything.
    """

    kind: MissingStats
    detail: str = ""

    def __str__(self) -> str:
        words = self.kind.value.replace("_", " ")
        return f"{words}: {self.detail}" if self.detail else words


@dataclass(frozen=True, slots=True)
class Trigger:
    """The write that a capture stands for.

    :param watch: the symbol or variable that was watched; ``holder`` is the variable's map.
    :param address: kernel-virtual address of the ``size`` bytes watched.
    :param hit: which hit of its watch this is, counted from 1.
    :param cpu: the CPU that wrote.
    :param instruction: address of the instruction after the one that wrote; ``code`` is the
        function it belongs to, ``None`` when that is not known.
    :param old: the value when the watch was set or last hit; ``new`` the one written.
    """

    watch: str
    holder: str
    address: int
    size: int
    hit: int
    cpu: int | None = None
    instruction: int | None = None
    code: str | None = None
    old: int | None = None
    new: int | None = None

    def in_words(self) -> str:
        """In one line: what, by whom, from which value to which."""
        if self.code is None:
            place = "unknown code" if self.instruction is None else f"{self.instruction:#x}"
        else:
            place = self.code
        cpu = "an unknown CPU" if self.cpu is None else f"CPU {self.cpu}"
        old, new = ("?" if value is None else str(value) for value in (self.old, self.new))
        return f"{self.watch} {old} -> {new} by {place} on {cpu}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One capture.

    :param tag: ``periodic_000`` and so on; anything else is an on-demand capture.
    :param elapsed_ms: workload time when the statistics request ended, just before the freeze;
        ``None`` when it was not recorded.
    :param boundary_offset_ms: scheduled workload time; ``None`` for on-demand captures.
    :param step_index: 1-based step stamped at capture time; 0 is BASELINE.
    :param snapshot: what was read from the frozen guest; ``None`` when the capture failed.
    :param paused_ns: how long the guest stood still for it.
    :param error: why the capture failed; ``None`` when it succeeded.
    :param trigger: the write that a watch answered with this capture; ``None`` for any other.
    """

    tag: str
    elapsed_ms: int | None = None
    boundary_offset_ms: int | None = None
    step_index: int | None = None
    snapshot: object | None = None
    stats: Mapping[str, object] | MissingStatsReason = MissingStatsReason(
        MissingStats.NO_SCHEDULER_BINARY
    )
    paused_ns: int | None = None
    error: str | None = None
    trigger: Trigger | None = None

    @property
    def is_periodic(self) -> bool:
        """Whether a scheduled boundary fired it."""
        return self.tag.startswith(PERIODIC_PREFIX)

    @property
    def anchor_ms(self) -> int | None:
        """Its place in time: the scheduled offset, else the elapsed time, else ``None``."""
        return self.elapsed_ms if self.boundary_offset_ms is None else self.boundary_offset_ms


class SampleSeries:
    """The ordered samples of one run."""

    __slots__ = ("_samples",)

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = tuple(samples)

    @classmethod
    def from_drained_typed(cls, drained: Iterable[Sample]) -> "SampleSeries":
        """The series of everything the snapshot bridge held, in its order."""
        return cls(tuple(drained))

    @classmethod
    def empty(cls) -> "SampleSeries":
        """The series of a run without captures."""
        return cls(())

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
        return SampleSeries([sample for sample in self._samples if sample.is_periodic])

    def by_phase(self) -> dict[int, list[Sample]]:
        """Samples by stamped step index, ascending; an unstamped sample counts as BASELINE."""
        phases: dict[int, list[Sample]] = {}
        for sample in self._samples:
            phases.setdefault(sample.step_index or 0, []).append(sample)
        return dict(sorted(phases.items()))
