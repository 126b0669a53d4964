# SPDX-License-Identifier: GPL-2.0-only
"""How one of several runs went, and what all of them come to."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.report.printable import one_line
from ktstr.report.repro import in_brief
from ktstr.report.verdict import STYLES
from ktstr.session.ends import End
from ktstr.session.matrix import Turn
from ktstr.session.record import RunRecord

SEVERITY: Final = (
    ExitCode.PASS,
    ExitCode.INCONCLUSIVE,
    ExitCode.FAIL,
    ExitCode.GUEST_LOST,
    ExitCode.CANNOT_RUN,
    ExitCode.INTERRUPTED,
)
"""Exit codes from the best to the worst: by how little is known of the scheduler afterwards.

A doubt is a gap in the test; a failure is a finding about the scheduler, and goes before it. A lost
guest may be either the scheduler's fault or the host's, so it hides no failure that is told beside
it, but the command must not end with the code for a mere finding. What cannot run was never tried.
"""

REASON_CHARS: Final = 160
VERDICT_STYLES: Final = {**STYLES, "cannot run": "bold red", "not run": "dim"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of several went.

    :param verdict: pass, skip, fail, inconclusive, guest lost, cannot run or not run.
    :param turn: which run of the matrix it is.
    :param wall_s: from its start to its record, seconds.
    :param workload_s: what its holds ask for, seconds; ``None`` when it could not be read.
    :param reason: the first reason of a verdict that is no pass.
    :param details: all its reasons.
    :param notes: what happened besides, warnings first shown while it ran.
    :param facts: what it ran on, by name.
    :param tails: ends of its logs, by name.
    :param repro: what became of it when it was repeated with probes; empty when it was not.
    """

    name: str
    turn: Turn
    verdict: str
    exit_code: ExitCode
    wall_s: float = 0.0
    workload_s: float | None = None
    reason: str = ""
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    tails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    record: Path | None = None
    evidence: Path | None = None
    repro: str = ""

    @property
    def label(self) -> str:
        """The name, and what tells it from other runs of its scenario, repetitions aside."""
        variant = self.turn.variant
        return f"{self.name} [{variant}]" if variant else self.name

    @property
    def title(self) -> str:
        """The label, and which repetition it is where there are several."""
        return f"{self.label} #{self.turn.repetition}" if self.turn.repetition else self.label

    @classmethod
    def of(
        cls,
        record: RunRecord,
        turn: Turn,
        workload_s: float | None,
        warnings: Iterable[str] = (),
    ) -> "Outcome":
        """The outcome that a run's record tells."""
        tails = {"scheduler log": record.scheduler_tail, "kernel log": record.console_tail}
        found = cls(
            record.name,
            turn,
            "",
            record.exit_code,
            tails={name: tail for name, tail in tails.items() if tail},
            repro=in_brief(record.facts),
        )
        return found.ended(End.of(record, workload_s, warnings))

    def ended(self, end: End) -> "Outcome":
        """This outcome with what the run's end tells."""
        return replace(self, **{each.name: getattr(end, each.name) for each in fields(End)})

    def document(self) -> dict[str, Any]:
        """The outcome for programs."""
        turn = self.turn
        return {
            "name": self.name,
            "label": self.label,
            "path": str(turn.path),
            "kernel": turn.kernel,
            "topology": turn.topology,
            "profile": turn.profile,
            "repetition": turn.repetition or None,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "wall_s": round(self.wall_s, 3),
            "workload_s": self.workload_s,
            "reason": self.reason,
            "details": list(self.details),
            "notes": list(self.notes),
            "facts": dict(self.facts),
            "repro": self.repro or None,
            "record": None if self.record is None else str(self.record),
            "evidence": None if self.evidence is None else str(self.evidence),
        }


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """The exit code of several runs: that of the worst; a pass when there are none."""
    return max(codes, key=SEVERITY.index, default=ExitCode.PASS)


def exit_code(outcomes: Sequence[Outcome]) -> ExitCode:
    """How a command with these outcomes is to exit.

    Like a run in which nothing was judged, runs that were all skipped are inconclusive.
    """
    if outcomes and all(outcome.verdict == "skip" for outcome in outcomes):
        return ExitCode.INCONCLUSIVE
    return worst([outcome.exit_code for outcome in outcomes])


def outcome_line(outcome: Outcome, number: int, of: int) -> Text:
    """One finished run in one line."""
    line = Text(f"[{number:>{len(str(of))}}/{of}] ", style="dim")
    line.append(f"{outcome.verdict.upper():<12} ", style=VERDICT_STYLES.get(outcome.verdict, ""))
    line.append(f"{one_line(outcome.title)} ")
    line.append(f"{outcome.wall_s:.1f} s", style="dim")
    if outcome.reason:
        line.append(f"  {one_line(outcome.reason, REASON_CHARS)}", style="dim")
    if outcome.repro:
        line.append(f"; {one_line(outcome.repro, REASON_CHARS)}", style="dim")
    return line


def rank(outcome: Outcome) -> tuple[int, int]:
    """From passes, skips and what an interruption kept from running to the worst finding."""
    if outcome.verdict == "not run":
        return 0, 2
    return SEVERITY.index(outcome.exit_code), int(outcome.verdict != "pass")


def counted(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How often each verdict came, the best first."""
    return Counter(outcome.verdict for outcome in sorted(outcomes, key=rank))


def workload_s(outcomes: Sequence[Outcome]) -> float:
    """What the steps hold that all runs came to."""
    return round(sum(outcome.workload_s or 0.0 for outcome in outcomes), 3)
