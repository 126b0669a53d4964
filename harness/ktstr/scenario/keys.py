# SPDX-License-Identifier: GPL-2.0-only
"""Keys that parts of a scenario take, each with the type to write it in.

They are the tables of ``ktstr.model`` seen from the writer's side; a test holds the two together.
What a key means, its limits and its default are in docs/scenario-file.md.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from ktstr.scenario.part import Part

Duration = str | float
"""``"1500ms"``, ``"2s"``, ``"1.5m"``, or seconds."""

Words = Sequence[str]

Clock = Literal["wall", "virtual"]
"""What ``run.clock`` takes."""


class WorkKeys(TypedDict, total=False):
    """Keys of a work beside its type."""

    workers: int
    clone: Literal["fork", "thread"]
    comm: str
    policy: Literal["normal", "batch", "idle", "fifo", "rr", "deadline", "ext"]
    rt_prio: int
    dl_runtime_us: int
    dl_deadline_us: int
    dl_period_us: int
    nice: int
    affinity: str
    command: str
    python: str
    args: Words
    mempolicy: str
    mem_nodes: str
    mem_flags: Words
    params: Mapping[str, int | str]
    composed: "Sequence[Work]"


class Work(Part):
    """Workers of one type; made by :func:`ktstr.scenario.work`."""

    __slots__ = ()


class Cpuset(Part):
    """CPUs named by what they share; made by ``llc``, ``numa``, ``share`` and the like."""

    __slots__ = ()


class CgroupKeys(TypedDict, total=False):
    """Keys of a cgroup beside its name."""

    cpuset: str | Cpuset
    weight: int
    cpu_max: str | Mapping[str, int]
    swappable: bool
    works: Sequence[Work]


class ProgramKeys(TypedDict, total=False):
    """Keys of a scheduler that can be started."""

    bpf: str
    binary: str
    args: Words
    globals: Mapping[str, int | bool | str]
    timeout: Duration
    config_file: str
    attach_timeout: Duration


class CheckKeys(TypedDict, total=False):
    """Keys of ``[checks]``."""

    not_starved: bool
    not_stuck: bool
    strict: bool
    max_gap_ms: int
    max_spread_pct: float
    isolation: bool
    max_throughput_cv: float
    min_work_rate: float
    min_iteration_rate: float
    max_migration_ratio: float
    max_p99_wake_latency_ns: int
    max_wake_latency_cv: float
    min_page_locality: float
    max_cross_node_migration_ratio: float
    max_slow_tier_ratio: float
    enforce_monitor_thresholds: bool
    max_imbalance_ratio: float
    max_local_dsq_depth: int
    fail_on_rq_clock_stuck: bool
    max_fallback_rate: float
    max_keep_last_rate: float
    sustained_samples: int


class CompareKeys(TypedDict, total=False):
    """Keys of ``[[checks.across]]`` beside the metric and the two phases."""

    cgroup: str
    at_least: float
    at_most: float
    better: bool
    better_by: float


class FigureKeys(TypedDict, total=False):
    """Keys of a figure of every snapshot."""

    var: str
    map: str
    key: int | str
    cpu: int | Literal["sum", "max", "min"]
    field: str
    stats: str


class TemporalKeys(FigureKeys, total=False):
    """Keys of ``[[checks.temporal]]`` beside the pattern."""

    phase: str
    per: Literal["run", "phase"]
    at_least: float
    at_most: float
    tolerance: float
    warmup: Duration
    target: float
    deadline: Duration
    over: FigureKeys
    earlier: str
    later: str
    reduce: Literal["last", "delta"]


class FlagKeys(TypedDict, total=False):
    """Keys of one flag in ``known_flags``."""

    args: Words
    requires: Words


class SchedulerKeys(ProgramKeys, total=False):
    """Keys of ``[scheduler]``."""

    kernel_default: bool
    sysctls: Mapping[str, int | str]
    kernel_args: Words
    kernel_features: Words
    cgroup_parent: str
    known_flags: Mapping[str, FlagKeys]
    flags: Words
    excluded_flags: Words
    checks: CheckKeys


class NodeKeys(TypedDict, total=False):
    """Keys of a NUMA node beside its memory."""

    llcs: int
    distances: Sequence[int]


class GauntletKeys(TypedDict, total=False):
    """Keys of ``[gauntlet]``."""

    min_numa_nodes: int
    max_numa_nodes: int
    min_llcs: int
    max_llcs: int
    min_cpus: int
    max_cpus: int
    requires_smt: bool
    exclude: Words


class RunKeys(TypedDict, total=False):
    """Keys of ``[run]``."""

    duration: Duration
    auto_repro: bool
    clock: Clock
    num_snapshots: int
    settle: Duration
    seed: int
