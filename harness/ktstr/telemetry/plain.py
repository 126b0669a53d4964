# SPDX-License-Identifier: GPL-2.0-only
"""Statistics as JSON-ready data: maps, lists, text, numbers, booleans and null."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

import numpy as np


def to_plain(value: object) -> object:
    """A copy of ``value`` that ``json.dumps(..., allow_nan=False)`` accepts.

    Arrays are not dumped: ``{"samples": n}`` marks how many there were, and the carrier's own
    ``*_sample_total`` stands beside it. A number that is not finite becomes null.

    :raise TypeError: for a type that has no plain form.
    """
    match value:
        case None | bool() | int() | str():
            return value.value if isinstance(value, Enum) else value
        case float():
            return value if math.isfinite(value) else None
        case Enum():
            return to_plain(value.value)
        case np.ndarray():
            return {"samples": len(value)}
        case Mapping():
            return {str(key): to_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [to_plain(item) for item in value]
        case set() | frozenset():
            return [to_plain(item) for item in sorted(value)]
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no plain form")
