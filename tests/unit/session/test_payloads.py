# SPDX-License-Identifier: GPL-2.0-only
"""What a payload printed, as numbers; and how its end is judged."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.model.op_programs import RunPayload
from ktstr.session.judge import _judge_payloads
from ktstr.session.payloads import TRUNCATED, PayloadResult, json_metrics
from ktstr.verdict import AssertResult
from ktstr.wire import WireError


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "p",
        "step": 1,
        "killed": None,
        "exit": {"kind": "Exited", "code": 0},
        "wall_ms": 12,
        "stdout": b"",
        "stderr": b"",
        "cut": False,
        **changes,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("no numbers", {}),
        ("7", {"value": 7}),
        ('{"a": {"b": [1, 2.5, {"c": -3}]}, "d": true, "e": "4", "f": null}', None),
        ('log [info] x\n{"a": 1} {"b": 2}', {"a": 1}),
        ("[1, 2] and {}", {"0": 1, "1": 2}),
        ('{"a": "}"}', {}),
        ('{broken {"a": 5}', {"a": 5}),
        ('{"a": NaN, "b": Infinity, "c": 1e999, "d": 3}', {"d": 3}),
        ('{"a": 18446744073709551615, "b": 18446744073709551616}', {"a": (1 << 64) - 1}),
        ("[" * 100_000, {}),
    ],
)
def test_numbers_of_a_text(text: str, expected: dict[str, float] | None) -> None:
    if expected is None:
        expected = {"a.b.0": 1, "a.b.1": 2.5, "a.b.2.c": -3}
    assert json_metrics(text) == expected


def nested(levels: int) -> str:
    return '{"x": ' * levels + "1" + "}" * levels


def test_what_lies_too_deep_is_left_out_and_that_is_said() -> None:
    assert json_metrics(nested(64)) == {".".join(["x"] * 64): 1}
    assert json_metrics(nested(65)) == {TRUNCATED: 1}
    many = json_metrics(json.dumps(list(range(1500))))
    assert (len(many), many[TRUNCATED], many["999"]) == (1001, 1, 999)


TREES = st.recursive(
    st.integers(-100, 100) | st.booleans() | st.none() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key], (*path, key))]
    if isinstance(tree, list):
        return [leaf for i, item in enumerate(tree) for leaf in leaves(item, (*path, str(i)))]
    return [(".".join(path), tree)] if type(tree) is int else []


@given(TREES.filter(lambda tree: isinstance(tree, dict) and "" not in str(tree).split("'")))
def test_every_number_of_a_tree_is_found_by_its_path(tree: Any) -> None:
    assert json_metrics("text before " + json.dumps(tree)) == dict(leaves(tree))


def test_the_error_output_counts_where_the_other_has_no_numbers() -> None:
    result = PayloadResult.from_wire(fields(stdout=b"hello", stderr=b'{"a": 1}'))
    assert result.metrics() == {"a": 1}
    both = PayloadResult.from_wire(fields(stdout=b'{"b": 2}', stderr=b'{"a": 1}'))
    assert both.metrics() == {"b": 2}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"exit": {"kind": "Exited", "code": 3}}, "exited with status 3, 0 was expected"),
        ({"exit": {"kind": "Signaled", "signal": 11}}, "was ended by signal 11"),
        ({"exit": {"kind": "Signaled", "signal": 9}, "killed": "KillPayload"}, None),
        ({"exit": {"kind": "Exited", "code": 3}, "stderr": b"why\n"}, "0 was expected: why"),
    ],
)
def test_a_wrong_end_fails_the_run(changes: dict[str, Any], expected: str | None) -> None:
    result = AssertResult()
    op = RunPayload(op="RunPayload", name="p", command="x")
    payload = PayloadResult.from_wire(fields(stdout=b'{"n": 1}', **changes))
    _judge_payloads(result, [payload], {"p": op})
    messages = [o.detail.message for o in result.outcomes if o.detail is not None]
    if expected is None:
        assert messages == []
    else:
        (message,) = messages
        assert expected in message
    assert result.measurements == {"payload.p.n": 1, "payload.p.wall_ms": 12}


def test_text_is_not_searched_and_strangers_are_noted() -> None:
    result = AssertResult()
    op = RunPayload(op="RunPayload", name="p", command="x", output="text")
    told = [PayloadResult.from_wire(fields(stdout=b"1", name=name)) for name in ("p", "q")]
    _judge_payloads(result, told, {"p": op})
    assert set(result.measurements) == {"payload.p.wall_ms"}
    assert [note.message for note in result.info_notes] == [
        "the guest told of a payload 'q' that nobody started"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 5},
        {"step": -1},
        {"exit": None},
        {"killed": 7},
        {"stdout": "text"},
        {"wall_ms": "x"},
    ],
)
def test_hostile_fields_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        PayloadResult.from_wire(fields(**changes))
