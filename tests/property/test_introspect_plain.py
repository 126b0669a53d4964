# SPDX-License-Identifier: GPL-2.0-only
"""Values written column by column are those rendered one by one, whatever type and bytes are."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf
from ktstr.introspect.render import BtfType
from ktstr.series.lazy import LazyValue, plain_values
from ktstr.series.maps import ArrayEntries, Column, TableEntries
from ktstr.series.values import Array
from ktstr.testing.ram import INT_BOOL, INT_CHAR, INT_SIGNED, BtfBuilder


class _Types:
    """Random types of C, each with its size."""

    def __init__(self, dice: random.Random) -> None:
        self.b = BtfBuilder()
        self.dice = dice

    def number(self) -> tuple[int, int]:
        size = self.dice.choice((1, 2, 4, 8, 16))
        encoding = self.dice.choice((0, INT_SIGNED, INT_CHAR, INT_BOOL, INT_SIGNED | INT_CHAR))
        name = self.dice.choice(("n", "char"))
        narrow = self.dice.random() < 0.2
        bits = self.dice.randint(1, 8 * size) if narrow else None
        shift = self.dice.randint(0, 8 * size - bits) if bits is not None else 0
        return self.b.integer(name, size, encoding, bits=bits, shift=shift), size

    def leaf(self) -> tuple[int, int]:
        kind = self.dice.randrange(6)
        if kind == 0:
            size = self.dice.choice((1, 2, 4, 8))
            values = {"A": 0, "B": 1, "C": 5}
            if self.dice.random() < 0.5:
                return self.b.enum("e", size, values), size
            return self.b.enum("s", size, {"NEG": -2, **values}, signed=True), size
        if kind == 1:
            return self.b.ptr(), 8
        if kind == 2:
            size = self.dice.choice((4, 8))
            return self.b.add(16, "f", size), size
        return self.number()

    def any(self, depth: int = 0) -> tuple[int, int]:
        kind = self.dice.randrange(8) if depth < 4 else 7
        if kind == 0:
            inner, size = self.any(depth + 1)
            count = self.dice.choice((0, 1, 2, 5))
            return self.b.array(inner, count), count * size
        if kind == 1:
            words = self.b.array(self.b.integer("unsigned long", 8), 2)
            return self.b.composite("cpumask", 16, [("bits", words, 0)]), 16
        if kind == 2:
            inner, size = self.any(depth + 1)
            return self.b.typedef("t", self.b.const(inner)), size
        if kind < 6:
            return self.composite(depth)
        return self.leaf()

    def composite(self, depth: int) -> tuple[int, int]:
        members: list[tuple[str, int, int, int]] = []
        at = 0
        for index in range(self.dice.randint(0, 5)):
            if self.dice.random() < 0.3:
                width = self.dice.randint(1, 31)
                encoding = self.dice.choice((0, INT_SIGNED))
                unit = self.b.integer("unit", 4, encoding)
                members.append((f"b{index}", unit, 8 * at + self.dice.randint(0, 7), width))
                at += 5
            else:
                inner, size = self.any(depth + 1)
                members.append((self.dice.choice(("", f"m{index}")), inner, 8 * at, 0))
                at += size
        union = self.dice.random() < 0.2
        return self.b.composite(self.dice.choice(("", "s")), at, members, union=union), at


@given(st.integers(0, 1 << 32), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_columns_are_the_values_one_by_one(seed: int, count: int) -> None:
    dice = random.Random(seed)
    types = _Types(dice)
    type_id, size = types.any()
    # Rows may be longer than the value, and one time in eight are too short for it.
    row = size + dice.choice((0, 0, 0, 0, 0, 0, 3, -1))
    if row <= 0:
        return
    rows = [dice.randbytes(row) for _ in range(count)]
    kind = BtfType(Btf(types.b.build()), type_id)
    expected = [kind.render(data).to_json() for data in rows]
    written = kind.plain_many(b"".join(rows), row)
    assert written is None or written == expected
    assert plain_values([LazyValue(data, kind) for data in rows]) == expected
    stride = row + 7 & ~7
    padded = b"".join(data.ljust(stride, b"\xff") for data in rows)
    entries = ArrayEntries(padded, stride, row, count, kind)
    assert entries.to_json() == [entry.to_json() for entry in entries]
    table = TableEntries(padded, stride, Column(0, min(row, 2), kind), Column(0, row, kind))
    assert table.to_json() == [entry.to_json() for entry in table]
    assert [entry.value.to_json() for entry in table] == expected


@given(st.integers(0, 1 << 32))
@settings(max_examples=300, deadline=None)
def test_damaged_types_are_still_the_same_both_ways(seed: int) -> None:
    dice = random.Random(seed)
    types = _Types(dice)
    type_id, size = types.any()
    blob = bytearray(types.b.build())
    for _ in range(dice.randint(1, 3)):
        blob[dice.randrange(24, len(blob))] = dice.randrange(256)
    try:
        kind = BtfType(Btf(bytes(blob)), type_id)
    except KtstrError:
        return
    row = max(1, size)
    rows = [dice.randbytes(row) for _ in range(2)]
    written = kind.plain_many(b"".join(rows), row)
    assert written is None or written == [kind.render(data).to_json() for data in rows]


def test_usual_types_are_written_by_column() -> None:
    """The comparison above would hold, too, if nothing were compiled."""
    compiled = 0
    for seed in range(200):
        types = _Types(random.Random(seed))
        type_id, size = types.any()
        kind = BtfType(Btf(types.b.build()), type_id)
        compiled += bool(size) and kind.plain_many(bytes(2 * size), size) is not None
    assert compiled > 100


def test_a_type_that_multiplies_is_given_up_soon() -> None:
    """Two members each, 30 levels deep: a thousand million values."""
    b = BtfBuilder()
    inner = b.integer("u8", 1)
    for _ in range(30):
        inner = b.composite("s", 1, [("a", inner, 0), ("b", inner, 0)])
    assert BtfType(Btf(b.build()), inner).plain_many(b"\0", 1) is None


def test_an_array_of_numbers_is_its_elements() -> None:
    dice = random.Random(7)
    for size in (1, 2, 4, 8):
        for encoding in (0, INT_SIGNED, INT_CHAR, INT_BOOL):
            b = BtfBuilder()
            element = b.integer("n", size, encoding)
            array = b.array(element, 5)
            btf = Btf(b.build())
            data = dice.randbytes(5 * size)
            whole = BtfType(btf, array).render(data)
            assert isinstance(whole, Array) and whole.len == 5
            one = BtfType(btf, element)
            assert whole.elements == tuple(
                one.render(data[at : at + size]) for at in range(0, 5 * size, size)
            )
            short = BtfType(btf, array).render(data[:-1])
            assert short.to_json()["kind"] == "truncated"
