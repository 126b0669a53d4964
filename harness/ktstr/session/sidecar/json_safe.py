# SPDX-License-Identifier: GPL-2.0-only
"""Any value as JSON can carry it, and arrays back out of JSON."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ktstr.session.sidecar.vectors import is_place, read_place
from ktstr.telemetry.decode import RecordError
from ktstr.telemetry.vectors import Samples

MAX_DEPTH: Final = 64
"""Levels of maps and lists that are kept; what lies deeper becomes ``"..."``."""

_AS_IT_IS: Final = frozenset({int, str, bool, type(None)})

PlaceArray = Callable[[npt.NDArray[np.generic]], object]


def json_safe(value: object, depth: int = MAX_DEPTH, place: PlaceArray = str) -> Any:
    """``value`` as JSON can carry it, whatever a guest or a scheduler put into it.

    A float that is not finite becomes its name as text: it was measured, so it is not null.

    :param place: gives what stands in the place of an array.
    """
    if type(value) in _AS_IT_IS:
        return value
    match value:
        case float():
            return value if math.isfinite(value) else str(float(value))
        case np.ndarray():
            return place(value)
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value) if math.isfinite(value) else str(float(value))
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): json_safe(item, depth - 1, place) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item, depth - 1, place) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((json_safe(item, depth - 1, place) for item in value), key=_order)
    return str(value)


def _order(value: object) -> tuple[bool, Any]:
    # Numbers by size, then the rest as text: a set may hold both.
    return (False, value) if isinstance(value, int | float) else (True, str(value))


def with_arrays(value: object, table: Mapping[str, Samples], subject: str, path: str) -> object:
    """``value`` out of a JSON file, with its arrays where their places were.

    :param path: dotted path of ``value`` within ``subject``, for the error text.
    :raise RecordError: for a place that stands for nothing.
    """
    if type(value) is dict:
        if is_place(value):
            try:
                return read_place(value, table)
            except ValueError as error:
                raise RecordError(subject, path, str(error), "a sample vector") from None
        return {
            key: with_arrays(item, table, subject, f"{path}.{key}") for key, item in value.items()
        }
    if type(value) is list:
        return [
            with_arrays(item, table, subject, f"{path}[{index}]")
            for index, item in enumerate(value)
        ]
    return value
