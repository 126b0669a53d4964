# SPDX-License-Identifier: GPL-2.0-only
"""Phrases that mistakes are told with; needs the interpreter only."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` when a known word is close, else nothing."""
    folded = word.casefold().replace("-", "_")
    by_folded = {name.casefold().replace("-", "_"): name for name in known}
    close = get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    if not close and len(folded) >= 3:
        close = [name for name in by_folded if folded in name][:1]
    return f'; did you mean "{by_folded[close[0]]}"?' if close else ""


def one_of(names: Iterable[str]) -> str:
    """``one of "a", "b"``, or just ``"a"``."""
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"one of {', '.join(quoted)}"
