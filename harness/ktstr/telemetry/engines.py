# SPDX-License-Identifier: GPL-2.0-only
"""What the schbench and taobench engines measure, as components that merge (reference-06 3.2, 3.3).

Nothing here is a rate or a percentile: those come from the merged components.
"""

from dataclasses import dataclass, field
from typing import Annotated

from ktstr.telemetry.codec import U64, Coded, one
from ktstr.telemetry.plat import PlatStats
from ktstr.telemetry.vectors import saturating_sum

Histogram = Annotated[PlatStats, one(PlatStats)]


@dataclass(frozen=True, slots=True)
class SchbenchPhaseStats(Coded):
    """One phase of schbench.

    :param wakeup: wakeup latencies in microseconds; likewise ``request``.
    :param rps: requests per second, one value per second.
    :param msg_run_delay_ns: time the message threads waited runnable.
    :param msg_pcount: times they were scheduled in; likewise the worker pair.
    :param loop_count: requests completed.
    """

    wakeup: Histogram = field(default_factory=PlatStats)
    request: Histogram = field(default_factory=PlatStats)
    rps: Histogram = field(default_factory=PlatStats)
    msg_run_delay_ns: U64 = 0
    msg_pcount: U64 = 0
    worker_run_delay_ns: U64 = 0
    worker_pcount: U64 = 0
    loop_count: U64 = 0

    def merge(self, other: "SchbenchPhaseStats") -> "SchbenchPhaseStats":
        """Both populations: histograms add up, counters saturate."""
        return SchbenchPhaseStats(
            wakeup=self.wakeup.combine(other.wakeup),
            request=self.request.combine(other.request),
            rps=self.rps.combine(other.rps),
            msg_run_delay_ns=saturating_sum((self.msg_run_delay_ns, other.msg_run_delay_ns)),
            msg_pcount=saturating_sum((self.msg_pcount, other.msg_pcount)),
            worker_run_delay_ns=saturating_sum(
                (self.worker_run_delay_ns, other.worker_run_delay_ns)
            ),
            worker_pcount=saturating_sum((self.worker_pcount, other.worker_pcount)),
            loop_count=saturating_sum((self.loop_count, other.loop_count)),
        )


@dataclass(frozen=True, slots=True)
class TaobenchStats(Coded):
    """Counters of taobench.

    :param get_cmds: lookups requested; ``get_misses`` of them missed, counted at request time.
    :param fast_ops: responses from the cache; ``slow_ops`` by way of the slow path.
    :param elapsed_ns: the window they were counted in.
    """

    get_cmds: U64 = 0
    get_misses: U64 = 0
    fast_ops: U64 = 0
    slow_ops: U64 = 0
    elapsed_ns: U64 = 0

    @property
    def total_ops(self) -> int:
        """Responses of either kind."""
        return saturating_sum((self.fast_ops, self.slow_ops))

    @property
    def get_hits(self) -> int:
        """Lookups that did not miss; the two counters are not read in one instant."""
        return max(self.get_cmds - self.get_misses, 0)

    def merge(self, other: "TaobenchStats") -> "TaobenchStats":
        """Concurrent workers: counters saturate, and the shared window is the longer one."""
        return TaobenchStats(
            get_cmds=saturating_sum((self.get_cmds, other.get_cmds)),
            get_misses=saturating_sum((self.get_misses, other.get_misses)),
            fast_ops=saturating_sum((self.fast_ops, other.fast_ops)),
            slow_ops=saturating_sum((self.slow_ops, other.slow_ops)),
            elapsed_ns=max(self.elapsed_ns, other.elapsed_ns),
        )


@dataclass(frozen=True, slots=True)
class TaobenchPhaseStats(Coded):
    """One phase of taobench.

    :param serve_lat: microseconds from a request's intended arrival to its response; only an open
        loop has arrivals to miss, so it stays empty in a closed one.
    """

    counters: Annotated[TaobenchStats, one(TaobenchStats)] = field(default_factory=TaobenchStats)
    serve_lat: Histogram = field(default_factory=PlatStats)

    def merge(self, other: "TaobenchPhaseStats") -> "TaobenchPhaseStats":
        """Both populations."""
        return TaobenchPhaseStats(
            counters=self.counters.merge(other.counters),
            serve_lat=self.serve_lat.combine(other.serve_lat),
        )
