# SPDX-License-Identifier: GPL-2.0-only
"""How several runs went: a line for each as it ends, tables of all, a document."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.report.printable import one_line
from ktstr.report.repro import in_brief
from ktstr.report.verdict import STYLES, first_reason, reasons
from ktstr.session.matrix import Turn
from ktstr.session.record import RunRecord

SCHEMA: Final = 1
"""Version of :func:`document`."""

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
MAX_NOTES: Final = 10
_STYLES: Final = {**STYLES, "cannot run": "bold red", "not run": "dim"}


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
        notes = [] if record.result is None else [n.message for n in record.result.info_notes]
        tails = {"scheduler log": record.scheduler_tail, "kernel log": record.console_tail}
        return cls(
            record.name,
            turn,
            "guest lost" if record.verdict == "lost" else record.verdict,
            record.exit_code,
            workload_s=workload_s,
            reason=record.output_error or first_reason(record),
            details=(*filter(None, [record.output_error]), *reasons(record)),
            notes=tuple(dict.fromkeys([*warnings, *notes])),
            facts=_facts(record),
            tails={name: tail for name, tail in tails.items() if tail},
            record=record.sidecar,
            evidence=record.evidence,
            repro=in_brief(record.facts),
        )

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


def _facts(record: RunRecord) -> dict[str, str]:
    facts = record.facts
    kernel, scheduler = facts.get("kernel") or {}, facts.get("scheduler") or {}
    found = {
        "kernel": kernel.get("release"),
        "topology": facts.get("topology"),
        "memory_mib": facts.get("memory_mib"),
        "accelerator": facts.get("accelerator"),
        "scheduler": scheduler.get("path") or scheduler.get("kind"),
        "flags": scheduler.get("profile"),
        "run_id": record.run_id,
    }
    return {name: str(value) for name, value in found.items() if value is not None}


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
    line.append(f"{outcome.verdict.upper():<12} ", style=_STYLES.get(outcome.verdict, ""))
    line.append(f"{one_line(outcome.title)} ")
    line.append(f"{outcome.wall_s:.1f} s", style="dim")
    if outcome.reason:
        line.append(f"  {one_line(outcome.reason, REASON_CHARS)}", style="dim")
    if outcome.repro:
        line.append(f"; {one_line(outcome.repro, REASON_CHARS)}", style="dim")
    return line


@dataclass(frozen=True, slots=True)
class _Row:
    """All repetitions of one run."""

    outcomes: tuple[Outcome, ...]

    @property
    def worst(self) -> Outcome:
        """The first of the worst."""
        return max(self.outcomes, key=_rank)

    @property
    def verdict(self) -> str:
        """The worst verdict, and how often it came where there are repetitions."""
        verdict, of = self.worst.verdict, len(self.outcomes)
        if of == 1:
            return verdict
        count = sum(1 for outcome in self.outcomes if outcome.verdict == verdict)
        return f"{verdict} {count}/{of}"

    @property
    def seconds(self) -> str:
        """How long a run took: one figure, or from the shortest to the longest."""
        took = [outcome.wall_s for outcome in self.outcomes if outcome.verdict != "not run"]
        low, high = f"{min(took, default=0.0):.1f}", f"{max(took, default=0.0):.1f}"
        return high if low == high else f"{low}-{high}"


def summary(outcomes: Sequence[Outcome], wall_s: float) -> list[RenderableType]:
    """The table of all runs, the worst last and skips after passes, and the totals below it.

    In a long log the last lines are what people see first. Repetitions share a row. Where scenarios
    were multiplied by kernels, topologies or flags, what happened where stands in a grid above it,
    and the table is left to what did not pass.

    :param wall_s: from the first start to the last end, seconds.
    """
    rows = _rows(outcomes)
    parts: list[RenderableType] = []
    variants = list(dict.fromkeys(outcome.turn.variant for outcome in outcomes))
    if len(variants) > 1:
        parts += [Text(), _grid(rows, variants)]
        rows = [row for row in rows if row.worst.verdict != "pass"]
    if rows:
        parts += [Text(), _table(rows)]
    parts += [Text(), *_notes(outcomes), _totals(outcomes, wall_s)]
    return parts


def _rows(outcomes: Sequence[Outcome]) -> list[_Row]:
    """A row for each label, the best first, else in the order of their first runs."""
    found: dict[tuple[Path, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.turn.path, outcome.label), []).append(outcome)
    return sorted((_Row(tuple(each)) for each in found.values()), key=lambda row: _rank(row.worst))


def _table(rows: Iterable[_Row]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("first reason", no_wrap=True)
    for row in rows:
        outcome = row.worst
        table.add_row(
            Text(one_line(outcome.label)),
            Text(row.verdict, style=_STYLES.get(outcome.verdict, "")),
            row.seconds,
            Text(one_line(outcome.reason, REASON_CHARS)),
        )
    return table


def _grid(rows: Sequence[_Row], variants: Sequence[str]) -> Table:
    """Scenarios downwards, variants across; a scenario's place is that of its first run."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("scenario", no_wrap=True)
    for variant in variants:
        table.add_column(one_line(variant) or "-", no_wrap=True)
    cells: dict[tuple[Path, str], dict[str, _Row]] = {}
    for row in rows:
        turn = row.worst.turn
        cells.setdefault((turn.path, row.worst.name), {})[turn.variant] = row
    for (_, name), of_variant in sorted(cells.items(), key=lambda item: item[0][1]):
        found = [of_variant.get(variant) for variant in variants]
        table.add_row(Text(one_line(name)), *(_cell(row) for row in found))
    return table


