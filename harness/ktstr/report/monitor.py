# SPDX-License-Identifier: GPL-2.0-only
"""What the monitor saw, in a few lines (reference-06 section 25)."""

from collections.abc import Iterator, Mapping

from ktstr.report.printable import one_line
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.window import MonitorSummary

_PLUS = (
    "reenq_immed",
    "reenq_local_repeat",
    "refill_slice_dfl",
    "bypass_activate",
    "bypass_dispatch",
    "bypass_duration",
    "insert_not_owned",
    "sub_bypass_dispatch",
    "enq_skip_exiting",
    "enq_skip_migration_disabled",
)


def monitor_lines(report: MonitorReport) -> list[str]:
    """The block of a run; figures that were not measured read ``-``."""
    return ["--- monitor ---", *_figures(report), *(f"note: {one_line(n)}" for n in report.notes)]


def _figures(report: MonitorReport) -> Iterator[str]:
    summary = report.summary
    yield (
        f"samples={summary.total_samples} max_imbalance={_of(summary.max_imbalance_ratio, '.2f')} "
        f"max_dsq_depth={_of(summary.max_local_dsq_depth, 'd')} "
        f"stuck={_of(summary.stuck_count, 'd')}{_losses(report)}"
    )
    if not summary.total_samples:
        return
    yield (
        f"avg: imbalance={_of(summary.avg_imbalance_ratio, '.2f')} "
        f"nr_running/cpu={_of(summary.avg_nr_running, '.1f')} "
        f"dsq/cpu={_of(summary.avg_local_dsq_depth, '.1f')}"
    )
    yield from _events(summary)
    if summary.schedstat:
        yield f"schedstat: {_schedstat(summary)}"
    for program in summary.programs or ():
        if program.cnt:
            mean = program.nsecs_per_call or 0.0
            yield f"bpf: {one_line(program.name)} cnt={program.cnt} {mean:.0f}ns/call"


def _losses(report: MonitorReport) -> str:
    lost = {"missed": report.missed_ticks, "torn": report.torn_reads}
    return "".join(f" {name}={count}" for name, count in lost.items() if count)


def _of(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _events(summary: MonitorSummary) -> Iterator[str]:
    events = summary.events
    if events is None:
        return

    def counted(name: str) -> str:
        rate = summary.event_rates.get(name)
        per_second = "" if rate is None else f" ({rate:.1f}/s)"
        return f"{_of(events.get(name), 'd')}{per_second}"

    burst = f" burst={summary.fallback_burst}" if summary.fallback_burst else ""
    yield (
        f"events: fallback={counted('select_cpu_fallback')}{burst} "
        f"keep_last={counted('dispatch_keep_last')} "
        f"offline={_of(events.get('dispatch_local_dsq_offline'), 'd')}"
    )
    more = [f"{name}={_with_unit(name, events)}" for name in _PLUS if events.get(name)]
    if more:
        yield f"events+: {' '.join(more)}"


def _with_unit(name: str, events: Mapping[str, int]) -> str:
    return f"{events[name]}ns" if name == "bypass_duration" else str(events[name])


def _schedstat(summary: MonitorSummary) -> str:
    counts, rates = summary.schedstat, summary.schedstat_rates
    parts = []
    if "sched_count" in counts:
        parts.append(f"csw={counts['sched_count']} ({rates.get('sched_count', 0.0):.0f}/s)")
    parts.append(f"run_delay={rates.get('run_delay', 0.0):.0f}ns/s")
    for short, name in (("ttwu", "ttwu_count"), ("goidle", "sched_goidle")):
        if name in counts:
            parts.append(f"{short}={counts[name]}")
    return " ".join(parts)
