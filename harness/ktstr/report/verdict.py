# SPDX-License-Identifier: GPL-2.0-only
"""The end of a run for people: the verdict, its reasons, and a table by phase and cgroup."""

from collections.abc import Iterator, Mapping

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ktstr.metrics.bucket import PhaseBucket
from ktstr.report.printable import lines, one_line
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
MAX_WIDTH = 1000
NOT_MEASURED = "–"


def render(record: RunRecord) -> RenderableType:
    """Everything the console shows once a run is over."""
    return Group(*_parts(record))


def _parts(record: RunRecord) -> Iterator[RenderableType]:
    result = record.result
    table = _table(record)
    if table is not None:
        yield Text()
        yield table
    if record.exit_code and record.scheduler_tail:
        yield Text("--- scheduler log (end) ---", style="dim")
        yield Text(lines("\n".join(record.scheduler_tail[-20:])))
    if record.error is not None and record.console_tail:
        yield Text("--- kernel log (end) ---", style="dim")
        yield Text(lines("\n".join(record.console_tail)))
    verdict = record.verdict.lower()
    label = "guest lost" if verdict == "lost" else verdict
    line = Text(f"{label.upper()}", style=STYLES[verdict])
    line.append(f"  {record.name}", style="bold")
    line.append(f"  exit {int(record.exit_code)}", style="dim")
    yield Text()
    yield line
    if record.error is not None:
        yield Text("  " + lines(record.error))
    if result is not None:
        yield from _reasons(result)
    if record.output_error is not None:
        yield Text(f"  error: {record.output_error}", style="bold red")
    if record.evidence is not None and record.output_error is None:
        yield Text(f"  evidence: {record.evidence}")
    if record.sidecar is not None:
        yield Text(f"  record: {record.sidecar}")


def _table(record: RunRecord) -> Table | None:
    result = record.result
    if result is None or not (result.stats.phases or result.stats.cgroups):
        return None
    steps = record.facts.get("steps", [])
    # A step without a name of its own is called "step1": the phase says as much.
    names = {s["index"]: s["name"] for s in steps if s["name"] != f"step{s['index']}"}
    return phase_table(result, names)


def _reasons(result: AssertResult) -> Iterator[Text]:
    failures = result.failure_details()
    doubts = result.inconclusive_details()
    for details, style in ((failures, "red"), (doubts, "yellow")):
        for detail in details[:MAX_DETAILS]:
            yield Text(f"  {one_line(detail.display_with_kind())}", style=style)
        if len(details) > MAX_DETAILS:
            yield Text(f"  ... and {len(details) - MAX_DETAILS} more", style=style)
    for note in result.info_notes[:MAX_DETAILS]:
        yield Text(f"  note: {one_line(note.message)}", style="dim")
    if len(result.info_notes) > MAX_DETAILS:
        left = len(result.info_notes) - MAX_DETAILS
        yield Text(f"  ... and {left} more notes in the record", style="dim")
    if not failures and not doubts and result.passes:
        yield Text(f"  {len(result.passes)} checks held", style="dim")


COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("phase", "left"),
    ("cgroup", "left"),
    ("workers", "right"),
    ("cpus", "left"),
    ("iter", "right"),
    ("iter/s", "right"),
    ("off-cpu%", "right"),
    ("spread", "right"),
    ("gap ms", "right"),
    ("migr", "right"),
    ("latency", "left"),
    ("p50 µs", "right"),
    ("p99 µs", "right"),
    ("cv", "right"),
    ("delay µs", "right"),
)
LATENCY = next(index for index, (name, _) in enumerate(COLUMNS) if name == "latency")


