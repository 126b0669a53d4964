# SPDX-License-Identifier: GPL-2.0-only
"""Self-tests as lines, JSON and JUnit XML: counted right, harmless whatever a test printed."""

import json
from xml.etree import ElementTree

from ktstr.report.selftests import (
    LOG_LINES,
    OUTPUT_LINES,
    closing,
    details,
    document,
    headline,
    junit,
)
from ktstr.session.selftests import SelftestRun
from ktstr.verdict.selftests import Selftest, SelftestReport

PASSED = Selftest("minimal", "pass", "", "Loads", "fine", 0.41)
SKIPPED = Selftest("numa", "skip", "the test skipped itself: one node", "", "one node", 0.1)
FAILED = Selftest(
    "exit", "fail", "exit.c:7: Expected 1 == 2", "Exits", "ERR: exit.c:7", 2.5, ("[ 1.0] oops",)
)
NEVER = Selftest("hotplug", "not run", "not reached: exit was the last to run")


def run(*results: Selftest, problems: tuple[str, ...] = (), lost: str | None = None) -> SelftestRun:
    report = SelftestReport(results, problems, lost)
    console = ("Kernel panic\x1b[2J",) if lost else ()
    return SelftestRun(report, "6.12.0", "1n1l2c1t", "tcg", 12.34, console)


def suite(given: SelftestRun) -> ElementTree.Element:
    root = ElementTree.fromstring(junit(given, "2026-01-02T03:04:05"))
    assert root.tag == "testsuites"
    found = root.find("testsuite")
    assert found is not None
    for name in ("tests", "failures", "errors", "skipped"):
        assert root.get(name) == found.get(name)
    return found


def test_one_line_for_each_test() -> None:
    assert headline(PASSED) == "pass    minimal                            0.4 s"
    assert headline(FAILED).endswith("2.5 s  exit.c:7: Expected 1 == 2")
    told = " ".join(headline(NEVER).split())
    assert told == "not run hotplug not reached: exit was the last to run"


def test_a_failure_is_shown_with_its_output_and_log() -> None:
    assert list(details(FAILED)) == [
        "--- exit: exit.c:7: Expected 1 == 2",
        "    Exits",
        "  output:",
        "    ERR: exit.c:7",
        "  kernel log:",
        "    [ 1.0] oops",
    ]


def test_of_long_output_the_end_is_shown_and_said_to_be_that() -> None:
    output = "\n".join(f"line {number}" for number in range(1000))
    log = tuple(f"log {number}" for number in range(1000))
    shown = list(details(Selftest("a", "fail", "r", "", output, 1.0, log)))
    assert f"  output, the last {OUTPUT_LINES} lines:" in shown
    assert f"  kernel log, the last {LOG_LINES} lines:" in shown
    assert (shown.count("    line 999"), shown.count("    log 999")) == (1, 1)
    assert len(shown) == 1 + 1 + OUTPUT_LINES + 1 + LOG_LINES


def test_nothing_a_guest_wrote_reaches_the_terminal_as_it_is() -> None:
    evil = "\x1b[2J\x07\u202e"
    test = Selftest(evil, "fail", evil, evil, evil, 1.0, (evil,))
    shown = [headline(test), *details(test), *closing(run(test, problems=(evil,), lost=evil))]
    assert not any(char in line for line in shown for char in "\x1b\x07\u202e\n")


def test_the_closing_line_counts_what_there_is() -> None:
    (line,) = closing(run(PASSED, PASSED, SKIPPED))
    assert line == "2 passed, 1 skipped in 12.3 s; kernel 6.12.0, 1n1l2c1t under TCG"
    *_, line = closing(run(problems=("no test",)))
    assert line.startswith("no test ran in 12.3 s")
    lines = list(closing(run(PASSED, FAILED, NEVER, problems=("the guest panicked",), lost="x")))
    assert lines[0] == "  kernel: Kernel panic?[2J"
    assert lines[1] == "problem: the guest panicked"
    assert lines[2].startswith("1 passed, 1 failed, 1 not run in")


def test_the_document_has_everything_and_is_json() -> None:
    whole = document(run(PASSED, FAILED, NEVER, problems=("p",)))
    assert json.loads(json.dumps(whole)) == whole
    assert whole["exit_code"] == 1
    assert whole["counts"] == {"pass": 1, "fail": 1, "skip": 0, "not run": 1}
    assert [test["name"] for test in whole["tests"]] == ["minimal", "exit", "hotplug"]
    assert whole["tests"][1]["kernel_log"] == ["[ 1.0] oops"]
    assert whole["tests"][2]["seconds"] is None
    assert document(run(PASSED))["exit_code"] == 0
    assert document(run(PASSED, lost="gone"))["exit_code"] == 3


def test_junit_has_a_case_for_each_test() -> None:
    found = suite(run(PASSED, SKIPPED, FAILED, NEVER))
    numbers = [found.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert numbers == ["4", "1", "0", "2"]
    cases = found.findall("testcase")
    assert [case.get("name") for case in cases] == ["minimal", "numa", "exit", "hotplug"]
    assert [case.get("time") for case in cases] == ["0.410", "0.100", "2.500", "0.000"]
    assert {case.get("classname") for case in cases} == {"sched_ext.6.12.0"}
    failure = cases[2].find("failure")
    assert failure is not None
    assert failure.get("message") == "exit.c:7: Expected 1 == 2"
    assert failure.text == "ERR: exit.c:7\n--- kernel log ---\n[ 1.0] oops"
    assert cases[3].find("skipped") is not None
    assert cases[0].findtext("system-out") == "fine"


def test_junit_shows_what_is_wrong_with_a_run_without_a_failed_test() -> None:
    found = suite(run(PASSED, problems=("the runner counted 2 FAILED, its text shows 0",)))
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("2", "0", "1")
    error = found.findall("testcase")[1].find("error")
    assert error is not None
    assert error.get("message") == "the runner counted 2 FAILED, its text shows 0"


def test_junit_takes_any_text() -> None:
    evil = "\x00\x1b]]><&\"'\ud800"
    test = Selftest(evil, "fail", evil, evil, evil, 1.0, (evil,))
    assert len(suite(run(test, problems=(evil,), lost=evil))) == 3
