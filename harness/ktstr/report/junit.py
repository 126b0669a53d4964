# SPDX-License-Identifier: GPL-2.0-only
"""Outcomes as JUnit XML, the form in which CI systems take test results.

The elements and attributes are those that Jenkins' and GitLab's readers share: ``testsuites``,
``testsuite``, ``testcase`` with ``properties``, one of ``failure``, ``error`` and ``skipped``, and
``system-out``. What the guest wrote may be in any of the texts, so all of it is made harmless.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from ktstr.report.many import Outcome
from ktstr.report.matrix import kernels_of
from ktstr.report.xml import attributes as _attributes
from ktstr.report.xml import content as _text

SUITE: Final = "ktstr"
_ELEMENTS: Final = {
    "fail": "failure",
    "inconclusive": "error",
    "guest lost": "error",
    "cannot run": "error",
    "skip": "skipped",
    "not run": "skipped",
}
"""The element for each verdict but a pass.

A failure is a finding about the scheduler; an error is a test that gave no verdict on it."""


def junit(outcomes: Sequence[Outcome], wall_s: float, began: str) -> str:
    """The document, one test case for each run in the order of the matrix.

    Where the command names several kernels, each has a suite of its own.

    :param wall_s: from the first start to the last end, seconds.
    :param began: when that was, ISO 8601 without a zone, in UTC.
    """
    whole = _totals(outcomes, wall_s)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites{_attributes({'name': SUITE, **whole})}>",
    ]
    for name, suite in _suites(outcomes).items():
        # Runs of several kernels take turns, so a suite of theirs took what its runs took.
        took = wall_s if len(suite) == len(outcomes) else sum(o.wall_s for o in suite)
        totals = _totals(suite, took)
        lines.append(f" <testsuite{_attributes({'name': name, **totals, 'timestamp': began})}>")
        lines += [line for outcome in suite for line in _case(outcome)]
        lines.append(" </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _suites(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """One suite, or one for each kernel where the command names several."""
    kernels = kernels_of(outcomes)
    if len(kernels) < 2:
        return {SUITE: list(outcomes)}
    return {
        f"{SUITE} {kernel}": [o for o in outcomes if o.turn.kernel == kernel] for kernel in kernels
    }


def _totals(outcomes: Sequence[Outcome], wall_s: float) -> dict[str, str]:
    counts = {
        "tests": len(outcomes),
        "failures": _count(outcomes, "failure"),
        "errors": _count(outcomes, "error"),
        "skipped": _count(outcomes, "skipped"),
    }
    return {**{name: str(count) for name, count in counts.items()}, "time": f"{wall_s:.3f}"}


def _count(outcomes: Sequence[Outcome], element: str) -> int:
    return sum(1 for outcome in outcomes if _ELEMENTS.get(outcome.verdict) == element)


def _case(outcome: Outcome) -> Iterator[str]:
    attributes = {
        "classname": f"{SUITE}.{outcome.name}",
        "name": outcome.title,
        "file": str(outcome.turn.path),
        "time": f"{outcome.wall_s:.3f}",
    }
    yield f"  <testcase{_attributes(attributes)}>"
    if properties := _properties(outcome):
        yield "   <properties>"
        for name, value in properties.items():
            yield f"    <property{_attributes({'name': name, 'value': value})}/>"
        yield "   </properties>"
    element = _ELEMENTS.get(outcome.verdict)
    if element == "skipped":
        yield f"   <skipped{_attributes({'message': _reason(outcome)})}/>"
    elif element is not None:
        attributes = {"message": _reason(outcome), "type": outcome.verdict.replace(" ", "-")}
        body = _text("\n".join(outcome.details or (outcome.reason,)))
        yield f"   <{element}{_attributes(attributes)}>{body}</{element}>"
    if output := _output(outcome):
        yield f"   <system-out>{_text(output)}</system-out>"
    yield "  </testcase>"


def _reason(outcome: Outcome) -> str:
    return outcome.reason or outcome.verdict


def _properties(outcome: Outcome) -> dict[str, str]:
    turn = outcome.turn
    named = {
        "verdict": outcome.verdict,
        "exit_code": str(int(outcome.exit_code)),
        "asked_kernel": turn.kernel,
        "asked_topology": turn.topology,
        "asked_scheduler": turn.scheduler,
        "profile": turn.profile,
        "repetition": str(turn.repetition) if turn.repetition else None,
        "record": None if outcome.record is None else str(outcome.record),
        "evidence": None if outcome.evidence is None else str(outcome.evidence),
    }
    return {**{name: value for name, value in named.items() if value}, **outcome.facts}


def _output(outcome: Outcome) -> str:
    """Where to read on, and the ends of the logs."""
    lines = [f"note: {note}" for note in outcome.notes]
    lines += [f"evidence: {outcome.evidence}"] if outcome.evidence is not None else []
    lines += [f"record: {outcome.record}"] if outcome.record is not None else []
    lines += [outcome.repro] if outcome.repro else []
    for name, tail in outcome.tails.items() if outcome.verdict != "pass" else ():
        lines += [f"--- {name} (end) ---", *tail]
    return "\n".join(lines)
