# SPDX-License-Identifier: GPL-2.0-only
"""Strict reading of maps from a guest or a file: every field typed, bounded and accounted for."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import NoReturn, TypeVar

import numpy as np

from ktstr.errors import CannotRun, ChannelLost
from ktstr.telemetry.vectors import U64_MAX, WIRE_U64, Percents, Samples

MAX_CPU = 8191
"""Largest CPU number a kernel can have (``NR_CPUS_RANGE_END``, arch/x86/Kconfig)."""

MAX_NODE = 1023
"""Largest NUMA node (``NODES_SHIFT`` at most 10)."""

MAX_EXACT = 1 << 53
"""Up to here every integer is a float."""

T = TypeVar("T")


DecodeFailure = Callable[[str, str, str, str], Exception]
"""Makes the error for a field, from subject, field, what was found and what was expected."""


class TelemetryError(ChannelLost):
    """A worker report that cannot be trusted.

    :param worker: whose report, in words.
    :param field: dotted path of the offending field.
    """

    def __init__(self, worker: str, field: str, found: str, expected: str) -> None:
        self.worker = worker
        self.field = field[:120]
        super().__init__(
            f"report of {worker}: field {self.field!r} is {found}; expected {expected}",
            hint="the guest is damaged or runs another version of the worker: rebuild the image",
        )


class RecordError(CannotRun):
    """A stored record that cannot be trusted.

    :param subject: what was being read, in words.
    :param field: dotted path of the offending field.
    """

    def __init__(self, subject: str, field: str, found: str, expected: str) -> None:
        self.subject = subject
        self.field = field[:120]
        super().__init__(
            f"{subject}: field {self.field!r} is {found}; expected {expected}",
            hint="the file is damaged or was written by another version of ktstr",
        )


def shown(value: object) -> str:
    """A short, printable form of an untrusted value."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, bytes | str | list | dict) and len(value) > 40:
        return f"a {type(value).__name__} of length {len(value)}"
    return f"{value!r:.80}"


