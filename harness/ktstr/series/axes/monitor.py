# SPDX-License-Identifier: GPL-2.0-only
"""The monitor axis: what the host's monitor counted over a run (reference-06 section 6.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from ktstr.series.monitor.window import MonitorSummary

EVENT_TOTALS: Final = (
    "select_cpu_fallback",
    "select_cpu_fallback_max_burst",
    "dispatch_local_dsq_offline",
    "dispatch_keep_last",
    "enq_skip_exiting",
    "enq_skip_migration_disabled",
    "reenq_immed",
    "reenq_local_repeat",
    "refill_slice_dfl",
    "bypass_duration_ns",
    "bypass_dispatch",
    "bypass_activate",
    "insert_not_owned",
    "sub_bypass_dispatch",
)
"""The totals, in the reference's order."""

ERROR_CLASS_NAMES: Final = (
    "enq_skip_exiting",
    "enq_skip_migration_disabled",
    "reenq_immed",
    "reenq_local_repeat",
    "insert_not_owned",
)
"""Counters that a healthy scheduler leaves at zero."""

_COUNTED_AS: Final = {"bypass_duration_ns": "bypass_duration"}


class MonitorReport(Protocol):
    """What the monitor reports of a run."""

    @property
    def summary(self) -> "MonitorSummary": ...


@dataclass(frozen=True, slots=True)
class ScxEventsView:
    """Growth of the sched_ext event counters over the run.

    :param events: growth by canonical name; a counter that the kernel lacks is absent.
    """

    events: Mapping[str, int]
    fallback_burst: int | None
    fallback_rate: float | None
    keep_last_rate: float | None

    def total_pairs(self) -> list[tuple[str, int | None]]:
        """All 14 totals by name; ``None`` for what this kernel does not count."""
        return [(name, self._total(name)) for name in EVENT_TOTALS]

    def _total(self, name: str) -> int | None:
        if name == "select_cpu_fallback_max_burst":
            return self.fallback_burst
        return self.events.get(_COUNTED_AS.get(name, name))

    def rates_pairs(self) -> list[tuple[str, float | None]]:
        """The two rates, per second; ``None`` when no time passed."""
        return [
            ("select_cpu_fallback_rate", self.fallback_rate),
            ("dispatch_keep_last_rate", self.keep_last_rate),
        ]

    def error_pairs(self) -> list[tuple[str, int | None]]:
        """The totals of :data:`ERROR_CLASS_NAMES`."""
        return [(name, self._total(name)) for name in ERROR_CLASS_NAMES]


@dataclass(frozen=True, slots=True)
class MonitorView:
    """The monitor's report of the run that the samples are from."""

    report: MonitorReport

    def summary(self) -> "MonitorSummary":
        """The run in figures."""
        return self.report.summary

    def scx_events(self) -> ScxEventsView | None:
        """The event counters; ``None`` when nothing counted them."""
        summary = self.report.summary
        if summary.events is None:
            return None
        return ScxEventsView(
            summary.events,
            summary.fallback_burst,
            summary.fallback_rate,
            summary.keep_last_rate,
        )
