# SPDX-License-Identifier: GPL-2.0-only
"""Durations and sizes as people write them; integers of one unit as the rest of ktstr uses them."""

import math
import re
from fractions import Fraction
from typing import Final

DURATION_ALLOWED: Final = 'a duration in whole milliseconds, such as "1500ms", "2s", "1.5m" or 2'
SIZE_ALLOWED: Final = 'a size such as "512M" or "2G" (K, M, G are powers of 1024)'

MAX_DURATION_MS: Final = 24 * 3600 * 1000
MAX_SIZE: Final = 1 << 44

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m)")
_MS_PER: Final = {"ms": 1, "s": 1000, "m": 60_000}
_SIZE = re.compile(r"([0-9]{1,9})\s*([KMG])(?:i?B)?")
_BYTES_PER: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_duration_ms(value: object) -> int:
    """Milliseconds of a duration; a bare number counts seconds.

    :raises ValueError: with what is allowed, when the value is no duration, is negative, is not
        a whole number of milliseconds or exceeds a day.
    """
    milliseconds: Fraction
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        milliseconds = Fraction(match[1]) * _MS_PER[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        milliseconds = Fraction(str(value)) * 1000
    else:
        raise ValueError(DURATION_ALLOWED)
    if milliseconds.denominator != 1 or milliseconds < 0:
        raise ValueError(DURATION_ALLOWED)
    if milliseconds > MAX_DURATION_MS:
        raise ValueError("a duration of at most 24 hours")
    return int(milliseconds)


def format_duration(milliseconds: int) -> str:
    """The shortest form ``parse_duration_ms`` reads back: ``2s``, ``1500ms``."""
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def parse_size(value: object) -> int:
    """Bytes of a size.

    :raises ValueError: with what is allowed, when the value is no size or exceeds 16 TiB.
    """
    if not isinstance(value, str) or (match := _SIZE.fullmatch(value.strip())) is None:
        raise ValueError(SIZE_ALLOWED)
    size = int(match[1]) * _BYTES_PER[match[2]]
    if size > MAX_SIZE:
        raise ValueError("a size of at most 16384G")
    return size
