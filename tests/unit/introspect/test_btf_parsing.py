# SPDX-License-Identifier: GPL-2.0-only
"""BTF index, names, sizes and members; and blobs that are wrong."""

import random
import struct

import pytest

from ktstr.errors import KtstrError
from ktstr.introspect.btf import Btf, BtfInvalid, Kind
from ktstr.testing.ram import INT_SIGNED, BtfBuilder


def test_ids_are_counted_over_records_of_every_length() -> None:
    b = BtfBuilder()
    u32 = b.integer("u32", 4)
    b.array(u32, 3)
    b.composite("pair", 8, [("a", u32, 0), ("b", u32, 32)])
    b.enum("few", 4, {"X": 1, "Y": 2})
    b.enum("wide", 8, {"BIG": 1 << 40})
    var = b.var("v", u32)
    b.datasec(".bss", 4, [(var, 0, 4)])
    b.add(13, vlen=2, tail=b"\0" * 16)  # function prototype
    b.add(17, "tag", u32, tail=b"\0" * 4)  # declaration tag
    last = b.typedef("last", u32)
    btf = Btf(b.build())
    assert len(btf) == last + 1 == 11
    assert btf.type(last).name == "last"
    assert btf.find("pair", Kind.STRUCT) == 3
    assert btf.find("pair", Kind.UNION) is None
    assert btf.find("pai", Kind.STRUCT) is None
    assert btf.find("air", Kind.STRUCT) is None


def test_sizes_follow_arrays_typedefs_and_pointers() -> None:
    b = BtfBuilder()
    u16 = b.integer("u16", 2)
    grid = b.array(b.array(u16, 5), 3)
    named = b.typedef("grid_t", b.const(grid))
    pointer = b.ptr(named)
    btf = Btf(b.build())
    assert (btf.size(named), btf.size(pointer)) == (30, 8)
    with pytest.raises(BtfInvalid, match="has no size"):
        btf.size(0)


def test_fields_are_found_through_anonymous_members_and_dots() -> None:
    b = BtfBuilder()
    u32 = b.integer("u32", 4)
    inner = b.composite("", 8, [("x", u32, 0), ("y", u32, 32)])
    named = b.composite("named", 8, [("y", u32, 32)])
    outer = b.composite("outer", 24, [("", inner, 32), ("n", named, 128), ("odd", u32, 99, 5)])
    btf = Btf(b.build())
    place = btf.field(outer, "y")
    assert place is not None and (place.offset, place.size) == (8, 4)
    place = btf.field(outer, "n.y")
    assert place is not None and place.offset == 20
    place = btf.field(outer, "odd")
    assert place is not None and (place.offset, place.bit, place.width) == (12, 3, 5)
    assert btf.field(outer, "n.z") is None
    assert btf.field(outer, "x.y") is None


def test_split_btf_continues_ids_and_strings_of_its_base() -> None:
    base = BtfBuilder()
    u64 = base.integer("u64", 8)
    split = BtfBuilder(base)
    own = split.composite("own", 8, [("count", u64, 0)])
    base_btf = Btf(base.build())
    btf = Btf(split.build(), base_btf)
    assert own == 2
    assert btf.type(own).name == "own" and btf.type(u64).name == "u64"
    assert [m.name for m in btf.members(btf.type(own))] == ["count"]
    assert btf.find("u64", Kind.INT) == u64 and btf.find("own", Kind.STRUCT) == own


def test_enum_values_keep_their_sign() -> None:
    b = BtfBuilder()
    small = b.enum("small", 4, {"NEG": -2, "POS": 3}, signed=True)
    large = b.enum("large", 8, {"TOP": 1 << 63})
    btf = Btf(b.build())
    assert btf.enumerators(btf.type(small)) == {-2: "NEG", 3: "POS"}
    assert btf.enumerators(btf.type(large)) == {1 << 63: "TOP"}


def _blob(types: bytes, strings: bytes = b"\0", magic: int = 0xEB9F) -> bytes:
    head = struct.pack("<HBBIIIII", magic, 1, 0, 24, 0, len(types), len(types), len(strings))
    return head + types + strings


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "too short"),
        (_blob(b"", magic=0x9FEB), "no BTF of version 1"),
        (_blob(struct.pack("<III", 0, 20 << 24, 0)), "type 1 is of unknown kind"),
        (_blob(struct.pack("<III", 0, 4 << 24 | 9, 0)), "type 1 is past the end"),
        (_blob(b"\0" * 10), "not aligned"),
        (_blob(b"")[:-1] + b"", "past the end of the blob"),
    ],
)
def test_malformed_blobs_are_refused(blob: bytes, words: str) -> None:
    with pytest.raises(BtfInvalid, match=words):
        Btf(blob)


def test_bad_references_are_errors_where_they_are_used() -> None:
    b = BtfBuilder()
    loop = b.typedef("loop", 1)
    far = b.ptr(99)
    btf = Btf(b.build() + b"")
    with pytest.raises(BtfInvalid, match="more than 32"):
        btf.resolve(loop)
    with pytest.raises(BtfInvalid, match="no type 99"):
        btf.type(btf.type(far).arg)
    unnamed = Btf(_blob(struct.pack("<IIII", 5000, 1 << 24, 4, 32)))
    with pytest.raises(BtfInvalid, match="string offset 5000"):
        unnamed.type(1)


def test_anonymous_members_that_multiply_are_given_up() -> None:
    b = BtfBuilder()
    inner = b.integer("u8", 1)
    for _ in range(30):
        inner = b.composite("", 1, [("", inner, 0), ("", inner, 0)])
    btf = Btf(b.build())
    with pytest.raises(BtfInvalid, match="too many anonymous members"):
        btf.field(inner, "nothing")


def test_random_damage_never_raises_anything_but_the_one_error() -> None:
    b = BtfBuilder()
    u32 = b.integer("u32", 4, INT_SIGNED)
    inner = b.composite("inner", 8, [("a", u32, 0), ("b", u32, 32, 7)])
    outer = b.composite("outer", 32, [("", inner, 0), ("list", b.array(inner, 3), 64)])
    b.datasec(".bss", 32, [(b.var("v", outer), 0, 32)])
    good = b.build()
    dice = random.Random(20240611)
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        try:
            btf = Btf(bytes(bad[: dice.choice((len(bad), dice.randrange(len(bad))))]))
            for type_id in range(len(btf)):
                head = btf.type(type_id)
                btf.size(btf.resolve(type_id).id)
                btf.field(type_id, "b")
                if head.kind is Kind.STRUCT:
                    btf.members(head)
        except KtstrError:
            continue
