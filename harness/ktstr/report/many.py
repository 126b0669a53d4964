# SPDX-License-Identifier: GPL-2.0-only
"""How several scenarios went: a line for each as it ends, a table of all, a document."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.report.printable import one_line
from ktstr.report.repro import in_brief
from ktstr.report.verdict import STYLES, first_reason
from ktstr.session.record import RunRecord

SEVERITY: Final = (
    ExitCode.PASS,
    ExitCode.INCONCLUSIVE,
    ExitCode.FAIL,
    ExitCode.GUEST_LOST,
    ExitCode.CANNOT_RUN,
    ExitCode.INTERRUPTED,
)
"""Exit codes from the best to the worst."""

REASON_CHARS: Final = 160
_STYLES: Final = {**STYLES, "cannot run": "bold red", "not run": "dim"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one scenario of several went.

    :param verdict: pass, skip, fail, inconclusive, guest lost, cannot run or not run.
    :param profile: the scheduler's flags it ran with, where it is one of several of its scenario.
    :param wall_s: from its start to its record, seconds.
    :param workload_s: what its holds ask for, seconds; ``None`` when it could not be read.
    :param reason: the first reason of a verdict that is no pass.
    :param repro: what became of it when it was repeated with probes; empty when it was not.
    """

    name: str
    path: Path
    verdict: str
    exit_code: ExitCode
    wall_s: float = 0.0
    workload_s: float | None = None
    reason: str = ""
    record: Path | None = None
    profile: str | None = None
    repro: str = ""

    @property
    def title(self) -> str:
        """The name, and the profile where there are several."""
        return self.name if self.profile is None else f"{self.name} [{self.profile}]"

    @classmethod
    def of(
        cls, record: RunRecord, path: Path, workload_s: float | None, profile: str | None = None
    ) -> "Outcome":
        """The outcome that a run's record tells."""
        return cls(
            record.name,
            path,
            "guest lost" if record.verdict == "lost" else record.verdict,
            record.exit_code,
            profile=profile,
            workload_s=workload_s,
            reason=record.output_error or first_reason(record),
            record=record.sidecar,
            repro=in_brief(record.facts),
        )

    def document(self) -> dict[str, Any]:
        """The outcome for programs."""
        return {
            "name": self.name,
            "path": str(self.path),
            "profile": self.profile,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "wall_s": round(self.wall_s, 3),
            "workload_s": self.workload_s,
            "reason": self.reason,
            "repro": self.repro or None,
            "record": None if self.record is None else str(self.record),
        }


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """The exit code of several runs: that of the worst; a pass when there are none."""
    return max(codes, key=SEVERITY.index, default=ExitCode.PASS)


def outcome_line(outcome: Outcome, number: int, of: int) -> Text:
    """One finished scenario in one line."""
    line = Text(f"[{number:>{len(str(of))}}/{of}] ", style="dim")
    line.append(f"{outcome.verdict.upper():<12} ", style=_STYLES.get(outcome.verdict, ""))
    line.append(f"{one_line(outcome.title)} ")
    line.append(f"{outcome.wall_s:.1f} s", style="dim")
    if outcome.reason:
        line.append(f"  {one_line(outcome.reason, REASON_CHARS)}", style="dim")
    if outcome.repro:
        line.append(f"; {one_line(outcome.repro, REASON_CHARS)}", style="dim")
    return line


def summary(outcomes: Sequence[Outcome], wall_s: float) -> list[RenderableType]:
    """The table of all scenarios, the worst last and skips after passes, and the totals below it.

    In a long log the last lines are what people see first.

    :param wall_s: from the first start to the last end, seconds.
    """
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("first reason", no_wrap=True)
    for outcome in _best_first(outcomes):
        table.add_row(
            Text(one_line(outcome.title)),
            Text(outcome.verdict, style=_STYLES.get(outcome.verdict, "")),
            f"{outcome.wall_s:.1f}",
            Text(one_line(outcome.reason, REASON_CHARS)),
        )
    return [Text(), table, Text(), _totals(outcomes, wall_s)]


def document(outcomes: Sequence[Outcome], wall_s: float, code: ExitCode) -> dict[str, Any]:
    """All outcomes and their totals, for programs."""
    return {
        "exit_code": int(code),
        "wall_s": round(wall_s, 3),
        "workload_s": _workload_s(outcomes),
        "verdicts": dict(_counted(outcomes)),
        "scenarios": [outcome.document() for outcome in outcomes],
    }


def _totals(outcomes: Sequence[Outcome], wall_s: float) -> Text:
    counted = _counted(outcomes)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted.items())
    scenarios = "scenario" if len(outcomes) == 1 else "scenarios"
    text = f"{len(outcomes)} {scenarios}: {verdicts}; {wall_s:.0f} s"
    workload = _workload_s(outcomes)
    if workload:
        text += f", {wall_s / workload:.1f} times the {workload:g} s that they hold"
    if len(counted) > 1:
        text += f"; the worst: {[*counted][-1]}"
    good = worst([outcome.exit_code for outcome in outcomes]) == ExitCode.PASS
    return Text(text, style="bold green" if good else "bold red")


def _counted(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How often each verdict came, the best first."""
    return Counter(outcome.verdict for outcome in _best_first(outcomes))


def _best_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """From passes and skips to the worst; those of one verdict stay in the order they ran in."""

    def rank(outcome: Outcome) -> tuple[int, bool]:
        return SEVERITY.index(outcome.exit_code), outcome.verdict != "pass"

    return sorted(outcomes, key=rank)


def _workload_s(outcomes: Sequence[Outcome]) -> float:
    """What the steps hold that all scenarios came to."""
    return round(sum(outcome.workload_s or 0.0 for outcome in outcomes), 3)
