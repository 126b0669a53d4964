# SPDX-License-Identifier: GPL-2.0-only
"""Figures per phase held against each other (reference-06 section 5)."""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from ktstr.series.field import Number
from ktstr.series.phase import Phase
from ktstr.verdict.claims import show
from ktstr.verdict.detail import InfoNote, PassDetail
from ktstr.verdict.temporal_finding import Findings, Pattern, shortly

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


def zip_per_phase(
    these: Mapping[Phase, A], those: Mapping[Phase, B], combine: Callable[[A, B], R]
) -> dict[Phase, R]:
    """What ``combine`` makes of both figures, for the phases that have both, in order."""
    return {phase: combine(these[phase], those[phase]) for phase in sorted(these) if phase in those}


def frac_pair(these: Mapping[Phase, int], those: Mapping[Phase, int]) -> dict[Phase, float]:
    """``n / (n + m)`` per phase: the share that the first of two counts has of both.

    A phase that only one of them has, or in which both are 0, is absent.
    """
    pairs = zip_per_phase(these, those, lambda n, m: (n, n + m))
    return {phase: n / total for phase, (n, total) in pairs.items() if total}


def ratio_at_most(
    values: Mapping[Phase, Number], label: str, phases: tuple[Phase, Phase], ceiling: float
) -> Findings:
    """The value of the later of two phases over that of the earlier is ``ceiling`` or less.

    Without a value in either, and over zero, it is inconclusive.
    """
    earlier, later = phases
    pattern = Pattern(label, "ratio_across_phases")
    before, after = values.get(earlier), values.get(later)
    if before is None or after is None:
        missing = earlier if before is None else later
        yield pattern.doubt(f"no value in {missing}: {later} over {earlier} is unknown", later)
        return
    sides = f"{show(after)} over {show(before)}"
    if before == 0:
        yield pattern.doubt(f"{earlier} is 0: {later} over {earlier} is no ratio ({sides})", later)
        return
    ratio = after / before
    if not math.isfinite(ratio):
        yield pattern.fail(f"{later} over {earlier} is not finite: {show(ratio)} ({sides})", later)
    elif not ratio <= ceiling:
        yield pattern.fail(
            (
                f"expected {later} over {earlier} at most {show(ceiling)}, "
                f"was {shortly(ratio, -math.inf, ceiling)} ({sides})"
            ),
            later,
        )
    else:
        message = pattern.note(
            f"{later} over {earlier} is {ratio:.6g} ({sides}), at most {show(ceiling)} is allowed"
        ).message
        yield InfoNote(message, str(later))
        yield PassDetail(label, "le", show(ratio), show(ceiling), str(later))
