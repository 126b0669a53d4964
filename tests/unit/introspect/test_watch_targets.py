# SPDX-License-Identifier: GPL-2.0-only
"""What can be watched, where it lies, and whose code wrote it."""

from typing import Any

import pytest
from tests.unit.introspect.test_globals import add_program

from ktstr.introspect.globals import NoSuchGlobal, near
from ktstr.introspect.watch import BadWatch, code_at, watched_symbol, watched_variable


class Names:
    """A table of symbols: name, address, size."""

    def __init__(self, *rows: tuple[str, int, int]) -> None:
        self.rows = rows

    def named(self, name: str) -> list[int]:
        return [at for each, at, _ in self.rows if each == name]

    def names(self) -> set[str]:
        return {name for name, _, _ in self.rows}

    def get(self, name: str) -> int | None:
        return next(iter(self.named(name)), None)

    def holding(self, address: int) -> tuple[str, int] | None:
        held = [(name, at) for name, at, size in self.rows if at <= address < at + size]
        return held[0] if held else None


@pytest.fixture
def kernel(canned: Any) -> Any:
    add_program(canned, 1, "old")
    add_program(canned, 4, "s")
    data = canned.alloc(64)
    kernel = canned.kernel()
    idr = kernel.symbols.get("map_idr")
    kernel.symbols = Names(
        ("counter_next", data + 8, 8),
        ("counter_flag", data + 17, 1),
        ("twice", data, 4),
        ("twice", data + 4, 4),
        ("_stext", 0x1000, 0),
        ("a_function", 0x1100, 0x80),
        ("_etext", 0x2000, 0),
        ("__per_cpu_start", 0x3000, 0),
        ("per_cpu_thing", 0x3008, 8),
        ("__per_cpu_end", 0x4000, 0),
        ("nowhere", 0xFFFF888700000000, 8),
        ("map_idr", idr, 16),
    )
    kernel.data = data
    return kernel


def test_a_symbol_is_watched_in_four_bytes_unless_asked(kernel: Any) -> None:
    found = watched_symbol(kernel, "counter_next", None)
    assert (found.address, found.size, found.holder) == (kernel.data + 8, 4, "")
    assert watched_symbol(kernel, "counter_next", 8).size == 8
    assert watched_symbol(kernel, "counter_flag", 1).size == 1
    assert found.is_there(kernel)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("counter_nxt", None, "no symbol 'counter_nxt'; near it: counter_next"),
        ("zzz", None, "near it: nothing"),
        ("twice", None, "2 symbols called 'twice'"),
        ("counter_flag", None, "not aligned to the 4 bytes to be watched; size = 1 fits"),
        ("a_function", None, "it is code"),
        ("per_cpu_thing", None, "it is per-CPU"),
        ("nowhere", None, "nothing is mapped"),
    ],
)
def test_symbols_that_cannot_be_watched(
    kernel: Any, name: str, size: int | None, words: str
) -> None:
    with pytest.raises(BadWatch) as caught:
        watched_symbol(kernel, name, size)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("name", "asked", "offset", "size"),
    [
        ("total", None, 0, 8),
        ("total", 4, 0, 4),
        ("level", None, 8, 4),
        ("flag", None, 12, 1),
        ("many", None, 16, 4),  # 16 bytes: no watch is as large
        ("many", 8, 16, 8),
    ],
)
def test_a_variable_is_watched_where_the_program_writes_it(
    canned: Any, kernel: Any, name: str, asked: int | None, offset: int, size: int
) -> None:
    found = watched_variable(kernel, name, None, asked)
    # The program loaded last; 72 bytes of struct bpf_array lie before the value.
    assert found.address == canned.maps[4] + 72 + offset
    assert (found.size, found.holder, found.map_id) == (size, "s.bss", 4)
    canned.poke(found.address, "B", 7)
    assert found.value(kernel) == 7
    assert found.is_there(kernel)


@pytest.mark.parametrize(
    ("name", "size", "error", "words"),
    [
        ("level", 8, BadWatch, "level in s.bss has 4 bytes, 8 were to be watched"),
        ("totl", None, NoSuchGlobal, "looked into s.bss, old.bss; near it: total"),
        ("total.part", None, NoSuchGlobal, "no variable 'total.part'"),
    ],
)
def test_variables_that_cannot_be_watched(
    kernel: Any, name: str, size: int | None, error: type[BadWatch], words: str
) -> None:
    with pytest.raises(error) as caught:
        watched_variable(kernel, name, None, size)
    assert words in caught.value.message


def test_a_variable_goes_with_its_map(canned: Any, kernel: Any) -> None:
    found = watched_variable(kernel, "total", None, None)
    node = int.from_bytes(kernel.read(kernel.symbol("map_idr") + 8, 8), "little") - 2
    # The id now belongs to a map elsewhere, as after a restart of the scheduler.
    canned.poke(node + 8 + 8 * 4, "Q", canned.maps[1])
    assert not found.is_there(kernel) or canned.maps[1] < canned.maps[4]
    canned.poke(node + 8 + 8 * 4, "Q", 0)
    assert not found.is_there(kernel)


def test_code_by_its_function(kernel: Any) -> None:
    assert code_at(kernel, 0x111C) == "a_function+0x1c"
    assert code_at(kernel, 0x5000) is None


def test_near_is_bounded_and_sorted_by_likeness() -> None:
    names = [f"counter_{number}" for number in range(100_000)] + ["counter_next"]
    found = near("counter_nxt", names)
    assert len(found) <= 5
    assert near("", []) == []
