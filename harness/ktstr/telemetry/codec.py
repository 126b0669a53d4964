# SPDX-License-Identifier: GPL-2.0-only
"""Wire and record forms of a dataclass, from the annotations of its fields.

A field annotated ``Annotated[type, Kind(...)]`` says once how it is read and written; the aliases
below are the usual ones. Both forms are maps with one entry per field in the class's order:

- wire: what msgpack carries between guest and host; vectors are little-endian bytes;
- record: what the sidecar keeps; all keys are text and vectors stay numpy arrays.

One reader takes either form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Annotated, Any, Self, cast, get_type_hints

from ktstr.telemetry.decode import Fields
from ktstr.telemetry.vectors import MAX_WAKE_SAMPLES, WIRE_U64, Percents, Samples

MAX_WORKERS = 1 << 20
"""Most per-worker values one cgroup can have."""

MAX_METRICS = 4096
"""Most derived scalars one map can hold."""


def _same(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """How one field travels.

    :param read: reads the field of that name, in either form.
    :param wire: the field's wire form.
    :param record: the field's record form.
    """

    read: Callable[[Fields, str], Any]
    wire: Callable[[Any], object] = _same
    record: Callable[[Any], object] = _same


class Coded:
    """A dataclass whose every field is annotated with its :class:`Kind`."""

    __slots__ = ()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read either form; what is missing, mistyped, out of range or unknown is refused."""
        value = cls(**read_all(cls, fields))
        value.check(fields)
        return value

    def check(self, fields: Fields) -> None:
        """Refuse fields that contradict each other."""

    def to_wire(self) -> dict[str, object]:
        """The map that goes over the wire."""
        kinds = kinds_of(type(self))
        return {name: kind.wire(getattr(self, name)) for name, kind in kinds.items()}

    def to_record(self) -> dict[str, object]:
        """The map that goes into the sidecar."""
        kinds = kinds_of(type(self))
        return {name: kind.record(getattr(self, name)) for name, kind in kinds.items()}

    @classmethod
    def from_record(cls, values: object, subject: str) -> Self:
        """Read what :meth:`to_record` made.

        :param subject: what is being read, for the error text.
        :raise RecordError: naming subject and field.
        """
        return cls.read(Fields(values, subject))


_KINDS: dict[type, Mapping[str, Kind]] = {}


def kinds_of(owner: type) -> Mapping[str, Kind]:
    """The kinds of a class's fields, in order."""
    if owner not in _KINDS:
        hints = get_type_hints(owner, include_extras=True)
        _KINDS[owner] = {
            name: next(extra for extra in hints[name].__metadata__ if isinstance(extra, Kind))
            for name in (field.name for field in dataclass_fields(cast("Any", owner)))
        }
    return _KINDS[owner]


def read_all(owner: type, fields: Fields) -> dict[str, Any]:
    """The fields of ``owner`` by name; a map that holds any others is refused."""
    values = {name: kind.read(fields, name) for name, kind in kinds_of(owner).items()}
    fields.done()
    return values


def integer(low: int, high: int) -> Kind:
    """An integer within ``low..high``."""
    return Kind(lambda fields, name: fields.integer(name, low, high))


def text(most: int) -> Kind:
    """Text of at most ``most`` characters."""
    return Kind(lambda fields, name: fields.text(name, most))


def text_or_nil(most: int) -> Kind:
    """Text of at most ``most`` characters, or nil."""
    return Kind(lambda fields, name: fields.text_or_none(name, most))


def one_or_nil(owner: type[Coded], *, required: bool = True) -> Kind:
    """A nested map of ``owner``, or nil; absent means nil unless ``required``."""

    def read(fields: Fields, name: str) -> Coded | None:
        if not required and not fields.has(name):
            return None
        nested = fields.map_or_none(name)
        return None if nested is None else owner.read(nested)

    return Kind(
        read,
        lambda value: None if value is None else value.to_wire(),
        lambda value: None if value is None else value.to_record(),
    )


def one(owner: type[Coded]) -> Kind:
    """A nested map of ``owner``."""
    return Kind(
        lambda fields, name: owner.read(fields.nested(name)),
        lambda value: value.to_wire(),
        lambda value: value.to_record(),
    )


def many(owner: type[Coded], most: int) -> Kind:
    """A list of at most ``most`` maps of ``owner``."""
    return Kind(
        lambda fields, name: tuple(map(owner.read, fields.maps(name, most))),
        lambda values: [value.to_wire() for value in values],
        lambda values: [value.to_record() for value in values],
    )


def _samples(most: int) -> Kind:
    return Kind(
        lambda fields, name: fields.samples(name, most),
        wire=lambda vector: vector.astype(WIRE_U64).tobytes(),
    )


U64 = Annotated[int, Kind(Fields.u64)]
"""A counter in 64 bits."""

U32 = Annotated[int, integer(0, (1 << 32) - 1)]
"""A counter in 32 bits."""

Cpu = Annotated[int, Kind(Fields.cpu)]
"""A CPU number."""

Flag = Annotated[bool, Kind(Fields.boolean)]
"""True or false."""

Number = Annotated[float, Kind(Fields.number)]
"""A finite float."""

NumberOrNone = Annotated[
    float | None, Kind(lambda fields, name: fields.optional(name, fields.number))
]
"""A finite float, or not measured."""

CountOrNone = Annotated[int | None, Kind(lambda fields, name: fields.optional(name, fields.u64))]
"""A counter in 64 bits, or not measured."""

CpuSet = Annotated[frozenset[int], Kind(Fields.cpu_set, wire=sorted, record=sorted)]
"""Distinct CPU numbers."""

NodePages = Annotated[
    Mapping[int, int],
    Kind(
        Fields.node_pages,
        wire=dict,
        record=lambda pages: {str(node): count for node, count in pages.items()},
    ),
]
"""Resident pages by NUMA node."""

Reservoir = Annotated[Samples, _samples(MAX_WAKE_SAMPLES)]
"""A capped sample vector."""

PerWorker = Annotated[Samples, _samples(MAX_WORKERS)]
"""One sample per worker."""

PerWorkerPercents = Annotated[
    Percents,
    Kind(
        lambda fields, name: fields.percents(name, MAX_WORKERS),
        wire=lambda vector: vector.astype("<f8").tobytes(),
    ),
]
"""One percentage per worker."""

Numbers = Annotated[
    Mapping[str, float],
    Kind(lambda fields, name: fields.numbers(name, MAX_METRICS), wire=dict, record=dict),
]
"""Finite floats by name."""


def check_reservoirs(fields: Fields, **totals: tuple[Samples, int]) -> None:
    """Refuse a true population smaller than the samples taken from it.

    :param totals: vector and total by the name of the total's field.
    """
    for name, (vector, total) in totals.items():
        if total < len(vector):
            fields.refuse(name, total, f"at least the {len(vector)} samples kept")
