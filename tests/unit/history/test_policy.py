# SPDX-License-Identifier: GPL-2.0-only
"""Gates out of files; every mistake is told at once."""

from pathlib import Path

import pytest

from ktstr.history.policy import Policy, PolicyInvalid, Rule, read_policy
from ktstr.metrics import metric_def
from ktstr.metrics.kinds import HIGHER_BETTER, INFORMATIONAL, LOWER_BETTER

KNOWN = ["worst_gap_ms", "iteration_rate", "worst_spread", "my_throughput", "my_errors"]


def test_the_registry_rules_without_a_policy() -> None:
    found, gap = Policy().rule("worst_gap_ms"), metric_def("worst_gap_ms")
    assert gap is not None
    assert found == Rule(gap.polarity, gap.kind, 500, 0.5, "ms")


def test_a_metric_of_its_own_is_shown_until_it_gets_a_gate() -> None:
    assert Policy().rule("my_errors") == Rule(INFORMATIONAL, None, 0.0, 0.25)
    assert Policy(default_percent=1).rule("my_errors").polarity == INFORMATIONAL
    policy = Policy(per_metric_percent={"my_errors": 5}, per_metric_absolute={"my_throughput": 3})
    assert policy.rule("my_errors") == Rule(LOWER_BETTER, None, 0.0, 0.05)
    assert policy.rule("my_throughput") == Rule(HIGHER_BETTER, None, 3.0, 0.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "p.toml",
            (
                "default_percent = 7\nmust_not_regress = ['iteration_rate']\n"
                "[per_metric_percent]\nworst_gap_ms = 80\n"
                "[per_metric_absolute]\nworst_gap_ms = 20.5\n"
            ),
        ),
        (
            "p.json",
            (
                '{"default_percent": 7, "must_not_regress": ["iteration_rate"],'
                '"per_metric_percent": {"worst_gap_ms": 80}, '
                '"per_metric_absolute": {"worst_gap_ms": 20.5}}'
            ),
        ),
    ],
)
def test_both_forms_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    policy = read_policy(path, KNOWN)
    gap, rate = policy.rule("worst_gap_ms"), policy.rule("iteration_rate")
    assert (gap.absolute, gap.relative) == (20.5, 0.8)
    assert (rate.absolute, rate.relative) == (1, 0.07)
    assert policy.must_not_regress == ("iteration_rate",)


def test_every_mistake_is_told_with_what_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        "default_percent = -1\ndefault_precent = 2\nmust_not_regress = ['worst_spead']\n"
        "[per_metric_percent]\nworst_gap = 3\nworst_spread = true\nmy_errors = nan\n"
        "[per_metric_absolute]\niteration_rate = 'x'\n"
    )
    with pytest.raises(PolicyInvalid) as caught:
        read_policy(path, KNOWN)
    said = str(caught.value)
    assert said.startswith("7 mistakes in the policy")
    for words in (
        "default_percent: found -1",
        "default_precent: no such key (did you mean default_percent",
        "must_not_regress: there is no metric 'worst_spead' (did you mean worst_spread",
        "per_metric_percent: there is no metric 'worst_gap' (did you mean worst_gap_ms",
        "per_metric_percent.worst_spread: found True",
        "per_metric_percent.my_errors: found nan",
        "per_metric_absolute.iteration_rate: found 'x'",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.toml", b"x = "),
        ("p.json", b"[1]"),
        ("p.json", b"{"),
        ("p.json", b"[" * 50_000),
        ("p.toml", b"\xff"),
        ("p.toml", b"#" * (2 << 20)),
        ("p.toml", b"per_metric_percent = 3"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PolicyInvalid):
        read_policy(path, KNOWN)
    with pytest.raises(PolicyInvalid, match="cannot be read"):
        read_policy(tmp_path / "missing", KNOWN)
