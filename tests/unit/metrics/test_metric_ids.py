# SPDX-License-Identifier: GPL-2.0-only
"""Ids of metrics: members and rows are the same set, names and members the same id."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.metrics import METRICS, BuiltinMetric, MetricId, metric_def


def test_every_row_has_its_member_and_every_member_its_row() -> None:
    assert [member.value for member in BuiltinMetric] == [metric.name for metric in METRICS]
    assert tuple(BuiltinMetric) == BuiltinMetric.ALL
    assert len(BuiltinMetric.__members__) == len(METRICS)  # an alias would be one more


def test_a_member_is_called_like_its_metric() -> None:
    for member in BuiltinMetric:
        assert member.name == member.wire_name().replace("_", " ").title().replace(" ", "")
    assert BuiltinMetric.WorstP99WakeLatencyUs.wire_name() == "worst_p99_wake_latency_us"


def test_members_are_found_by_name() -> None:
    for metric in METRICS:
        member = BuiltinMetric.from_wire_name(metric.name)
        assert member is not None and member.wire_name() == metric.name
        assert member.definition() is metric and member.def_() is metric
    for unknown in ("", "ALL", "WorstSpread", "worst_spread ", "my_metric"):
        assert BuiltinMetric.from_wire_name(unknown) is None


def test_text_that_names_a_registered_metric_becomes_the_builtin() -> None:
    by_text, by_member = MetricId("worst_gap_ms"), MetricId(BuiltinMetric.WorstGapMs)
    assert by_text == by_member and hash(by_text) == hash(by_member)
    assert by_text.key is BuiltinMetric.WorstGapMs
    assert by_text.as_str() == "worst_gap_ms"
    assert by_text.definition() is metric_def("worst_gap_ms")
    assert by_text.def_() is by_text.definition()


def test_a_dynamic_metric_has_no_definition() -> None:
    dynamic = MetricId("layer0_util")
    assert dynamic.key == "layer0_util" == dynamic.as_str()
    assert dynamic.definition() is None


@pytest.mark.parametrize("name", ["worst_spread", "layer0_util"])
def test_accessors_take_every_way_to_say_a_metric(name: str) -> None:
    plain = MetricId.of(name)
    assert plain.as_str() == name
    assert MetricId.of(plain) is plain
    assert MetricId.of(BuiltinMetric.from_wire_name(name) or name) == plain
    assert pickle.loads(pickle.dumps(plain)) == plain


@given(st.one_of(st.text(), st.sampled_from([metric.name for metric in METRICS])))
def test_an_id_keeps_its_name(name: str) -> None:
    metric_id = MetricId.of(name)
    assert metric_id.as_str() == name
    assert metric_id.definition() is metric_def(name)
