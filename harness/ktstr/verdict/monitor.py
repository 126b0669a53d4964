# SPDX-License-Identifier: GPL-2.0-only
"""The monitor's limits over a run (reference-04, 7.6 and 7.7; reference-06, 14).

A limit is violated when ``sustained_samples`` readings in a row lie beyond it: a single one says
more about the moment than about the scheduler. With fewer readings than that nothing can be said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ktstr.series.monitor.samples import (
    MonitorSample,
    clocks_look_initialised,
    sample_looks_valid,
    stuck_cpus,
)
from ktstr.verdict.checks import MONITOR_DEFAULTS, Assert
from ktstr.verdict.detail import AssertDetail, DetailKind, PassDetail
from ktstr.verdict.outcome import Fail, Inconclusive
from ktstr.verdict.subject import Finding, Found

Reading = Callable[[Sequence[MonitorSample]], list[float]]
"""One value per sample, or per two neighbouring samples, that has it."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """A check whose readings are numbers.

    :param what: the reading in words; ``unit`` follows its values.
    """

    check: str
    what: str
    unit: str
    readings: Reading


def _imbalance(samples: Sequence[MonitorSample]) -> list[float]:
    return [sample.imbalance_ratio() for sample in samples if sample.run_lengths()]


def _depth(samples: Sequence[MonitorSample]) -> list[float]:
    return [float(max(depths)) for sample in samples if (depths := sample.local_depths())]


def _rate_of(event: str) -> Reading:
    def rates(samples: Sequence[MonitorSample]) -> list[float]:
        found = []
        for before, after in pairwise(samples):
            first, last = _count(before, event), _count(after, event)
            seconds = (after.clock_ms - before.clock_ms) / 1000
            if first is not None and last is not None and seconds > 0:
                found.append(max(0, last - first) / seconds)
        return found

    return rates


def _count(sample: MonitorSample, event: str) -> int | None:
    totals = sample.event_totals() or {}
    return next((n for name, n in totals.items() if _plain(name) == event), None)


def _plain(name: str) -> str:
    return name.lower().removeprefix("scx_ev_")


_LIMITS: Final = (
    _Limit("max_imbalance_ratio", "imbalance ratio", "", _imbalance),
    _Limit("max_local_dsq_depth", "local DSQ depth", "", _depth),
    _Limit("max_fallback_rate", "fallback rate", "/s", _rate_of("select_cpu_fallback")),
    _Limit("max_keep_last_rate", "keep_last rate", "/s", _rate_of("dispatch_keep_last")),
)


def judge_monitor(checks: Assert, samples: Sequence[MonitorSample]) -> Found:
    """Judge those of the monitor's limits that are set.

    :param samples: readings in the order of time; implausible ones are dropped.
    """
    usable = [sample for sample in samples if sample.cpus and sample_looks_valid(sample)]
    if not usable:
        yield _doubt(f"no usable sample among {len(samples)}")
        return
    if not clocks_look_initialised(usable):
        yield _doubt("the runqueue clocks never changed: they are not set up yet")
        return
    sustained = checks.sustained_samples or MONITOR_DEFAULTS.sustained_samples or 1
    for limit in _LIMITS:
        allowed = getattr(checks, limit.check)
        if allowed is not None:
            yield _judge(limit, limit.readings(usable), allowed, sustained)
    if checks.fail_on_rq_clock_stuck:
        yield from _judge_clocks(usable, sustained)


def _judge(limit: _Limit, readings: Sequence[float], allowed: float, sustained: int) -> Finding:
    if len(readings) < sustained:
        return _too_few(limit.what, len(readings), sustained)
    length, worst = _longest_run(readings, allowed)
    bound = f"{allowed:g}{limit.unit}"
    if length >= sustained:
        return _fault(
            f"{limit.what} up to {worst:.1f}{limit.unit} above limit {bound} "
            f"for {length} samples in a row (threshold {sustained})"
        )
    highest = f"{max(readings):.1f}{limit.unit}"
    held = "max" if length == 0 else f"at most {length} in a row above, max"
    return PassDetail(f"monitor.{limit.check}", "le", f"{held} {highest}", bound)


def _longest_run(readings: Sequence[float], allowed: float) -> tuple[int, float]:
    """Length of the longest run above ``allowed`` and the highest reading in it."""
    best, length, worst = (0, 0.0), 0, 0.0
    for reading in readings:
        length, worst = (length + 1, max(worst, reading)) if reading > allowed else (0, 0.0)
        best = max(best, (length, worst))
    return best


def _judge_clocks(samples: Sequence[MonitorSample], sustained: int) -> Found:
    runs: dict[int, int] = {}
    longest: dict[int, int] = {}
    compared = 0
    for before, after in pairwise(samples):
        stuck = stuck_cpus(before, after)
        if stuck is None:
            continue
        compared += 1
        runs = {cpu: runs.get(cpu, 0) + 1 for cpu in stuck}
        longest |= {cpu: max(longest.get(cpu, 0), length) for cpu, length in runs.items()}
    over = {cpu: length for cpu, length in sorted(longest.items()) if length >= sustained}
    if compared < sustained:
        yield _too_few("runqueue clocks", compared, sustained)
        return
    for cpu, length in over.items():
        yield _fault(
            f"cpu{cpu} runqueue clock stuck for {length} samples in a row (threshold {sustained})"
        )
    if not over:
        most = str(max(longest.values(), default=0))
        yield PassDetail("monitor.rq_clock_stuck", "lt", most, str(sustained))


def _fault(message: str) -> Fail:
    return Fail(AssertDetail(DetailKind.MONITOR, f"monitor: {message}"))


def _doubt(message: str) -> Inconclusive:
    return Inconclusive(AssertDetail(DetailKind.MONITOR, f"monitor: {message}"))


def _too_few(what: str, readings: int, sustained: int) -> Inconclusive:
    return _doubt(
        f"{what} not measured: {readings} readings, sustained_samples asks for {sustained}"
    )
