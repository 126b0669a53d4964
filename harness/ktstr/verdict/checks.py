# SPDX-License-Identifier: GPL-2.0-only
"""Which checks a scenario asks for, with their limits (reference-04, 2.1; reference-06, 14)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import get_args

from ktstr.errors import CannotRun

SUPPORTED_CHECKS = frozenset(
    {"not_starved", "isolation", "max_gap_ms", "max_spread_pct", "min_iteration_rate", "strict"}
)
"""Names a definition may set; every other threshold is refused until it is evaluated."""

RELAXED_GAP_MS, RELAXED_SPREAD_PCT = 3000, 35.0
STRICT_GAP_MS, STRICT_SPREAD_PCT = 2000, 15.0


class CheckRefused(CannotRun):
    """A check is unknown, has a value it cannot have, or is not evaluated by this version."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(problems), hint=f"available checks: {', '.join(sorted(SUPPORTED_CHECKS))}"
        )


@dataclass(frozen=True, slots=True)
class Assert:
    """Thresholds; ``None`` is not set, and nothing is judged that is not set.

    :param not_starved: every worker makes progress; also enables the gap and spread limits, at
        3000 ms and 35 %, or 2000 ms and 15 % when ``strict``.
    :param isolation: workers stay on their cgroup's CPUs.
    :param min_iteration_rate: iterations per second of wall time, per worker.
    :param max_throughput_cv: and the rest: see reference-04 section 2.1 for each.
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

        :raise CheckRefused: naming every unknown name, wrong value and unsupported check at once.
        """
        types = {item.name: get_args(item.type)[0] for item in fields(cls)}
        problems: list[str] = []
        values: dict[str, bool | int | float] = {}
        for name, value in checks.items():
            if name not in types:
                near = get_close_matches(name, SUPPORTED_CHECKS, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                problems.append(f"unknown check {name!r}{meant}")
                continue
            checked = _checked(value, types[name])
            if checked is None:
                problems.append(f"check {name!r} is {value!r:.60}; {_ALLOWED[types[name]]} is due")
            else:
                values[name] = checked
        thresholds = cls(**values)  # type: ignore[arg-type]  # _checked made each value its type
        problems += thresholds.unsupported()
        if problems:
            raise CheckRefused(problems)
        return thresholds

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

    def unsupported(self) -> list[str]:
        """A sentence for each threshold that is set but not evaluated by this version."""
        return [
            f"check {item.name!r} is not evaluated by this version"
            for item in fields(self)
            if item.name not in SUPPORTED_CHECKS and getattr(self, item.name) is not None
        ]

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

    def asks_for_anything(self) -> bool:
        """Whether any check is in force."""
        limits = (self.gap_limit_ms(), self.spread_limit_pct(), self.min_iteration_rate)
        return bool(self.not_starved or self.isolation) or any(x is not None for x in limits)


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
    return float(value) if math.isfinite(value) else None
