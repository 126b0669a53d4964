# SPDX-License-Identifier: GPL-2.0-only
"""The self-test runner's text, read as results: what it says, what it leaves out, what lies."""

import pytest

from ktstr.errors import ExitCode
from ktstr.verdict.selftests import (
    MAX_LINE,
    Began,
    Ending,
    Selftest,
    SelftestReport,
    Transcript,
    conclude,
    listed,
)


def block(name: str, result: str, output: str = "", *, number: int = 1) -> str:
    """One test's text as the runner prints it; the output stands right before the result."""
    return (
        f"===== START =====\nTEST: {name}\nDESCRIPTION: What {name} is for\nOUTPUT:\n{output}"
        f"{result.format(number=number, name=name)}\n=====  END  =====\n"
    )


PASS = "ok {number} {name} # "
FAIL = "not ok {number} {name} # "
SKIP = "ok {number} {name} # SKIP "


def counts(passed: int, skipped: int, failed: int) -> str:
    return (
        "\n\n=============================\n\nRESULTS:\n\n"
        f"PASSED:  {passed}\nSKIPPED: {skipped}\nFAILED:  {failed}\n"
    )


def read(text: str, expected: tuple[str, ...], ending: Ending | None = None) -> SelftestReport:
    transcript = Transcript()
    transcript.feed(text.encode(), 0.0)
    transcript.close(1.0, "the test did not end")
    return conclude(transcript, expected, ending if ending is not None else Ending(status=0))


def only(report: SelftestReport) -> Selftest:
    (result,) = report.results
    return result


def test_a_pass_a_skip_and_a_failure_of_a_runner_that_exits_with_0() -> None:
    error = "ERR: select_cpu.c:60\nExpected kind == 5 (64 == 5)\nERR: util.c:1\nlater\n"
    text = block("minimal", PASS, "hello\n")
    text += block("hotplug", SKIP, "no second CPU\n", number=2)
    text += block("exit", FAIL, error, number=3)
    report = read(text + counts(1, 1, 1), ("minimal", "hotplug", "exit"))
    passed, skipped, failed = report.results
    assert (passed.name, passed.verdict, passed.reason) == ("minimal", "pass", "")
    assert (passed.description, passed.output) == ("What minimal is for", "hello")
    assert (skipped.name, skipped.verdict) == ("hotplug", "skip")
    assert skipped.reason == "the test skipped itself: no second CPU"
    assert (failed.name, failed.verdict) == ("exit", "fail")
    assert failed.reason == "select_cpu.c:60: Expected kind == 5 (64 == 5)"
    assert failed.output == error.strip()
    assert report.problems == ()
    assert report.exit_code is ExitCode.FAIL


def test_passes_and_skips_alone_are_a_pass() -> None:
    report = read(block("a", PASS) + block("b", SKIP) + counts(1, 1, 0), ("a", "b"))
    assert report.exit_code is ExitCode.PASS
    assert (report.count("pass"), report.count("skip")) == (1, 1)


def test_news_come_as_they_are_read_with_their_times() -> None:
    transcript = Transcript()
    text = block("a", PASS, "x\n")
    head, tail = text[: text.index("OUTPUT")], text[text.index("OUTPUT") :]
    assert transcript.feed(head.encode(), 10.0) == [Began("a")]
    assert transcript.running == "a"
    (ended,) = transcript.feed(tail.encode(), 12.5)
    assert isinstance(ended, Selftest)
    assert (ended.seconds, transcript.running) == (2.5, None)


def test_lines_of_a_terminal_end_with_a_carriage_return() -> None:
    text = (block("a", PASS, "x\n") + counts(1, 0, 0)).replace("\n", "\r\n")
    report = read(text, ("a",))
    assert (only(report).output, report.exit_code) == ("x", ExitCode.PASS)


def test_output_without_a_line_end_stands_before_the_result() -> None:
    for mark, verdict in ((PASS, "pass"), (FAIL, "fail"), (SKIP, "skip")):
        result = only(read(block("hotplug", mark, "cannot bring CPU 1 online"), ("hotplug",)))
        assert (result.verdict, result.output) == (verdict, "cannot bring CPU 1 online")


def test_a_child_that_outlives_its_test_may_write_before_the_last_mark() -> None:
    text = block("a", PASS).replace("=====  END", "late=====  END") + block("b", PASS)
    first, second = read(text, ("a", "b")).results
    assert (first.verdict, first.output, second.verdict) == ("pass", "late", "pass")


def test_results_that_a_test_prints_itself_do_not_count() -> None:
    inner = "TAP version 13\nok 1 PASS: first half\nok 1 minimal # \nok 2\n"
    assert only(read(block("rt_stall", FAIL, inner), ("rt_stall",))).verdict == "fail"


@pytest.mark.parametrize("inner", ["not ok 1 a # \n", "ok 7 a # SKIP \n", "<UNKNOWN> 1 a # \n"])
def test_of_several_results_of_one_test_none_makes_it_pass(inner: str) -> None:
    assert only(read(block("a", PASS, inner), ("a",))).verdict == "fail"


def test_a_status_the_runner_does_not_know_is_a_failure() -> None:
    result = only(read(block("a", "<UNKNOWN> {number} {name} # "), ("a",)))
    assert (result.verdict, result.reason) == ("fail", "the runner gave it '<UNKNOWN>'")


