# SPDX-License-Identifier: GPL-2.0-only
"""Bytes to values by BTF layout; expected values are worked out by hand from the bytes."""

import random
import struct

import pytest

from ktstr.introspect.btf import Btf
from ktstr.introspect.render import BtfType, cpu_list
from ktstr.series.lazy import LazyValue
from ktstr.series.values import (
    Array,
    Bool,
    Char,
    CpuList,
    Enum,
    FieldNotFound,
    Float,
    Int,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    Uint,
    Unsupported,
)
from ktstr.testing.ram import INT_BOOL, INT_CHAR, INT_SIGNED, BtfBuilder


def render(b: BtfBuilder, type_id: int, data: bytes) -> RenderedValue:
    return BtfType(Btf(b.build()), type_id).render(data)


@pytest.mark.parametrize(
    ("name", "size", "encoding", "data", "value"),
    [
        ("u32", 4, 0, b"\xff\xff\xff\xff", Uint(32, 4294967295)),
        ("int", 4, INT_SIGNED, b"\xff\xff\xff\xff", Int(32, -1)),
        ("short", 2, INT_SIGNED, b"\x00\x80", Int(16, -32768)),
        ("u128", 16, 0, b"\0" * 8 + b"\1" + b"\0" * 7, Uint(128, 1 << 64)),
        ("_Bool", 1, INT_BOOL, b"\2", Bool(True)),
        ("char", 1, INT_SIGNED, b"A", Char(65)),
        ("byte", 1, INT_CHAR, b"\xf0", Char(0xF0)),
        (
            "u64",
            8,
            0,
            b"\1\2\3",
            Truncated(8, 3, BtfType(Btf(BtfBuilder().build()), 0).render(b"")),
        ),
        ("odd", 3, 0, b"\1\2\3", Unsupported("int of 3 bytes")),
    ],
)
def test_integers(name: str, size: int, encoding: int, data: bytes, value: RenderedValue) -> None:
    b = BtfBuilder()
    found = render(b, b.integer(name, size, encoding), data)
    if isinstance(value, Truncated):
        assert isinstance(found, Truncated) and (found.needed, found.had) == (8, 3)
        assert found.partial.to_json() == {"kind": "bytes", "hex": "01 02 03"}
    else:
        assert found == value


def test_bit_fields_of_both_styles() -> None:
    b = BtfBuilder()
    u32, s32 = b.integer("u32", 4), b.integer("int", 4, INT_SIGNED)
    old = b.integer("u32", 4, 0, bits=3, shift=2)
    new = b.composite("new", 4, [("low", u32, 0, 3), ("mid", s32, 3, 5), ("high", u32, 30, 2)])
    plain = b.composite("plain", 4, [("part", old, 0)])
    data = (0b101 | 0b10110 << 3 | 0b10 << 30).to_bytes(4, "little")
    assert render(b, new, data) == Struct(
        "new", (("low", Uint(3, 5)), ("mid", Int(5, -10)), ("high", Uint(2, 2)))
    )
    assert render(b, plain, b"\x14\0\0\0") == Struct("plain", (("part", Uint(3, 5)),))


def test_a_bit_field_across_a_byte_boundary_reads_only_its_bytes() -> None:
    b = BtfBuilder()
    u64 = b.integer("u64", 8)
    packed = b.composite("packed", 2, [("x", u64, 5, 7)])
    assert render(b, packed, (0b1010101 << 5).to_bytes(2, "little")) == Struct(
        "packed", (("x", Uint(7, 0b1010101)),)
    )


def test_enums_by_name_sign_and_width() -> None:
    b = BtfBuilder()
    plain = b.enum("e", 4, {"A": 1})
    signed = b.enum("s", 4, {"MINUS": -1}, signed=True)
    wide = b.enum("w", 8, {"HUGE": 1 << 40})
    assert render(b, plain, b"\1\0\0\0") == Enum(32, 1, "A")
    assert render(b, plain, b"\2\0\0\0") == Enum(32, 2, None)
    assert render(b, signed, b"\xff" * 4) == Enum(32, -1, "MINUS", True)
    assert render(b, wide, struct.pack("<Q", 1 << 40)) == Enum(64, 1 << 40, "HUGE")


def test_floats_pointers_and_text() -> None:
    b = BtfBuilder()
    double = b.add(16, "double", 8)
    name = b.array(b.integer("char", 1, INT_SIGNED), 6)
    assert render(b, double, struct.pack("<d", 0.5)) == Float(64, 0.5)
    assert render(b, b.ptr(double), b"\x10" + b"\0" * 7) == Ptr(16)
    assert render(b, name, b"ab\0zzz").as_str() == "ab"


