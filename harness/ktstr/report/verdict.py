# SPDX-License-Identifier: GPL-2.0-only
"""The end of a run for people: the verdict, its reasons, and a table by phase and cgroup."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.metrics.bucket import PhaseBucket
from ktstr.session.record import RunRecord
from ktstr.telemetry import PhaseCgroupStats
from ktstr.telemetry.cgroup import CgroupStats
from ktstr.verdict import AssertResult
from ktstr.verdict.evaluate import cpu_list

STYLES = {
    "pass": "bold green",
    "skip": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "lost": "bold red",
}
MAX_DETAILS = 40
NOT_MEASURED = "–"


def render(record: RunRecord) -> RenderableType:
    """Everything the console shows once a run is over."""
    return Group(*_parts(record))


def _parts(record: RunRecord) -> Iterator[RenderableType]:
    result = record.result
    if result is not None and result.stats.phases:
        yield phase_table(result)
    if record.exit_code and record.scheduler_tail:
        yield Text("--- scheduler log (end) ---", style="dim")
        yield Text("\n".join(record.scheduler_tail[-20:]))
    if record.error is not None and record.console_tail:
        yield Text("--- kernel log (end) ---", style="dim")
        yield Text("\n".join(record.console_tail))
    verdict = record.verdict.lower()
    label = "guest lost" if verdict == "lost" else verdict
    line = Text(f"{label.upper()}", style=STYLES[verdict])
    line.append(f"  {record.name}", style="bold")
    line.append(f"  exit {int(record.exit_code)}", style="dim")
    yield line
    if record.error is not None:
        yield Text("  " + record.error)
    if result is not None:
        yield from _reasons(result)
    if record.output_error is not None:
        yield Text(f"  error: {record.output_error}", style="bold red")
    if record.evidence is not None and record.output_error is None:
        yield Text(f"  evidence: {record.evidence}")
    if record.sidecar is not None:
        yield Text(f"  record: {record.sidecar}")


def _reasons(result: AssertResult) -> Iterator[Text]:
    failures = result.failure_details()
    doubts = result.inconclusive_details()
    for details, style in ((failures, "red"), (doubts, "yellow")):
        for detail in details[:MAX_DETAILS]:
            yield Text(f"  {detail.display_with_kind()}", style=style)
        if len(details) > MAX_DETAILS:
            yield Text(f"  ... and {len(details) - MAX_DETAILS} more", style=style)
    for note in result.info_notes[:MAX_DETAILS]:
        yield Text(f"  note: {note.message}", style="dim")
    if not failures and not doubts and result.passes:
        yield Text(f"  {len(result.passes)} checks held", style="dim")


COLUMNS = (
    ("phase", "left"),
    ("cgroup", "left"),
    ("workers", "right"),
    ("cpus", "left"),
    ("iterations", "right"),
    ("iter/s", "right"),
    ("off-cpu %", "right"),
    ("spread", "right"),
    ("gap ms", "right"),
    ("migr", "right"),
    ("wake p50", "right"),
    ("p99 µs", "right"),
    ("cv", "right"),
    ("delay µs", "right"),
)


def phase_table(result: AssertResult) -> Table:
    """One row per phase and cgroup; a dash is "not measured", 0 is a measured zero."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, justify in COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for bucket in result.stats.phases:
        for row in _bucket_rows(bucket):
            table.add_row(*(escape(cell) for cell in row))
    in_phases = {name for bucket in result.stats.phases for name in bucket.per_cgroup}
    for cgroup in result.stats.cgroups:
        if cgroup.cgroup_name not in in_phases:
            table.add_row(*(escape(cell) for cell in _whole_run_row(cgroup)))
    return table


def _bucket_rows(bucket: PhaseBucket) -> Iterator[list[str]]:
    label = bucket.label
    # From StepStart to StepEnd; the bucket's own window spans its snapshots only.
    seconds = bucket.get("total_phase_duration_sec") or 0.0
    for name, carrier in sorted(bucket.per_cgroup.items()):
        yield [label, *_carrier_cells(name, carrier, seconds)]
        label = ""


def _carrier_cells(name: str, carrier: PhaseCgroupStats, seconds: float) -> list[str]:
    off_cpu = carrier.off_cpu_summary()
    wake = carrier.wake_summary()
    delay = carrier.run_delay_summary()
    return [
        name,
        str(carrier.num_workers),
        cpu_list(carrier.cpus_used) if carrier.cpus_used else NOT_MEASURED,
        f"{carrier.total_iterations:,}",
        f"{carrier.total_iterations / seconds:,.0f}" if seconds > 0 else NOT_MEASURED,
        _one(None if off_cpu is None else off_cpu[0]),
        _one(None if off_cpu is None or carrier.num_workers < 2 else off_cpu[3]),
        f"{carrier.max_gap_ms}@{carrier.max_gap_cpu}" if carrier.max_gap_ms else "0",
        str(carrier.total_migrations),
        _one(None if wake is None else wake[1]),
        _one(None if wake is None else wake[0]),
        NOT_MEASURED if wake is None else f"{carrier.wake_cv() or 0.0:.2f}",
        _one(None if delay is None else delay[0]),
    ]


def _whole_run_row(cgroup: CgroupStats) -> list[str]:
    wake = cgroup.wake_measured
    return [
        "whole run",
        cgroup.cgroup_name,
        str(cgroup.num_workers),
        cpu_list(frozenset(cgroup.cpus_used)) if cgroup.cpus_used else NOT_MEASURED,
        f"{cgroup.total_iterations:,}",
        NOT_MEASURED,
        _one(cgroup.avg_off_cpu_pct),
        _one(cgroup.spread if cgroup.num_workers > 1 else None),
        f"{cgroup.max_gap_ms}@{cgroup.max_gap_cpu}" if cgroup.max_gap_ms else "0",
        str(cgroup.total_migrations),
        _one(cgroup.median_wake_latency_us if wake else None),
        _one(cgroup.p99_wake_latency_us if wake else None),
        f"{cgroup.wake_latency_cv:.2f}" if wake else NOT_MEASURED,
        _one(cgroup.mean_run_delay_us if cgroup.run_delay_measured else None),
    ]


def _one(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,.1f}"


def print_record(console: Console, record: RunRecord) -> None:
    """Print the end of a run; nothing is cut off to fit a pipe."""
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(render(record), highlight=False)


def verdict_word(code: ExitCode) -> str:
    """The exit code in a word."""
    return code.name.lower().replace("_", " ")
