# SPDX-License-Identifier: GPL-2.0-only
"""Many metrics looked at together: chance gets as many tries, so each has to convince more.

Metrics that must not regress are a family of their own, in which one false alarm is as unlikely as
``alpha`` (Holm 1979): keep that list short. Among all others at most the share ``alpha`` of those
reported is false on average (Benjamini and Hochberg 1995); that holds where metrics of the same
runs rise and fall together, as they do. Metrics without a worse direction gate nothing and are a
third family, so that they cost the others nothing.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ktstr.history.noise import Decider, Finding, decide

KeyT = TypeVar("KeyT", bound=Hashable)


def holm(values: Sequence[float]) -> list[float]:
    """Each p adjusted so that one false alarm among all is as unlikely as the level."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, most = [1.0] * len(values), 0.0
    for place, index in enumerate(order):
        most = max(most, min(1.0, (len(values) - place) * values[index]))
        found[index] = most
    return found


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Each p adjusted so that of those at most at the level, that share is false on average."""
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    found, least = [1.0] * len(values), 1.0
    for place, index in enumerate(order):
        least = min(least, values[index] * len(values) / (len(values) - place))
        found[index] = least
    return found


def together(
    findings: Mapping[KeyT, Finding], *, strict: Collection[KeyT] = ()
) -> dict[KeyT, Finding]:
    """The findings of one comparison, decided with their number in mind.

    :param strict: keys of the metrics that must not regress.

    What was not tested, what is exact, and what is the same in every run of both sides stays as it
    is and costs the others nothing: which side a run belongs to makes no difference there.
    """
    tested = [key for key, finding in findings.items() if chancy(finding)]
    listed = frozenset(strict)
    must = [key for key in tested if key in listed]
    gating: list[KeyT] = []
    telling: list[KeyT] = []
    for key in tested:
        if key not in listed:
            informs = findings[key].polarity.classify_direction() is None
            (telling if informs else gating).append(key)
    found = dict(findings)
    for keys, adjust in (
        (must, holm),
        (gating, benjamini_hochberg),
        (telling, benjamini_hochberg),
    ):
        adjusted = adjust([_p(findings[key]) for key in keys])
        for key, p in zip(keys, adjusted, strict=True):
            found[key] = decide(replace(findings[key], p_adjusted=p))
    return found


def chancy(finding: Finding) -> bool:
    """Whether chance had a say in it."""
    return finding.p is not None and finding.test is not Decider.EXACT and not finding.constant


def _p(finding: Finding) -> float:
    assert finding.p is not None
    return finding.p
