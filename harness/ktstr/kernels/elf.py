# SPDX-License-Identifier: GPL-2.0-only
"""The little of ELF64 that a kernel image needs: sections, notes, extent (gabi 4.1, elf.h)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

EM_X86_64 = 62
_PT_NOTE = 4
_SHT_NOTE = 7
_SHT_NOBITS = 8
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_MAX_TABLE = 65536


class ImageError(ValueError):
    """The bytes are not the kernel image they should be; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its name and where its bytes lie in the file."""

    name: str
    kind: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Note:
    """One ELF note."""

    name: str
    kind: int
    desc: bytes


class Elf:
    """A 64-bit little-endian x86-64 ELF file in memory; every offset is checked against it.

    :raise ImageError: the header or a table is not that, or points outside the file.
    """

    def __init__(self, data: mmap | bytes) -> None:
        self.data = data
        if len(data) < _HEADER.size or data[:4] != b"\x7fELF":
            raise ImageError(f"not an ELF file: it begins with {bytes(data[:4]).hex(' ')!r}")
        if data[4:6] != b"\x02\x01":
            raise ImageError("not a 64-bit little-endian ELF file")
        header = _HEADER.unpack_from(data, 0)
        if header[2] != EM_X86_64:
            raise ImageError(f"ELF machine {header[2]}, expected {EM_X86_64} (x86-64)")
        self._program_offset: int = header[5]
        self._section_offset: int = header[6]
        program_size, self._program_count, section_size, self._section_count, names = header[9:14]
        if self._program_count and program_size != _PROGRAM.size:
            raise ImageError(f"ELF program header size {program_size}, expected {_PROGRAM.size}")
        if self._section_count and section_size != _SECTION.size:
            raise ImageError(f"ELF section header size {section_size}, expected {_SECTION.size}")
        self.sections = self._read_sections(names)
        self._segments = [self._program(i) for i in range(self._program_count)]

    def _table(self, offset: int, count: int, size: int, what: str) -> None:
        if count > _MAX_TABLE or offset + count * size > len(self.data):
            raise ImageError(f"ELF {what} lies outside the file ({count} at {offset:#x})")

    def _program(self, index: int) -> tuple[int, int, int]:
        self._table(self._program_offset, self._program_count, _PROGRAM.size, "program table")
        kind, _, offset, _, _, size, _, _ = _PROGRAM.unpack_from(
            self.data, self._program_offset + index * _PROGRAM.size
        )
        return kind, offset, size

    def _read_sections(self, names: int) -> dict[str, Section]:
        count = self._section_count
        self._table(self._section_offset, count, _SECTION.size, "section table")
        raw = [
            _SECTION.unpack_from(self.data, self._section_offset + i * _SECTION.size)
            for i in range(count)
        ]
        if not raw:
            return {}
        if names >= count:
            raise ImageError(f"ELF section name table {names} of {count} sections")
        strings = self.span(raw[names][4], raw[names][5], "section names")
        found: dict[str, Section] = {}
        for name, kind, _, _, offset, size, *_ in raw:
            end = strings.find(b"\0", name)
            if end < 0:
                raise ImageError(f"ELF section name at {name:#x} has no end")
            text = strings[name:end].decode("ascii", "replace")
            found.setdefault(text, Section(text, kind, offset, size))
        return found

    def span(self, offset: int, size: int, what: str) -> bytes:
        """Copy *size* bytes at file *offset*.

        :raise ImageError: they are not all inside the file.
        """
        if offset + size > len(self.data):
            raise ImageError(f"{what} lies outside the file ({size} bytes at {offset:#x})")
        return bytes(self.data[offset : offset + size])

    def section(self, name: str) -> bytes | None:
        """The bytes of section *name*, or ``None`` when there is none (or it holds no bytes)."""
        found = self.sections.get(name)
        if found is None or found.kind == _SHT_NOBITS:
            return None
        return self.span(found.offset, found.size, f"section {name}")

    def extent(self) -> int:
        """Bytes the ELF file occupies; a bzImage payload may have relocations after it."""
        ends: list[int] = [_HEADER.size, self._section_offset + self._section_count * _SECTION.size]
        ends += [s.offset + s.size for s in self.sections.values() if s.kind != _SHT_NOBITS]
        ends += [offset + size for _, offset, size in self._segments]
        return min(max(ends), len(self.data))

    def notes(self) -> Iterator[Note]:
        """Notes of the PT_NOTE segments (where QEMU looks), else of the note sections."""
        spans = [(offset, size) for kind, offset, size in self._segments if kind == _PT_NOTE]
        if not spans:
            spans = [(s.offset, s.size) for s in self.sections.values() if s.kind == _SHT_NOTE]
        for offset, size in spans:
            yield from _notes(self.span(offset, size, "note segment"))


def _notes(data: bytes) -> Iterator[Note]:
    at = 0
    while at + _NOTE.size <= len(data):
        name_size, desc_size, kind = _NOTE.unpack_from(data, at)
        name_at = at + _NOTE.size
        desc_at = name_at + (name_size + 3 & ~3)
        if desc_at + desc_size > len(data):
            raise ImageError(f"ELF note at {at:#x} runs past the end of its segment")
        name = data[name_at : name_at + name_size].rstrip(b"\0").decode("ascii", "replace")
        yield Note(name, kind, data[desc_at : desc_at + desc_size])
        at = desc_at + (desc_size + 3 & ~3)
