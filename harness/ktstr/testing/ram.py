# SPDX-License-Identifier: GPL-2.0-only
"""Canned guest RAM and hand-made BTF: test doubles for the readers of guest memory.

:class:`CannedRam` has the shape of the real mapping of a VM's RAM (segments, ``read``, ``view``)
and adds what a test needs to fill it: a frame allocator, x86-64 page tables, a vmcoreinfo note.
:class:`BtfBuilder` emits BTF as the kernel defines it (include/uapi/linux/btf.h). Nothing here
pretends to be a whole kernel: structures are laid out by the test that reads them.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PAGE = 4096
_PRESENT_WRITABLE = 0x3
_PRESENT_LARGE = 0x83


@dataclass(frozen=True, slots=True)
class CannedSegment:
    """One run of guest-physical addresses; ``offset`` is where it starts in the RAM file."""

    address: int
    size: int
    offset: int


class CannedRam:
    """Synthetic guest-physical memory.

    :param segments: ``(address, size)`` pairs in guest-physical address order.
    """

    def __init__(self, *segments: tuple[int, int]) -> None:
        placed, offset = [], 0
        for address, size in segments or ((0, 1 << 20),):
            placed.append(CannedSegment(address, size, offset))
            offset += size
        self.segments: tuple[CannedSegment, ...] = tuple(placed)
        self._bytes = bytearray(offset)
        self._next_frame = self.segments[0].address + PAGE

    def view(self, address: int, size: int) -> memoryview:
        """Writable window onto ``size`` bytes at a guest-physical address.

        :raises ValueError: when the bytes are not all inside one segment.
        """
        for segment in self.segments:
            start = address - segment.address
            if start >= 0 and size >= 0 and start + size <= segment.size:
                return memoryview(self._bytes)[segment.offset + start :][:size]
        raise ValueError(f"no RAM at {address:#x}+{size:#x}")

    def read(self, address: int, size: int) -> bytes:
        """Copy of ``size`` bytes at a guest-physical address (:meth:`view` for its errors)."""
        return bytes(self.view(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` at a guest-physical address."""
        self.view(address, len(data))[:] = data

    def frames(self, count: int = 1) -> int:
        """Take ``count`` unused, physically contiguous 4 KiB frames; returns their address."""
        address = self._next_frame
        self.view(address, count * PAGE)
        self._next_frame += count * PAGE
        return address

    def put_vmcoreinfo(self, text: str, *, name: bytes = b"VMCOREINFO\0") -> tuple[int, int]:
        """Store ``text`` as the kernel's ELF note; returns the (address, size) pair of sysfs."""
        desc = text.encode()
        note = struct.pack("<III", len(name), len(desc), 0)
        note += b"".join(part.ljust(-(-len(part) // 4) * 4, b"\0") for part in (name, desc))
        address = self.frames(-(-len(note) // PAGE))
        self.write(address, note)
        return address, len(note)


@dataclass(slots=True)
class PageTables:
    """x86-64 page tables inside a :class:`CannedRam`; ``levels`` is 4 or 5."""

    ram: CannedRam
    levels: int = 4
    root: int = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.ram.frames()

    def map(self, virtual: int, physical: int, size: int = PAGE, *, large: int = 0) -> None:
        """Map ``size`` bytes; ``large`` 1 or 2 uses 2 MiB or 1 GiB pages."""
        step = PAGE << (9 * large)
        for done in range(0, size, step):
            table = self.root
            for level in range(self.levels - 1, large, -1):
                slot = table + 8 * ((virtual + done) >> (12 + 9 * level) & 511)
                (entry,) = struct.unpack("<Q", self.ram.read(slot, 8))
                if not entry & 1:
                    entry = self.ram.frames() | _PRESENT_WRITABLE
                    self.ram.write(slot, struct.pack("<Q", entry))
                table = entry & 0x000FFFFFFFFFF000
            slot = table + 8 * ((virtual + done) >> (12 + 9 * large) & 511)
            flags = _PRESENT_LARGE if large else _PRESENT_WRITABLE
            self.ram.write(slot, struct.pack("<Q", (physical + done) | flags))


INT_SIGNED, INT_CHAR, INT_BOOL = 1, 2, 4


class BtfBuilder:
    """Emits BTF types one by one; every method returns the new type's id.

    :param base: builder of the base BTF when this one is split (module) BTF.
    """

    def __init__(self, base: "BtfBuilder | None" = None) -> None:
        self._first_id = base.next_id if base else 1
        self._string_start = base.string_end if base else 0
        self._strings = bytearray() if base else bytearray(b"\0")
        self._offsets: dict[str, int] = {**base._offsets} if base else {"": 0}
        self._types: list[bytes] = []

    @property
    def next_id(self) -> int:
        """Id the next type will get."""
        return self._first_id + len(self._types)

    @property
    def string_end(self) -> int:
        """String offset right after this BTF's own strings."""
        return self._string_start + len(self._strings)

    def string(self, text: str) -> int:
        """Intern ``text`` and return its offset."""
        if text not in self._offsets:
            self._offsets[text] = self.string_end
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def add(
        self,
        kind: int,
        name: str = "",
        size_or_type: int = 0,
        *,
        vlen: int = 0,
        flag: bool = False,
        tail: bytes = b"",
    ) -> int:
        """Append a raw type record: the way to make records that are wrong on purpose."""
        info = vlen | kind << 24 | int(flag) << 31
        self._types.append(struct.pack("<III", self.string(name), info, size_or_type) + tail)
        return self.next_id - 1

    def integer(
        self, name: str, size: int, encoding: int = 0, *, bits: int | None = None, shift: int = 0
    ) -> int:
        """INT of ``size`` bytes; ``bits`` and ``shift`` make the old style of bit field."""
        width = 8 * size if bits is None else bits
        return self.add(1, name, size, tail=struct.pack("<I", encoding << 24 | shift << 16 | width))

    def ptr(self, target: int = 0) -> int:
        """Pointer to ``target`` (0 is void)."""
        return self.add(2, "", target)

    def array(self, element: int, count: int, index: int = 0) -> int:
        """ARRAY of ``count`` elements."""
        return self.add(3, tail=struct.pack("<III", element, index or element, count))

    def composite(
        self,
        name: str,
        size: int,
        members: Sequence[tuple[str, int, int] | tuple[str, int, int, int]],
        *,
        union: bool = False,
    ) -> int:
        """STRUCT or UNION; members are (name, type, bit offset[, bit-field width])."""
        flag = any(len(m) == 4 for m in members)
        tail = b"".join(
            struct.pack("<III", self.string(m[0]), m[1], m[2] | (m[3] << 24 if len(m) == 4 else 0))
            for m in members
        )
        return self.add(5 if union else 4, name, size, vlen=len(members), flag=flag, tail=tail)

    def enum(self, name: str, size: int, values: Mapping[str, int], *, signed: bool = False) -> int:
        """ENUM for up to 4 bytes, ENUM64 for 8."""
        wide = size == 8
        tail = b""
        for label, value in values.items():
            raw = struct.pack("<q" if signed else "<Q", value)
            tail += struct.pack("<I", self.string(label)) + (raw if wide else raw[:4])
        kind = 19 if wide else 6
        return self.add(kind, name, size, vlen=len(values), flag=signed, tail=tail)

    def typedef(self, name: str, target: int) -> int:
        """TYPEDEF."""
        return self.add(8, name, target)

    def const(self, target: int) -> int:
        """CONST qualifier."""
        return self.add(10, "", target)

    def var(self, name: str, target: int, linkage: int = 1) -> int:
        """VAR; linkage 0 static, 1 global."""
        return self.add(14, name, target, tail=struct.pack("<I", linkage))

    def datasec(self, name: str, size: int, variables: Sequence[tuple[int, int, int]]) -> int:
        """DATASEC of (variable type id, byte offset, byte size)."""
        tail = b"".join(struct.pack("<III", *v) for v in variables)
        return self.add(15, name, size, vlen=len(variables), tail=tail)

    def build(self) -> bytes:
        """The finished blob: 24-byte header, types, strings."""
        types = b"".join(self._types)
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self._strings)
        )
        return header + types + bytes(self._strings)
