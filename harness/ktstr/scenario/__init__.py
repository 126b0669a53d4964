# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios written in Python: typed, immutable, and the same as their TOML.

::

    from ktstr.scenario import cgroup, llc, ops, scenario, work

    both = (
        scenario("both")
        .topology("1n2l2c1t")
        .scheduler(bpf="scx_ktstr")
        .backdrop(cgroups=[cgroup("a", cpuset=llc(0), works=[work("SpinWait", workers=2)])])
        .step(hold="1s", name="apart")
        .step(hold="1s", name="free", ops=[ops.clear_cpuset("a")])
        .check(not_starved=True)
    )
    both.model()  # checked, as a file would be
    both.to_toml()  # the file that says the same

Every key, value and default is the scenario file's (docs/scenario-file.md).
"""

from ktstr.scenario import ops
from ktstr.scenario.builder import ScenarioBuilder, scenario, scenario_toml
from ktstr.scenario.parts import (
    Cgroup,
    Cpuset,
    Hold,
    Node,
    Op,
    Program,
    Work,
    cgroup,
    disjoint,
    frac,
    llc,
    loop,
    node,
    numa,
    overlap,
    program,
    share,
    work,
)

__all__ = [
    "Cgroup",
    "Cpuset",
    "Hold",
    "Node",
    "Op",
    "Program",
    "ScenarioBuilder",
    "Work",
    "cgroup",
    "disjoint",
    "frac",
    "llc",
    "loop",
    "node",
    "numa",
    "ops",
    "overlap",
    "program",
    "scenario",
    "scenario_toml",
    "share",
    "work",
]
