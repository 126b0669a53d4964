# SPDX-License-Identifier: GPL-2.0-only
"""Where an integer variable of a loaded BPF program lies in guest memory, and its bytes.

A program's global variables are the one value of an array map per section, ``NAME.bss`` or
``NAME.data``, with a BTF data section as its type. Constants (``.rodata``) are not offered: the
verifier has built their values into the program.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf, Field, Kind
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import ARRAY, MapInfo, list_maps, map_btf
from ktstr.introspect.memory import Range

WRITABLE: Final = (".bss", ".data")
"""Sections whose variables take effect when written."""

_SIGNED, _BOOL = 1, 4
NEAR_HEAD, NEAR_LOOKED_AT, NEAR_SHOWN = 3, 500, 5


class NoSuchGlobal(KtstrError):
    """No loaded program has such a variable, or it does not take the value."""


@dataclass(frozen=True, slots=True)
class GlobalVariable:
    """An integer variable.

    :param ranges: the guest-physical bytes it occupies, in order.
    :param size: bytes.
    :param low: least value it takes; ``high`` is the largest.
    """

    name: str
    map_name: str
    ranges: tuple[Range, ...]
    size: int
    low: int
    high: int

    def encode(self, value: int) -> bytes:
        """The bytes to write.

        :raises NoSuchGlobal: when the variable is too small for the value.
        """
        if not self.low <= value <= self.high:
            raise NoSuchGlobal(
                f"{self.name} in {self.map_name} takes {self.low} to {self.high}, not {value}"
            )
        return (value & ((1 << 8 * self.size) - 1)).to_bytes(self.size, "little")


def find_global(kernel: Kernel, name: str, section: str | None = None) -> GlobalVariable:
    """Find a variable; of several programs that have it, the one loaded last counts.

    :param section: ``.bss`` or ``.data``; ``None`` looks into both.
    :raises NoSuchGlobal: when there is none, or it is no integer.
    :raises UnreadableMemory: when the list of maps cannot be read.
    """
    btf, info, place = locate(kernel, name, section)
    return _variable(kernel, btf, info, name, place)


def locate(kernel: Kernel, path: str, section: str | None = None) -> tuple[Btf, MapInfo, Field]:
    """Find a variable of any type, or a part of one (``name.member``), as :func:`find_global` does.

    :return: the BTF that describes it, the map that holds it, its place in the map's one value.
    :raises NoSuchGlobal: when there is none, naming some that are near.
    :raises UnreadableMemory: when the list of maps cannot be read.
    """
    kernel.forget()
    sections = WRITABLE if section is None else (section,)
    seen: list[str] = []
    names: list[str] = []
    for info in sorted(list_maps(kernel), key=lambda info: info.id, reverse=True):
        if info.map_type != ARRAY or info.error or not info.name.endswith(sections):
            continue
        btf = map_btf(kernel, info)
        if btf is None or btf.resolve(info.value_type_id).kind is not Kind.DATASEC:
            continue
        seen.append(info.name)
        place = btf.field(info.value_type_id, path)
        if place is not None and place.offset + place.size <= info.value_size:
            return btf, info, place
        names += [member.name for member in btf.members(btf.resolve(info.value_type_id))]
    found = f"looked into {', '.join(seen)}" if seen else "no program with such a section is loaded"
    close = f"; near it: {', '.join(there)}" if (there := near(path, names)) else ""
    raise NoSuchGlobal(f"no variable {path!r} in {' or '.join(sections)}: {found}{close}")


def address_of(kernel: Kernel, info: MapInfo, place: Field) -> int:
    """Where the program writes the variable: kernel-virtual, as a map's values are."""
    return info.kva + kernel.need("bpf_array", "value").offset + place.offset


def near(wanted: str, names: Iterable[str]) -> list[str]:
    """A few of ``names`` that ``wanted`` may have been meant for, the nearest first.

    Those that hold it, or share its beginning, are looked at; a kernel has 200 000 symbols.
    """
    head = wanted[:NEAR_HEAD]
    found = {name for name in names if name.startswith(head) or wanted in name}
    chosen = sorted(found, key=lambda name: (-_shared(name, wanted), name))
    return get_close_matches(wanted, chosen[:NEAR_LOOKED_AT], NEAR_SHOWN, 0.5)


def _shared(one: str, other: str) -> int:
    """Characters with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _variable(kernel: Kernel, btf: Btf, info: MapInfo, name: str, place: Field) -> GlobalVariable:
    head = btf.resolve(place.type_id)
    if head.kind is Kind.INT:
        encoding = btf.encoding(head)[0]
        signed, is_bool = bool(encoding & _SIGNED), bool(encoding & _BOOL)
    elif head.kind in (Kind.ENUM, Kind.ENUM64):
        signed, is_bool = head.flag, False
    else:
        raise NoSuchGlobal(
            f"{name} in {info.name} is no integer but of kind {head.kind.name.lower()}"
        )
    bits = 8 * place.size
    low = -(1 << bits - 1) if signed else 0
    high = 1 if is_bool else (1 << bits - signed) - 1
    ranges = tuple(kernel.space.ranges(address_of(kernel, info, place), place.size))
    return GlobalVariable(name, info.name, ranges, place.size, low, high)
