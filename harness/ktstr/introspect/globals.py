# SPDX-License-Identifier: GPL-2.0-only
"""Where an integer variable of a loaded BPF program lies in guest memory, and its bytes.

A program's global variables are the one value of an array map per section, ``NAME.bss`` or
``NAME.data``, with a BTF data section as its type. Constants (``.rodata``) are not offered: the
verifier has built their values into the program.
"""

from dataclasses import dataclass
from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf, Field, Kind
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import ARRAY, MapInfo, list_maps, map_btf
from ktstr.introspect.memory import Range

WRITABLE: Final = (".bss", ".data")
"""Sections whose variables take effect when written."""

_SIGNED, _BOOL = 1, 4


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
    kernel.forget()
    sections = WRITABLE if section is None else (section,)
    seen: list[str] = []
    for info in sorted(list_maps(kernel), key=lambda info: info.id, reverse=True):
        if info.map_type != ARRAY or info.error or not info.name.endswith(sections):
            continue
        btf = map_btf(kernel, info)
        if btf is None or btf.resolve(info.value_type_id).kind is not Kind.DATASEC:
            continue
        seen.append(info.name)
        place = btf.field(info.value_type_id, name)
        if place is not None and place.offset + place.size <= info.value_size:
            return _variable(kernel, btf, info, name, place)
    found = f"looked into {', '.join(seen)}" if seen else "no program with such a section is loaded"
    raise NoSuchGlobal(f"no variable {name!r} in {' or '.join(sections)}: {found}")


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
    start = info.kva + kernel.need("bpf_array", "value").offset + place.offset
    ranges = tuple(kernel.space.ranges(start, place.size))
    return GlobalVariable(name, info.name, ranges, place.size, low, high)
