# SPDX-License-Identifier: GPL-2.0-only
"""Strict reading of maps that a guest sent: every field typed, bounded and accounted for."""

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from ktstr.errors import ChannelLost
from ktstr.telemetry.reservoir import MAX_WAKE_SAMPLES
from ktstr.telemetry.vectors import U64_MAX, WIRE_U64, Samples

MAX_CPU = 8191
"""Largest CPU number a kernel can have (``NR_CPUS_RANGE_END``, arch/x86/Kconfig)."""

MAX_NODE = 1023
"""Largest NUMA node (``NODES_SHIFT`` at most 10)."""


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


def shown(value: object) -> str:
    """A short, printable form of an untrusted value."""
    if isinstance(value, bytes | str | list | dict) and len(value) > 40:
        return f"a {type(value).__name__} of length {len(value)}"
    return f"{value!r:.80}"


def printable(text: str, most: int = 400) -> str:
    """``text`` on one line without control characters: it may come from the guest."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)[:most]


class Fields:
    """One map, read field by field; :meth:`done` refuses what nobody asked for."""

    __slots__ = ("_left", "_path", "_values", "worker")

    def __init__(self, values: object, worker: str, path: str = "") -> None:
        self.worker = worker
        self._path = path
        if type(values) is not dict or not all(type(key) is str for key in values):
            self.refuse("", values, "a map with text keys")
        self._values: dict[str, object] = values
        self._left = set(values)

    def refuse(self, name: str, found: object, expected: str) -> NoReturn:
        """:raise TelemetryError: always."""
        path = ".".join(part for part in (self._path, name) if part) or "(the whole report)"
        raise TelemetryError(self.worker, path, shown(found), expected)

    def take(self, name: str) -> object:
        """The raw value of a field that must be there."""
        if name not in self._values:
            raise TelemetryError(
                self.worker, f"{self._path}.{name}".lstrip("."), "missing", "a value"
            )
        self._left.discard(name)
        return self._values[name]

    def has(self, name: str) -> bool:
        """Whether an optional field was sent."""
        return name in self._values

    def done(self) -> None:
        """:raise TelemetryError: when the map holds a field nobody read."""
        for name in sorted(self._left):
            self.refuse(name, self._values[name], "no field of that name")

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
        if self._values.get(name, "") is None:
            self.take(name)
            return None
        return self.text(name, most)

    def nil(self, name: str, why: str) -> None:
        """A field that has to be nil."""
        value = self.take(name)
        if value is not None:
            self.refuse(name, value, f"nil: {why}")

    def items(self, name: str, most: int) -> list[object]:
        """A list of at most ``most`` entries."""
        value = self.take(name)
        if type(value) is not list or len(value) > most:
            self.refuse(name, value, f"a list of at most {most} entries")
        return value

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
        """Pages per NUMA node."""
        value = self.take(name)
        if type(value) is not dict or len(value) > MAX_NODE + 1:
            self.refuse(name, value, f"a map of at most {MAX_NODE + 1} NUMA nodes")
        for node, pages in value.items():
            if type(node) is not int or not 0 <= node <= MAX_NODE:
                self.refuse(name, node, f"NUMA nodes from 0 to {MAX_NODE}")
            if type(pages) is not int or not 0 <= pages <= U64_MAX:
                self.refuse(name, pages, "page counts in 64 bits")
        return dict(value)

    def reservoir(self, name: str, total_name: str) -> tuple[Samples, int]:
        """A sample vector and the true number of observations beside it."""
        blob = self.take(name)
        if type(blob) is not bytes or len(blob) % 8 or len(blob) // 8 > MAX_WAKE_SAMPLES:
            self.refuse(name, blob, f"bytes of at most {MAX_WAKE_SAMPLES} 64-bit samples")
        total = self.u64(total_name)
        if total < len(blob) // 8:
            self.refuse(total_name, total, f"at least the {len(blob) // 8} samples of {name}")
        return np.frombuffer(blob, dtype=WIRE_U64), total

    def maps(self, name: str, most: int) -> list["Fields"]:
        """A list of maps, each ready to be read."""
        return [
            Fields(value, self.worker, f"{self._path}.{name}[{index}]".lstrip("."))
            for index, value in enumerate(self.items(name, most))
        ]

    def map_or_none(self, name: str) -> "Fields | None":
        """A map ready to be read, or nil."""
        value = self.take(name)
        if value is None:
            return None
        return Fields(value, self.worker, f"{self._path}.{name}".lstrip("."))
