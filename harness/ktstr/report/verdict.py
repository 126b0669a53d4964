# SPDX-License-Identifier: GPL-2.0-only
"""The end of a run for people: figures, the ends of the logs, the verdict and its reasons."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.metrics.timeline import Timeline, TimelineContext
from ktstr.report.cgroups import cgroup_table
from ktstr.report.measurements import measurement_table
from ktstr.report.metrics import all_metrics, cgroup_metrics, main_metrics
from ktstr.report.monitor import monitor_lines
from ktstr.report.printable import lines, one_line
from ktstr.report.programs import verified_table
from ktstr.report.repro import repro_parts
from ktstr.report.stats import missing_stats_lines, stats_table
from ktstr.report.verifier_log import fold
from ktstr.report.watches import watch_table
from ktstr.session.ends import in_words, reasons
from ktstr.session.record import RunRecord
from ktstr.verdict import AssertDetail, AssertResult

STYLES = {
    "pass": "bold green",
    "skip": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "lost": "bold red",
}
MAX_DETAILS = 40
MAX_WIDTH = 1000
MAX_LOG_LINES = 40
"""Of a scheduler's log; that of a run where it never attached is longer in the record."""


@dataclass(frozen=True, slots=True)
class Sections:
    """What is shown beside the default.

    :param metrics: every metric of the run and its phases, and every measurement, not just the main
        ones.
    :param phases: every metric of each cgroup in each phase.
    :param timeline: the phases in time, and where they got worse.
    :param stats: the scheduler's own statistics, with its descriptions of them.
    """

    metrics: bool = False
    phases: bool = False
    timeline: bool = False
    stats: bool = False


IN_BRIEF = Sections()


def print_record(console: Console, record: RunRecord, sections: Sections = IN_BRIEF) -> None:
    """Print the end of a run; nothing is cut off to fit a pipe or a narrow terminal."""
    print_parts(console, _parts(record, sections))


