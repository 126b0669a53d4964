# SPDX-License-Identifier: GPL-2.0-only
"""Variables of loaded programs: where they lie, what they take."""

import struct
from typing import Any

import pytest

from ktstr.introspect.globals import NoSuchGlobal, find_global
from ktstr.testing.ram import BtfBuilder


def add_program(canned: Any, map_id: int, section: str, *, kind: str = "bss") -> None:
    """A section with u64 total, s32 level, bool flag, an array and an enum, in this order."""
    b = BtfBuilder()
    u64 = b.integer("u64", 8)
    s32 = b.integer("int", 4, 1)
    flag = b.integer("bool", 1, 4)
    many = b.array(u64, 2, b.integer("u32", 4))
    mode = b.enum("mode", 4, {"OFF": 0, "ON": 1})
    rows = [
        (b.var("total", u64), 0, 8),
        (b.var("level", s32), 8, 4),
        (b.var("flag", flag), 12, 1),
        (b.var("many", many), 16, 16),
        (b.var("mode", b.const(mode)), 32, 4),
    ]
    sec = b.datasec(f".{kind}", 40, rows)
    canned.add_array(
        map_id, f"{section}.{kind}", [bytes(40)], btf=canned.add_btf(b.build()), value_type=sec
    )


@pytest.mark.parametrize(
    ("name", "offset", "size", "low", "high"),
    [
        ("total", 0, 8, 0, (1 << 64) - 1),
        ("level", 8, 4, -(1 << 31), (1 << 31) - 1),
        ("flag", 12, 1, 0, 1),
        ("mode", 32, 4, 0, (1 << 32) - 1),
    ],
)
def test_place_and_bounds(
    canned: Any, name: str, offset: int, size: int, low: int, high: int
) -> None:
    add_program(canned, 1, "s")
    found = find_global(canned.kernel(), name)
    # 64 bytes of struct bpf_map and 8 of element size come before the value, on a page of its own;
    # BASE + physical is how the canned kernel maps its memory.
    physical = canned.kernel().space.page(canned.maps[1])[0] + 72 + offset
    assert found.ranges == ((physical, size),)
    assert (found.size, found.low, found.high, found.map_name) == (size, low, high, "s.bss")
    for value in (low - 1, high + 1):
        with pytest.raises(NoSuchGlobal, match=f"takes {low} to {high}, not {value}"):
            found.encode(value)


def test_what_is_written_is_what_is_read(canned: Any) -> None:
    add_program(canned, 1, "s")
    kernel = canned.kernel()
    for name, value, layout in (("total", 1 << 63, "<Q"), ("level", -2, "<i"), ("mode", 1, "<I")):
        variable = find_global(kernel, name)
        data = variable.encode(value)
        assert data == struct.pack(layout, value)


def test_the_program_loaded_last_counts_and_the_section_narrows_down(canned: Any) -> None:
    add_program(canned, 1, "old")
    add_program(canned, 5, "new")
    add_program(canned, 3, "mid", kind="data")
    kernel = canned.kernel()
    assert find_global(kernel, "total").map_name == "new.bss"
    assert find_global(kernel, "total", ".data").map_name == "mid.data"


@pytest.mark.parametrize(
    ("name", "section", "words"),
    [
        ("nothing", None, "no variable 'nothing' in .bss or .data: looked into s.bss"),
        ("total", ".data", "no program with such a section is loaded"),
        ("many", None, "many in s.bss is no integer but of kind array"),
    ],
)
def test_what_is_not_there(canned: Any, name: str, section: str | None, words: str) -> None:
    add_program(canned, 1, "s")
    add_program(canned, 2, "s", kind="rodata")
    with pytest.raises(NoSuchGlobal) as caught:
        find_global(canned.kernel(), name, section)
    assert words in caught.value.message
