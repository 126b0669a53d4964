# SPDX-License-Identifier: GPL-2.0-only
"""What a test's report says of its runs: sections for people, properties for programs."""

import io
import math
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, RenderableType

from ktstr.pytest_plugin.run import Run
from ktstr.report.cgroups import cgroup_table
from ktstr.report.metrics import main_metrics
from ktstr.report.monitor import monitor_lines
from ktstr.report.printable import lines, one_line
from ktstr.report.repro import repro_parts
from ktstr.report.stats import stats_table
from ktstr.report.verdict import identity_line, print_parts, timeline_text
from ktstr.report.verifier_log import fold
from ktstr.session.record import RunRecord

MAX_LOG_LINES: Final = 40
MAX_DUMP_LINES: Final = 60
MAX_DUMP_BYTES: Final = 256 * 1024
MAX_PROPERTY: Final = 4096
"""Characters of a property: a path is no longer."""

DUMP: Final = "sched_ext-dump.txt"

Section = tuple[str, str]
"""Title and text."""


def sections(run: Run) -> Iterator[Section]:
    """What there is to say of a run, in the order of reading; nothing empty."""
    record = run.record
    for title, text in _sections(run, record):
        if text.strip():
            yield title, text.rstrip("\n") + "\n"


def _sections(run: Run, record: RunRecord) -> Iterator[Section]:
    cgroups = cgroup_table(record)
    yield "stats", _rendered([*([] if cgroups is None else [cgroups]), *main_metrics(record)])
    served = stats_table(record)
    yield "scheduler statistics", "" if served is None else _rendered([served])
    if record.error is not None or record.scheduler_ended:
        yield "kernel log (end)", lines("\n".join(record.console_tail))
    yield "timeline", _untitled(timeline_text(record).split("\n"))
    if record.error is not None or record.scheduler_ended:
        said = fold("\n".join(record.scheduler_tail)).split("\n")
        yield "scheduler log (end)", lines("\n".join(said[-MAX_LOG_LINES:]))
    if record.monitor is not None:
        yield "monitor", _untitled(monitor_lines(record.monitor))
    yield "sched_ext dump", lines(_dump(record.evidence))
    yield "auto-repro", "\n".join(part.plain for part in repro_parts(record.facts))
    yield "the run", lines("\n".join([*run.progress, *_notes(run)]))
    yield "again", "\n".join(again(run))


def _notes(run: Run) -> Iterator[str]:
    for note in run.notes:
        yield f"note: {note}"
    if (identity := identity_line(run.record)) is not None:
        yield identity
    for path in run.record.host.get("checkpoints", ()):
        yield f"checkpoint: {path}"


def again(run: Run) -> Iterator[str]:
    """The commands that do it once more: the test, and its scenario by itself."""
    yield shlex.join(["pytest", run.request.nodeid])
    options = run.request.options
    given = {
        "--kernel": options.kernel,
        "--topology": options.topology,
        "--scheduler": options.scheduler,
        "--flags": None if options.flags is None else "+".join(options.flags) or "default",
        "--work-type": options.work_type,
        "--clock": options.clock,
        "--seed": options.seed,
        "--timeout": options.timeout_s,
    }
    words = [
        str(word) for name, value in given.items() if value is not None for word in (name, value)
    ]
    yield shlex.join(["ktstr-run", str(run.request.scenario), *words])


def properties(run: Run, number: int) -> Iterator[tuple[str, str | float]]:
    """What programs read of a run: on what it ran, where its record is, its metrics.

    :param number: which of the test's runs it is, from 1; from the second on it is in the names.
    """
    prefix = "" if number == 1 else f"run{number}."
    for name, value in _facts(run):
        if value is not None:
            yield prefix + name, one_line(str(value), MAX_PROPERTY)
    for name, figure in run.metrics.items():
        if math.isfinite(figure):
            yield prefix + name, figure


def _facts(run: Run) -> Iterator[tuple[str, object]]:
    record = run.record
    scheduler = record.facts.get("scheduler") or {}
    virtual = record.facts.get("virtual") or {}
    yield "verdict", "guest lost" if record.verdict == "lost" else record.verdict
    yield "scenario", record.name
    yield "run_id", record.run_id
    yield "kernel", (record.facts.get("kernel") or {}).get("release")
    yield "topology", record.facts.get("topology")
    yield "scheduler", scheduler.get("path") or scheduler.get("kind")
    yield "flags", scheduler.get("profile")
    yield "accelerator", record.facts.get("accelerator")
    yield "clock", "virtual" if virtual else "wall"
    yield "seed", virtual.get("seed", run.seed)
    yield "identity", record.facts.get("identity")
    yield "sidecar", record.sidecar
    yield "evidence", record.evidence


def _untitled(said: Sequence[str]) -> str:
    """The lines without their title, which the section has."""
    rest = said[1:] if said and said[0].startswith("--- ") else said
    return lines("\n".join(rest))


def _dump(evidence: Path | None) -> str:
    """The beginning of the kernel's own dump, when it made one."""
    if evidence is None:
        return ""
    try:
        with open(evidence / DUMP, encoding="utf-8", errors="replace") as file:
            found = file.read(MAX_DUMP_BYTES).split("\n")
    except OSError:
        return ""
    kept = found[:MAX_DUMP_LINES]
    more = [f"... the whole of it: {evidence / DUMP}"] if len(found) > len(kept) else []
    return "\n".join([*kept, *more])


def _rendered(parts: Iterable[RenderableType]) -> str:
    out = io.StringIO()
    print_parts(Console(file=out, soft_wrap=True, color_system=None, width=100), parts)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))
