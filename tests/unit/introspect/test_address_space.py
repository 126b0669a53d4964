# SPDX-License-Identifier: GPL-2.0-only
"""Page-table walks in canned RAM, and the vmcoreinfo note that starts them."""

import struct

import pytest

from ktstr.errors import KernelUnfit
from ktstr.introspect.kernel import attach
from ktstr.introspect.memory import AddressSpace, Range, UnreadableMemory
from ktstr.introspect.vmcoreinfo import parse_vmcoreinfo, read_vmcoreinfo
from ktstr.testing.ram import PAGE, CannedRam, PageTables

BASE4 = 0xFFFF888000000000
BASE5 = 0xFF11000000000000
MIB = 1 << 20


@pytest.mark.parametrize(("levels", "base"), [(4, BASE4), (5, BASE5)])
def test_walks_of_both_depths_find_the_frame(levels: int, base: int) -> None:
    ram = CannedRam((0, MIB))
    tables = PageTables(ram, levels)
    tables.map(base + 5 * PAGE, 0x40000)
    ram.write(0x40123, b"found")
    space = AddressSpace(ram, tables.root, levels)
    assert space.read(base + 5 * PAGE + 0x123, 5) == b"found"
    assert space.page(base + 5 * PAGE + 0x123) == (0x40123, PAGE - 0x123)


def test_large_pages() -> None:
    ram = CannedRam((0, 4 * MIB), (1 << 32, 2 * MIB))
    tables = PageTables(ram)
    tables.map(BASE4, 0x200000, 2 * MIB, large=1)
    tables.map(0xFFFF900000000000, 0, 1 << 30, large=2)
    ram.write(0x234567, b"here")
    space = AddressSpace(ram, tables.root, 4)
    assert space.read(BASE4 + 0x34567, 4) == b"here"
    assert space.read(0xFFFF900000000000 + 0x234567, 4) == b"here"
    assert space.ranges(BASE4 + 16, MIB) == [Range(0x200010, MIB)]


def test_ranges_join_neighbours_and_cross_segments() -> None:
    ram = CannedRam((0, MIB), (1 << 32, MIB))
    tables = PageTables(ram)
    for page, frame in enumerate((0x50000, 0x51000, 0x4F000, 1 << 32)):
        tables.map(BASE4 + page * PAGE, frame)
        ram.write(frame, bytes([page]) * PAGE)
    space = AddressSpace(ram, tables.root, 4)
    assert space.ranges(BASE4 + 0x800, 3 * PAGE) == [
        Range(0x50800, 2 * PAGE - 0x800),
        Range(0x4F000, PAGE),
        Range(1 << 32, 0x800),
    ]
    assert space.read(BASE4 + PAGE - 1, 2 * PAGE + 2) == b"\0" + b"\1" * PAGE + b"\2" * PAGE + b"\3"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (BASE4 + PAGE, "nothing is mapped"),
        (BASE4 + 2 * PAGE, "not RAM"),
        (0x1000, "not a kernel address"),
        (0x1234888000000000, "not a kernel address"),
        (0xFFFFA00000000000, "outside RAM"),
    ],
)
def test_what_cannot_be_read_says_why(address: int, words: str) -> None:
    ram = CannedRam((0, MIB))
    tables = PageTables(ram)
    tables.map(BASE4, 0x50000)
    tables.map(BASE4 + 2 * PAGE, 1 << 40)
    ram.write(tables.root + 8 * (0xFFFFA00000000000 >> 39 & 511), struct.pack("<Q", 1 << 45 | 3))
    space = AddressSpace(ram, tables.root, 4)
    with pytest.raises(UnreadableMemory, match=words):
        space.read(address, 1)


def test_a_large_page_that_ends_past_ram_is_not_read_past_it() -> None:
    ram = CannedRam((0, MIB))
    tables = PageTables(ram)
    tables.map(BASE4, 0, 1 << 21, large=1)
    space = AddressSpace(ram, tables.root, 4)
    assert len(space.read(BASE4 + MIB - 4, 4)) == 4
    for read in (space.read, space.ranges):
        with pytest.raises(UnreadableMemory):
            read(BASE4 + MIB - 4, 8)


