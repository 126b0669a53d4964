# SPDX-License-Identifier: GPL-2.0-only
"""What a run comes to as a test: pytest's outcomes, in ktstr's words and without its traceback.

=================  ==========================================================================
of the run         of the test
=================  ==========================================================================
pass               passes; with ``expect_fail`` it is a failure
fail               a failure; with ``expect_fail`` it passes
skip               skipped; with ``--ktstr-no-skip`` a failure
inconclusive       a failure of that name; with ``allow_inconclusive`` skipped
guest lost         an error: there is no verdict
cannot run         an error with what mends it; where the kernel lacks something, skipped
=================  ==========================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from _pytest import outcomes

from ktstr.errors import KernelLacks, KtstrError
from ktstr.pytest_plugin.run import Run
from ktstr.report.printable import lines, one_line
from ktstr.session.ends import reasons
from ktstr.session.record import RunRecord
from ktstr.verdict.outcome import Inconclusive
from ktstr.verdict.result import NOTHING_EVALUATED, AssertResult

Skipped = outcomes.Skipped

FAIL, SKIP, INCONCLUSIVE = "fail", "skip", "inconclusive"
LOST, CANNOT_RUN = "guest lost", "cannot run"
NO_VERDICT: Final = frozenset({LOST, CANNOT_RUN})
"""What says nothing about the scheduler: errors of a test, not failures."""

MAX_REASONS: Final = 40


class NotPassed(outcomes.Failed):
    """A run that is no pass, told without a traceback.

    :ivar word: how the test ended.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text, pytrace=False)
        self.word = word


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run is taken.

    :param check: a run that does not pass fails the test; else the test's body judges all of it.
    :param body_judges: the test takes the run, so a scenario without checks is judged by the test.
    :param no_skip: a skip is a failure.
    """

    check: bool = True
    expect_fail: bool = False
    allow_inconclusive: bool = False
    body_judges: bool = False
    no_skip: bool = False


def outcome_of(run: Run, terms: Terms) -> NotPassed | Skipped | None:
    """What the run's own outcome means for its test; ``None``: nothing speaks against a pass."""
    record = run.record
    if record.output_error is not None:
        return NotPassed(CANNOT_RUN, _told(CANNOT_RUN, record, [record.output_error]))
    if not terms.check:
        return None
    found = reasons(record)
    match record.verdict:
        case "pass" if terms.expect_fail:
            return NotPassed(FAIL, _told(FAIL, record, ["it was expected to fail, and passed"]))
        case "fail" if not terms.expect_fail:
            return NotPassed(FAIL, _told(FAIL, record, found))
        case "lost":
            return NotPassed(LOST, _told(LOST, record, [record.error or "", *found[1:]]))
        case "skip":
            result = record.result or AssertResult()
            told = [detail.message for detail in result.skip_details()]
            return skipped(f"{record.name}: {'; '.join(told)}", terms)
        case "inconclusive" if not (terms.body_judges and without_checks(record)):
            if terms.allow_inconclusive:
                return _skip(one_line(f"inconclusive: {record.name}: {'; '.join(found)}"))
            return NotPassed(INCONCLUSIVE, _told(INCONCLUSIVE, record, found))
    return None


def claims_of(run: Run, terms: Terms) -> NotPassed | Skipped | None:
    """What the test's own claims about the run come to."""
    claimed = run.claimed()
    outcome = claimed.outcome()
    name = run.record.name
    if outcome.is_fail():
        details = [*claimed.failure_details(), *claimed.inconclusive_details()]
        told = [f"[{detail.kind.value}] {detail.message}" for detail in details]
        return NotPassed(FAIL, _told(FAIL, run.record, told))
    if outcome.is_inconclusive():
        told = [f"[{d.kind.value}] {d.message}" for d in claimed.inconclusive_details()]
        if terms.allow_inconclusive:
            return _skip(one_line(f"inconclusive: {name}: {'; '.join(told)}"))
        return NotPassed(INCONCLUSIVE, _told(INCONCLUSIVE, run.record, told))
    if outcome.is_skip() and not claimed.passes:
        return skipped(f"{name}: {'; '.join(d.message for d in claimed.skip_details())}", terms)
    return None


def skipped(reason: str, terms: Terms) -> NotPassed | Skipped:
    """A skip, or what it is where none may be."""
    if terms.no_skip:
        return NotPassed(SKIP, one_line(f"skipped, which --ktstr-no-skip forbids: {reason}"))
    return _skip(one_line(reason))


def _skip(reason: str) -> Skipped:
    """A skip that is told where the test stands."""
    return Skipped(reason, _use_item_location=True)


def refusal(error: KtstrError | OSError, terms: Terms) -> NotPassed | Skipped:
    """What an error means that left no record."""
    if isinstance(error, KernelLacks):
        # Where several kernels were looked at, a line each follows the first.
        return skipped(f"the kernel lacks: {error.message.splitlines()[-1].strip()}", terms)
    code = getattr(error, "exit_code", None)
    word = LOST if code is not None and code.name == "GUEST_LOST" else CANNOT_RUN
    told = [str(error), *getattr(error, "__notes__", ())]
    return NotPassed(word, f"{word}: " + lines("\n".join(told)))


def without_checks(record: RunRecord) -> bool:
    """Whether all that makes a run inconclusive is that its scenario asks for no check."""
    outcomes = [] if record.result is None else record.result.outcomes
    doubts = [outcome for outcome in outcomes if isinstance(outcome, Inconclusive)]
    return bool(doubts) and all(each.detail.message == NOTHING_EVALUATED for each in doubts)


def _told(word: str, record: RunRecord, why: Sequence[str]) -> str:
    """The report: the first reason where pytest's summary shows it, then the rest."""
    first, *rest = why or [""]
    head, *more = lines(first).split("\n")
    facts = record.facts
    scheduler = facts.get("scheduler") or {}
    ran_on = {
        "kernel": (facts.get("kernel") or {}).get("release"),
        "topology": facts.get("topology"),
        "scheduler": scheduler.get("path") or scheduler.get("kind"),
        "flags": scheduler.get("profile"),
        "accelerator": facts.get("accelerator"),
    }
    told = [f"{word}: {one_line(record.name)}: {head}", *(f"  {line}" for line in more)]
    told += [f"  {one_line(reason)}" for reason in rest[:MAX_REASONS]]
    if len(rest) > MAX_REASONS:
        told.append(f"  ... and {len(rest) - MAX_REASONS} more")
    told.append("  on " + ", ".join(f"{n} {one_line(str(v))}" for n, v in ran_on.items() if v))
    told += [f"  evidence: {record.evidence}"] if record.evidence is not None else []
    told += [f"  record: {record.sidecar}"] if record.sidecar is not None else []
    return "\n".join(told)
