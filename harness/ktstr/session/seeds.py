# SPDX-License-Identifier: GPL-2.0-only
"""What many seeds of one scenario came to: which failed, in which ways, and how far metrics spread.

Computes only; :mod:`ktstr.session.explore` runs the seeds.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ktstr.errors import ExitCode
from ktstr.session.record import RunRecord, in_order
from ktstr.verdict.detail import AssertDetail

MOST_SEEDS: Final = 100_000
"""Seeds of one exploration; at ten seconds each that is more than eleven days."""

LARGEST_SEED: Final = (1 << 63) - 1

SHAPE_CHARS: Final = 400
"""Of a failure's message, what tells its class."""

_NUMBER: Final = re.compile(r"(?<![\w.])(?<!Step\[)(?:0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*)")
"""A number that stands alone: a measured value, a pid. Not the 0 of ``Step[0]`` or of ``cg_0``."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of ``"0..200"``, ``"7"`` or ``"1,5,10..20"``, each once and in that order.

    Both ends of a range belong to it.

    :raise ValueError: in words for people, when it says something else or more than
        :data:`MOST_SEEDS`.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dots, last = part.partition("..")
        low = _seed(first, part)
        high = _seed(last, part) if dots else low
        if high < low:
            raise ValueError(f"{part.strip()!r} ends before it begins")
        if high - low >= MOST_SEEDS or len(seeds) + high - low >= MOST_SEEDS:
            raise ValueError(f"{text.strip()!r} is more than {MOST_SEEDS} seeds")
        seeds.update(dict.fromkeys(range(low, high + 1)))
    return tuple(seeds)


def _seed(text: str, part: str) -> int:
    digits = text.strip()
    if not re.fullmatch(r"[0-9]{1,19}", digits) or int(digits) > LARGEST_SEED:
        raise ValueError(f"{part.strip()!r} is no seed or range of seeds, as 7 or 0..200")
    return int(digits)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one seed.

    :param verdict: pass, skip, inconclusive, fail or guest lost.
    :param wall_s: from its start to its record, seconds.
    :param reasons: everything that stands against a pass, as the verdict says it.
    :param metrics: run-level metrics by name.
    :param identity: digest of the run; empty when there is none.
    """

    seed: int
    verdict: str
    exit_code: ExitCode
    wall_s: float = 0.0
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    identity: str = ""
    record: Path | None = None

    @classmethod
    def of(cls, seed: int, record: RunRecord, wall_s: float) -> "Tried":
        """What a run's record tells."""
        return cls(
            seed,
            "guest lost" if record.verdict == "lost" else record.verdict,
            record.exit_code,
            wall_s,
            tuple(_reasons(record)),
            record.run_metrics(),
            str(record.facts.get("identity", "")),
            record.sidecar,
        )

    @property
    def failed(self) -> bool:
        """Whether the scheduler failed or took the guest with it."""
        return self.exit_code in (ExitCode.FAIL, ExitCode.GUEST_LOST)


def _reasons(record: RunRecord) -> list[str]:
    if record.error is not None:
        return [record.error.partition("\n")[0]]
    details: list[AssertDetail] = []
    if record.result is not None:
        # A doubt beside a failure mostly follows from it.
        details = record.result.failure_details() or record.result.inconclusive_details()
    return [detail.display_with_kind() for detail in details]


@dataclass(frozen=True, slots=True)
class FailureClass:
    """Runs that ended in the same way.

    :param shape: the reason with ``#`` for every number in it.
    :param example: the reason of the first of its seeds.
    """

    verdict: str
    shape: str
    seeds: tuple[int, ...]
    example: str


def shape_of(reason: str) -> str:
    """A reason without what differs from run to run: check, phase and cgroup stay."""
    return _NUMBER.sub("#", reason[:SHAPE_CHARS])


def failure_classes(tried: Iterable[Tried]) -> list[FailureClass]:
    """The ways in which runs did not pass, the most frequent first.

    A run with several reasons is in the class of each.
    """
    found: dict[tuple[str, str], dict[int, str]] = {}
    for each in sorted(tried, key=lambda each: each.seed):
        for reason in each.reasons:
            found.setdefault((each.verdict, shape_of(reason)), {}).setdefault(each.seed, reason)
    classes = [
        FailureClass(verdict, shape, tuple(seeds), next(iter(seeds.values())))
        for (verdict, shape), seeds in found.items()
    ]
    return sorted(classes, key=lambda each: -len(each.seeds))


@dataclass(frozen=True, slots=True)
class Spread:
    """How far one metric goes over the runs that have it, and with which seeds."""

    metric: str
    runs: int
    low: float
    low_seed: int
    median: float
    high: float
    high_seed: int


def spreads(tried: Iterable[Tried]) -> list[Spread]:
    """The spread of every metric, in the registry's order; of equal extremes the lowest seed."""
    values: dict[str, list[tuple[float, int]]] = {}
    for each in tried:
        for name, value in each.metrics.items():
            values.setdefault(name, []).append((value, each.seed))
    found = []
    for name in in_order(dict.fromkeys(values, 0.0)):
        measured = sorted(values[name])
        high = max(measured, key=lambda pair: (pair[0], -pair[1]))
        median = _median([value for value, _ in measured])
        found.append(Spread(name, len(measured), *measured[0], median, *high))
    return found


def _median(ordered: Sequence[float]) -> float:
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2
