# SPDX-License-Identifier: GPL-2.0-only
"""JUnit XML as a CI system reads it: whole, counted right, harmless whatever a guest wrote."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ktstr.errors import ExitCode
from ktstr.report.junit import junit
from ktstr.report.many import Outcome
from ktstr.report.xml import MAX_TEXT
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions


def outcome(verdict: str = "pass", **more: Any) -> Outcome:
    turn = more.pop("turn", Turn(Path("dir/x.toml"), RunOptions()))
    codes = {"fail": 1, "inconclusive": 2, "guest lost": 3, "cannot run": 4, "not run": 130}
    return Outcome("x", turn, verdict, ExitCode(codes.get(verdict, 0)), **more)


def suite(*outcomes: Outcome) -> ElementTree.Element:
    root = ElementTree.fromstring(junit(outcomes, 12.3456, "2026-01-02T03:04:05"))
    assert root.tag == "testsuites"
    (found,) = root
    assert found.tag == "testsuite"
    for name in ("name", "tests", "failures", "errors", "skipped", "time"):
        assert found.get(name) == root.get(name)
    return found


def case(found: Outcome) -> ElementTree.Element:
    (element,) = suite(found)
    assert element.tag == "testcase"
    return element


def test_a_suite_of_all_verdicts_is_counted() -> None:
    verdicts = ["pass", "pass", "fail", "inconclusive", "guest lost", "cannot run", "skip"]
    found = suite(*map(outcome, [*verdicts, "not run", "fail"]))
    assert dict(found.items()) == {
        "name": "ktstr",
        "tests": "9",
        "failures": "2",
        "errors": "3",
        "skipped": "2",
        "time": "12.346",
        "timestamp": "2026-01-02T03:04:05",
    }
    assert [[child.tag for child in element] for element in found.findall("testcase")] == [
        ["properties", *more]
        for more in ([], [], ["failure"], *[["error"]] * 3, *[["skipped"]] * 2, ["failure"])
    ]
    assert suite().get("tests") == "0"


def test_a_case_says_which_run_it_is() -> None:
    turn = Turn(Path("dir/x.toml"), RunOptions(), "llc", "host", "tiny-1llc", repetition=3)
    element = case(outcome(turn=turn, wall_s=2.5, facts={"kernel": "7.2.1"}, record=Path("r.json")))
    assert dict(element.items()) == {
        "classname": "ktstr.x",
        "name": "x [tiny-1llc, host, llc] #3",
        "file": "dir/x.toml",
        "time": "2.500",
    }
    properties = {p.get("name"): p.get("value") for p in element.iter("property")}
    assert properties == {
        "verdict": "pass",
        "exit_code": "0",
        "asked_kernel": "host",
        "asked_topology": "tiny-1llc",
        "profile": "llc",
        "repetition": "3",
        "record": "r.json",
        "kernel": "7.2.1",
    }


def test_a_failure_has_all_reasons_and_where_to_read_on() -> None:
    details = ('[Unfair] spread 50% < "60" & more', "[Stuck] second")
    found = outcome(
        "fail",
        reason=details[0],
        details=details,
        notes=("a note",),
        evidence=Path("e/f"),
        tails={"kernel log": ("[1] a", "[2] b")},
        repro="the repetition failed too",
    )
    element = case(found)
    (failure,) = element.iter("failure")
    assert (failure.get("message"), failure.get("type")) == (details[0], "fail")
    assert failure.text == "\n".join(details)
    assert (element.findtext("system-out") or "").splitlines() == [
        "note: a note",
        "evidence: e/f",
        "the repetition failed too",
        "--- kernel log (end) ---",
        "[1] a",
        "[2] b",
    ]


def test_an_error_has_its_kind_and_a_skip_its_reason() -> None:
    (lost,) = case(outcome("guest lost", reason="panic")).iter("error")
    assert (lost.get("type"), lost.get("message"), lost.text) == ("guest-lost", "panic", "panic")
    (skipped,) = case(outcome("skip", reason="no LLC 1")).iter("skipped")
    assert skipped.get("message") == "no LLC 1"


def test_the_logs_of_a_pass_are_left_out() -> None:
    element = case(outcome(tails={"kernel log": ("x",)}, record=Path("r")))
    assert element.findtext("system-out") == "record: r"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\x1b[2Jb\x00c", "a\ufffd[2Jb\ufffdc"),
        ("]]></failure><x>", "]]></failure><x>"),
        ("\ud800 \ufffe &amp; \U0001f600", "\ufffd \ufffd &amp; \U0001f600"),
    ],
)
def test_what_a_guest_wrote_stays_text(text: str, read: str) -> None:
    found = outcome("fail", reason=text, details=(text,), tails={"kernel log": (text,)})
    element = case(found)
    (failure,) = element.iter("failure")
    assert failure.get("message") == read and failure.text == read
    assert (element.findtext("system-out") or "").splitlines()[-1] == read
    assert [child.tag for child in element] == ["properties", "failure", "system-out"]


def test_texts_are_bounded() -> None:
    element = case(outcome("fail", reason="r", details=("x" * 10 * MAX_TEXT,)))
    text = element.findtext("failure") or ""
    assert text.startswith("xxx") and text.endswith("\n[cut here]") and len(text) < MAX_TEXT + 100
