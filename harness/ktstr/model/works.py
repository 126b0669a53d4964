# SPDX-License-Identifier: GPL-2.0-only
"""The table of work types a scenario may ask for.

``guest/worker`` registers the same names, parameters, defaults and groups; ``worker list`` prints
its side as JSON, and a test holds the two together. A new work type is one row here and one there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Reservoir = Literal["wake", "cost", "timer"]
"""Sample reservoirs of a report: wake latencies, iteration costs, timer latencies."""


@dataclass(frozen=True, slots=True)
class Param:
    """An integer parameter of a work type; the unit is the name's last part."""

    name: str
    default: int
    low: int
    high: int
    summary: str

    @property
    def allowed(self) -> str:
        """What may stand for the parameter, in words."""
        return f"an integer from {self.low} to {self.high} (default {self.default})"


@dataclass(frozen=True, slots=True)
class WorkType:
    """One kind of load.

    :param group: workers that work together; ``workers`` must be a multiple of it.
    :param group_params: parameters whose values add to ``group`` (``1 + fan_out`` and the like).
    :param fills: the reservoirs its reports carry samples in.
    """

    name: str
    summary: str
    params: tuple[Param, ...] = ()
    group: int = 1
    group_params: tuple[str, ...] = ()
    fills: frozenset[Reservoir] = frozenset()

    def complete(self, given: Mapping[str, int]) -> dict[str, int]:
        """Every parameter in table order: the given value, else the default."""
        return {param.name: given.get(param.name, param.default) for param in self.params}

    def group_size(self, given: Mapping[str, int]) -> int:
        """The number ``workers`` must be a multiple of."""
        complete = self.complete(given)
        return self.group + sum(complete[name] for name in self.group_params)


_WAKE: Final[frozenset[Reservoir]] = frozenset({"wake"})
_US: Final = 60_000_000
_ITERS: Final = 1_000_000_000

WORK_TYPES: Final[Mapping[str, WorkType]] = {
    work.name: work
    for work in (
        WorkType("SpinWait", "spins with the CPU's pause hint, 1024 steps an iteration"),
        WorkType("YieldHeavy", "one unit of work, then sched_yield"),
        WorkType("Mixed", "a spin of 1024 steps, then sched_yield"),
        WorkType(
            "Bursty",
            "spins for a while, then sleeps for a while",
            (
                Param("burst_us", 50_000, 1, _US, "time spinning, in µs"),
                Param("sleep_us", 100_000, 1, _US, "time asleep, in µs"),
            ),
            fills=_WAKE,
        ),
        WorkType(
            "PipeIo",
            "pairs that spin, then hand one byte over through a pipe",
            (Param("burst_iters", 1024, 1, _ITERS, "spin steps before each hand-over"),),
            group=2,
            fills=_WAKE,
        ),
        WorkType(
            "FutexPingPong",
            "pairs that spin, then hand over through a futex",
            (Param("spin_iters", 1024, 1, _ITERS, "spin steps before each hand-over"),),
            group=2,
            fills=_WAKE,
        ),
        WorkType(
            "IoSyncWrite",
            "sixteen 4 KiB writes and an fdatasync, again and again",
            fills=_WAKE,
        ),
        WorkType(
            "AluHot",
            "chains of multiplications that keep the ALUs busy",
            (Param("width", 4, 1, 8, "independent chains"),),
            fills=frozenset({"cost"}),
        ),
        WorkType(
            "TimerLatency",
            "sleeps to absolute deadlines and notes how late it wakes",
            (Param("interval_us", 1000, 10, _US, "time between deadlines, in µs"),),
            fills=frozenset({"timer"}),
        ),
    )
}
"""Work types by name; names are case-sensitive."""
