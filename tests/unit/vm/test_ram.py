# SPDX-License-Identifier: GPL-2.0-only
import gc
import os
from collections.abc import Iterator

import pytest

from ktstr.vm.ram import MIB, GuestRam, OutsideRam, Segment, q35_segments

GIB = 1 << 30


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    """Two nodes, 2 GiB and 3 GiB, sparse: the second starts right at the PCI hole."""
    with GuestRam([2 * GIB, 3 * GIB]) as ram:
        yield ram


def test_small_guest_is_one_segment() -> None:
    assert q35_segments([512 * MIB]) == (Segment(0, 512 * MIB, 0, 0),)


def test_ram_below_the_threshold_is_not_split() -> None:
    size = 0xB000_0000 - MIB
    assert q35_segments([size]) == (Segment(0, size, 0, 0),)


def test_ram_at_the_threshold_is_split() -> None:
    assert q35_segments([0xB000_0000]) == (
        Segment(0, 2 * GIB, 0, 0),
        Segment(4 * GIB, 0x3000_0000, 2 * GIB, 0),
    )


def test_large_guest_continues_at_4_gib() -> None:
    assert q35_segments([4 * GIB]) == (
        Segment(0, 2 * GIB, 0, 0),
        Segment(4 * GIB, 2 * GIB, 2 * GIB, 0),
    )


def test_nodes_follow_one_another_around_the_hole() -> None:
    assert q35_segments([GIB, 2 * GIB, GIB]) == (
        Segment(0, GIB, 0, 0),
        Segment(GIB, GIB, 0, 1),
        Segment(4 * GIB, GIB, GIB, 1),
        Segment(5 * GIB, GIB, 0, 2),
    )


def test_what_is_written_through_the_file_is_read(ram: GuestRam) -> None:
    os.pwrite(ram.fds[0], b"first", 0x1000)
    os.pwrite(ram.fds[1], b"second", 0x2000)
    assert ram.read(0x1000, 5) == b"first"
    assert ram.read(4 * GIB + 0x2000, 6) == b"second"
    assert ram.fd == ram.fds[0]
    assert ram.size == 5 * GIB


def test_write_reaches_the_file(ram: GuestRam) -> None:
    ram.write(4 * GIB + 8, b"abc")
    assert os.pread(ram.fds[1], 4, 8) == b"abc\0"


def test_ranges_across_adjacent_segments() -> None:
    with GuestRam([MIB, MIB]) as ram:
        ram.write(MIB - 2, b"abcd")
        assert os.pread(ram.fds[0], 2, MIB - 2) == b"ab"
        assert os.pread(ram.fds[1], 2, 0) == b"cd"
        assert ram.read(MIB - 3, 6) == b"\0abcd\0"
        with pytest.raises(OutsideRam, match="in one piece"):
            ram.view(MIB - 2, 4)


@pytest.mark.parametrize(
    ("address", "size"),
    [
        (2 * GIB, 1),
        (2 * GIB - 1, 2),
        (4 * GIB - 1, 2),
        (7 * GIB, 1),
        (7 * GIB - 1, 2),
        (3 * GIB, 0),
        (-1, 2),
        (0, -1),
        (1 << 63, 8),
    ],
)
def test_outside(ram: GuestRam, address: int, size: int) -> None:
    with pytest.raises(OutsideRam):
        ram.read(address, size)
    with pytest.raises(OutsideRam):
        ram.view(address, size)


def test_write_that_sticks_out_changes_nothing(ram: GuestRam) -> None:
    with pytest.raises(OutsideRam, match="0x7fffffff"):
        ram.write(2 * GIB - 1, b"xy")
    assert ram.read(2 * GIB - 1, 1) == b"\0"


def test_view_is_the_memory_itself(ram: GuestRam) -> None:
    with ram.view(0x3000, 4) as view:
        os.pwrite(ram.fd, b"live", 0x3000)
        assert bytes(view) == b"live"
        view[0:1] = b"L"
    assert os.pread(ram.fd, 4, 0x3000) == b"Live"


def test_file_cannot_be_resized(ram: GuestRam) -> None:
    for size in (MIB, 9 * GIB):
        with pytest.raises(PermissionError):
            os.ftruncate(ram.fd, size)


def test_close_releases_descriptors_even_with_a_view_alive() -> None:
    gc.collect()  # what an earlier test's garbage holds must not end in this one
    before = set(os.listdir("/proc/self/fd"))
    ram = GuestRam([MIB])
    view = ram.view(0, 16)
    ram.close()
    view.release()
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(OutsideRam):
        ram.read(0, 1)
    ram.close()
