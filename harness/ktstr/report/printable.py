# SPDX-License-Identifier: GPL-2.0-only
"""Numbers and texts for people; text from a guest cannot move the cursor or clear the screen."""

import math
import sys
import unicodedata

LINE_CHARS = 500
NOT_MEASURED = "–"
_HARMLESS = "\t"
# Control, format (bidirectional overrides) and lone-surrogate characters.
_REFUSED = ("Cc", "Cf", "Cs")


def one_line(text: str, limit: int = LINE_CHARS) -> str:
    """``text`` in one line: what a terminal would obey becomes ``?``, the rest past a limit goes.

    :param limit: characters kept.
    """
    kept = text[:limit]
    safe = "".join(
        "?" if unicodedata.category(char) in _REFUSED and char not in _HARMLESS else char
        for char in kept.replace("\r\n", " ").replace("\n", " ")
    )
    return safe if len(text) <= limit else safe + "…"


def lines(text: str, limit: int = LINE_CHARS) -> str:
    """``text`` with its line breaks, each line by itself as in :func:`one_line`."""
    return "\n".join(one_line(line.rstrip("\r"), limit) for line in text.split("\n"))


def number(value: float | None) -> str:
    """One decimal below 1000, whole numbers above: the columns stay narrow."""
    if value is None:
        return NOT_MEASURED
    if sys.float_info.max < abs(value) < math.inf:
        return _beyond(value)
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A metric of any size: three digits that count, all of a whole number."""
    if value is None:
        return NOT_MEASURED
    if sys.float_info.max < abs(value) < math.inf:
        return _beyond(value)
    if abs(value) >= 100 or value % 1 == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _beyond(value: float) -> str:
    """A number that no float holds: a damaged record may say any."""
    return ">1e308" if value > 0 else "<-1e308"