def test_masks_become_cpu_lists() -> None:
    b = BtfBuilder()
    bits = b.array(b.integer("unsigned long", 8), 2)
    mask = b.composite("cpumask", 16, [("bits", bits, 0)])
    owned = b.composite("bpf_cpumask", 24, [("cpumask", mask, 0)])
    data = struct.pack("<QQ", 0b1011, 1)
    assert render(b, mask, data) == CpuList("0-1,3,64")
    assert render(b, owned, data + b"\0" * 8) == CpuList("0-1,3,64")
    assert cpu_list(b"") == "" and cpu_list(b"\xff\xff") == "0-15" and cpu_list(b"\x80") == "7"


def test_data_sections_render_variables_and_lazy_paths_agree() -> None:
    b = BtfBuilder()
    u32 = b.integer("u32", 4)
    pair = b.composite("pair", 8, [("a", u32, 0), ("b", u32, 32)])
    table = b.array(pair, 2)
    sec = b.datasec(".bss", 24, [(b.var("n", u32), 0, 4), (b.var("t", table), 8, 16)])
    data = struct.pack("<IIIIII", 7, 0, 1, 2, 3, 4)
    value = render(b, sec, data)
    assert value.get("t.1.b") == Uint(32, 4) and value.get("n") == Uint(32, 7)
    lazy = LazyValue(data, BtfType(Btf(b.build()), sec))
    assert lazy.names() == ("n", "t")
    for path in ("n", "t", "t.1", "t.1.b"):
        assert lazy.get(path) == value.get(path)
    with pytest.raises(FieldNotFound, match=r"path 't\.1\.c': t\.1 has no 'c'; there: a, b"):
        lazy.get("t.1.c")
    with pytest.raises(FieldNotFound, match=r"no '2'; there: 0, 1"):
        lazy.get("t.2")
    with pytest.raises(FieldNotFound, match=r"no 'm'; there: n, t"):
        lazy.get("m.x")
    assert lazy.get() == lazy.value == value and lazy.get("t.0.a") == Uint(32, 1)


def test_missing_bytes_cut_the_value_and_keep_what_is_there() -> None:
    b = BtfBuilder()
    u32 = b.integer("u32", 4)
    pair = b.composite("pair", 8, [("a", u32, 0), ("b", u32, 32)])
    found = render(b, pair, b"\5\0\0\0\1\0")
    assert isinstance(found, Truncated) and (found.needed, found.had) == (8, 6)
    assert found.get("a") == Uint(32, 5)
    assert isinstance(found.get("b"), Truncated)


def test_arrays_stop_at_4096_elements_and_keep_their_length() -> None:
    b = BtfBuilder()
    array = b.array(b.integer("u8", 1), 5000)
    found = render(b, array, bytes(5000))
    assert isinstance(found, Array) and (found.len, len(found.elements)) == (5000, 4096)


def test_types_made_to_explode_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktstr.introspect.render.MAX_VALUES", 1000)
    b = BtfBuilder()
    empty = b.composite("empty", 0, [])
    assert isinstance(render(b, b.array(b.array(empty, 1 << 30), 1 << 30), b""), Array)
    b = BtfBuilder()
    wide = b.integer("u8", 1)
    for _ in range(3):
        wide = b.composite("", 1, [("x", wide, 0)] * 40)
    assert "more than" in str(render(b, wide, b"1").to_json())
    b = BtfBuilder()
    b.composite("self", 8, [("again", 1, 0)])
    value = render(b, 1, bytes(8))
    for _ in range(33):
        value = value.get("again")
    assert isinstance(value, Unsupported) and "deeper than 32" in value.reason


def test_values_without_a_meaning_say_so() -> None:
    b = BtfBuilder()
    forward = b.add(7, "opaque")
    loop = b.typedef("loop", 2)
    assert render(b, forward, b"1234") == Unsupported("fwd has no value")
    assert isinstance(render(b, loop, b"1234"), Unsupported)
    assert isinstance(render(b, 77, b"1234"), Unsupported)


def test_random_types_over_random_bytes_never_raise() -> None:
    dice = random.Random(7)
    b = BtfBuilder()
    u32 = b.integer("u32", 4, INT_SIGNED)
    e = b.enum("e", 4, {"A": 1})
    inner = b.composite("cpumask", 8, [("bits", b.array(u32, 2), 0)])
    outer = b.composite("o", 40, [("", inner, 0), ("l", b.array(e, 3), 64), ("f", u32, 200, 7)])
    sec = b.datasec(".bss", 40, [(b.var("v", outer), 0, 40)])
    good = b.build()
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 3)):
            bad[dice.randrange(24, len(bad))] = dice.randrange(256)
        try:
            btf = Btf(bytes(bad))
        except Exception as error:
            assert type(error).__name__ == "BtfInvalid"
            continue
        kind = BtfType(btf, sec)
        data = dice.randbytes(dice.randrange(60))
        kind.render(data).to_json()
        kind.names()
        LazyValue(data, kind).names()
        kind.select("v")
