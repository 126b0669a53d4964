# SPDX-License-Identifier: GPL-2.0-only
"""Rendered values survive the way into a record and back, and nothing else passes for one."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.series.values import (
    Array,
    Bool,
    Bytes,
    Char,
    CpuList,
    Enum,
    Float,
    Int,
    Ptr,
    RenderedValue,
    Struct,
    Truncated,
    Uint,
    Unsupported,
)
from ktstr.series.values_json import read_lazy, read_value

TEXT = st.text(max_size=8)
U64 = st.integers(0, (1 << 64) - 1)
LEAVES: st.SearchStrategy[RenderedValue] = st.one_of(
    st.builds(Int, st.sampled_from([8, 64]), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(Uint, st.sampled_from([8, 64, 128]), U64),
    st.builds(Bool, st.booleans()),
    st.builds(Char, st.integers(-128, 255)),
    st.builds(Float, st.just(64), st.floats(allow_nan=False)),
    st.builds(Enum, st.just(32), st.integers(-5, 5), st.none() | TEXT, st.booleans()),
    st.builds(CpuList, st.just("0-3,8")),
    st.builds(Bytes, st.binary(max_size=6).map(lambda raw: raw.hex(" "))),
    st.builds(Unsupported, TEXT),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            Struct,
            st.none() | TEXT,
            st.lists(st.tuples(TEXT, inner), max_size=3).map(tuple),
        ),
        st.builds(Array, st.integers(0, 5000), st.lists(inner, max_size=3).map(tuple)),
        st.builds(Ptr, U64, st.none() | inner, st.none() | TEXT, st.none() | TEXT),
        st.builds(Truncated, st.integers(0, 99), st.integers(0, 99), inner),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_what_was_written_is_read(value: RenderedValue) -> None:
    plain = json.loads(json.dumps(value.to_json(), allow_nan=False))
    assert read_value(plain) == value
    assert read_lazy(plain).value == value


def test_a_number_that_is_none_comes_back_as_none() -> None:
    back = read_value(json.loads(json.dumps(Float(64, math.nan).to_json())))
    assert isinstance(back, Float) and math.isnan(back.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KINDS = [
    "int", "uint", "bool", "char", "float", "enum", "struct", "array", "cpu_list", "ptr", "bytes",
    "truncated", "unsupported",
]  # fmt: skip
FIELDS = ["bits", "value", "variant", "members", "elements", "len", "hex", "deref", "partial"]


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_a_damaged_value_is_refused_or_a_value_never_anything_else(
    kind: str, fields: dict[str, Any]
) -> None:
    try:
        value = read_value({"kind": kind, **fields})
    except ValueError:
        return
    assert isinstance(value, RenderedValue)


@pytest.mark.parametrize("plain", [None, 5, [], {}, {"kind": "no"}, {"kind": []}, {"value": 5}])
def test_other_things_are_no_values(plain: object) -> None:
    with pytest.raises(ValueError, match="is no"):
        read_value(plain)


def test_depth_is_bounded_and_what_the_record_cut_is_told() -> None:
    plain: object = {"kind": "uint", "bits": 8, "value": 1}
    for _ in range(80):
        plain = {"kind": "ptr", "value": 1, "deref": plain}
    with pytest.raises(ValueError, match="is no rendered value"):
        read_value(plain)
    assert read_value("...") == Unsupported("nested too deep for the record")
