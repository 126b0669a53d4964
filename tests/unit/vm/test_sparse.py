# SPDX-License-Identifier: GPL-2.0-only
"""Only runs of data are copied, to their own places, and holes stay holes."""

import os
from pathlib import Path

import pytest

from ktstr.vm.sparse import copy_data, data_extents

MIB = 1 << 20


def memory(size: int, pieces: dict[int, bytes]) -> int:
    fd = os.memfd_create("test")
    os.ftruncate(fd, size)
    for at, data in pieces.items():
        os.pwrite(fd, data, at)
    return fd


def test_runs_are_copied_to_their_places_and_holes_take_no_room(tmp_path: Path) -> None:
    source = memory(64 * MIB, {0: b"first", 40 * MIB: b"x" * 8192, 64 * MIB - 4096: b"last"})
    with (tmp_path / "copy").open("w+b") as target:
        target.truncate(64 * MIB)
        # Two whole pages and the two pages that the short pieces lie in.
        assert copy_data(source, target.fileno()) == 4 * 4096
        assert os.pread(target.fileno(), 64 * MIB, 0) == os.pread(source, 64 * MIB, 0)
        assert os.fstat(target.fileno()).st_blocks * 512 <= 64 * 1024
    os.close(source)


def test_a_copy_leaves_what_lies_under_holes_alone() -> None:
    source = memory(MIB, {0: b"new"})
    target = memory(MIB, {0: b"old", 512 * 1024: b"kept"})
    copy_data(source, target)
    assert os.pread(target, 3, 0) == b"new"
    assert os.pread(target, 4, 512 * 1024) == b"kept"
    os.close(source)
    os.close(target)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ({}, []),
        ({0: b"a"}, [(0, 4096)]),
        ({4096: b"a", 8192: b"b", 20480: b"c"}, [(4096, 12288), (20480, 24576)]),
    ],
)
def test_runs_are_found_in_order(pieces: dict[int, bytes], expected: list[tuple[int, int]]) -> None:
    fd = memory(MIB, pieces)
    assert list(data_extents(fd)) == expected
    os.close(fd)