def phase_table(result: AssertResult, names: Mapping[int, str] | None = None) -> Table:
    """One row per phase and cgroup; a dash is "not measured", 0 is a measured zero.

    Latencies are of wake-ups or of timers; a cgroup with both gets a second row for its timers.

    :param names: names of the steps by step index, shown with their phases.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name, justify in COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)
    rows: list[list[str]] = []
    for bucket in result.stats.phases:
        rows += _bucket_rows(bucket, names or {})
    in_phases = {name for bucket in result.stats.phases for name in bucket.per_cgroup}
    for cgroup in result.stats.cgroups:
        if cgroup.cgroup_name not in in_phases:
            rows += _whole_run_rows(cgroup)
    for row in rows:
        table.add_row(*(escape(one_line(cell)) for cell in row))
    return table


def _bucket_rows(bucket: PhaseBucket, names: Mapping[int, str]) -> Iterator[list[str]]:
    name = names.get(bucket.step_index, "")
    label = f"{bucket.label} {name}" if name else bucket.label
    # From StepStart to StepEnd; the bucket's own window spans its snapshots only.
    seconds = bucket.get("total_phase_duration_sec") or 0.0
    for cgroup, carrier in sorted(bucket.per_cgroup.items()):
        yield from _carrier_rows(label, cgroup, carrier, seconds)
        label = ""


def _carrier_rows(
    label: str, name: str, carrier: PhaseCgroupStats, seconds: float
) -> Iterator[list[str]]:
    off_cpu = carrier.off_cpu_summary()
    wake, timer = carrier.wake_summary(), carrier.timer_summary()
    delay = carrier.run_delay_summary()
    yield from _with_latencies(
        [
            label,
            name,
            str(carrier.num_workers),
            cpu_list(carrier.cpus_used) if carrier.cpus_used else NOT_MEASURED,
            f"{carrier.total_iterations:,}",
            f"{carrier.total_iterations / seconds:,.0f}" if seconds > 0 else NOT_MEASURED,
            _number(None if off_cpu is None else off_cpu[0]),
            _number(None if off_cpu is None or carrier.num_workers < 2 else off_cpu[3]),
            f"{carrier.max_gap_ms}@{carrier.max_gap_cpu}" if carrier.max_gap_ms else "0",
            str(carrier.total_migrations),
        ],
        wake=None if wake is None else (wake[1], wake[0], carrier.wake_cv() or 0.0),
        timer=None if timer is None else (timer[0], timer[1]),
        delay=_number(None if delay is None else delay[0]),
    )


def _whole_run_rows(cgroup: CgroupStats) -> Iterator[list[str]]:
    wake = (cgroup.median_wake_latency_us, cgroup.p99_wake_latency_us, cgroup.wake_latency_cv)
    timer = (cgroup.median_timer_latency_us, cgroup.p99_timer_latency_us)
    yield from _with_latencies(
        [
            "whole run",
            cgroup.cgroup_name,
            str(cgroup.num_workers),
            cpu_list(frozenset(cgroup.cpus_used)) if cgroup.cpus_used else NOT_MEASURED,
            f"{cgroup.total_iterations:,}",
            NOT_MEASURED,
            _number(cgroup.avg_off_cpu_pct),
            _number(cgroup.spread if cgroup.num_workers > 1 else None),
            f"{cgroup.max_gap_ms}@{cgroup.max_gap_cpu}" if cgroup.max_gap_ms else "0",
            str(cgroup.total_migrations),
        ],
        wake=wake if cgroup.wake_measured else None,
        timer=timer if cgroup.timer_measured else None,
        delay=_number(cgroup.mean_run_delay_us if cgroup.run_delay_measured else None),
    )


def _with_latencies(
    cells: list[str],
    *,
    wake: tuple[float, float, float] | None,
    timer: tuple[float, float] | None,
    delay: str,
) -> Iterator[list[str]]:
    """The row with its latency columns; :param wake: p50, p99 (µs) and cv; timer: p50, p99."""
    of_timers = ["timer", *(_number(value) for value in timer or ()), NOT_MEASURED]
    if wake is not None:
        yield [*cells, "wake", _number(wake[0]), _number(wake[1]), f"{wake[2]:.2f}", delay]
        if timer is not None:
            yield [*[""] * LATENCY, *of_timers, ""]
    elif timer is not None:
        yield [*cells, *of_timers, delay]
    else:
        yield [*cells, *[NOT_MEASURED] * 4, delay]


def _number(value: float | None) -> str:
    """One decimal below 1000, whole numbers above: the columns stay narrow."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def print_record(console: Console, record: RunRecord) -> None:
    """Print the end of a run; nothing is cut off to fit a pipe or a narrow terminal."""
    table = _table(record)
    if table is not None:
        # Wider than the terminal it wraps there, which is ugly, but no figure is lost.
        wide = console.options.update(width=MAX_WIDTH)
        console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(render(record), highlight=False)
