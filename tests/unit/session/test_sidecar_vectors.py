# SPDX-License-Identifier: GPL-2.0-only
"""Sample vectors in a sidecar: the same values in the same order, each stored once."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.session.sidecar.vectors import (
    INLINE,
    MAX_CANDIDATES,
    VectorTable,
    is_place,
    read_place,
    read_table,
)
from ktstr.telemetry.decode import Fields, RecordError
from ktstr.telemetry.vectors import Samples

U64 = st.integers(0, (1 << 64) - 1)


def vector(values: Any) -> Samples:
    return np.array(list(values), dtype=np.uint64)


def entries(table: VectorTable) -> dict[str, Fields]:
    """The table through JSON, ready to be read."""
    plain = json.loads(json.dumps({"vectors": table.entries()}))
    return Fields(plain, "a file").named_maps("vectors", 1000)


def back(table: VectorTable, place: dict[str, object]) -> list[int]:
    found = read_place(json.loads(json.dumps(place)), read_table(entries(table)))
    assert found.dtype == np.uint64 and not found.flags.writeable
    values: list[int] = found.tolist()
    return values


@given(st.lists(U64, max_size=100))
def test_any_vector_comes_back(values: list[int]) -> None:
    table = VectorTable()
    place = table.place(vector(values))
    assert place["samples"] == len(values)
    assert back(table, place) == values


@given(st.lists(st.lists(U64, min_size=1, max_size=60), min_size=1, max_size=6), st.data())
def test_what_is_pooled_from_known_vectors_comes_back(parts: list[list[int]], data: Any) -> None:
    table = VectorTable()
    for part in parts:
        table.place(vector(part))
    chosen = data.draw(st.lists(st.sampled_from(parts), max_size=8))
    pooled = [value for part in chosen for value in part]
    assert back(table, table.place(vector(pooled))) == pooled


def test_a_pooled_vector_names_its_parts_in_order() -> None:
    table = VectorTable()
    a, b, c = (range(k, k + 1000) for k in (0, 5000, 70_000))
    names = [table.place(vector(part))["vectors"] for part in (a, b, c)]
    pooled = table.place(vector([*c, *a, *b]))
    assert pooled == {"samples": 3000, "vectors": [*names[2], *names[0], *names[1]]}
    assert len(table.entries()) == 3
    # One value more, and it is a vector of its own.
    assert len(table.place(vector([*c, *a, 7]))["vectors"]) == 1  # type: ignore[arg-type]
    assert len(table.entries()) == 4


def test_of_parts_that_begin_alike_the_longest_is_taken() -> None:
    table = VectorTable()
    short, long = range(100), range(200)
    for part in (short, long):
        table.place(vector(part))
    pooled = [*long, *short]
    place = table.place(vector(pooled))
    assert len(table.entries()) == 2
    assert back(table, place) == pooled


def test_many_vectors_that_begin_alike_cost_no_more_than_a_few() -> None:
    table = VectorTable()
    for n in range(3 * MAX_CANDIDATES):
        table.place(vector([1] * (INLINE + 1) + [n]))
    # The last ones are not tried; the pooled vector is stored, and nothing is lost.
    pooled = [*[1] * (INLINE + 1), 47] * 2
    assert back(table, table.place(vector(pooled))) == pooled


@pytest.mark.parametrize(
    ("most", "width", "size"),
    [(255, "u1", 1), (256, "u2", 2), (65_536, "u4", 4), ((1 << 64) - 1, "u8", 8)],
)
def test_integers_are_as_narrow_as_the_largest_allows(most: int, width: str, size: int) -> None:
    table = VectorTable()
    values = [most, *range(INLINE)]
    place = table.place(vector(values))
    (entry,) = table.entries().values()
    assert (entry["dtype"], entry["samples"]) == (width, INLINE + 1)
    raw = base64.b64decode(str(entry["base64"]))
    assert raw == b"".join(value.to_bytes(size, "little") for value in values)
    assert back(table, place) == values


def test_equal_vectors_are_stored_once() -> None:
    table = VectorTable()
    places = [table.place(vector(range(50))) for _ in range(3)]
    assert places[0] == places[1] == places[2]
    assert len(table.entries()) == 1


def test_percentages_stay_as_they_are() -> None:
    values = [0.1, 1 / 3, 0.0, 100.0]
    place = VectorTable().place(np.array(values))
    assert place == {"samples": 4, "f64": values}
    assert read_place(json.loads(json.dumps(place)), {}).tolist() == values


@pytest.mark.parametrize(
    "array", [np.array([1, 2]), np.zeros((2, 2), np.uint64), np.array([1.0], np.float32)]
)
def test_other_arrays_have_no_place(array: Any) -> None:
    with pytest.raises(TypeError, match="has no place"):
        VectorTable().place(array)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"samples": 2.0, "vectors": 3.0},
        {"samples": {"metrics": {}}, "vectors": {"metrics": {}}},
        {"samples": True, "u64": [1]},
        {"samples": 1, "u64": [1], "more": 1},
    ],
)
def test_a_map_that_only_looks_alike_is_no_vector(plain: dict[str, Any]) -> None:
    assert not is_place(plain)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"samples": 2, "u64": [1]}, "1 values where there should be 2"),
        ({"samples": 1, "u64": [-1]}, "no integer of 64 bits"),
        ({"samples": 1, "u64": [1 << 64]}, "no integer of 64 bits"),
        ({"samples": 1, "u64": [True]}, "no integer of 64 bits"),
        ({"samples": 1, "f64": ["nan"]}, "no float"),
        ({"samples": 1, "vectors": ["gone"]}, "'gone', which the file does not hold"),
        ({"samples": 1, "vectors": [[]]}, "does not hold"),
        ({"samples": 1, "vectors": []}, "0 values"),
    ],
)
def test_a_place_that_stands_for_nothing_is_told(place: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_place(place, {})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"base64": "AAAA"}, "base64"),
        ({"base64": "not base64!"}, "base64"),
        ({"base64": "µ"}, "base64"),
        ({"base64": 7}, "base64"),
        ({"dtype": "u3"}, "dtype"),
        ({"dtype": "u2"}, "base64"),
        ({"samples": 49}, "base64"),
        ({"samples": -1}, "samples"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_entry_is_named(change: dict[str, Any], field: str) -> None:
    table = VectorTable()
    table.place(vector(range(50)))
    (name,) = table.entries()
    table.entries()[name].update(change)
    with pytest.raises(RecordError) as caught:
        read_table(entries(table))
    assert caught.value.field == f"vectors['{name}'].{field}"


def test_data_of_the_right_size_with_one_bit_wrong_is_found() -> None:
    table = VectorTable()
    table.place(vector(range(50)))
    ((name, entry),) = table.entries().items()
    entry["base64"] = base64.b64encode(bytes([1, *range(1, 50)])).decode()
    with pytest.raises(RecordError, match="digest is the vector's name"):
        read_table(entries(table))
    entry["base64"] = base64.b64encode(bytes(range(50))).decode()
    assert read_table(entries(table))[name].tolist() == list(range(50))