def test_a_test_without_a_result_has_failed() -> None:
    text = "===== START =====\nTEST: a\nDESCRIPTION: d\nOUTPUT:\n=====  END  =====\n"
    result = only(read(text, ("a",)))
    assert (result.verdict, result.reason) == ("fail", "it ended without a result")


def test_a_test_that_another_one_follows_too_early_has_failed() -> None:
    text = "===== START =====\nTEST: a\nDESCRIPTION: d\nOUTPUT:\npart" + block("b", PASS)
    first, second = read(text, ("a", "b")).results
    assert (first.verdict, first.reason) == ("fail", "another test began before it had ended")
    assert (first.output, second.verdict) == ("part", "pass")


def test_what_follows_a_test_that_hangs_has_not_run() -> None:
    text = block("a", PASS) + block("b", PASS)
    text = text[: text.rindex("ok 1 b")] + "half a li"
    report = read(text, ("a", "b", "c", "d"), Ending(hung="b did not end within 60 s"))
    assert [(r.name, r.verdict) for r in report.results] == [
        ("a", "pass"),
        ("b", "fail"),
        ("c", "not run"),
        ("d", "not run"),
    ]
    assert report.results[1].reason == "the test did not end"
    assert report.results[1].output == "half a li"
    assert report.results[2].reason == "not reached: b was the last to run"
    assert report.exit_code is ExitCode.FAIL


def test_a_lost_guest_is_told_by_the_exit_code() -> None:
    report = read(block("a", PASS), ("a", "b"), Ending(lost="the guest kernel panicked"))
    assert report.exit_code is ExitCode.GUEST_LOST
    assert report.problems == ("the guest kernel panicked",)
    assert [r.verdict for r in report.results] == ["pass", "not run"]


def test_no_test_seen_is_no_pass() -> None:
    for expected in ((), ("a",)):
        report = read("error while loading shared libraries: libelf.so.1\n", expected)
        assert report.exit_code is ExitCode.FAIL
        assert report.problems[0] == (
            "the runner printed no test; it said: error while loading shared libraries: libelf.so.1"
        )


def test_a_test_that_should_have_run_is_missed() -> None:
    report = read(block("a", PASS) + counts(1, 0, 0), ("a", "b"))
    assert report.problems == ("the runner ended before all tests had run",)
    assert report.results[1].verdict == "not run"
    assert report.exit_code is ExitCode.FAIL


@pytest.mark.parametrize(
    ("ending", "problem"),
    [
        (Ending(status=-11), "the runner was ended by signal 11"),
        (Ending(status=3), "the runner exited with status 3"),
    ],
)
def test_a_runner_that_ends_badly_after_its_tests(ending: Ending, problem: str) -> None:
    report = read(block("a", PASS) + counts(1, 0, 0), ("a",), ending)
    assert (report.problems, report.exit_code) == ((problem,), ExitCode.FAIL)


def test_a_newer_runner_tells_a_failure_by_its_status_too() -> None:
    text = block("a", FAIL) + counts(0, 0, 1) + "\nFailed tests:\n  - a\n"
    report = read(text, ("a",), Ending(status=1))
    assert (report.problems, report.exit_code) == ((), ExitCode.FAIL)


def test_tests_are_listed_in_either_form() -> None:
    names = [("exit", ""), ("minimal", "")]
    assert [(t.name, t.description) for t in listed("exit\nminimal\n")] == names
    skipped = block("exit", SKIP) + block("minimal", SKIP, number=2) + counts(0, 0, 0)
    told = [("exit", "What exit is for"), ("minimal", "What minimal is for")]
    assert [(t.name, t.description) for t in listed(skipped)] == told
    assert listed("") == ()


def test_counts_that_contradict_the_text_or_are_missing() -> None:
    report = read(block("a", PASS) + counts(1, 0, 2), ("a",))
    assert report.problems == ("the runner counted 2 FAILED, its text shows 0",)
    assert report.exit_code is ExitCode.FAIL
    short = read(block("a", PASS), ("a",))
    assert short.problems == ("the runner ended without its closing counts",)


def test_counts_inside_a_test_are_its_output() -> None:
    report = read(block("a", PASS, "FAILED:  9\n") + counts(1, 0, 0), ("a",))
    assert report.exit_code is ExitCode.PASS


def test_two_tests_of_one_name_are_two() -> None:
    report = read(block("a", PASS) + block("a", FAIL) + counts(1, 0, 1), ("a", "a"))
    assert [r.verdict for r in report.results] == ["pass", "fail"]
    assert report.exit_code is ExitCode.FAIL


def test_of_long_output_the_beginning_and_the_end_are_kept() -> None:
    lines = "".join(f"line {number} {'x' * 90}\n" for number in range(5000))
    result = only(read(block("a", PASS, lines) + counts(1, 0, 0), ("a",)))
    assert result.verdict == "pass"
    assert result.output.startswith("line 0 ")
    assert result.output.splitlines()[-1].startswith("line 4999 ")
    assert "lines left out]" in result.output
    assert len(result.output) < 90_000


def test_a_line_without_end_does_not_hide_what_follows_it() -> None:
    result = only(read(block("a", FAIL, "y" * (3 * MAX_LINE) + "\n"), ("a",)))
    assert result.verdict == "fail"
    assert result.output.count("y") == 3 * MAX_LINE