def printable(text: str, most: int = 400) -> str:
    """``text`` on one line without control characters: it may come from the guest."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)[:most]


class Fields:
    """One map, read field by field; :meth:`done` refuses what nobody asked for.

    Every reader takes the name of a field and raises when it is missing or not what it has to be.

    :param subject: whose map it is, in words.
    :param path: dotted path of the map within the subject.
    :param error: makes the error to raise.
    """

    __slots__ = ("_error", "_left", "_path", "_values", "subject")

    def __init__(
        self,
        values: object,
        subject: str,
        path: str = "",
        error: DecodeFailure = RecordError,
    ) -> None:
        self.subject = subject
        self._path = path
        self._error = error
        if type(values) is not dict or not all(type(key) is str for key in values):
            self.refuse("", values, "a map with text keys")
        self._values: dict[str, object] = values
        self._left = set(values)

    def refuse(self, name: str, found: object, expected: str) -> NoReturn:
        """Raise the error of field ``name``; an empty name means the map itself."""
        raise self._error(self.subject, self._inside(name), shown(found), expected)

    def _inside(self, name: str) -> str:
        return ".".join(part for part in (self._path, name) if part) or "(the whole map)"

    def take(self, name: str) -> object:
        """The raw value of a field that must be there."""
        if name not in self._values:
            raise self._error(self.subject, self._inside(name), "missing", "a value")
        self._left.discard(name)
        return self._values[name]

    def has(self, name: str) -> bool:
        """Whether an optional field was sent."""
        return name in self._values

    def done(self) -> None:
        """Refuse a map that holds a field nobody read."""
        for name in sorted(self._left):
            self.refuse(name, self._values[name], "no field of that name")

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """What ``read`` makes of the field, or ``None`` when it is nil."""
        if self.take(name) is None:
            return None
        return read(name)

    # Scalars

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer within ``low..high``; ``True`` is not an integer."""
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            self.refuse(name, value, f"an integer from {low} to {high}")
        return value

    def u64(self, name: str) -> int:
        """An unsigned 64-bit counter."""
        return self.integer(name, 0, U64_MAX)

    def cpu(self, name: str) -> int:
        """A CPU number."""
        return self.integer(name, 0, MAX_CPU)

    def boolean(self, name: str) -> bool:
        """True or false, never 0 or 1."""
        value = self.take(name)
        if type(value) is not bool:
            self.refuse(name, value, "true or false")
        return value

    def number(self, name: str) -> float:
        """A finite float; an integer that is exactly a float will do."""
        value = self.take(name)
        found = _finite(value)
        if found is None:
            self.refuse(name, value, "a finite number")
        return found

    # Text

    def text(self, name: str, most: int) -> str:
        """Text of at most ``most`` characters."""
        value = self.take(name)
        if type(value) is not str or len(value) > most:
            self.refuse(name, value, f"text of at most {most} characters")
        return value

    def name(self, name: str, most: int) -> str:
        """Printable text: it is shown to people, and the guest could send terminal escapes."""
        value = self.text(name, most)
        if not value.isprintable():
            self.refuse(name, value, "printable text")
        return value

    def text_or_none(self, name: str, most: int) -> str | None:
        """Text, or nil."""
        return self.optional(name, lambda name: self.text(name, most))

    def one_of(self, name: str, allowed: Collection[str]) -> str:
        """One of the words in ``allowed``."""
        value = self.take(name)
        if type(value) is not str or value not in allowed:
            self.refuse(name, value, f"one of {', '.join(allowed)}")
        return value

    # Lists and maps of scalars

    def items(self, name: str, most: int) -> list[object]:
        """A list of at most ``most`` entries."""
        value = self.take(name)
        if type(value) is not list or len(value) > most:
            self.refuse(name, value, f"a list of at most {most} entries")
        return value

    def texts(self, name: str, most: int, each: int) -> list[str]:
        """A list of at most ``most`` texts of at most ``each`` characters."""
        found: list[str] = []
        for index, value in enumerate(self.items(name, most)):
            if type(value) is not str or len(value) > each:
                self.refuse(f"{name}[{index}]", value, f"text of at most {each} characters")
            found.append(value)
        return found

    def cpu_set(self, name: str) -> frozenset[int]:
        """A list of distinct CPU numbers."""
        cpus = self.items(name, MAX_CPU + 1)
        for cpu in cpus:
            if type(cpu) is not int or not 0 <= cpu <= MAX_CPU:
                self.refuse(name, cpu, f"CPU numbers from 0 to {MAX_CPU}")
        found = frozenset(cpu for cpu in cpus if type(cpu) is int)
        if len(found) != len(cpus):
            self.refuse(name, cpus, "distinct CPU numbers")
        return found

    def node_pages(self, name: str) -> Mapping[int, int]:
        """Pages per NUMA node; the nodes may be written as text, which is all JSON has."""
        value = self.take(name)
        if type(value) is not dict or len(value) > MAX_NODE + 1:
            self.refuse(name, value, f"a map of at most {MAX_NODE + 1} NUMA nodes")
        found: dict[int, int] = {}
        for key, pages in value.items():
            node = NODES.get(key) if type(key) is str else key
            if type(node) is not int or not 0 <= node <= MAX_NODE or node in found:
                self.refuse(name, key, f"distinct NUMA nodes from 0 to {MAX_NODE}")
            if type(pages) is not int or not 0 <= pages <= U64_MAX:
                self.refuse(name, pages, "page counts in 64 bits")
            found[node] = pages
        return found

    def numbers(self, name: str, most: int) -> dict[str, float]:
        """A map of at most ``most`` finite numbers by text key."""
        value = self.take(name)
        if type(value) is not dict or len(value) > most:
            self.refuse(name, value, f"a map of at most {most} numbers")
        found: dict[str, float] = {}
        for key, item in value.items():
            number = _finite(item)
            if type(key) is not str:
                self.refuse(name, key, "text keys")
            if number is None:
                self.refuse(f"{name}[{key!r}]", item, "a finite number")
            found[key] = number
        return found

    # Vectors

    def samples(self, name: str, most: int) -> Samples:
        """At most ``most`` samples: a uint64 array, or its little-endian bytes."""
        value = self.take(name)
        found: Samples
        if type(value) is bytes and len(value) % 8 == 0:
            found = np.frombuffer(value, dtype=WIRE_U64)
        elif _is_vector(value, np.uint64):
            found = _read_only(value)
        else:
            self.refuse(name, value, f"at most {most} 64-bit samples, as bytes or array")
        if len(found) > most:
            self.refuse(name, value, f"at most {most} 64-bit samples")
        return found

    def percents(self, name: str, most: int) -> Percents:
        """At most ``most`` finite numbers: a float64 array, or its little-endian bytes."""
        value = self.take(name)
        found: Percents
        if type(value) is bytes and len(value) % 8 == 0:
            found = np.frombuffer(value, dtype="<f8")
        elif _is_vector(value, np.float64):
            found = _read_only(value)
        else:
            self.refuse(name, value, f"at most {most} 64-bit floats, as bytes or array")
        if len(found) > most or not np.isfinite(found).all():
            self.refuse(name, value, f"at most {most} finite floats")
        return found

    # Maps within the map

    def nested(self, name: str) -> "Fields":
        """A map ready to be read."""
        return self._at(name, self.take(name))

    def map_or_none(self, name: str) -> "Fields | None":
        """A map ready to be read, or nil."""
        return self.optional(name, self.nested)

    def maps(self, name: str, most: int) -> list["Fields"]:
        """A list of maps, each ready to be read."""
        return [
            self._at(f"{name}[{index}]", value)
            for index, value in enumerate(self.items(name, most))
        ]

    def named_maps(self, name: str, most: int) -> dict[str, "Fields"]:
        """A map of maps by text key, each ready to be read."""
        value = self.take(name)
        if type(value) is not dict or len(value) > most:
            self.refuse(name, value, f"a map of at most {most} maps")
        for key in value:
            if type(key) is not str:
                self.refuse(name, key, "text keys")
        return {key: self._at(f"{name}[{key!r}]", item) for key, item in value.items()}

    def _at(self, name: str, value: object) -> "Fields":
        return Fields(value, self.subject, self._inside(name), self._error)


NODES: Mapping[str, int] = {str(node): node for node in range(MAX_NODE + 1)}
"""NUMA nodes by their one decimal spelling."""


def _finite(value: object) -> float | None:
    """``value`` as a float that equals it, when there is one."""
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and abs(value) <= MAX_EXACT:
        return float(value)
    return None


def _is_vector(value: object, dtype: type) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == 1


def _read_only(value: object) -> np.ndarray:
    view = np.asarray(value).view()
    view.flags.writeable = False
    return view
