# SPDX-License-Identifier: GPL-2.0-only
"""One frozen capture with its stamps (seed 004)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ktstr.series.errors import PlaceholderSnapshot
from ktstr.series.pending import Pending
from ktstr.series.phase import Phase
from ktstr.series.snapshot import Snapshot
from ktstr.series.stats_reason import MissingStats, MissingStatsReason

PERIODIC_PREFIX = "periodic_"
NOBODY_ASKED = MissingStatsReason(MissingStats.NO_SCHEDULER_BINARY)


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
    :param snapshot: what was read from the frozen guest; ``None`` when the capture failed, and a
        :class:`Pending` until the bridge hands the capture out.
    :param paused_ns: how long the guest stood still for it.
    :param error: why the capture failed; ``None`` when it succeeded.
    :param trigger: the write that a watch answered with this capture; ``None`` for any other.
    """

    tag: str
    elapsed_ms: int | None = None
    boundary_offset_ms: int | None = None
    step_index: int | None = None
    snapshot: object | None = None
    stats: Mapping[str, object] | MissingStatsReason = NOBODY_ASKED
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

    @property
    def phase(self) -> Phase | None:
        """The phase stamped at capture time."""
        return None if self.step_index is None else Phase(self.step_index)

    def settled(self) -> "Sample":
        """The sample with its snapshot decoded; a failed one when it cannot be."""
        if not isinstance(self.snapshot, Pending):
            return self
        try:
            return replace(self, snapshot=self.snapshot.snapshot())
        except Exception as failure:
            # Whatever hostile memory makes a decoder raise is a sample that failed, no more.
            return replace(self, snapshot=None, error=f"{type(failure).__name__}: {failure}")

    def taken(self) -> Snapshot:
        """The snapshot.

        :raises PlaceholderSnapshot: when the capture failed, saying why.
        """
        if isinstance(self.snapshot, Snapshot):
            return self.snapshot
        raise PlaceholderSnapshot(self.tag, self.error or "the capture gave none")