def test_a_large_page_across_two_segments_is_read_in_pieces() -> None:
    ram = CannedRam((0, MIB), (MIB, MIB))
    tables = PageTables(ram)
    tables.map(BASE4, 0, 1 << 21, large=1)
    ram.write(MIB - 2, b"ab")
    ram.write(MIB, b"cd")
    space = AddressSpace(ram, tables.root, 4)
    assert space.read(BASE4 + MIB - 2, 4) == b"abcd"
    assert space.ranges(BASE4 + MIB - 2, 4) == [Range(MIB - 2, 2), Range(MIB, 2)]


def test_remembered_pages_can_be_forgotten() -> None:
    ram = CannedRam((0, MIB))
    tables = PageTables(ram)
    tables.map(BASE4, 0x50000)
    space = AddressSpace(ram, tables.root, 4)
    assert space.page(BASE4)[0] == 0x50000
    tables.map(BASE4, 0x60000)
    assert space.page(BASE4)[0] == 0x50000
    space.forget()
    assert space.page(BASE4)[0] == 0x60000


NOTE = (
    "OSRELEASE=6.12.0-test\nBUILD-ID=00ff17\nPAGESIZE=4096\n"
    "SYMBOL(swapper_pg_dir)=ffffffff8a000000\nSYMBOL(_stext)=ffffffff88000000\n"
    "NUMBER(phys_base)=-16777216\nNUMBER(pgtable_l5_enabled)=1\nKERNELOFFSET=7000000\n"
    "LENGTH(list.next)=8\nnot a line\n"
)


def test_vmcoreinfo_values() -> None:
    ram = CannedRam((0, MIB), (1 << 32, MIB))
    info = read_vmcoreinfo(ram, *ram.put_vmcoreinfo(NOTE))
    assert (info.release, info.build_id, info.levels) == ("6.12.0-test", "00ff17", 5)
    assert (info.kaslr, info.phys_base) == (0x7000000, -0x1000000)
    assert info.root == 0xA000000 - 0x1000000
    assert info.symbols["_stext"] == 0xFFFFFFFF88000000


def test_the_reserved_size_may_exceed_the_note() -> None:
    ram = CannedRam((0, MIB))
    address, _ = ram.put_vmcoreinfo(NOTE)
    assert read_vmcoreinfo(ram, address, PAGE).release == "6.12.0-test"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0x2000, 100), "no VMCOREINFO note"),
        ((1 << 50, 100), "outside RAM"),
        ((0x2000, 1 << 30), "claims a note of"),
        ((0x2000, 0), "claims a note of"),
    ],
)
def test_a_wrong_place_is_refused(place: tuple[int, int], words: str) -> None:
    with pytest.raises(KernelUnfit, match=words):
        attach(CannedRam((0, MIB)), place)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("SYMBOL(swapper_pg_dir)", "SYMBOL(other)", "no page table root"),
        ("NUMBER(phys_base)=-16777216", "", "phys_base"),
        ("phys_base)=-16777216", "phys_base)=many", "not a number"),
    ],
)
def test_a_note_without_what_is_needed_is_refused(old: str, new: str, words: str) -> None:
    with pytest.raises(KernelUnfit, match=words):
        parse_vmcoreinfo(NOTE.replace(old, new))


def test_a_note_that_lies_about_its_length_is_refused() -> None:
    ram = CannedRam((0, MIB))
    address, size = ram.put_vmcoreinfo(NOTE)
    ram.write(address + 4, struct.pack("<I", 60000))
    with pytest.raises(KernelUnfit, match="claims 60000 bytes"):
        read_vmcoreinfo(ram, address, size)


def test_attaching_to_memory_without_a_kernel_is_one_clear_error() -> None:
    ram = CannedRam((0, MIB))
    with pytest.raises(KernelUnfit):
        attach(ram, ram.put_vmcoreinfo(NOTE))
