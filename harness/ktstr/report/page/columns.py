# SPDX-License-Identifier: GPL-2.0-only
"""Many readings in few columns: of every stretch, the lowest and the highest value stay."""

from collections.abc import Sequence
from itertools import pairwise

from ktstr.report.page.schema import Number, Series


class Columns:
    """How ``count`` readings become at most ``limit`` columns.

    Up to the limit a column is a reading. Beyond it two columns stand for a stretch of equally
    many readings: each series puts its lowest and its highest value there, in the order in which
    they came, so that no spike and no dip is lost and nothing is drawn that was not measured.

    :param limit: at least 2.
    """

    __slots__ = ("_stretches", "count")

    def __init__(self, count: int, limit: int) -> None:
        self.count = count
        self._stretches: list[range] | None = None
        if count > limit:
            stretches = limit // 2
            edges = [count * place // stretches for place in range(stretches + 1)]
            self._stretches = [range(first, after) for first, after in pairwise(edges)]

    def times(self, values: Sequence[Number]) -> list[Number]:
        """The columns' times: a stretch's first, and that of its middle."""
        if self._stretches is None:
            return list(values)
        return [
            values[place]
            for stretch in self._stretches
            for place in (stretch[0], stretch[len(stretch) // 2])
        ]

    def of(self, values: Sequence[Number | None]) -> Series:
        """The values of one series in the columns."""
        if self._stretches is None:
            return list(values)
        return [value for stretch in self._stretches for value in _extremes(values, stretch)]


def _extremes(
    values: Sequence[Number | None], stretch: range
) -> tuple[Number | None, Number | None]:
    lowest = highest = -1
    low = high = 0.0
    for place in stretch:
        value = values[place]
        if value is None:
            continue
        if lowest < 0 or value < low:
            lowest, low = place, value
        if highest < 0 or value > high:
            highest, high = place, value
    if lowest < 0:
        return None, None
    first, last = sorted((lowest, highest))
    return values[first], values[last]
