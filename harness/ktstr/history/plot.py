# SPDX-License-Identifier: GPL-2.0-only
"""One metric over runs as text: a bar per run, from zero where that lies near."""

from collections.abc import Sequence
from typing import Final

WIDTH: Final = 40
_PARTS: Final = " ▏▎▍▌▋▊▉█"


def bars(values: Sequence[float | None], width: int = WIDTH) -> list[str]:
    """A bar for each value, the largest ``width`` characters long; nothing for ``None``.

    Bars begin at zero. Where all values are alike beside it, say 950 to 1000, they would be too, so
    they begin below the smallest then; see :func:`base`. A negative value has no bar.
    """
    low = base(values)
    top = max((value for value in values if value is not None), default=low)
    reach = top - low
    return [
        "" if value is None or reach <= 0 else _bar((value - low) / reach * width)
        for value in values
    ]


def base(values: Sequence[float | None]) -> float:
    """Where the bars begin: zero, or a tenth of the range below the smallest value when the range
    is less than a quarter of the largest."""
    found = [value for value in values if value is not None]
    if not found:
        return 0.0
    low, high = min(found), max(found)
    if low > 0 and 0 < high - low < high / 4:
        return low - (high - low) / 10
    return 0.0


def _bar(length: float) -> str:
    eighths = max(0, round(length * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_PARTS[rest] if rest else "")
