# SPDX-License-Identifier: GPL-2.0-only
"""What a write watch is set on, and what code an address belongs to.

A variable of a BPF program is written at its place in the map's memory, whose kernel-virtual
address the JIT has built into the program. The loader's view of the same memory, at addresses of a
process, is another one: what goes through that is not seen.
"""

import re
from dataclasses import dataclass
from typing import Final

from ktstr.errors import KtstrError
from ktstr.introspect.globals import address_of, locate, near
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.maps import walk_idr
from ktstr.introspect.memory import UnreadableMemory

SIZES: Final = (8, 4, 2, 1)
"""Bytes that one watch can cover, on x86 and in QEMU's stub."""

DEFAULT_SIZE: Final = 4
"""Bytes watched of a symbol, whose type is not known, and of a variable larger than 8 bytes."""

MAX_PROGRAMS: Final = 4096
_NAME_LENGTH: Final = 512
_TAG = re.compile(r"^bpf_prog_[0-9a-f]{16}_?")


class BadWatch(KtstrError):
    """There is nothing to watch under that name, or not in that size."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Bytes of kernel memory, and what they are.

    :param name: the symbol or variable, as it was asked for.
    :param holder: the map that holds the variable; empty for a symbol.
    :param address: kernel-virtual.
    :param map_id: the map's id; ``None`` for a symbol.
    """

    name: str
    holder: str
    address: int
    size: int
    map_id: int | None = None

    def value(self, kernel: Kernel) -> int:
        """What is there now, as an unsigned integer.

        :raises UnreadableMemory: when it is mapped no more.
        """
        return kernel.read_unsigned(self.address, self.size)

    def is_there(self, kernel: Kernel) -> bool:
        """Whether it still is what it was: a map goes with its scheduler, its memory to others."""
        if self.map_id is None:
            return True
        kernel.forget()
        try:
            found = walk_idr(kernel, "map_idr").objects.get(self.map_id)
            return found is not None and 0 <= self.address - found < 1 << 32
        except KtstrError:
            return False


def watched_symbol(kernel: Kernel, name: str, size: int | None) -> Watched:
    """A variable of the kernel itself.

    :raises BadWatch: naming what stands in the way, and symbols that are near.
    :raises KernelUnfit: when kallsyms cannot be read.
    """
    found = kernel.symbols.named(name)
    if not found:
        close = ", ".join(near(name, kernel.symbols.names())) or "nothing"
        raise BadWatch(f"kernel {kernel.release} has no symbol {name!r}; near it: {close}")
    if len(found) > 1:
        raise BadWatch(f"kernel {kernel.release} has {len(found)} symbols called {name!r}")
    address = found[0]
    for low, high, what in (
        ("_stext", "_etext", "code, which is not written"),
        ("__per_cpu_start", "__per_cpu_end", "per-CPU: each CPU has one of its own elsewhere"),
    ):
        start, stop = kernel.symbol(low), kernel.symbol(high)
        if start is not None and stop is not None and start <= address < stop:
            raise BadWatch(f"{name} cannot be watched: it is {what}")
    try:
        kernel.space.page(address)
    except UnreadableMemory as error:
        raise BadWatch(f"{name} cannot be watched: {error.message}") from None
    return _aligned(Watched(name, "", address, size or DEFAULT_SIZE))


def watched_variable(kernel: Kernel, path: str, section: str | None, size: int | None) -> Watched:
    """A variable of the loaded scheduler, or a part of one.

    :raises BadWatch: when it cannot be watched in this size.
    :raises NoSuchGlobal: when there is none, naming some that are near.
    """
    _, info, place = locate(kernel, path, section)
    if place.width:
        raise BadWatch(f"{path} in {info.name} is a bit field")
    fitting = next(each for each in SIZES if each <= max(place.size, 1))
    wanted = size or (fitting if place.size <= 8 else DEFAULT_SIZE)
    if wanted > place.size:
        raise BadWatch(f"{path} in {info.name} has {place.size} bytes, {wanted} were to be watched")
    return _aligned(Watched(path, info.name, address_of(kernel, info, place), wanted, info.id))


def _aligned(found: Watched) -> Watched:
    if found.address % found.size:
        fits = next(each for each in SIZES if not found.address % each)
        raise BadWatch(
            f"{found.name} at {found.address:#x} is not aligned to the {found.size} bytes to be "
            f"watched; size = {fits} fits"
        )
    return found


def code_at(kernel: Kernel, address: int) -> str | None:
    """The function that holds an instruction, as ``name+0x1c``; ``None`` when it is not known.

    Programs of BPF are looked up in the kernel's own list of their names.
    """
    try:
        found = kernel.symbols.holding(address)
        if found is not None:
            return f"{found[0]}+{address - found[1]:#x}"
        return _program_at(kernel, address)
    except KtstrError:
        return None


def _program_at(kernel: Kernel, address: int) -> str | None:
    head = kernel.symbol("bpf_kallsyms")
    if head is None:
        return None
    start_at, end_at = kernel.need("bpf_ksym", "start"), kernel.need("bpf_ksym", "end")
    name_at, link_at = kernel.need("bpf_ksym", "name"), kernel.need("bpf_ksym", "lnode")
    node = kernel.read_unsigned(head, 8)
    for _ in range(MAX_PROGRAMS):
        if node == head:
            return None
        entry = node - link_at.offset
        start = kernel.read_unsigned(entry + start_at.offset, 8)
        if start <= address < kernel.read_unsigned(entry + end_at.offset, 8):
            raw = kernel.read(entry + name_at.offset, min(name_at.size, _NAME_LENGTH))
            name = raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
            return f"{_TAG.sub('', name) or name}+{address - start:#x} (BPF)"
        node = kernel.read_unsigned(node, 8)
    return None
