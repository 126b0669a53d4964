# SPDX-License-Identifier: GPL-2.0-only
"""Metrics of a phase that no single capture can give (reference-06 sections 7 and 24).

They come from comparing captures with each other, and from the monitor's readings in the phase.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain

from ktstr.metrics.readers import per_cpu_times
from ktstr.series.host import NET_RX, HostReading, TgidTime
from ktstr.series.monitor.samples import MonitorSample
from ktstr.series.monitor.window import FALLBACK, KEEP_LAST, MonitorWindow
from ktstr.series.sample import Sample
from ktstr.series.snapshot import Snapshot
from ktstr.telemetry.vectors import saturating_sum

_NS_PER_MS = 1_000_000


def injected_metrics(
    samples: Sequence[Sample],
    start_ms: int,
    end_ms: int,
    monitor: Sequence[MonitorSample],
    *,
    captured: bool,
    step: int | None = None,
) -> dict[str, float]:
    """Metrics of one phase beside those read from its captures; absent is not measured.

    :param samples: the captures of the phase, in order.
    :param monitor: readings of the whole run; those stamped with ``step`` count, and unstamped
        ones in ``[start_ms, end_ms)``, or at the one moment of a phase whose ends are equal.
    :param captured: whether the phase has captures. Without, the monitor also speaks for what is
        otherwise read from them: queue depths and event counters.
    """
    inside = (
        s
        for s in monitor
        if (
            _within(s.elapsed_ms, start_ms, end_ms)
            if s.step_index is None
            else s.step_index == step
        )
    )
    window = MonitorWindow(inside)
    return {
        **_cpu_time(samples),
        **_spatial_maxima(samples),
        **_cgroup_pressure(samples),
        **_wall(samples, start_ms, end_ms),
        **_measured(_monitor_values(window)),
        **_schedstat(window),
        **({} if captured else _measured(_values_for_captures(window))),
    }


def monitor_run_metrics(monitor: Sequence[MonitorSample]) -> dict[str, float]:
    """The run-level metrics that only the monitor has, over all its readings."""
    return _measured(_run_values(MonitorWindow(monitor)))


def _within(moment_ms: int, start_ms: int, end_ms: int) -> bool:
    return start_ms <= moment_ms < end_ms or start_ms == end_ms == moment_ms


def _measured(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def _run_values(window: MonitorWindow) -> dict[str, float | None]:
    return {
        "avg_nr_running": window.avg_nr_running(),
        "avg_irq_util": window.avg_irq_util(),
        "max_avg_irq_util": window.max_irq_util(),
        "psi_irq_full_avg10": window.avg_psi_irq(),
        "total_irq_pressure_us": window.psi_irq_us(),
    }


def _monitor_values(window: MonitorWindow) -> dict[str, float | None]:
    return {
        "avg_imbalance_ratio": window.avg_imbalance(),
        "max_imbalance_ratio": window.max_imbalance(),
        "stuck_count": window.stuck_count(),
        **_run_values(window),
    }


def _values_for_captures(window: MonitorWindow) -> dict[str, float | None]:
    return {
        "avg_dsq_depth": window.avg_dsq_depth(),
        "max_dsq_depth": window.max_dsq_depth(),
        "total_fallback": window.event_delta(FALLBACK),
        "total_keep_last": window.event_delta(KEEP_LAST),
    }


def _schedstat(window: MonitorWindow) -> dict[str, float]:
    measured = window.schedstat_deltas()
    if measured is None:
        return {}
    deltas, seconds = measured
    totals = {f"total_{name}": float(delta) for name, delta in deltas.items()}
    return {**totals, "total_schedstat_wall_sec": seconds}


def _wall(samples: Iterable[Sample], start_ms: int, end_ms: int) -> dict[str, float]:
    """The denominators of the interrupt rates, only where their numerator is measured too."""
    counted = sum(bool(per_cpu_times(sample)) for sample in samples)
    if counted < 2 or end_ms <= start_ms:
        return {}
    wall_ms = end_ms - start_ms
    return {
        "total_phase_wall_ns": float(wall_ms * _NS_PER_MS),
        "total_phase_wall_sec": wall_ms / 1000.0,
    }


def _host(sample: Sample) -> HostReading:
    return sample.snapshot.host if isinstance(sample.snapshot, Snapshot) else HostReading()


def _cpu_time(samples: Iterable[Sample]) -> dict[str, float]:
    """CPU time of every thread group between its first and its last readable capture.

    A group that ended or began within the phase counts as far as two captures saw it.
    """
    ends: dict[tuple[int, int], tuple[TgidTime, TgidTime]] = {}
    twice = False
    for group in chain.from_iterable(_host(sample).per_tgid_time for sample in samples):
        if not group.readable:
            continue
        identity = (group.tgid, group.start_time_ns)
        first = ends.get(identity, (group, group))[0]
        twice = twice or identity in ends
        ends[identity] = (first, group)
    if not twice:
        return {}
    return {
        "system_time_ns": _growth(ends.values(), lambda group: group.system_ns),
        "user_time_ns": _growth(ends.values(), lambda group: group.user_ns),
    }


def _growth(ends: Iterable[tuple[TgidTime, TgidTime]], time_ns: Callable[[TgidTime], int]) -> float:
    return float(saturating_sum(max(time_ns(last) - time_ns(first), 0) for first, last in ends))


def _spatial_maxima(samples: Sequence[Sample]) -> dict[str, float]:
    """The CPU that took most interrupts, and how far it stands out."""

    def hardirqs(sample: Sample) -> dict[Hashable, int]:
        return {cpu.cpu: cpu.hardirqs for cpu in per_cpu_times(sample)}

    def net_rx(sample: Sample) -> dict[Hashable, int]:
        cpus = per_cpu_times(sample)
        return {cpu.cpu: cpu.softirqs[NET_RX] for cpu in cpus if NET_RX in cpu.softirqs}

    return {
        **_maximum_and_concentration(
            "max_cpu_hardirqs", "max_cpu_hardirq_concentration", samples, hardirqs
        ),
        **_maximum_and_concentration(
            "max_cpu_softirq_net_rx", "max_cpu_softirq_net_rx_concentration", samples, net_rx
        ),
    }


def _cgroup_pressure(samples: Sequence[Sample]) -> dict[str, float]:
    """The leaf cgroup that lost most time to interrupts, and how far it stands out."""

    def pressure_us(sample: Sample) -> dict[Hashable, int]:
        # An address is used again; with the serial number it names one cgroup for good.
        leaves = _host(sample).cgroup_psi
        return {(leaf.kva, leaf.serial_nr): leaf.irq_full_total_us for leaf in leaves}

    peaks = [leaf.irq_full_avg10 for sample in samples for leaf in _host(sample).cgroup_psi]
    return {
        **_measured({"max_cgroup_psi_irq_avg10": max(peaks, default=None)}),
        **_maximum_and_concentration(
            "max_cgroup_irq_pressure", "max_cgroup_irq_pressure_concentration", samples, pressure_us
        ),
    }


def _maximum_and_concentration(
    maximum: str,
    concentration: str,
    samples: Iterable[Sample],
    read: Callable[[Sample], dict[Hashable, int]],
) -> dict[str, float]:
    """Largest growth of any place between the earliest and the latest capture.

    Only places that both captures have are compared. The concentration is the largest growth over
    the mean; it needs two places and a mean above 0.
    """
    readings = [
        (sample.anchor_ms, values)
        for sample in samples
        if sample.anchor_ms is not None and (values := read(sample))
    ]
    if len(readings) < 2:
        return {}
    readings.sort(key=lambda reading: reading[0])
    first, last = readings[0][1], readings[-1][1]
    grown = [max(last[place] - first[place], 0) for place in first.keys() & last.keys()]
    if not grown:
        return {}
    found = {maximum: float(max(grown))}
    if len(grown) >= 2 and sum(grown) > 0:
        found[concentration] = max(grown) * len(grown) / sum(grown)
    return found
