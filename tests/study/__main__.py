# SPDX-License-Identifier: GPL-2.0-only
"""Print the tables of decision 0047; the same numbers each time."""

import argparse
import time
from collections.abc import Sequence

from tests.study.hosts import HOSTS, drift, real
from tests.study.noise_rates import (
    CHANGES,
    RUNS,
    claims_unchanged,
    rates,
    sure,
    whole_real,
    whole_synthetic,
)
from tests.study.rules import RULES

SEED = 1
DECIDING = ("ours", "band 1 %", "band 5 %", "Welch or bands")


def _row(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |")


def _head(cells: Sequence[str]) -> None:
    _row(cells)
    _row(["---"] * len(cells))


def _percent(rate: float) -> str:
    return f"{rate * 100:.1f}"


def main() -> None:
    """Print false alarms, detections, and whole comparisons."""
    parser = argparse.ArgumentParser(prog="python -m tests.study")
    parser.add_argument("--trials", type=int, default=400)
    trials = parser.parse_args().trials
    began = time.monotonic()
    print("False alarms of one metric, percent of comparisons without a change\n")
    _head(["host", "n", *RULES])
    unordered = {"drift, all of A first": drift, "real runs, all of A first": real}
    for name, host in {**HOSTS, **unordered}.items():
        for n in RUNS:
            found = rates(host, RULES, n, 0.0, trials, SEED, alternating=name in HOSTS)
            _row([name, str(n), *(_percent(found[rule]) for rule in RULES)])
    print(
        "\nDetected, percent, of changes by "
        + ", ".join(f"{c * 100:.0f}" for c in CHANGES)
        + " %\n"
    )
    shown = (*DECIDING, "ours, no gate", "Welch", "Welch, logs", "paired", "ranks")
    _head(["host", "n", *shown])
    for name, host in HOSTS.items():
        for n in RUNS:
            table = [
                rates(host, {rule: RULES[rule] for rule in shown}, n, change, trials // 2, SEED)
                for change in CHANGES
            ]
            _row([name, str(n), *(" ".join(f"{t[r] * 100:.0f}" for t in table) for r in shown)])
    print("\nCalled unchanged by us, percent, where the change is 15 % and the gate 10 %\n")
    _head(["host", *(f"n = {n}" for n in RUNS)])
    for name, host in HOSTS.items():
        wrong = [claims_unchanged(host, n, 0.15, trials // 2, SEED) for n in RUNS]
        _row([name, *map(_percent, wrong)])
    print("\nTen times as much at a level of 0.002, one of 25 metrics: Welch's test, percent\n")
    _head(["host", "n", "values", "logarithms"])
    for name in ("normal, 5 %", "skewed", "hiccups", "real runs"):
        for n in RUNS:
            seen = sure(HOSTS[name], n, 9.0, 0.002, trials, SEED)
            _row([name, str(n), *map(_percent, seen)])
    print("\nWhole comparisons of 100 metrics with 5 % scatter, 5 of them 50 % larger, percent\n")
    _head(["n", "rule", "with a false alarm", "false of what is told", "seen of what changed"])
    for n in RUNS:
        for rule, whole in whole_synthetic(n, trials // 20, SEED).items():
            _row([str(n), rule, *map(_percent, (whole.alarms, whole.false, whole.seen))])
    print("\nWhole comparisons of real runs without a change, percent with a false alarm\n")
    _head(["n", "rule", "in turn", "all of A first"])
    for n in RUNS:
        turns = whole_real(n, trials // 10, SEED)
        blocks = whole_real(n, trials // 10, SEED, alternating=False)
        for rule in turns:
            _row([str(n), rule, _percent(turns[rule].alarms), _percent(blocks[rule].alarms)])
    print(f"\n{trials} trials, seed {SEED}, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
