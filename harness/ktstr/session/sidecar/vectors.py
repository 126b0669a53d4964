# SPDX-License-Identifier: GPL-2.0-only
"""Sample vectors in a sidecar: each stored once, in the narrowest integers that hold it.

A short vector stands where it belongs, as numbers. A long one goes into a table at the end of the
file, base64 of little-endian integers under a digest of its content, and its place names it. A
carrier pools its workers' vectors; where it holds them one after the other, its place names them
instead of storing them again. Nothing is rounded, dropped or put into another order.
"""

import binascii
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from ktstr.telemetry.decode import Fields
from ktstr.telemetry.vectors import Percents, Samples

INLINE: Final = 32
"""Up to this length a vector is written as numbers, which jq and people can read."""

MAX_CANDIDATES: Final = 16
"""Vectors that are tried at one place when a pooled vector is taken apart."""

MIN_MEAN_PART: Final = 16
"""Mean length that the parts of a pooled vector must have: shorter ones save nothing."""

WIDTHS: Final = {name: np.dtype(f"<{name}") for name in ("u1", "u2", "u4", "u8")}
"""Integer types of the table by name, narrowest first."""

Array = npt.NDArray[np.uint64] | npt.NDArray[np.float64]


class VectorTable:
    """Takes arrays and gives the plain form that stands in their place."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, object]] = {}
        self._starting_with: dict[int, list[tuple[str, Samples]]] = {}

    def place(self, vector: npt.NDArray[np.generic]) -> dict[str, object]:
        """``{"samples": n}`` with the values as ``u64`` or ``f64``, or with ``vectors``: names.

        Parts have to be placed before what is pooled from them.

        :raise TypeError: for anything but a vector of uint64 or float64.
        """
        place: dict[str, object] = {"samples": len(vector)}
        if vector.ndim != 1 or vector.dtype not in (np.uint64, np.float64):
            raise TypeError(f"an array of {vector.dtype}, {vector.ndim} dimensions, has no place")
        if vector.dtype == np.float64:
            place["f64"] = vector.tolist()
        elif len(vector) <= INLINE:
            place["u64"] = vector.tolist()
        else:
            samples = vector.astype(np.uint64, copy=False)
            place["vectors"] = self._parts(samples) or [self._store(samples)]
        return place

    def entries(self) -> dict[str, dict[str, object]]:
        """The table as it goes into the file."""
        return self._entries

    def _store(self, samples: Samples) -> str:
        most = int(samples.max())
        width = next(name for name, kind in WIDTHS.items() if most <= np.iinfo(kind).max)
        data = samples.astype(WIDTHS[width]).tobytes()
        name = _digest(width, data)
        if name not in self._entries:
            text = binascii.b2a_base64(data, newline=False).decode("ascii")
            self._entries[name] = {"dtype": width, "samples": len(samples), "base64": text}
            self._starting_with.setdefault(int(samples[0]), []).append((name, samples))
        return name

    def _parts(self, pooled: Samples) -> list[str]:
        """Names of stored vectors that make up ``pooled`` one after the other; empty if none do."""
        names: list[str] = []
        at = 0
        while at < len(pooled):
            known = self._starting_with.get(int(pooled[at]), [])[:MAX_CANDIDATES]
            fitting = (
                (len(part), name)
                for name, part in known
                if np.array_equal(part, pooled[at : at + len(part)])
            )
            length, name = max(fitting, default=(0, ""))
            if not length or (len(names) + 1) * MIN_MEAN_PART > len(pooled):
                return []
            names.append(name)
            at += length
        return names


def read_table(entries: Mapping[str, Fields]) -> dict[str, Samples]:
    """The vectors of a file by name.

    :param entries: the table; each is checked against its name.
    :raise RecordError: for an entry that is not what it says.
    """
    table: dict[str, Samples] = {}
    for name, entry in entries.items():
        width = entry.one_of("dtype", WIDTHS)
        count = entry.u64("samples")
        text = entry.take("base64")
        entry.done()
        try:
            data = binascii.a2b_base64(text if isinstance(text, str) else "-", strict_mode=True)
        except ValueError:
            entry.refuse("base64", text, "base64")
        if len(data) != count * WIDTHS[width].itemsize:
            entry.refuse("base64", text, f"{count} integers of {width}")
        if _digest(width, data) != name:
            entry.refuse("base64", text, "data whose digest is the vector's name")
        table[name] = np.frombuffer(data, WIDTHS[width]).astype(np.uint64)
        table[name].flags.writeable = False
    return table


def is_place(value: Mapping[str, object]) -> bool:
    """Whether a map stands in the place of an array.

    No map of a record has a count beside a list under these names.
    """
    if len(value) != 2 or type(value.get("samples")) is not int:
        return False
    return any(type(value.get(name)) is list for name in ("u64", "f64", "vectors"))


def read_place(place: Mapping[str, object], table: Mapping[str, Samples]) -> Samples | Percents:
    """The array that ``place`` stands for.

    :raise ValueError: saying what is wrong with it.
    """
    vector: Samples | Percents
    match place:
        case {"u64": list(values)}:
            if not all(type(value) is int and 0 <= value < 1 << 64 for value in values):
                raise ValueError("a value that is no integer of 64 bits")
            vector = np.array(values, dtype=np.uint64)
        case {"f64": list(values)}:
            if not all(type(value) is float for value in values):
                raise ValueError("a value that is no float")
            vector = np.array(values, dtype=np.float64)
        case {"vectors": list(names)}:
            vector = _joined(names, table)
        case _:
            raise ValueError("no values")
    if len(vector) != place["samples"]:
        raise ValueError(f"{len(vector)} values where there should be {place['samples']}")
    vector.flags.writeable = False
    return vector


def _joined(names: Sequence[object], table: Mapping[str, Samples]) -> Samples:
    parts: list[Samples] = []
    for name in names:
        if not isinstance(name, str) or name not in table:
            raise ValueError(f"the vector {name!r:.60}, which the file does not hold")
        parts.append(table[name])
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0, np.uint64)])


def _digest(width: str, data: bytes) -> str:
    return blake2b(data, digest_size=16, person=width.encode()).hexdigest()
