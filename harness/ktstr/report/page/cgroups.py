# SPDX-License-Identifier: GPL-2.0-only
"""What each cgroup's workers got done, waited for and how late they woke, phase by phase."""

import math
from typing import Final

import numpy as np

from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import (
    BINS_PER_DECADE,
    CarrierData,
    CgroupData,
    Distribution,
    Number,
)
from ktstr.report.printable import one_line
from ktstr.session.record import RunRecord
from ktstr.telemetry import PhaseCgroupStats
from ktstr.telemetry.cgroup import CgroupStats, SampleSource
from ktstr.telemetry.reductions import percentile
from ktstr.telemetry.vectors import Samples
from ktstr.verdict import cpu_list

NAME_CHARS: Final = 160


def cgroup_data(record: RunRecord, limits: Limits) -> tuple[list[CgroupData], int]:
    """The cgroups by name, and how many of their phases were left out."""
    found: dict[str, list[CarrierData]] = {}
    for bucket in record.phases:
        seconds = bucket.get("total_phase_duration_sec") or 0.0
        for name, carrier in bucket.per_cgroup.items():
            found.setdefault(name, []).append(_carrier(carrier, bucket.step_index, seconds))
    stats = () if record.result is None else record.result.stats.cgroups
    for whole in stats:
        # Workers of the Backdrop that told of no phase: one row for the whole run.
        if whole.cgroup_name not in found:
            found[whole.cgroup_name] = [_whole(whole)]
    kept: list[CgroupData] = []
    room = limits.carriers
    for name in sorted(found):
        phases = found[name][:room]
        room -= len(phases)
        if phases:
            kept.append({"name": one_line(name, NAME_CHARS), "phases": phases})
    left_out = sum(map(len, found.values())) - sum(len(cgroup["phases"]) for cgroup in kept)
    return kept, left_out


def _carrier(carrier: PhaseCgroupStats, step: int, seconds: float) -> CarrierData:
    off_cpu = carrier.off_cpu_summary()
    delay = carrier.run_delay_summary()
    return {
        "step": step,
        "workers": carrier.num_workers,
        "cpus": cpu_list(carrier.cpus_used) if carrier.cpus_used else None,
        "iterations": carrier.total_iterations,
        "iterations_per_s": rounded(carrier.total_iterations / seconds) if seconds > 0 else None,
        "off_cpu_pct": None if off_cpu is None else rounded(off_cpu[0]),
        "off_cpu_min_pct": None if off_cpu is None else rounded(off_cpu[1]),
        "off_cpu_max_pct": None if off_cpu is None else rounded(off_cpu[2]),
        "migrations": carrier.total_migrations,
        "gap_ms": carrier.max_gap_ms,
        "gap_cpu": carrier.max_gap_cpu if carrier.max_gap_ms else None,
        "run_delay_us": None if delay is None else rounded(delay[0]),
        "stripped": carrier.stripped,
        "wake": distribution(
            carrier.ordered(SampleSource.WAKE_LATENCY_NS), carrier.wake_sample_total
        ),
        "timer": distribution(
            carrier.ordered(SampleSource.TIMER_LATENCY_NS), carrier.timer_sample_total
        ),
    }


def _whole(cgroup: CgroupStats) -> CarrierData:
    return {
        "step": None,
        "workers": cgroup.num_workers,
        "cpus": cpu_list(frozenset(cgroup.cpus_used)) if cgroup.cpus_used else None,
        "iterations": cgroup.total_iterations,
        "iterations_per_s": None,
        "off_cpu_pct": rounded(cgroup.avg_off_cpu_pct),
        "off_cpu_min_pct": None,
        "off_cpu_max_pct": None,
        "migrations": cgroup.total_migrations,
        "gap_ms": cgroup.max_gap_ms,
        "gap_cpu": cgroup.max_gap_cpu if cgroup.max_gap_ms else None,
        "run_delay_us": rounded(cgroup.mean_run_delay_us) if cgroup.run_delay_measured else None,
        "stripped": False,
        "wake": None,
        "timer": None,
    }


def rounded(value: float | None) -> Number | None:
    """Six digits that count: more than any picture or table shows."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def distribution(ordered: Samples, total: int) -> Distribution | None:
    """The figures and the histogram of ``ordered`` latencies, ns; ``None`` of none."""
    count = len(ordered)
    if count == 0:
        return None
    # Below a nanosecond there is nothing to tell apart: zero goes into the first bin.
    bins = np.floor(np.log10(np.maximum(ordered, 1).astype(np.float64)) * BINS_PER_DECADE)
    places = bins.astype(np.int64)
    first = int(places[0])
    return {
        "samples": count,
        "total": max(total, count),
        "min": int(ordered[0]),
        "p50": percentile(ordered, 0.5),
        "p99": percentile(ordered, 0.99),
        "p999": percentile(ordered, 0.999),
        "max": int(ordered[-1]),
        "first_bin": first,
        "counts": np.bincount(places - first).tolist(),
    }
