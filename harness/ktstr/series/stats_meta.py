# SPDX-License-Identifier: GPL-2.0-only
"""What a scheduler says about its own statistics (``stats_meta`` of the scx_stats protocol).

The answer is a map of structs by name. Each has ``fields``; a field is a ``datum`` (a number or
text), an ``array`` or a ``dict`` of such, or another struct, with a ``desc`` for people. The struct
marked ``top`` describes the statistics themselves. It is the scheduler's word: nothing is read by
it, it explains and it tells a misspelt name from one that this answer lacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

MAX_STRUCTS = 256
MAX_FIELDS = 1024
_TEXT = 400


class StatsField(NamedTuple):
    """One described field.

    :param type: ``u64``, ``f64``, ``string``; empty where it has members.
    :param struct: the struct its members, or those of its elements, are described by.
    :param keyed: whether members are found below a key or an index.
    """

    desc: str
    type: str
    struct: str | None
    keyed: bool


@dataclass(frozen=True, slots=True)
class StatsMeta:
    """Descriptions of a scheduler's statistics.

    :param structs: fields by name, by struct.
    :param top: name of the struct that describes the whole answer.
    """

    structs: Mapping[str, Mapping[str, StatsField]]
    top: str | None

    @classmethod
    def parse(cls, plain: Mapping[str, object]) -> "StatsMeta":
        """From the ``resp`` of the answer; what does not look like a description is left out."""
        structs: dict[str, dict[str, StatsField]] = {}
        top: str | None = None
        for name, described in list(plain.items())[:MAX_STRUCTS]:
            if not isinstance(described, Mapping):
                continue
            fields = described.get("fields")
            if isinstance(fields, Mapping):
                structs[name] = {
                    str(key): _field(value) for key, value in list(fields.items())[:MAX_FIELDS]
                }
                if described.get("top") in (True, "true"):
                    top = name
        if top is None and len(structs) == 1:
            (top,) = structs
        return cls(structs, top)

    def find(self, parts: tuple[str, ...]) -> StatsField | None:
        """The description of the field at a path; ``None`` when there is none."""
        fields = self.structs.get(self.top or "")
        found: StatsField | None = None
        skip = False
        for part in parts:
            if skip:  # a key of a dict, or an index of an array
                skip = False
                continue
            found = None if fields is None else fields.get(part)
            if found is None:
                return None
            fields = None if found.struct is None else self.structs.get(found.struct)
            skip = found.keyed
        return found

    def describe(self, path: str | tuple[str, ...]) -> str:
        """What the scheduler says about the field at a path; empty when nothing.

        :param path: dotted, or in parts where a key contains a dot.
        """
        found = self.find(tuple(path.split(".")) if isinstance(path, str) else path)
        return "" if found is None else found.desc

    def described_fields(self, parts: tuple[str, ...] = ()) -> list[str]:
        """Names that may stand below a path, by the description."""
        if not parts:
            return list(self.structs.get(self.top or "", {}))
        found = self.find(parts)
        below = None if found is None or found.struct is None else self.structs.get(found.struct)
        return [] if below is None else list(below)


def _field(plain: object) -> StatsField:
    if not isinstance(plain, Mapping):
        return StatsField("", "", None, False)
    desc = plain.get("desc")
    text = desc[:_TEXT] if isinstance(desc, str) else ""
    for word in ("array", "dict"):
        if word in plain:
            inner = plain[word]
            datum = inner.get("datum", inner) if isinstance(inner, Mapping) else inner
            return StatsField(text, _type(datum), _struct(datum), True)
    return StatsField(text, _type(plain.get("datum")), _struct(plain.get("datum")), False)


def _type(datum: object) -> str:
    return datum[:_TEXT] if isinstance(datum, str) else ""


def _struct(datum: object) -> str | None:
    if isinstance(datum, Mapping):
        name = datum.get("struct")
        return name if isinstance(name, str) else None
    return None
