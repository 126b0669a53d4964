# SPDX-License-Identifier: GPL-2.0-only
"""How much of a run a page takes."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """What a page holds at most.

    :param columns: times of the CPUs' charts; at least 16 are kept.
    :param cells: values of one such chart.
    :param captures: snapshots.
    :param counters: numbers followed over the snapshots; ``counter_cells`` their values.
    :param carriers: cgroups times phases.
    :param reasons: failures and doubts, each; notes likewise.
    :param log_lines: lines of each log's end; ``dump_chars`` of the failure dump.
    """

    columns: int = 1500
    cells: int = 48_000
    cpus: int = 256
    captures: int = 512
    counters: int = 400
    counter_cells: int = 40_000
    carriers: int = 800
    phases: int = 512
    reasons: int = 100
    log_lines: int = 200
    dump_chars: int = 120_000

    def halved(self) -> "Limits":
        """Half of everything that makes a page large."""
        return replace(
            self,
            columns=max(self.columns // 2, 16),
            cells=max(self.cells // 2, 1024),
            captures=max(self.captures // 2, 16),
            counters=max(self.counters // 2, 16),
            counter_cells=max(self.counter_cells // 2, 512),
            carriers=max(self.carriers // 2, 16),
            phases=max(self.phases // 2, 16),
            reasons=max(self.reasons // 2, 8),
            log_lines=max(self.log_lines // 2, 16),
            dump_chars=max(self.dump_chars // 2, 4096),
        )
