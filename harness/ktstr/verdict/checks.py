# SPDX-License-Identifier: GPL-2.0-only
"""Which checks are asked for, with their limits (reference-06, 14; reference-04, 2.1)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import reduce
from typing import Any, Final, get_args

from ktstr.errors import CannotRun

RELAXED_GAP_MS, RELAXED_SPREAD_PCT = 3000, 35.0
STRICT_GAP_MS, STRICT_SPREAD_PCT = 2000, 15.0

ALIASES: Final = {"not_stuck": "not_starved"}
"""Later names of checks."""


class CheckRefused(CannotRun):
    """A check is unknown, or has a value it cannot have."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(problems), hint=f"available checks: {', '.join(sorted(CHECK_NAMES))}"
        )


@dataclass(frozen=True, slots=True)
class Assert:
    """Thresholds; ``None`` is not set, and nothing is judged that is not set.

    :param not_starved: every worker makes progress; also enables the gap and spread limits, at
        3000 ms and 35 %, or 2000 ms and 15 % when ``strict``.
    :param isolation: workers stay on their cgroup's CPUs.
    :param max_gap_ms: longest time a worker stood still; replaces the limit of ``not_starved``.
    :param max_spread_pct: largest difference of off-CPU time in a cgroup, likewise.
    :param max_throughput_cv: variation of work units per CPU second among a cgroup's workers.
    :param min_work_rate: work units per CPU second, per worker.
    :param max_p99_wake_latency_ns: 99th percentile of a cgroup's pooled wake latencies.
    :param max_wake_latency_cv: their variation.
    :param min_iteration_rate: iterations per second of wall time, per worker.
    :param max_migration_ratio: migrations per iteration of a cgroup.
    :param max_imbalance_ratio: and the next five: the monitor's, see
        :mod:`ktstr.verdict.monitor`; they fail a run only when enforced.
    :param enforce_monitor_thresholds: a level that sets it cannot be overruled.
    :param min_page_locality: share of a cgroup's pages on the nodes of its CPUs.
    :param max_cross_node_migration_ratio: pages moved between nodes, per page.
    :param max_slow_tier_ratio: share of pages on memory-only nodes that nobody asked for.
    :param strict: which limits ``not_starved`` brings.
    """

    not_starved: bool | None = None
    isolation: bool | None = None
    max_gap_ms: int | None = None
    max_spread_pct: float | None = None
    max_throughput_cv: float | None = None
    min_work_rate: float | None = None
    max_p99_wake_latency_ns: int | None = None
    max_wake_latency_cv: float | None = None
    min_iteration_rate: float | None = None
    max_migration_ratio: float | None = None
    max_imbalance_ratio: float | None = None
    max_local_dsq_depth: int | None = None
    fail_on_rq_clock_stuck: bool | None = None
    sustained_samples: int | None = None
    max_fallback_rate: float | None = None
    max_keep_last_rate: float | None = None
    enforce_monitor_thresholds: bool | None = None
    min_page_locality: float | None = None
    max_cross_node_migration_ratio: float | None = None
    max_slow_tier_ratio: float | None = None
    strict: bool | None = None

    @classmethod
    def from_checks(cls, checks: Mapping[str, object]) -> "Assert":
        """Read ``{check name: value}``.

        :raise CheckRefused: naming every unknown name and wrong value at once.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for written, value in checks.items():
            name = ALIASES.get(written, written)
            if name not in _TYPES:
                near = get_close_matches(written, CHECK_NAMES, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                problems.append(f"unknown check {written!r:.60}{meant}")
                continue
            checked = _checked(value, _TYPES[name])
            if checked is None:
                allowed = _ALLOWED[_TYPES[name]]
                problems.append(f"check {written!r} is {value!r:.60}; {allowed} is due")
            elif name == "sustained_samples" and checked == 0:
                problems.append(f"check {written!r} is 0; an integer of 1 or more is due")
            else:
                values[name] = checked
        if problems:
            raise CheckRefused(problems)
        return cls(**values)

    @classmethod
    def default_checks(cls) -> "Assert":
        """The lowest level: the monitor's limits, unenforced, and nothing that can fail."""
        return MONITOR_DEFAULTS

    @classmethod
    def levels(cls, *levels: "Assert") -> "Assert":
        """The defaults with each level on top: the scheduler's, then the scenario's."""
        return reduce(cls.merge, levels, cls.default_checks())

    def merge(self, other: "Assert") -> "Assert":
        """``other`` on top: what it sets wins. Enforcing the monitor cannot be taken back."""
        chosen = {
            item.name: getattr(self, item.name) if theirs is None else theirs
            for item in fields(self)
            for theirs in [getattr(other, item.name)]
        }
        if self.enforce_monitor_thresholds:
            chosen["enforce_monitor_thresholds"] = True
        return Assert(**chosen)

    def with_monitor_defaults(self) -> "Assert":
        """The monitor's limits enforced, those that are not set at their defaults."""
        return replace(MONITOR_DEFAULTS.merge(self), enforce_monitor_thresholds=True)

    def gap_limit_ms(self) -> int | None:
        """The gap limit in force."""
        if self.max_gap_ms is not None or not self.not_starved:
            return self.max_gap_ms
        return STRICT_GAP_MS if self.strict else RELAXED_GAP_MS

    def spread_limit_pct(self) -> float | None:
        """The spread limit in force."""
        if self.max_spread_pct is not None or not self.not_starved:
            return self.max_spread_pct
        return STRICT_SPREAD_PCT if self.strict else RELAXED_SPREAD_PCT

    def watches_monitor(self) -> bool:
        """Whether a limit of the monitor is set."""
        return bool(self.fail_on_rq_clock_stuck) or any(
            limit is not None
            for limit in (
                self.max_imbalance_ratio,
                self.max_local_dsq_depth,
                self.max_fallback_rate,
                self.max_keep_last_rate,
            )
        )

    def to_record(self) -> dict[str, object]:
        """What is set, by name; :meth:`from_checks` reads it back."""
        return {
            item.name: value
            for item in fields(self)
            if (value := getattr(self, item.name)) is not None
        }


NO_OVERRIDES: Final = Assert()
"""The level that changes nothing; not the same as a run without checks."""

MONITOR_DEFAULTS: Final = Assert(
    max_imbalance_ratio=4.0,
    max_local_dsq_depth=50,
    fail_on_rq_clock_stuck=True,
    sustained_samples=5,
    max_fallback_rate=200.0,
    max_keep_last_rate=100.0,
)
"""Limits of the monitor: reference-06 section 14."""

CHECK_NAMES: Final = frozenset(item.name for item in fields(Assert))
"""Every name that can be set."""

_TYPES: Final = {item.name: get_args(item.type)[0] for item in fields(Assert)}

_ALLOWED = {
    bool: "true or false",
    int: "an integer of 0 or more",
    float: "a number of 0 or more",
}


def _checked(value: object, kind: type) -> bool | int | float | None:
    """``value`` as ``kind``, or ``None`` when it cannot be one."""
    if kind is bool:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    if kind is int:
        return value if isinstance(value, int) else None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
