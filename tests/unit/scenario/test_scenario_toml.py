# SPDX-License-Identifier: GPL-2.0-only
"""What is written as TOML is read as the same data, in the layout that people write."""

import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.scenario.toml import toml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.sampled_from(["vm", "steps", "cgroups", "checks", "ops", "a b", "", "ü"]) | TEXTS
SCALARS = st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from 1.0 and True, and takes NaN for itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_read_as_it_was(data: dict[str, Any]) -> None:
    assert same(tomllib.loads(toml_text(data)), data)


def test_layout() -> None:
    data = {
        "name": "x",
        "backdrop": {"cgroups": [{"name": "a", "cpuset": {"llc": 0}}]},
        "vm": {},
        "steps": [
            {"hold": 1.5, "ops": [{"op": "A"}, {"op": "B", "n": [1, 2]}], "cgroups": []},
            {"hold": "1s", "cgroups": [{"name": 'q"\\\n\x01', "works": [{"type": "T"}]}]},
        ],
    }
    assert toml_text(data) == (
        'name = "x"\n'
        "\n"
        "[[backdrop.cgroups]]\n"
        'name = "a"\n'
        "cpuset = { llc = 0 }\n"
        "\n"
        "[vm]\n"
        "\n"
        "[[steps]]\n"
        "hold = 1.5\n"
        'ops = [\n    { op = "A" },\n    { op = "B", n = [1, 2] },\n]\n'
        "cgroups = []\n"
        "\n"
        "[[steps]]\n"
        'hold = "1s"\n'
        "\n"
        "[[steps.cgroups]]\n"
        'name = "q\\"\\\\\\n\\u0001"\n'
        'works = [{ type = "T" }]\n'
    )


def test_what_toml_cannot_say_is_told() -> None:
    with pytest.raises(TypeError, match="a scenario holds no NoneType: None"):
        toml_text({"a": [None]})
