# SPDX-License-Identifier: GPL-2.0-only
"""Pieces of a scenario as immutable plain data, exactly as a TOML file would give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What TOML can say."""


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the file, keys in the order given; equal when they say the same."""

    data: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, **keys: object) -> Self:
        """A part with these keys; a value of ``None`` leaves its key out."""
        return cls(_frozen({key: value for key, value in keys.items() if value is not None}))

    def with_keys(self, **keys: object) -> Self:
        """The same part with other values under these keys."""
        return type(self).of(**{**self.data, **keys})

    def plain(self) -> dict[str, Any]:
        """The part as fresh lists and tables."""
        return {key: _thawed(value) for key, value in self.data.items()}


def _frozen(value: Any) -> Any:
    """A copy that later changes of ``value`` do not reach."""
    match value:
        case Part():
            return value
        case Mapping():
            return MappingProxyType({key: _frozen(inner) for key, inner in value.items()})
        case str():
            return value
        case Sequence():
            return tuple(_frozen(inner) for inner in value)
    return value


def _thawed(value: object) -> object:
    match value:
        case Part():
            return value.plain()
        case Mapping():
            return {key: _thawed(inner) for key, inner in value.items()}
        case tuple():
            return [_thawed(inner) for inner in value]
    return value
