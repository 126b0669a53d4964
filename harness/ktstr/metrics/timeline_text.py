# SPDX-License-Identifier: GPL-2.0-only
"""A timeline as text for a terminal or a report (reference-06 section 8)."""

from collections.abc import Iterator, Mapping, Sequence

from ktstr.metrics.timeline_phase import (
    PhaseChange,
    PhaseMetrics,
    TimelineContext,
    TimelinePhase,
)
from ktstr.telemetry.carrier import PhaseCgroupStats
from ktstr.telemetry.decode import printable

MAX_CGROUPS = 16
"""Cgroups listed per phase."""

_STIMULUS_DERIVED = " (stimulus-derived)"


def timeline_text(phases: Sequence[TimelinePhase], context: TimelineContext) -> str:
    """Every phase with its figures, cgroups and changes; empty without phases."""
    if not phases:
        return ""
    lines = ["--- timeline ---"]
    if heading := "  ".join(_heading(context)):
        lines.append(heading)
    for phase in phases:
        lines += ["", *_phase(phase)]
    return "\n".join(lines)


def _heading(context: TimelineContext) -> Iterator[str]:
    for name in ("kernel", "topology", "scheduler", "scenario"):
        if value := getattr(context, name):
            yield f"{name}: {value}"
    if context.duration_s is not None:
        yield f"duration: {context.duration_s:.1f}s"


def _phase(phase: TimelinePhase) -> Iterator[str]:
    yield _title(phase)
    yield _figures(phase.metrics)
    if phase.metrics.stall_count:
        yield f"  stalls: {phase.metrics.stall_count}"
    yield from _cgroups(phase.per_cgroup)
    if phase.stimulus is not None and phase.stimulus.op_kind is not None:
        detail = f" ({phase.stimulus.detail})" if phase.stimulus.detail is not None else ""
        yield f"  >>> {phase.stimulus.label}: {phase.stimulus.op_kind}{detail}"
    for change in phase.changes:
        yield _change(change)


def _title(phase: TimelinePhase) -> str:
    lasted = (
        "window not measured" if phase.not_measured_window else f"{phase.end_ms - phase.start_ms}ms"
    )
    inside = f"{lasted}, {phase.metrics.sample_count} samples"
    if phase.index == 0:
        return f"BASELINE (settle, {inside}):"
    stimulus = phase.stimulus
    opened = "?" if stimulus is None else f"{stimulus.label} {stimulus.op_kind or ''}".rstrip()
    return f"Phase {phase.index}: {opened} ({inside}):"


def _figures(metrics: PhaseMetrics) -> str:
    rate = metrics.iteration_rate
    throughput = "" if rate is None else f" | throughput: {rate:.0f} iter/s"
    if throughput and metrics.sample_count == 0:
        throughput += _STIMULUS_DERIVED
    if metrics.sample_count == 0 and not _monitored(metrics):
        return f"  [no samples]{throughput}"
    ratios = _shown(metrics.avg_imbalance, ".1f"), _shown(metrics.max_imbalance, ".1f")
    depths = _shown(metrics.avg_dsq_depth, ".0f"), _shown(metrics.max_dsq_depth, "d")
    parts = [
        f"  imbalance: avg={ratios[0]} max={ratios[1]}",
        f"dsq: avg={depths[0]} max={depths[1]}",
    ]
    if metrics.fallback_rate is not None:
        parts.append(f"fallback: {metrics.fallback_rate:.0f}/s")
    if metrics.keep_last_rate is not None:
        parts.append(f"keep_last: {metrics.keep_last_rate:.0f}/s")
    return " | ".join(parts) + throughput


def _monitored(metrics: PhaseMetrics) -> bool:
    figures = (
        *(metrics.avg_imbalance, metrics.max_imbalance, metrics.avg_dsq_depth),
        *(metrics.max_dsq_depth, metrics.fallback_rate, metrics.keep_last_rate),
    )
    return any(figure is not None for figure in figures)


def _shown(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _change(change: PhaseChange) -> str:
    return f"  >>> {change.direction.value}: {change.metric} {change.after - change.before:+.1f}"


def _cgroups(cgroups: Mapping[str, PhaseCgroupStats]) -> Iterator[str]:
    if not cgroups:
        return
    yield "  per-cgroup:"
    for name in sorted(cgroups)[:MAX_CGROUPS]:
        yield f"    {printable(name)}: {' | '.join(_cgroup(cgroups[name]))}"
    left = len(cgroups) - MAX_CGROUPS
    if left > 0:
        yield f"    (+{left} more cgroup{'s' if left > 1 else ''})"


def _cgroup(stats: PhaseCgroupStats) -> Iterator[str]:
    off_cpu = stats.off_cpu_summary()
    if off_cpu is not None:
        avg, low, high, spread = off_cpu
        yield f"off-cpu avg={avg:.1f}% min={low:.1f}% max={high:.1f}% spread={spread:.1f}%"
    else:
        yield "samples stripped (size limit)" if stats.stripped else "off-cpu n/a"
    if (wake := stats.wake_summary()) is not None:
        yield f"wake p99={wake[0]:.0f}us median={wake[1]:.0f}us"
    if (delay := stats.run_delay_summary()) is not None:
        yield f"run-delay mean={delay[0]:.0f}us worst={delay[1]:.0f}us"
    yield f"iters={stats.total_iterations} migrations={stats.total_migrations}"
    if stats.max_gap_ms > 0:
        yield f"gap={stats.max_gap_ms}ms@cpu{stats.max_gap_cpu}"
