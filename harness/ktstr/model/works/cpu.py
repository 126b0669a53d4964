# SPDX-License-Identifier: GPL-2.0-only
"""Work types that vary what a CPU does: phases, idling, SMT siblings, instructions per cycle."""

from typing import Final

from ktstr.model.work_type import COST, MAX_ITERS, MAX_US, WAKE, Param, WorkType

_KINDS: Final = ("spin", "sleep", "yield", "io", "alu-hot")


def _phase(number: int) -> tuple[Param, Param]:
    """What a phase of ``Sequence`` does, and for how long; only the first must be there."""
    kinds = _KINDS if number == 1 else ("none", *_KINDS)
    return (
        Param.choice(f"phase{number}", f"what phase {number} does", *kinds),
        Param(f"phase{number}_us", 10_000, 1, MAX_US, f"time of phase {number}, in µs"),
    )


CPU: Final[tuple[WorkType, ...]] = (
    WorkType(
        "Sequence",
        "one to four phases in turn, each for its time: spins, one sleep, sched_yields, 64 KiB "
        "writes with 100 µs of sleep, or multiply chains",
        tuple(param for number in range(1, 5) for param in _phase(number)),
        fills=WAKE,
    ),
    WorkType(
        "IdleChurn",
        "short bursts between short sleeps; samples are what a sleep took too long",
        (
            Param("burst_us", 1000, 1, MAX_US, "time spinning, in µs"),
            Param("sleep_us", 5000, 1, MAX_US, "time asleep, in µs"),
            Param.choice("precise_timing", "sleeps without the timer's slack", "off", "on"),
        ),
        fills=WAKE,
    ),
    WorkType(
        "SmtSiblingSpin",
        "pairs that spin with the CPU's pause hint, meant for two threads of one core",
        group=2,
        fills=COST,
    ),
    WorkType(
        "IpcVariance",
        "multiply chains in turn with accesses to random lines of 512 KiB",
        (
            Param("hot_iters", 100_000, 1, MAX_ITERS, "steps of the chains each time"),
            Param("cold_iters", 1024, 1, MAX_ITERS, "random accesses each time"),
            Param("period_iters", 64, 1, 1_000_000, "turns of both in an iteration"),
        ),
        fills=COST,
    ),
)
"""In the order of the documentation."""