def print_parts(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print tables and texts, each as wide as it is."""
    for part in parts:
        if isinstance(part, Table):
            # Wider than the terminal it wraps there, which is ugly, but no figure is lost.
            wide = console.options.update(width=MAX_WIDTH)
            console.width = max(console.width, console.measure(part, options=wide).maximum)
        console.print(part, highlight=False)


def in_short(record: RunRecord) -> str:
    """The verdict and its first reason, for where the record itself is the output."""
    found = reasons(record)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return "\n".join([_headline(record).plain, *(f"  {one_line(r)}{more}" for r in found[:1])])


def _parts(record: RunRecord, sections: Sections) -> Iterator[RenderableType]:
    for table in _tables(record, sections):
        yield Text()
        yield table
    if sections.timeline and (text := timeline_text(record)):
        yield Text()
        yield Text(lines(text))
    if sections.stats:
        yield Text()
        served = stats_table(record)
        yield served or Text("no sample has statistics of the scheduler")
        for line in missing_stats_lines(record):
            yield Text(one_line(line))
        if served is None and record.scheduler_tail and not record.scheduler_ended:
            yield Text("--- the last that it printed ---", style="dim")
            yield Text(lines("\n".join(record.scheduler_tail)))
    if record.monitor is not None and (sections.metrics or sections.timeline or record.exit_code):
        yield Text()
        yield Text("\n".join(monitor_lines(record.monitor)), style="dim")
    if record.scheduler_ended and record.scheduler_tail:
        yield Text("--- scheduler log (end) ---", style="dim")
        said = fold("\n".join(record.scheduler_tail)).split("\n")
        yield Text(lines("\n".join(said[-MAX_LOG_LINES:])))
    if record.error is not None and record.console_tail:
        yield Text("--- kernel log (end) ---", style="dim")
        yield Text(lines("\n".join(record.console_tail)))
    yield Text()
    yield _headline(record)
    if record.error is not None:
        yield Text("  " + lines(record.error))
    if record.result is not None:
        yield from _judged(record.result, record)
    if record.output_error is not None:
        yield Text(f"  error: {record.output_error}", style="bold red")
    if record.evidence is not None and record.output_error is None:
        yield Text(f"  evidence: {record.evidence}")
    for path in record.host.get("checkpoints", ()):
        yield Text(f"  checkpoint: {one_line(str(path))}")
    if record.sidecar is not None:
        yield Text(f"  record: {record.sidecar}")
    if (identity := identity_line(record)) is not None:
        yield Text(f"  {identity}", style="dim")
    yield from repro_parts(record.facts)


def identity_line(record: RunRecord) -> str | None:
    """What tells a run by the virtual clock from others; ``None`` for one by the host's."""
    identity, clock = record.facts.get("identity"), record.facts.get("virtual")
    if not isinstance(identity, str) or not isinstance(clock, dict):
        return None
    took = ""
    guest_s, wall_s = record.host.get("guest_s"), record.host.get("wall_s")
    if isinstance(guest_s, float) and isinstance(wall_s, float):
        took = f"; {guest_s:.2f} s of the guest took {wall_s:.2f} s"
    return one_line(f"identity: {identity}, virtual clock, seed {clock.get('seed')}{took}")


def _tables(record: RunRecord, sections: Sections) -> Iterator[Table]:
    table = cgroup_table(record)
    if table is not None:
        yield table
    if sections.phases:
        yield from cgroup_metrics(record)
    yield from all_metrics(record) if sections.metrics else main_metrics(record)
    for more in (measurement_table, watch_table):
        table = more(record, everything=sections.metrics)
        if table is not None:
            yield table
    if sections.metrics and (table := verified_table(record.facts)) is not None:
        yield table


def _headline(record: RunRecord) -> Text:
    label = "guest lost" if record.verdict == "lost" else record.verdict
    line = Text(label.upper(), style=STYLES[record.verdict])
    line.append(f"  {record.name}", style="bold")
    line.append(f"  exit {int(record.exit_code)}", style="dim")
    return line


def _judged(result: AssertResult, record: RunRecord) -> Iterator[Text]:
    failures = result.failure_details()
    doubts = result.inconclusive_details()
    yield from _listed(failures, "red", record)
    yield from _listed(doubts, "yellow", record)
    for note in result.info_notes[:MAX_DETAILS]:
        yield Text(f"  note: {one_line(note.message)}", style="dim")
    if len(result.info_notes) > MAX_DETAILS:
        left = len(result.info_notes) - MAX_DETAILS
        yield Text(f"  ... and {left} more notes in the record", style="dim")
    if not failures and not doubts and result.passes:
        yield Text(f"  {len(result.passes)} checks held", style="dim")


def _listed(details: list[AssertDetail], style: str, record: RunRecord) -> Iterator[Text]:
    for detail in details[:MAX_DETAILS]:
        yield Text(f"  {one_line(in_words(detail, record))}", style=style)
    if len(details) > MAX_DETAILS:
        yield Text(f"  ... and {len(details) - MAX_DETAILS} more", style=style)


def timeline_text(record: RunRecord) -> str:
    """The phases in time; empty without phases."""
    facts = record.facts
    ended = record.events[-1].elapsed_ms / 1000 if record.events else None
    context = TimelineContext(
        kernel=_fact(facts, "kernel", "release"),
        topology=_fact(facts, "topology"),
        scheduler=_fact(facts, "scheduler", "path") or _fact(facts, "scheduler", "kind"),
        scenario=record.name,
        duration_s=ended,
    )
    timeline = _timeline(record)
    return timeline.format_with_context(context)


def _timeline(record: RunRecord) -> Timeline:
    report = record.monitor
    if record.samples.is_empty and report is not None and report.saw_something:
        # Its readings stand on the workload's clock already.
        return Timeline.build(record.events, report.held_samples(), clock_offset_ms=0)
    return Timeline.from_phase_buckets(record.phases, record.events)


def _fact(facts: object, *keys: str) -> str:
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts if isinstance(facts, str) else ""
