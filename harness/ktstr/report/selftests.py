# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's self-tests for people and programs: lines, one JSON document, JUnit XML."""

from collections.abc import Iterator
from typing import Any, Final

from ktstr.report.printable import lines, one_line
from ktstr.report.xml import attributes, content
from ktstr.session.selftests import SelftestRun
from ktstr.verdict.selftests import Selftest, Verdict

SCHEMA: Final = 1
SUITE: Final = "sched_ext selftests"
OUTPUT_LINES: Final = 40
"""Lines of a failed test's output that are shown; the JSON document has more."""

LOG_LINES: Final = 20
_VERDICTS: Final[tuple[Verdict, ...]] = ("pass", "fail", "skip", "not run")
_WORDS: Final = {"pass": "passed", "fail": "failed", "skip": "skipped", "not run": "not run"}
_ELEMENTS: Final = {"fail": "failure", "skip": "skipped", "not run": "skipped"}


def headline(test: Selftest) -> str:
    """One test in one line."""
    seconds = "" if test.seconds is None else f"{test.seconds:6.1f} s"
    reason = f"  {one_line(test.reason, 200)}" if test.reason else ""
    return f"{test.verdict:8}{one_line(test.name):32}{seconds:>8}{reason}"


def details(test: Selftest) -> Iterator[str]:
    """What a failed test printed, and what the kernel logged meanwhile."""
    yield f"--- {one_line(test.name)}: {one_line(test.reason)}"
    if test.description:
        yield f"    {one_line(test.description)}"
    for title, text, limit in (
        ("output", test.output.split("\n") if test.output else [], OUTPUT_LINES),
        ("kernel log", test.kernel_log, LOG_LINES),
    ):
        if text:
            cut = f", the last {limit} lines" if len(text) > limit else ""
            yield f"  {title}{cut}:"
            yield from (f"    {line}" for line in lines("\n".join(text[-limit:])).split("\n"))


def closing(run: SelftestRun) -> Iterator[str]:
    """The end: what is wrong with the run as a whole, then the counts in one line."""
    for line in run.console:
        yield f"  kernel: {one_line(line)}"
    for problem in run.report.problems:
        yield f"problem: {one_line(problem)}"
    yield f"{_counts(run)} in {run.seconds:.1f} s; kernel {one_line(run.release)}, {_machine(run)}"


def _counts(run: SelftestRun) -> str:
    counted = [(run.report.count(verdict), _WORDS[verdict]) for verdict in _VERDICTS]
    told = [f"{count} {word}" for count, word in counted if count]
    return ", ".join(told) or "no test ran"


def _machine(run: SelftestRun) -> str:
    return f"{run.topology} under {run.accelerator.upper()}"


def document(run: SelftestRun) -> dict[str, Any]:
    """Everything, for programs."""
    report = run.report
    return {
        "schema": SCHEMA,
        "kernel": run.release,
        "topology": run.topology,
        "accelerator": run.accelerator,
        "exit_code": int(report.exit_code),
        "seconds": round(run.seconds, 3),
        "counts": {verdict: report.count(verdict) for verdict in _VERDICTS},
        "problems": list(report.problems),
        "lost": report.lost,
        "console": list(run.console),
        "tests": [
            {
                "name": test.name,
                "verdict": test.verdict,
                "reason": test.reason,
                "description": test.description,
                "seconds": None if test.seconds is None else round(test.seconds, 3),
                "output": test.output,
                "kernel_log": list(test.kernel_log),
            }
            for test in report.results
        ],
    }


def junit(run: SelftestRun, began: str) -> str:
    """JUnit XML: a test case for each test, and one for what is wrong with the run as a whole.

    :param began: ISO 8601 without a zone, in UTC.
    """
    report = run.report
    totals = {
        "name": SUITE,
        "tests": str(len(report.results) + bool(report.problems)),
        "failures": str(report.count("fail")),
        "errors": str(int(bool(report.problems))),
        "skipped": str(report.count("skip") + report.count("not run")),
        "time": f"{run.seconds:.3f}",
    }
    properties = {
        "kernel": run.release,
        "topology": run.topology,
        "accelerator": run.accelerator,
    }
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites{attributes(totals)}>",
        f" <testsuite{attributes({**totals, 'timestamp': began})}>",
        "  <properties>",
        *(
            f"   <property{attributes({'name': name, 'value': value})}/>"
            for name, value in properties.items()
        ),
        "  </properties>",
        *(line for test in report.results for line in _case(run, test)),
        *_problems(run),
        " </testsuite>",
        "</testsuites>",
    ]
    return "\n".join(parts) + "\n"


def _case(run: SelftestRun, test: Selftest) -> Iterator[str]:
    named = {"classname": f"sched_ext.{run.release}", "name": test.name}
    yield f"  <testcase{attributes({**named, 'time': f'{test.seconds or 0.0:.3f}'})}>"
    element = _ELEMENTS.get(test.verdict)
    if element == "skipped":
        yield f"   <skipped{attributes({'message': test.reason})}/>"
    elif element is not None:
        log = "\n".join(test.kernel_log)
        body = "\n".join(
            [*([test.output] if test.output else []), *(["--- kernel log ---", log] if log else [])]
        )
        head = attributes({"message": test.reason, "type": test.verdict})
        yield f"   <{element}{head}>{content(body)}</{element}>"
    if test.output and test.verdict != "fail":
        yield f"   <system-out>{content(test.output)}</system-out>"
    yield "  </testcase>"


def _problems(run: SelftestRun) -> Iterator[str]:
    problems = run.report.problems
    if not problems:
        return
    named = {"classname": f"sched_ext.{run.release}", "name": "(the run)", "time": "0.000"}
    kind = "guest-lost" if run.report.lost is not None else "problem"
    head = attributes({"message": problems[0], "type": kind})
    yield f"  <testcase{attributes(named)}>"
    yield f"   <error{head}>{content(chr(10).join((*problems, *run.console)))}</error>"
    yield "  </testcase>"