def _cell(row: _Row | None) -> Text:
    if row is None:
        return Text("")
    style = _STYLES.get(row.worst.verdict, "")
    cell = Text(row.verdict, style=style)
    if row.worst.wall_s >= 0.05:
        cell.append(f" {row.seconds} s", style="dim")
    return cell


def _notes(outcomes: Iterable[Outcome]) -> list[RenderableType]:
    """What was noted of runs that passed: elsewhere nobody would look for it."""
    counted = Counter(
        note for outcome in outcomes if outcome.verdict == "pass" for note in outcome.notes
    )
    lines: list[RenderableType] = [
        Text(f"note: {one_line(note, REASON_CHARS)}" + _times(count), style="dim")
        for note, count in counted.most_common(MAX_NOTES)
    ]
    if len(counted) > MAX_NOTES:
        lines.append(Text(f"... and {len(counted) - MAX_NOTES} more notes", style="dim"))
    return lines


def _times(count: int) -> str:
    return f" ({count} runs)" if count > 1 else ""


def document(outcomes: Sequence[Outcome], wall_s: float, code: ExitCode) -> dict[str, Any]:
    """All outcomes and their totals, for programs."""
    return {
        "schema": SCHEMA,
        "exit_code": int(code),
        "wall_s": round(wall_s, 3),
        "workload_s": _workload_s(outcomes),
        "verdicts": dict(_counted(outcomes)),
        "scenarios": [outcome.document() for outcome in outcomes],
    }


def _totals(outcomes: Sequence[Outcome], wall_s: float) -> Text:
    counted = _counted(outcomes)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted.items())
    labels = {(outcome.turn.path, outcome.label) for outcome in outcomes}
    what = "scenario" if len(labels) == len({o.turn.path for o in outcomes}) else "run"
    what = "run" if len(outcomes) > len(labels) else what
    text = f"{len(outcomes)} {what}{'' if len(outcomes) == 1 else 's'}: {verdicts}; {wall_s:.0f} s"
    workload = _workload_s(outcomes)
    if workload:
        text += f", {wall_s / workload:.1f} times the {workload:g} s that they hold"
    good = exit_code(outcomes) == ExitCode.PASS
    if len(counted) > 1 and not good:
        text += f"; the worst: {[*counted][-1]}"
    return Text(text, style="bold green" if good else "bold red")


def _counted(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How often each verdict came, the best first."""
    return Counter(outcome.verdict for outcome in sorted(outcomes, key=_rank))


def _rank(outcome: Outcome) -> tuple[int, int]:
    """From passes, skips and what an interruption kept from running to the worst finding."""
    if outcome.verdict == "not run":
        return 0, 2
    return SEVERITY.index(outcome.exit_code), int(outcome.verdict != "pass")


def _workload_s(outcomes: Sequence[Outcome]) -> float:
    """What the steps hold that all runs came to."""
    return round(sum(outcome.workload_s or 0.0 for outcome in outcomes), 3)
